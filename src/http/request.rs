//! Request heads (RFC 9112 §3, §5).
use super::authority::Authority;
use super::framing::Declared;
use super::hops::{self, Hops, TooMany};
use super::target::Target;
use super::{Body, Cuts, HEAD_BYTES_MAX, HEADERS_MAX, Parse, Refusal, Registration, Span, Version, class, faults};
use super::{forward, registration};
use httparse::{Header, Status};
use std::mem::MaybeUninit;

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

/// A request head, as far as a relay looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, blank line included.
    pub len: u16,
    /// Bytes of empty lines in front of the request line. They are part of `len`, and no gateway gets them.
    pub start: u8,
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    /// Path and query as they stand, from the `/` on; empty for `CONNECT host:port`, `OPTIONS *` and absolute
    /// forms without a path.
    pub path: Span,
    /// The authority that counts: that of an absolute or authority form, else the value of `Host`. `None` also where
    /// `Host` is empty.
    pub authority: Option<Span>,
    /// Whether the target is a URL. Gateways get its path and query alone.
    pub is_absolute: bool,
    /// Whether `Host` says something else than the URL, or nothing. Gateways get what the URL says (RFC 9112 §3.2.2).
    pub host_differs: bool,
    /// Framing of what follows.
    pub body: Body,
    /// Whether the client wants its connection kept (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether it asks to switch protocols: `Connection: upgrade` with an `Upgrade` other than a registration.
    pub upgrade: bool,
    /// Whether there is such an `Upgrade` without `Connection: upgrade`. By the rules that asks for nothing, but some
    /// devices answer 101 to it.
    pub upgrade_unlisted: bool,
    /// `Expect: 100-continue`.
    pub expect_continue: bool,
    /// With what the sender authenticates itself: the value of `X-Relay-Authorization`, which is for the relay alone, or
    /// else that of `Authorization`.
    pub credentials: Option<Span>,
    /// Whether there is an `X-Relay-Authorization`. No gateway gets it.
    pub relay_credentials: bool,
    /// Present when the sender is a gateway.
    pub registration: Option<Registration>,
    /// What `ptth` gateways do not get to see: hop-by-hop headers, a `Host` that differs, and the client's claims about
    /// hops before this one.
    pub cuts: Cuts,
    /// Whether there are such claims: `Forwarded` (RFC 7239), `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` or
    /// `-Prefix`. See [`forward`].
    pub claims: bool,
}

impl RequestHead {
    /// The method in `bytes`, which begin with the head.
    pub fn method_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let line = &bytes[usize::from(self.start)..];
        &line[..memchr::memchr(b' ', line).unwrap_or(line.len())]
    }

    /// Whether a 101 from a gateway of `dialect` is an answer to this request, and not one that nobody asked for.
    /// `ptth` gateways do not get to see an `Upgrade` that `Connection` does not list.
    pub fn may_switch(&self, dialect: Dialect) -> bool {
        self.upgrade || (dialect == Dialect::Classic && self.upgrade_unlisted)
    }
}

// It is passed by value from the parser to the sender of the head.
const _: () = assert!(size_of::<RequestHead>() <= 136);

/// Most empty lines in front of a request line. One is what old clients send behind a body (RFC 9112 §2.2); a few do no
/// harm.
pub(super) const EMPTY_LINES_MAX: usize = 8;

/// Parses the head at the start of `bytes`; `headers_max` bounds the number of header fields (at most 128).
///
/// A few empty lines before the request line are skipped (RFC 9112 §2.2). A head that breaks the rules is read again
/// if it may be a classic gateway's registration: nothing of that is passed on, so nothing of it can be misread.
///
/// # Errors
/// Whatever is refused with an answer of its own; see [`Refusal`].
pub fn parse(bytes: &[u8], headers_max: usize) -> Result<Parse<RequestHead>, Refusal> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    parse_strictly(bytes, headers_max).or_else(|refusal| registration::parse_sloppy(bytes, headers_max, refusal))
}

fn parse_strictly(bytes: &[u8], headers_max: usize) -> Result<Parse<RequestHead>, Refusal> {
    let Some(skipped) = empty_lines(bytes)? else {
        return Ok(Parse::Partial);
    };
    let message = &bytes[skipped..];
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let room = &mut room[..headers_max.min(HEADERS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(message, room) {
        Ok(Status::Complete(len)) => read(&bytes[..skipped + len], skipped, &request).map(Parse::Complete),
        Ok(Status::Partial) if bytes.len() == HEAD_BYTES_MAX => Err(Refusal::HeadTooLarge),
        Ok(Status::Partial) => Ok(Parse::Partial),
        Err(error) => Err(faults::in_request(error, message)),
    }
}

/// Length of the empty lines before a request line. `None` when it cannot be told yet.
fn empty_lines(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut at = 0;
    for _ in 0..EMPTY_LINES_MAX {
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(Refusal::BareCr),
            [b'\n', ..] => return Err(Refusal::BareLf),
            _ => return Ok(Some(at)),
        }
    }
    match bytes.get(at) {
        None => Ok(None),
        Some(b'\r' | b'\n') => Err(Refusal::BadRequestLine),
        Some(_) => Ok(Some(at)),
    }
}

/// Reads a complete `head` whose request line starts at `skipped`.
fn read(head: &[u8], skipped: usize, request: &httparse::Request<'_, '_>) -> Result<RequestHead, Refusal> {
    let headers: &[Header<'_>] = request.headers;
    refuse_bare_lf(head, headers)?;
    let method = method(request.method.unwrap_or_default());
    let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let fields = Fields::read(headers)?;
    fields.check_host(version)?;
    let target = Target::read(method, request.method == Some("OPTIONS"), request.path.unwrap_or_default().as_bytes())?;
    let body = fields.body(method, version)?;
    let registration = fields.registration(version, body);
    let asks_to_switch = fields.asks_to_switch(method, version) && registration.is_none();
    let upgrade = asks_to_switch && fields.hops.upgrade;
    let authority = target.authority.or(fields.host).filter(|authority| !authority.is_empty());
    let host_differs = target.is_absolute && fields.host != authority;
    let claims = fields.claims;
    let relay_credentials = fields.relay_authorization.is_some();
    let credentials = fields.relay_authorization.or(fields.authorization).map(|value| Span::locate(value, head));
    let keep_alive = !fields.hops.close && (version == Version::Http11 || fields.hops.keep_alive);
    let expect_continue = fields.expect_continue && version == Version::Http11;
    Ok(RequestHead {
        len: head.len() as u16,
        start: skipped as u8,
        method,
        version,
        path: Span::locate(target.path, head),
        authority: authority.map(|authority| Span::locate(authority, head)),
        is_absolute: target.is_absolute,
        host_differs,
        body,
        keep_alive,
        upgrade,
        upgrade_unlisted: asks_to_switch && !upgrade,
        expect_continue,
        credentials,
        relay_credentials,
        registration,
        cuts: fields.cuts(head, headers, upgrade, host_differs),
        claims,
    })
}

/// Whether each line ends in CRLF. The parser has seen to it that each ends in LF, or CRLF, and that there is no
/// other CR, so one byte a line tells.
fn refuse_bare_lf(head: &[u8], headers: &[Header<'_>]) -> Result<(), Refusal> {
    let crlf_before = |line: usize| head[line - 2] == b'\r';
    let lines = headers.iter().map(|header| usize::from(Span::locate(header.name.as_bytes(), head).start));
    // The blank line is there, so the head ends in two line ends.
    match lines.chain([head.len(), head.len() - 2]).all(crlf_before) {
        true => Ok(()),
        false => Err(Refusal::BareLf),
    }
}

pub(super) fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" | "TRACE" => Method::OtherSafe,
        "CONNECT" => Method::Connect,
        _ => Method::Unsafe,
    }
}

/// What the headers say.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    /// The line of `Host`, as a bit.
    host_line: u128,
    length: Option<u64>,
    declared: Declared,
    hops: Hops<'a>,
    /// `Upgrade` header lines, one bit each.
    upgrades: u128,
    /// Whether `Upgrade` names anything at all.
    switch: bool,
    /// The dialect that `Upgrade` names first.
    dialect: Option<Dialect>,
    /// `PTTH/1.0` in `Upgrade` or in `X-Relay-Protocol`.
    classic: bool,
    http11_offered: bool,
    strip_prefix: bool,
    authorization: Option<&'a [u8]>,
    /// The first `X-Relay-Authorization`.
    relay_authorization: Option<&'a [u8]>,
    expect_continue: bool,
    /// Whether there is any claim about hops before this one.
    claims: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &[Header<'a>]) -> Result<Fields<'a>, Refusal> {
        let mut fields = Fields::default();
        for (index, header) in headers.iter().enumerate() {
            fields.header(index, header.name.as_bytes(), header.value)?;
        }
        Ok(fields)
    }

    /// Reads one header. Lengths first: they tell most names apart without looking at them.
    #[inline]
    fn header(&mut self, index: usize, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("host") => return self.host(index, value),
            4 if is("alpn") => self.http11_offered |= offers_http11(value),
            6 if is("expect") => self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            7 if is("upgrade") => self.upgrade(index, value),
            10 if is("connection") => return Ok(self.hops.connection(index, value)?),
            13 if is("authorization") => self.authorization = self.authorization.or(Some(value)),
            14 if is("content-length") => return self.length(value),
            16 if is("x-relay-protocol") => self.classic |= registration::names_classic(value),
            17 if is("transfer-encoding") => return self.declared.coding(value),
            20 if is("x-relay-strip-prefix") => self.strip_prefix |= value == b"1",
            21 if is("x-relay-authorization") => {
                self.hops.mark(index);
                self.relay_authorization = self.relay_authorization.or(Some(value));
            }
            _ if hops::always(name) => self.hops.mark(index),
            _ if forward::Claim::of(name).is_some() => {
                self.hops.mark(index);
                self.claims = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// An empty one is what a client sends that knows no host (RFC 9110 §7.2).
    fn host(&mut self, index: usize, value: &'a [u8]) -> Result<(), Refusal> {
        self.host_line = 1 << index;
        if self.host.replace(value).is_some() {
            return Err(Refusal::RepeatedHost);
        }
        match value.is_empty() || Authority::parse(value).is_some() {
            true => Ok(()),
            false => Err(Refusal::BadHost),
        }
    }

    /// One length in the form that all recipients read alike: RFC 9110 §8.6 would let us tidy a repeated one up, but
    /// classic gateways get what the client sent.
    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let mut first = self.length;
        for digits in class::raw_elements(value) {
            let length = decimal(digits).ok_or(Refusal::BadLength)?;
            match first.replace(length) {
                None => {}
                Some(before) if before == length => return Err(Refusal::RepeatedLength),
                Some(_) => return Err(Refusal::DifferingLengths),
            }
        }
        self.length = first;
        Ok(())
    }

    fn upgrade(&mut self, index: usize, value: &[u8]) {
        self.upgrades |= 1 << index;
        for token in class::elements(value) {
            self.switch = true;
            let dialect = match token {
                _ if registration::names_classic(token) => Some(Dialect::Classic),
                _ if token.eq_ignore_ascii_case(b"ptth") => Some(Dialect::Ptth),
                _ => None,
            };
            self.dialect = self.dialect.or(dialect);
            self.classic |= dialect == Some(Dialect::Classic);
        }
    }

    fn check_host(&self, version: Version) -> Result<(), Refusal> {
        match self.host {
            None if version == Version::Http11 => Err(Refusal::MissingHost),
            _ => Ok(()),
        }
    }

    fn body(&self, method: Method, version: Version) -> Result<Body, Refusal> {
        let has_coding = self.declared.has_coding();
        match self.length {
            // The tunnel clients of the original relay send a length of zero.
            _ if method == Method::Connect && (has_coding || self.length.unwrap_or(0) > 0) => {
                Err(Refusal::ConnectWithBody)
            }
            _ if has_coding && version == Version::Http10 => Err(Refusal::EncodingInHttp10),
            Some(_) if has_coding => Err(Refusal::LengthAndEncoding),
            Some(length) => Ok(Body::Length(length)),
            None => self.declared.request_body(),
        }
    }

    fn registration(&self, version: Version, body: Body) -> Option<Registration> {
        let dialect = match self.dialect {
            // HTTP/1.0 knows no Upgrade (RFC 9110 §7.8). The classic dialect never cared, so neither do we there.
            Some(Dialect::Ptth) if version == Version::Http10 => self.classic.then_some(Dialect::Classic),
            None => self.classic.then_some(Dialect::Classic),
            dialect => dialect,
        }?;
        Some(Registration {
            dialect,
            http11_offered: dialect == Dialect::Classic || self.http11_offered,
            strip_prefix: self.strip_prefix,
            body: if let Body::Length(length) = body { length } else { 0 },
        })
    }

    /// Whether the sender names another protocol where that may mean something (RFC 9110 §7.8). CONNECT asks for a
    /// tunnel already.
    fn asks_to_switch(&self, method: Method, version: Version) -> bool {
        self.switch && version == Version::Http11 && method != Method::Connect
    }

    fn cuts(self, head: &[u8], headers: &[Header<'_>], upgrade: bool, host_differs: bool) -> Cuts {
        let mut hops = self.hops;
        if !upgrade {
            hops.mark_all(self.upgrades);
        }
        if host_differs {
            hops.mark_all(self.host_line);
        }
        hops.cuts(head, headers)
    }
}

impl From<TooMany> for Refusal {
    fn from(TooMany: TooMany) -> Refusal {
        Refusal::TooManyHopByHop
    }
}

/// Whether an `ALPN` header lists `http/1.1`, percent-encoded as RFC 7639 §2.2 has it or not.
fn offers_http11(value: &[u8]) -> bool {
    class::elements(value).any(|id| {
        let mut rest = id;
        let same = b"http/1.1".iter().all(|&expected| class::percent_decoded(&mut rest) == Some(expected));
        same && rest.is_empty()
    })
}

/// A length as everybody reads it: digits without leading zeros, at most 2^63 - 1.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 1 && digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    digits.parse::<i64>().ok().map(i64::unsigned_abs)
}
