//! Heads, framing, relay domains and canned responses: pure functions of bytes that know no sockets.
//!
//! Everything refers to the original bytes by [`Span`], so a head is parsed where it landed, and passed on from there.
//! Nothing here allocates, except for a head in more pieces than one send takes.

pub mod canned;
pub mod cuts;
pub mod domain;
pub mod forward;
pub mod framing;
pub mod parts;
pub mod pieces;
pub mod proxy_protocol;
pub mod registration;
pub mod repair;
pub mod reply;
pub mod request;
pub mod response;

mod authority;
mod class;
mod faults;
mod hops;
mod lines;
mod origins;
mod target;
#[cfg(test)]
mod tests;
mod trailers;

pub use canned::Refusal;
pub use cuts::Cuts;
pub use framing::{Body, Piece};
pub use parts::Parts;
pub use registration::Registration;
pub use reply::Reply;
pub use request::{Dialect, Method, RequestHead};
pub use response::{RESPONSE_HEADERS_MAX, ResponseHead};

/// Maximum length of a head, in bytes, since spans are 16 bits. Parsers look no further; the relay's own limit is
/// lower.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// Maximum headers that parsers make room for, whatever their caller allows: 4 KiB of stack.
pub const HEADERS_MAX: usize = 128;

/// A range of bytes inside a head, counted from the head's first byte. Heads are at most 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// One past the last byte.
    pub end: u16,
}

impl Span {
    /// The bytes of `head` that this span covers.
    pub fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }

    /// Where `part` lies in `head`, which it must be a slice of.
    fn locate(part: &[u8], head: &[u8]) -> Span {
        let start = part.as_ptr() as usize - head.as_ptr() as usize;
        let end = start + part.len();
        assert!(end <= head.len() && end <= HEAD_BYTES_MAX, "a part outside of its head");
        Span { start: start as u16, end: end as u16 }
    }

    /// Whether the span covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Result of parsing the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// A complete head.
    Complete(T),
    /// Nothing wrong so far, but the blank line has not arrived.
    Partial,
}

/// HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}
