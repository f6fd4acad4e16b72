//! Where a message's body ends (RFC 9112 §6).
use super::Refusal;

/// Progress through one message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Length known: bytes still to come. `Length(0)` is a message without a body, or one that is complete.
    Length(u64),
    /// `Transfer-Encoding: chunked`, forwarded as it is, its framing followed byte by byte.
    Chunked(Chunked),
    /// Everything until the sender closes (responses and tunnels only).
    UntilClose,
}

/// State of the chunked coding's parser (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    // fields private, at most 16 bytes
}

impl Body {
    /// No body at all.
    pub const EMPTY: Body = Body::Length(0);

    /// How many of `bytes`, from the first, belong to this body (framing included); the state moves past them.
    /// Fewer than all of them only when the body ends inside `bytes`.
    ///
    /// # Errors
    /// Bad chunk framing.
    pub fn take(&mut self, _bytes: &[u8]) -> Result<usize, Refusal> {
        todo!()
    }

    /// Whether the body has ended. Never for [`Body::UntilClose`].
    pub fn is_done(&self) -> bool {
        todo!()
    }

    /// How many bytes may pass unseen from here: the rest of a length or of the current chunk's data, no limit
    /// (`u64::MAX`) until close.
    pub fn opaque(&self) -> u64 {
        todo!()
    }

    /// Moves past `n` bytes that passed unseen; `n` is at most [`Body::opaque`].
    pub fn skip(&mut self, _n: u64) {
        todo!()
    }
}
