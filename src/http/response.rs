//! Response heads (RFC 9112 §4, §6.3).
use super::{Body, Cuts, Method, Parse, Version};

/// A response head, as far as a relay looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, blank line included.
    pub len: u16,
    /// Its status, 100 to 999.
    pub status: u16,
    /// Its version.
    pub version: Version,
    /// Framing of what follows, given the request's method (RFC 9112 §6.3). 101 and a 2xx to CONNECT: `UntilClose`.
    pub body: Body,
    /// Whether the gateway keeps its connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the head declares its body's end (length or chunked, or has no body by rule).
    pub self_delimited: bool,
    /// Hop-by-hop headers, left out on the way from a `ptth` gateway to the client.
    pub cuts: Cuts,
}

/// Why bytes from a gateway could not be taken as a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAResponse {
    /// They do not begin like HTTP/1 at all (`HTTP/1.`): a classic gateway's are relayed as an opaque stream.
    NotHttp,
    /// They begin like HTTP but break its rules; names what is wrong.
    Bad(&'static str),
}

/// Parses the head at the start of `bytes`, the answer to a request with `method`.
///
/// # Errors
/// [`NotAResponse`], as soon as the first bytes show it.
pub fn parse(_bytes: &[u8], _method: Method, _headers_max: usize) -> Result<Parse<ResponseHead>, NotAResponse> {
    todo!()
}
