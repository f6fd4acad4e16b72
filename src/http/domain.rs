//! Relay domains: where a request names one, and what a name may be.
use super::authority::Authority;
use super::origins::{self, Origins};
use super::{Method, Refusal, RequestHead, Span, class};
use std::fmt;

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

/// Names that no gateway can register, besides the empty one: the original relay's own, the place of registrations by
/// origin, and that of health checks.
const RESERVED: [&[u8]; 3] = [b"relay_domain", WELL_KNOWN, HEALTH];

/// What load balancers and supervisors ask for, as a path of one segment.
const HEALTH: &[u8] = b"healthz";

/// What paths with a meaning of their own begin with (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// Finds the relay domain of a client's request: labels left of one of `hostnames` (lower-case, no port) in the
/// authority, else the first segment of the path. The first segment of a CONNECT may have a port behind it.
///
/// A domain may also be registered by a whole host name; look for [`full_host`] first.
///
/// # Errors
/// No name, a name too long, or a character that no name may have.
pub fn of(bytes: &[u8], head: &RequestHead, hostnames: &[String]) -> Result<Named, Refusal> {
    if let Some(name) = in_host(bytes, head, hostnames) {
        check(name.of(bytes))?;
        return Ok(Named { name, strip: Span::default() });
    }
    let mut name = first_segment(bytes, head.path);
    if head.method == Method::Connect {
        name = without_port(bytes, name);
    }
    if name.is_empty() || name.of(bytes).eq_ignore_ascii_case(WELL_KNOWN) {
        return Err(Refusal::NoDomain);
    }
    check(name.of(bytes))?;
    Ok(Named { name, strip: strip(bytes, head, name) })
}

/// Whether a request is a health check: it asks for `/healthz`, and not at a host name of a device.
pub fn is_health_check(bytes: &[u8], head: &RequestHead, named: &Named) -> bool {
    // The name first: it is nearly always another.
    let asks = |path: &[u8]| path.split(|&b| b == b'?').next().is_some_and(|path| path == b"/healthz");
    named.name.of(bytes).eq_ignore_ascii_case(HEALTH) && asks(head.path.of(bytes))
}

/// Finds the host that a request is for, without its port and trailing dot, in whatever case: the name of the domain of
/// a gateway that registered the host as an origin. `None` also where it is too long for a domain.
pub fn full_host(bytes: &[u8], head: &RequestHead) -> Option<Span> {
    let authority = head.authority?;
    let host = host_of(authority.of(bytes)).filter(|host| host.len() <= DOMAIN_BYTES_MAX)?;
    Some(Span { start: authority.start, end: authority.start + host.len() as u16 })
}

/// Finds the relay domains that a gateway registers: the first segment of the path or, under
/// `/.well-known/ptth/{serialized_origin}/` (draft-kazuho-ptth-ptth), the hosts of the origins there, each as labels
/// left of one of `hostnames` or else as a whole.
///
/// # Errors
/// The empty name, `relay_domain`, `healthz`, `.well-known` and a hostname itself are reserved; bad characters and long names are
/// refused, and so are origins that are none and more than [`ORIGINS_MAX`] of them.
pub fn registered<'a>(bytes: &'a [u8], head: &RequestHead, hostnames: &'a [String]) -> Result<Domains<'a>, Refusal> {
    let name = first_segment(bytes, head.path).of(bytes);
    let inner = match name.eq_ignore_ascii_case(WELL_KNOWN) {
        true => {
            let origins = origins::in_path(&head.path.of(bytes)[1 + name.len()..], hostnames);
            let origins = origins.ok_or(Refusal::ReservedDomain)?;
            if origins.listed() > ORIGINS_MAX {
                return Err(Refusal::TooManyOrigins);
            }
            Inner::Origins(origins)
        }
        false => Inner::Segment(Some(name)),
    };
    let domains = Domains(inner);
    for domain in domains.clone().fallible() {
        check_registered(domain?.as_bytes())?;
    }
    Ok(domains)
}

/// Whether a name can be a relay domain.
pub fn is_domain(name: &[u8]) -> bool {
    check_registered(name).is_ok()
}

/// Most origins that one connection may register.
pub const ORIGINS_MAX: usize = 16;

/// The relay domains of one registration, each once. At least one, at most [`ORIGINS_MAX`].
#[derive(Clone, Debug)]
pub struct Domains<'a>(Inner<'a>);

#[derive(Clone, Debug)]
enum Inner<'a> {
    /// One name, until it is taken.
    Segment(Option<&'a [u8]>),
    Origins(Origins<'a>),
}

impl Domains<'_> {
    /// The same, before anything has been checked.
    fn fallible(mut self) -> impl Iterator<Item = Result<Domain, Refusal>> {
        std::iter::from_fn(move || match &mut self.0 {
            Inner::Segment(name) => name.take().map(Domain::new),
            Inner::Origins(origins) => origins.next(),
        })
    }
}

impl Iterator for Domains<'_> {
    type Item = Domain;

    fn next(&mut self) -> Option<Domain> {
        match &mut self.0 {
            Inner::Segment(name) => Domain::new(name.take()?).ok(),
            Inner::Origins(origins) => origins.next()?.ok(),
        }
    }
}

/// The name of a relay domain, in lower case.
#[derive(Clone, Copy)]
pub struct Domain {
    bytes: [u8; DOMAIN_BYTES_MAX],
    len: u8,
}

impl Domain {
    /// `name` in lower case.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn new(name: &[u8]) -> Result<Domain, Refusal> {
        if name.len() > DOMAIN_BYTES_MAX {
            return Err(Refusal::DomainTooLong);
        }
        let mut bytes = [0; DOMAIN_BYTES_MAX];
        let len = lower(name, &mut bytes).len() as u8;
        Ok(Domain { bytes, len })
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.as_bytes().escape_ascii())
    }
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
    let host = host_of(authority.of(bytes))?;
    let end = authority.start + labels_left(host, hostnames)?.len() as u16;
    Some(Span { start: authority.start, end })
}

/// The host of an authority, without a trailing dot.
fn host_of(authority: &[u8]) -> Option<&[u8]> {
    let host = Authority::parse(authority)?.host;
    Some(host.strip_suffix(b".").unwrap_or(host)).filter(|host| !host.is_empty())
}

/// The labels of `host` left of the longest of `hostnames`. `None` if there are none.
pub(super) fn labels_left<'a>(host: &'a [u8], hostnames: &[String]) -> Option<&'a [u8]> {
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
    (0 < shortest && shortest < host.len()).then_some(&host[..shortest])
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

/// `name` without a port behind it: `/name:22` is what SSH's helpers make of a proxy and a host.
fn without_port(bytes: &[u8], name: Span) -> Span {
    let text = name.of(bytes);
    let colon = memchr::memchr(b':', text).unwrap_or(text.len());
    let has_port = Authority::parse(text).is_some_and(|authority| authority.port.is_some_and(|port| port > 0));
    Span { end: if has_port { name.start + colon as u16 } else { name.end }, ..name }
}

/// What to leave out of the path so that the rest starts with one slash: `/name` of `/name/rest`, `name` of `/name`,
/// `/name/` of `/name//rest`, since `//rest` would be taken for a host. Nothing for a tunnel.
fn strip(bytes: &[u8], head: &RequestHead, name: Span) -> Span {
    let behind = &bytes[usize::from(name.end)..usize::from(head.path.end)];
    let slashes = behind.iter().take_while(|&&b| b == b'/').count() as u16;
    match slashes {
        _ if head.method == Method::Connect => Span::default(),
        0 => name,
        _ => Span { start: name.start - 1, end: name.end + slashes - 1 },
    }
}

/// Where a browser that asks for `/name` must go if the name is stripped, so that relative links lead below it: `/name/`,
/// as a reference relative to what it asked for, with the query. `None` if there is a slash already.
pub fn with_slash(bytes: &[u8], head: &RequestHead, named: &Named) -> Option<String> {
    let safe = matches!(head.method, Method::Get | Method::Head) && head.body.is_done() && !head.upgrade;
    let behind = &bytes[usize::from(named.name.end)..usize::from(head.path.end).max(usize::from(named.name.end))];
    if !safe || named.strip.is_empty() || behind.starts_with(b"/") {
        return None;
    }
    let (name, query) = (std::str::from_utf8(named.name.of(bytes)).ok()?, std::str::from_utf8(behind).ok()?);
    // With the dot a colon in the name makes no scheme of it.
    Some(format!("./{name}/{query}"))
}

fn check_registered(name: &[u8]) -> Result<(), Refusal> {
    match name.is_empty() || RESERVED.contains(&name) {
        true => Err(Refusal::ReservedDomain),
        false => check(name),
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
