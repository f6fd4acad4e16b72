//! Request targets (RFC 9112 §3.2), taken apart.
use super::authority::Authority;
use super::{Method, Refusal, class};

/// What a request asks for.
pub(super) struct Target<'a> {
    /// Path and query. Empty, and somewhere in the target, if there is no path.
    pub path: &'a [u8],
    /// The host and port that the target itself names.
    pub authority: Option<&'a [u8]>,
    /// Whether it is a URL.
    pub is_absolute: bool,
}

impl<'a> Target<'a> {
    /// Reads the target of a request with `method`.
    ///
    /// # Errors
    /// It is of no form that the method allows, has characters that recipients read in different ways, or is an
    /// `https` URL: a client that sends that over a plain connection takes this for another server (RFC 9110 §7.4).
    pub fn read(method: Method, is_options: bool, target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        if !target.iter().all(|&b| class::is_target(b)) {
            return Err(Refusal::BadTargetCharacter);
        }
        match target {
            [b'/', ..] => Ok(Target { path: target, authority: None, is_absolute: false }),
            _ if method == Method::Connect => Target::authority_form(target),
            b"*" if is_options => Ok(Target { path: &target[..0], authority: None, is_absolute: false }),
            _ => Target::absolute_form(target),
        }
    }

    /// `host:port`; the port is required (RFC 9110 §9.3.6).
    fn authority_form(target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        match Authority::parse(target) {
            Some(Authority { port: Some(1..), .. }) => {
                Ok(Target { path: &target[..0], authority: Some(target), is_absolute: false })
            }
            _ => Err(Refusal::BadTarget),
        }
    }

    /// `http://host[:port]/path`.
    fn absolute_form(target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        let Some(rest) = behind(b"http://", target) else {
            let is_https = behind(b"https://", target).is_some();
            return Err(if is_https { Refusal::Misdirected } else { Refusal::BadTarget });
        };
        let (authority, path) = rest.split_at(authority_len(rest));
        if Authority::parse(authority).is_none() || path.first() == Some(&b'#') {
            return Err(Refusal::BadTarget);
        }
        let path = if path.first() == Some(&b'/') { path } else { &path[..0] };
        Ok(Target { path, authority: Some(authority), is_absolute: true })
    }
}

/// The path of a URL of either scheme, whatever its authority is. `None` if it is no such URL.
pub(super) fn path_of_url(target: &[u8]) -> Option<&[u8]> {
    let rest = behind(b"http://", target).or_else(|| behind(b"https://", target))?;
    Some(&rest[authority_len(rest)..])
}

/// What follows `scheme`, which is compared without regard to case.
pub(super) fn behind<'a>(scheme: &[u8], target: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = target.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn authority_len(rest: &[u8]) -> usize {
    rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len())
}
