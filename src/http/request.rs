//! Request heads (RFC 9112 §3, §5).
use super::{Body, Cuts, Parse, Refusal, Span, Version};

/// What the relay needs to know of a method (RFC 9110 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET: safe.
    Get,
    /// HEAD: safe; its response never has a body.
    Head,
    /// OPTIONS or TRACE: safe.
    OtherSafe,
    /// CONNECT: asks for a tunnel.
    Connect,
    /// Anything else.
    Unsafe,
}

/// How a gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `PTTH/1.0`: the relay answers 204 or 101 when something happens; one session a connection.
    Classic,
    /// `Upgrade: ptth` (draft-kazuho-ptth-ptth): 101 at once, then reversed HTTP/1.1 with keep-alive.
    Ptth,
}

/// A request that makes its connection a gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which dialect it asked for.
    pub dialect: Dialect,
    /// Whether an `ALPN` header offers `http/1.1` (RFC 7639; `Ptth` only, true for `Classic`).
    pub http11_offered: bool,
    /// `X-Relay-Strip-Prefix: 1`: the gateway wants paths without the relay domain.
    pub strip_prefix: bool,
    /// The value of `Authorization`, if any.
    pub authorization: Option<Span>,
}

/// A request head, as far as a relay looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, blank line included.
    pub len: u16,
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    /// Path and query as they stand, from the `/` on; empty for `CONNECT host:port`, `OPTIONS *` and absolute
    /// forms without a path.
    pub path: Span,
    /// The authority that counts: that of an absolute or authority form, else the value of `Host`.
    pub authority: Option<Span>,
    /// Framing of what follows.
    pub body: Body,
    /// Whether the client wants its connection kept (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether it asks to switch protocols: `Connection: upgrade` with an `Upgrade` other than a registration.
    pub upgrade: bool,
    /// `Expect: 100-continue`.
    pub expect_continue: bool,
    /// Present when the sender is a gateway.
    pub registration: Option<Registration>,
    /// What `ptth` gateways do not get to see: hop-by-hop headers and the client's own claims about
    /// `X-Forwarded-Proto` and `X-Forwarded-Host`.
    pub cuts: Cuts,
}

/// Parses the head at the start of `bytes`; `headers_max` bounds the number of header fields (at most 128).
///
/// # Errors
/// Whatever is refused with an answer of its own; see [`Refusal`].
pub fn parse(_bytes: &[u8], _headers_max: usize) -> Result<Parse<RequestHead>, Refusal> {
    todo!()
}
