//! A client's request as its gateway gets it: the original bytes, without what that gateway must not see and with what
//! it cannot know.
//!
//! A classic gateway gets the client's head nearly verbatim. Empty lines in front are left out; a URL as the target
//! becomes a path, since devices expect one, and `Host` then says what the URL said (RFC 9112 §3.2.2). A `ptth` gateway
//! gets, besides that, a head without hop-by-hop fields, and with one clean set of claims about the hops before it.
use super::canned::CLASSIC_101;
use super::domain::Named;
use super::request::Dialect;
use super::{Body, Cuts, Parts, Refusal, RequestHead, Span, Version, lines};
use std::io::Write;
use std::net::IpAddr;

/// Longest body by length that a classic gateway is sent, in bytes: devices count in signed 32 bits.
pub const CLASSIC_LENGTH_MAX: u64 = i32::MAX as u64;

/// What the gateway that a request goes to asked for.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    /// How it speaks.
    pub dialect: Dialect,
    /// Whether it wants paths without the relay domain.
    pub strip_prefix: bool,
    /// Whether a classic gateway is still to be told that a client came.
    pub announce: bool,
    /// Whether it does not get the `Authorization`, which was the relay's.
    pub hide_authorization: bool,
}

/// What a field says about the hops before this one. Only those whom the relay trusts are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// `X-Forwarded-For`.
    For,
    /// `X-Forwarded-Proto`.
    Proto,
    /// `X-Forwarded-Host`.
    Host,
    /// `X-Forwarded-Prefix`.
    Prefix,
    /// `X-Forwarded-Port`, `Forwarded`: passed or not, and never made up.
    Other,
}

impl Claim {
    /// Which claim the field of this name is, if any.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Claim> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            9 if is("forwarded") => Some(Claim::Other),
            15 if is("x-forwarded-for") => Some(Claim::For),
            16 if is("x-forwarded-host") => Some(Claim::Host),
            16 if is("x-forwarded-port") => Some(Claim::Other),
            17 if is("x-forwarded-proto") => Some(Claim::Proto),
            18 if is("x-forwarded-prefix") => Some(Claim::Prefix),
            _ => None,
        }
    }
}

/// The fields that say who asks, written out: they are sent from here.
pub struct Added {
    /// `X-Forwarded-For` and its line end, then `X-Forwarded-Proto`: an address of at most 45 bytes, and 45 of names.
    bytes: [u8; 96],
    /// Where the second line starts.
    proto: u8,
    len: u8,
    /// Whether what the peer claims is believed.
    trusted: bool,
}

impl Added {
    const FOR: &[u8] = b"X-Forwarded-For: ";

    /// For a request from `peer`, whose own claims are believed if it is `trusted`; `secure` if it came by TLS.
    pub fn new(peer: IpAddr, trusted: bool, secure: bool) -> Added {
        let mut added = Added { bytes: [0; 96], proto: 0, len: 0, trusted };
        added.push(Added::FOR);
        match peer.to_canonical() {
            // Most are; and formatting them by hand is a twentieth of what the relay itself adds to a request.
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                for (octet, end) in [(a, b"."), (b, b"."), (c, b"."), (d, b"\r")] {
                    added.push_octet(octet);
                    added.push(end);
                }
                added.push(b"\n");
            }
            IpAddr::V6(v6) => {
                let mut rest = &mut added.bytes[usize::from(added.len)..];
                let room = rest.len();
                // An address has at most 45 bytes, so this cannot fail.
                let _ = write!(rest, "{v6}\r\n");
                let written = room - rest.len();
                added.len += written as u8;
            }
        }
        added.proto = added.len;
        added.push(if secure { b"X-Forwarded-Proto: https\r\n" } else { b"X-Forwarded-Proto: http\r\n" });
        added
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn push_octet(&mut self, octet: u8) {
        if octet >= 100 {
            self.push(&[b'0' + octet / 100]);
        }
        if octet >= 10 {
            self.push(&[b'0' + octet / 10 % 10]);
        }
        self.push(&[b'0' + octet % 10]);
    }

    /// Both lines.
    fn both(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The peer's address and its line end.
    fn address(&self) -> &[u8] {
        &self.bytes[Added::FOR.len()..usize::from(self.proto)]
    }

    /// The `X-Forwarded-Proto` line.
    fn proto(&self) -> &[u8] {
        &self.bytes[usize::from(self.proto)..usize::from(self.len)]
    }
}

/// Whether a gateway of `dialect` can count this request's body.
///
/// # Errors
/// It is longer than [`CLASSIC_LENGTH_MAX`], and the gateway is classic.
pub fn check_length(head: &RequestHead, dialect: Dialect) -> Result<(), Refusal> {
    match (dialect, head.body) {
        (Dialect::Classic, Body::Length(length)) if length > CLASSIC_LENGTH_MAX => Err(Refusal::LengthForClassic),
        _ => Ok(()),
    }
}

/// Appends to `parts` what `gateway` gets for the request whose head begins `bytes`.
pub fn request<'a>(
    bytes: &'a [u8],
    head: &RequestHead,
    named: &Named,
    gateway: &Gateway,
    added: &'a Added,
    parts: &mut Parts<'a>,
) {
    let bytes = &bytes[..usize::from(head.len)];
    let strip = if gateway.strip_prefix { named.strip } else { Span::default() };
    match gateway.dialect {
        Dialect::Classic => {
            if gateway.announce {
                parts.push(CLASSIC_101);
            }
            let mut cuts = Cuts::default();
            if head.host_differs || head.relay_credentials || gateway.hide_authorization {
                let is = |name: &[u8], other: &str| name.eq_ignore_ascii_case(other.as_bytes());
                cuts = cuts.and_lines(bytes, |name| {
                    (head.host_differs && is(name, "host"))
                        || is(name, "x-relay-authorization")
                        || (gateway.hide_authorization && is(name, "authorization"))
                });
            }
            push_head(bytes, head, strip, bytes.len(), &cuts, parts);
        }
        Dialect::Ptth => {
            let cuts = match gateway.hide_authorization {
                false => head.cuts,
                true => head.cuts.and_lines(bytes, |name| name.eq_ignore_ascii_case(b"authorization")),
            };
            push_head(bytes, head, strip, bytes.len() - 2, &cuts, parts);
            // What was stripped, for applications that write links.
            let prefix = if strip.is_empty() { Span::default() } else { named.name };
            match added.trusted && head.claims {
                true => push_believed(bytes, head, added, prefix, parts),
                false => {
                    parts.push(added.both());
                    push_host(bytes, head, parts);
                    push_prefix(bytes, b"", prefix, parts);
                }
            }
            if head.upgrade {
                parts.push(b"Connection: upgrade\r\n");
            } else if head.version == Version::Http10 {
                // Or the gateway would close its connection behind the response.
                parts.push(b"Connection: keep-alive\r\n");
            }
            parts.push(b"\r\n");
        }
    }
}

/// The first `len` bytes of a head without `strip` and `cuts`, its target in origin form.
fn push_head<'a>(bytes: &'a [u8], head: &RequestHead, strip: Span, len: usize, cuts: &Cuts, parts: &mut Parts<'a>) {
    let start = match head.is_absolute {
        true => push_origin_form(bytes, head, strip, parts),
        false => {
            let start = usize::from(head.start);
            if strip.is_empty() {
                start
            } else {
                parts.push(&bytes[start..usize::from(strip.start)]);
                usize::from(strip.end)
            }
        }
    };
    parts.push_head(bytes, start, len, cuts);
}

/// The request line of a head whose target is a URL, with the path and query of that alone, and the `Host` that the URL
/// demands. Returns where the rest of the head starts.
#[cold]
fn push_origin_form<'a>(bytes: &'a [u8], head: &RequestHead, strip: Span, parts: &mut Parts<'a>) -> usize {
    let start = usize::from(head.start);
    let authority = head.authority.unwrap_or_default();
    let behind = usize::from(authority.end);
    let method = memchr::memchr(b' ', &bytes[start..]).map_or(behind, |space| start + space + 1);
    let line_end = memchr::memchr(b'\n', &bytes[behind..]).map_or(bytes.len(), |lf| behind + lf + 1);
    parts.push(&bytes[start..method]);
    match &bytes[behind..] {
        [b'/', ..] => {}
        // RFC 9112 §3.2.4: the last proxy on the way writes it so.
        [b' ', ..] if bytes[start..].starts_with(b"OPTIONS ") => parts.push(b"*"),
        _ => parts.push(b"/"),
    }
    let end = if strip.is_empty() { behind } else { usize::from(strip.start) };
    parts.push(&bytes[behind..end]);
    parts.push(&bytes[end.max(usize::from(strip.end))..line_end]);
    if head.host_differs {
        parts.push(b"Host: ");
        parts.push(authority.of(bytes));
        parts.push(b"\r\n");
    }
    line_end
}

/// The host that was asked for, as far as there is one.
fn push_host<'a>(bytes: &'a [u8], head: &RequestHead, parts: &mut Parts<'a>) {
    if let Some(authority) = head.authority {
        parts.push(b"X-Forwarded-Host: ");
        parts.push(authority.of(bytes));
        parts.push(b"\r\n");
    }
}

/// The path that was stripped, behind the one that a proxy in front has stripped.
fn push_prefix<'a>(bytes: &'a [u8], outer: &'a [u8], prefix: Span, parts: &mut Parts<'a>) {
    if !prefix.is_empty() {
        parts.push(b"X-Forwarded-Prefix: ");
        parts.push(outer.strip_suffix(b"/").unwrap_or(outer));
        parts.push(b"/");
        parts.push(prefix.of(bytes));
        parts.push(b"\r\n");
    }
}

/// The claims of a trusted peer as they stand, its own address behind those that it forwards for, and what it has left
/// for us to say.
fn push_believed<'a>(bytes: &'a [u8], head: &RequestHead, added: &'a Added, prefix: Span, parts: &mut Parts<'a>) {
    let claims = || lines::of(bytes).filter_map(|line| Some((Claim::of(line.name())?, line)));
    let (mut has_proto, mut has_host) = (false, false);
    let mut outer: &[u8] = b"";
    parts.push(Added::FOR);
    // One line, whatever came: recipients that look at the first or at the last of several would see half of it.
    for (_, line) in claims().filter(|&(claim, line)| claim == Claim::For && !line.value().is_empty()) {
        parts.push(line.value());
        parts.push(b", ");
    }
    parts.push(added.address());
    for (claim, line) in claims().filter(|&(claim, _)| claim != Claim::For) {
        if claim == Claim::Prefix && !prefix.is_empty() {
            outer = line.value();
            continue;
        }
        has_proto |= claim == Claim::Proto;
        has_host |= claim == Claim::Host;
        parts.push(line.bytes);
    }
    if !has_proto {
        parts.push(added.proto());
    }
    if !has_host {
        push_host(bytes, head, parts);
    }
    push_prefix(bytes, outer, prefix, parts);
}
