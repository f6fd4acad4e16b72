//! Relay domains: where a request names one, and what a name may be.
use super::authority::Authority;
use super::{Method, Refusal, RequestHead, Span, class};

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

/// Names that no gateway can register, besides the empty one (PROTOCOL §1.1).
const RESERVED: &[u8] = b"relay_domain";

/// Finds the relay domain of a client's request: labels left of one of `hostnames` (lower-case, no port) in the
/// authority, else the first segment of the path.
///
/// # Errors
/// No name, a name too long, or a character that no name may have.
pub fn of(bytes: &[u8], head: &RequestHead, hostnames: &[String]) -> Result<Named, Refusal> {
    if let Some(name) = in_host(bytes, head, hostnames) {
        check(name.of(bytes))?;
        return Ok(Named { name, strip: Span::default() });
    }
    let name = first_segment(bytes, head.path);
    if name.is_empty() {
        return Err(Refusal::NoDomain);
    }
    check(name.of(bytes))?;
    Ok(Named { name, strip: strip(bytes, head, name) })
}

/// Finds the relay domain that a gateway registers: always the first segment of the path.
///
/// # Errors
/// The empty name and `relay_domain` are reserved; bad characters and long names are refused.
pub fn registered(bytes: &[u8], head: &RequestHead) -> Result<Span, Refusal> {
    let span = first_segment(bytes, head.path);
    let name = span.of(bytes);
    if name.is_empty() || name.eq_ignore_ascii_case(RESERVED) {
        return Err(Refusal::ReservedDomain);
    }
    check(name)?;
    Ok(span)
}

/// Writes `name` in lower case into `out` and returns what was written. At most [`DOMAIN_BYTES_MAX`] bytes.
///
/// # Panics
/// `name` is longer; names from [`of`] and [`registered`] never are.
pub fn lower<'a>(name: &[u8], out: &'a mut [u8; DOMAIN_BYTES_MAX]) -> &'a [u8] {
    let out = &mut out[..name.len()];
    out.copy_from_slice(name);
    out.make_ascii_lowercase();
    out
}

/// The labels left of the longest of `hostnames` in the authority. `None` if there are none, or if the authority
/// is one of `hostnames` itself.
fn in_host(bytes: &[u8], head: &RequestHead, hostnames: &[String]) -> Option<Span> {
    let authority = head.authority?;
    let host = Authority::parse(authority.of(bytes))?.host;
    let host = host.strip_suffix(b".").unwrap_or(host);
    let mut shortest = host.len();
    for hostname in hostnames {
        let hostname = hostname.as_bytes();
        let Some(left) = host.len().checked_sub(hostname.len()) else {
            continue;
        };
        if !host[left..].eq_ignore_ascii_case(hostname) {
            continue;
        }
        match left.checked_sub(1) {
            None => return None,
            Some(dot) if host[dot] == b'.' => shortest = shortest.min(dot),
            Some(_) => {}
        }
    }
    // An empty name (`.relay.example`) is no name either.
    let end = authority.start + shortest as u16;
    (0 < shortest && shortest < host.len()).then_some(Span { start: authority.start, end })
}

/// The first segment of `path`, without its slash.
fn first_segment(bytes: &[u8], path: Span) -> Span {
    let Some((_, rest)) = path.of(bytes).split_first() else {
        return path;
    };
    let len = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let start = path.start + 1;
    Span { start, end: start + len as u16 }
}

/// What to leave out of the path so that the rest still starts with a slash: `/name` of `/name/rest`, `name` of
/// `/name`. Nothing for a tunnel.
fn strip(bytes: &[u8], head: &RequestHead, name: Span) -> Span {
    let slash_behind = bytes[..usize::from(head.path.end)].get(usize::from(name.end)) == Some(&b'/');
    match slash_behind {
        _ if head.method == Method::Connect => Span::default(),
        true => Span { start: name.start - 1, end: name.end },
        false => name,
    }
}

/// Whether `name` may be a relay domain. Dot segments are not: clients and proxies take them out of paths.
fn check(name: &[u8]) -> Result<(), Refusal> {
    if name.len() > DOMAIN_BYTES_MAX {
        Err(Refusal::DomainTooLong)
    } else if !name.iter().all(|&b| class::is_name(b)) || name == b"." || name == b".." {
        Err(Refusal::BadDomain)
    } else {
        Ok(())
    }
}
