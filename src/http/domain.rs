//! Relay domains: where a request names one, and what a name may be.
use super::{Refusal, RequestHead, Span};

/// Longest relay domain, in bytes.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Where a request names its relay domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name as it stands in the head, in whatever case.
    pub name: Span,
    /// What to leave out of the path for a gateway that asked for stripping; empty in the host form.
    pub strip: Span,
}

/// Finds the relay domain of a client's request: labels left of one of `hostnames` (lower-case, no port) in the
/// authority, else the first segment of the path.
///
/// # Errors
/// No name, a name too long, or a character that no name may have.
pub fn of(_bytes: &[u8], _head: &RequestHead, _hostnames: &[String]) -> Result<Named, Refusal> {
    todo!()
}

/// Finds the relay domain that a gateway registers: always the first segment of the path.
///
/// # Errors
/// The empty name and `relay_domain` are reserved; bad characters and long names are refused.
pub fn registered(_bytes: &[u8], _head: &RequestHead) -> Result<Span, Refusal> {
    todo!()
}

/// Writes `name` in lower case into `out` and returns what was written. At most [`DOMAIN_BYTES_MAX`] bytes.
pub fn lower<'a>(_name: &[u8], _out: &'a mut [u8; DOMAIN_BYTES_MAX]) -> &'a [u8] {
    todo!()
}
