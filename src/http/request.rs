//! Request heads (RFC 9112 §3, §5).
use super::authority::Authority;
use super::framing::Declared;
use super::hops::{self, Hops, TooMany};
use super::{Body, Cuts, HEAD_BYTES_MAX, HEADERS_MAX, Parse, Refusal, Span, Version, class, faults};
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
/// One or two empty lines before the request line are skipped (RFC 9112 §2.2); they count in `len` and are cut.
///
/// # Errors
/// Whatever is refused with an answer of its own; see [`Refusal`].
pub fn parse(bytes: &[u8], headers_max: usize) -> Result<Parse<RequestHead>, Refusal> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
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
    for _ in 0..2 {
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
    let registration = fields.registration(version, head);
    let body = fields.body(method, version)?;
    let upgrade = fields.asks_to_switch(method, version) && registration.is_none();
    let authority = target.authority.or(fields.host);
    let keep_alive = !fields.hops.close && (version == Version::Http11 || fields.hops.keep_alive);
    let expect_continue = fields.expect_continue && version == Version::Http11;
    Ok(RequestHead {
        len: head.len() as u16,
        method,
        version,
        path: Span::locate(target.path, head),
        authority: authority.map(|authority| Span::locate(authority, head)),
        body,
        keep_alive,
        upgrade,
        expect_continue,
        registration,
        cuts: fields.cuts(head, skipped, headers, upgrade)?,
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

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" | "TRACE" => Method::OtherSafe,
        "CONNECT" => Method::Connect,
        _ => Method::Unsafe,
    }
}

/// A request target (RFC 9112 §3.2), taken apart.
struct Target<'a> {
    /// Empty, and somewhere in the target, if there is none.
    path: &'a [u8],
    authority: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    fn read(method: Method, is_options: bool, target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        match target {
            [b'/', ..] => Ok(Target { path: target, authority: None }),
            _ if method == Method::Connect => Target::authority_form(target),
            b"*" if is_options => Ok(Target { path: &target[..0], authority: None }),
            _ => Target::absolute_form(target),
        }
    }

    /// `host:port`; the port is required (RFC 9110 §9.3.6).
    fn authority_form(target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        match Authority::parse(target) {
            Some(Authority { port: Some(1..), .. }) => Ok(Target { path: &target[..0], authority: Some(target) }),
            _ => Err(Refusal::BadTarget),
        }
    }

    /// `http://host[:port]/path`.
    fn absolute_form(target: &'a [u8]) -> Result<Target<'a>, Refusal> {
        let rest = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        let rest = rest.ok_or(Refusal::BadTarget)?;
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if Authority::parse(authority).is_none() {
            return Err(Refusal::BadTarget);
        }
        let path = if path.first() == Some(&b'/') { path } else { &path[..0] };
        Ok(Target { path, authority: Some(authority) })
    }
}

/// What the headers say.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    declared: Declared<'a>,
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
    expect_continue: bool,
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
            4 if is("host") => return self.host(value),
            4 if is("alpn") => self.http11_offered |= offers_http11(value),
            6 if is("expect") => self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            7 if is("upgrade") => self.upgrade(index, value),
            10 if is("connection") => return Ok(self.hops.connection(index, value)?),
            13 if is("authorization") => self.authorization = self.authorization.or(Some(value)),
            14 if is("content-length") => return self.declared.length(value),
            16 if is("x-relay-protocol") => self.classic |= class::elements(value).any(|token| token == b"PTTH/1.0"),
            16 if is("x-forwarded-host") => self.hops.mark(index),
            17 if is("transfer-encoding") => return self.declared.coding(value),
            17 if is("x-forwarded-proto") => self.hops.mark(index),
            20 if is("x-relay-strip-prefix") => self.strip_prefix |= value == b"1",
            _ if hops::always(name) => self.hops.mark(index),
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.replace(value).is_some() {
            return Err(Refusal::RepeatedHost);
        }
        Authority::parse(value).map(|_| ()).ok_or(Refusal::BadHost)
    }

    fn upgrade(&mut self, index: usize, value: &[u8]) {
        self.upgrades |= 1 << index;
        for token in class::elements(value) {
            self.switch = true;
            let dialect = match token {
                b"PTTH/1.0" => Some(Dialect::Classic),
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
        if method == Method::Connect && self.declared.is_some() {
            return Err(Refusal::ConnectWithBody);
        }
        if version == Version::Http10 && self.declared.has_coding() {
            return Err(Refusal::EncodingInHttp10);
        }
        self.declared.request_body()
    }

    fn registration(&self, version: Version, head: &[u8]) -> Option<Registration> {
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
            authorization: self.authorization.map(|value| Span::locate(value, head)),
        })
    }

    /// Whether the sender asks for another protocol (RFC 9110 §7.8). CONNECT asks for a tunnel already.
    fn asks_to_switch(&self, method: Method, version: Version) -> bool {
        self.switch && self.hops.upgrade && version == Version::Http11 && method != Method::Connect
    }

    fn cuts(self, head: &[u8], skipped: usize, headers: &[Header<'_>], upgrade: bool) -> Result<Cuts, Refusal> {
        let mut hops = self.hops;
        if !upgrade {
            hops.mark_all(self.upgrades);
        }
        let mut cuts = hops.cuts(head, headers)?;
        let empty_lines = Span { start: 0, end: skipped as u16 };
        if !cuts.add(empty_lines) {
            return Err(Refusal::TooManyHopByHop);
        }
        Ok(cuts)
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
        let same = b"http/1.1".iter().all(|&expected| percent_decoded(&mut rest) == Some(expected));
        same && rest.is_empty()
    })
}

/// Takes one byte, or its percent-encoding in either case, from the start of `rest`.
fn percent_decoded(rest: &mut &[u8]) -> Option<u8> {
    let (b, behind) = match **rest {
        [b'%', high, low, ref behind @ ..] => (hex(high)? << 4 | hex(low)?, behind),
        [b, ref behind @ ..] => (b, behind),
        [] => return None,
    };
    *rest = behind;
    Some(b)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
