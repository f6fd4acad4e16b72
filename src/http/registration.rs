//! Registrations: requests that make their connection a gateway's.
//!
//! A classic gateway's is read even where it breaks the rules of HTTP, because the relay that existing devices were
//! made for never minded, and because nothing of it is passed on: no one can read it differently.
//! A request that is not one keeps the refusal that it got from the rules.
use super::request::{self, Dialect, RequestHead};
use super::{Body, Cuts, HEAD_BYTES_MAX, Parse, Refusal, Span, Version, class, target};

/// A request that makes its connection a gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which dialect it asked for.
    pub dialect: Dialect,
    /// Whether an `ALPN` header offers `http/1.1` (RFC 7639; `Ptth` only, true for `Classic`).
    pub http11_offered: bool,
    /// `X-Relay-Strip-Prefix: 1`: the gateway wants paths without the relay domain.
    pub strip_prefix: bool,
    /// Bytes of a body by `Content-Length` behind the head, which mean nothing and are to be skipped. 0 for a chunked
    /// one, of which [`RequestHead::body`] knows.
    pub body: u64,
}

/// Whether the value of an `Upgrade` or `X-Relay-Protocol` names the classic dialect, in exactly its letters. Spaces
/// between tokens count as commas do.
pub(super) fn names_classic(value: &[u8]) -> bool {
    tokens(value).any(|token| token == b"PTTH/1.0")
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| matches!(b, b',' | b' ' | b'\t'))
}

/// What a sloppy reading found.
enum Found {
    /// A classic registration.
    Registration(RequestHead),
    /// Something else, or nothing that anybody reads.
    Nothing,
    /// It has not ended, and may yet be a registration.
    Partial,
}

/// Reads the head at the start of `bytes`, which was refused by the rules, once more without them.
///
/// # Errors
/// The same `refusal`, unless this is a classic registration, or the beginning of what may be one.
#[cold]
pub(super) fn parse_sloppy(bytes: &[u8], headers_max: usize, refusal: Refusal) -> Result<Parse<RequestHead>, Refusal> {
    if matches!(refusal, Refusal::HeadTooLarge | Refusal::TooManyHeaders | Refusal::TooManyHopByHop) {
        return Err(refusal);
    }
    match read(bytes, headers_max) {
        Found::Registration(head) => Ok(Parse::Complete(head)),
        Found::Partial if bytes.len() < HEAD_BYTES_MAX => Ok(Parse::Partial),
        Found::Partial | Found::Nothing => Err(refusal),
    }
}

fn read(bytes: &[u8], headers_max: usize) -> Found {
    let mut lines = Lines { bytes, at: 0 };
    for _ in 0..request::EMPTY_LINES_MAX {
        match lines.bytes[lines.at..] {
            // An empty line whose LF has not arrived.
            [b'\r'] => return Found::Partial,
            [b'\n', ..] | [b'\r', b'\n', ..] => lines.next(),
            _ => break,
        };
    }
    let start = lines.at;
    let first = match lines.next() {
        Some(Ok(line)) => RequestLine::read(line),
        Some(Err(so_far)) if RequestLine::may_begin_with(so_far) => return Found::Partial,
        None => return Found::Partial,
        Some(Err(_)) => None,
    };
    let Some(first) = first else { return Found::Nothing };
    let mut fields = Fields::default();
    for _ in 0..=headers_max {
        match lines.next() {
            Some(Ok(b"")) => return fields.registration(&first, &bytes[..lines.at], start),
            Some(Ok(line)) if fields.line(line).is_some() => {}
            Some(Err(so_far)) if so_far.iter().all(|&b| class::is_value(b)) => return Found::Partial,
            None => return Found::Partial,
            Some(_) => return Found::Nothing,
        }
    }
    Found::Nothing
}

/// Lines that end in LF or CRLF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    /// A line without its end; or what there is of one that has none yet.
    type Item = Result<&'a [u8], &'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let lf = memchr::memchr(b'\n', rest);
        let line = &rest[..lf.unwrap_or(rest.len())];
        self.at += lf.map_or(rest.len(), |lf| lf + 1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(if lf.is_some() { Ok(line) } else { Err(line) })
    }
}

/// Method, target and perhaps a version, with any whitespace between them.
struct RequestLine<'a> {
    method: &'a str,
    path: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    fn read(line: &'a [u8]) -> Option<RequestLine<'a>> {
        if !RequestLine::may_begin_with(line) {
            return None;
        }
        let mut words = words(line);
        let method = std::str::from_utf8(words.next()?).ok()?;
        let path = match words.next()? {
            path @ [b'/', ..] => path,
            url => target::path_of_url(url)?,
        };
        let version = match words.next() {
            None | Some(b"HTTP/1.0") => Version::Http10,
            Some(word) if word.starts_with(b"HTTP/1.") => Version::Http11,
            Some(_) => return None,
        };
        words.next().is_none().then_some(RequestLine { method, path, version })
    }

    /// Whether this may be the start of a request line, or all of one.
    fn may_begin_with(so_far: &[u8]) -> bool {
        let mut words = words(so_far);
        // Leading whitespace of either kind: read alone it is no method, so it is none in front of one.
        let is_method = !so_far.starts_with(b" ")
            && !so_far.starts_with(b"\t")
            && words.next().is_some_and(|method| method.iter().all(|&b| class::is_token(b)));
        let is_target = |target: &[u8]| {
            let urls = [&b"http://"[..], b"https://"];
            target.starts_with(b"/")
                || urls.iter().any(|url| {
                    let len = url.len().min(target.len());
                    target[..len].eq_ignore_ascii_case(&url[..len])
                })
        };
        let is_version = |version: &[u8]| {
            let len = version.len().min(b"HTTP/1.".len());
            version[..len] == b"HTTP/1."[..len]
        };
        is_method
            && so_far.iter().all(|&b| class::is_value(b))
            && words.next().is_none_or(is_target)
            && words.next().is_none_or(is_version)
            && words.next().is_none()
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// The fields that mean something in a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Protocol,
    Length,
    Coding,
    Strip,
    Authorization,
    Other,
}

/// What the header lines say.
#[derive(Default)]
struct Fields<'a> {
    /// The field that a folded line belongs to.
    current: Option<Field>,
    classic: bool,
    /// The other dialect, which is not read in this way.
    ptth: bool,
    length: Option<u64>,
    strip_prefix: bool,
    authorization: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Reads one line. `None` when not even a careless reader would take it for a header.
    fn line(&mut self, line: &'a [u8]) -> Option<()> {
        if !line.iter().all(|&b| class::is_value(b)) {
            return None;
        }
        if matches!(line, [b' ' | b'\t', ..]) {
            return self.folded(line.trim_ascii());
        }
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|&b| class::is_token(b)) {
            return None;
        }
        let field = field(name);
        self.current = Some(field);
        match field {
            Field::Protocol => self.protocol(value),
            Field::Length => self.length(value)?,
            // Where such a body ends depends on rules that the head does not keep.
            Field::Coding => return None,
            Field::Strip => self.strip_prefix |= value == b"1",
            Field::Authorization => self.authorization = self.authorization.or(Some(value)),
            Field::Other => {}
        }
        Some(())
    }

    fn folded(&mut self, value: &[u8]) -> Option<()> {
        match self.current? {
            Field::Protocol => self.protocol(value),
            // A length in pieces has no meaning.
            Field::Length if !value.is_empty() => return None,
            _ => {}
        }
        Some(())
    }

    fn protocol(&mut self, value: &[u8]) {
        self.classic |= names_classic(value);
        self.ptth |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"ptth"));
    }

    fn length(&mut self, value: &[u8]) -> Option<()> {
        let length = request::decimal(value)?;
        (self.length.replace(length).unwrap_or(length) == length).then_some(())
    }

    fn registration(&self, first: &RequestLine<'_>, head: &[u8], start: usize) -> Found {
        if !self.classic || self.ptth {
            return Found::Nothing;
        }
        let body = self.length.unwrap_or(0);
        let registration =
            Registration { dialect: Dialect::Classic, http11_offered: true, strip_prefix: self.strip_prefix, body };
        Found::Registration(RequestHead {
            len: head.len() as u16,
            start: start as u8,
            method: request::method(first.method),
            version: first.version,
            path: Span::locate(first.path, head),
            authority: None,
            is_absolute: false,
            host_differs: false,
            body: Body::Length(body),
            keep_alive: true,
            upgrade: false,
            upgrade_unlisted: false,
            expect_continue: false,
            credentials: self.authorization.map(|value| Span::locate(value, head)),
            relay_credentials: false,
            registration: Some(registration),
            cuts: Cuts::default(),
            claims: false,
        })
    }
}

fn field(name: &[u8]) -> Field {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        7 if is("upgrade") => Field::Protocol,
        13 if is("authorization") => Field::Authorization,
        21 if is("x-relay-authorization") => Field::Authorization,
        14 if is("content-length") => Field::Length,
        16 if is("x-relay-protocol") => Field::Protocol,
        17 if is("transfer-encoding") => Field::Coding,
        20 if is("x-relay-strip-prefix") => Field::Strip,
        _ => Field::Other,
    }
}
