//! Response heads (RFC 9112 §4, §6.3).
use super::framing::decimal;
use super::hops::{self, Hops, TooMany};
use super::{Body, Cuts, HEAD_BYTES_MAX, HEADERS_MAX, Method, Parse, Refusal, Span, Version, class, faults};
use httparse::{Error, Header, Status};
use std::mem::MaybeUninit;

/// Most headers of a response. Applications set more of them than clients do, cookies above all.
pub const RESPONSE_HEADERS_MAX: usize = 512;

/// A response head, as far as a relay looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, blank line included.
    pub len: u16,
    /// Its status, 100 to 599.
    pub status: u16,
    /// Its version.
    pub version: Version,
    /// Framing of what follows, given the request's method (RFC 9112 §6.3). 101 and a 2xx to CONNECT: `UntilClose`.
    pub body: Body,
    /// Whether the gateway keeps its connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the head declares its body's end (length or chunked, or has no body by rule).
    pub self_delimited: bool,
    /// Whether it says `Connection: close`.
    pub close: bool,
    /// Whether it says `Transfer-Encoding: chunked`, also where it has no body.
    pub chunked: bool,
    /// Whether it cannot go on as it is, but for the cuts, and is to be written anew: it has line ends without CR, no
    /// space behind the status, its length in more than one way, framing that its status does not allow, or more
    /// headers than cuts can count.
    pub rewrite: bool,
    /// Hop-by-hop headers, left out on the way from a `ptth` gateway to the client. Not of use with `rewrite`.
    pub cuts: Cuts,
}

/// Why bytes from a gateway could not be taken as a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAResponse {
    /// They do not begin like HTTP/1 at all (`HTTP/1.`).
    NotHttp,
    /// They begin like HTTP but break its rules; names what is wrong.
    Bad(&'static str),
}

/// What is wrong with a head that is longer than any may be.
const TOO_LONG: &str = "the head is too long";

impl NotAResponse {
    /// The head for which a limit was exceeded: of its length, or of its number of fields.
    pub fn is_too_long(&self) -> bool {
        matches!(self, NotAResponse::Bad(wrong) if *wrong == TOO_LONG || *wrong == Refusal::TooManyHeaders.wrong())
    }

    /// A head that is longer than any may be.
    pub(super) fn too_long() -> NotAResponse {
        NotAResponse::Bad(TOO_LONG)
    }
}

/// Parses the head at the start of `bytes`, the answer to a request with `method`. `headers_max` bounds the number of
/// header fields (at most [`RESPONSE_HEADERS_MAX`]).
///
/// Bare LF as a line end, a missing reason phrase and a length that is repeated are tolerated, because device sketches
/// are like that; such a head is to be written anew.
///
/// # Errors
/// [`NotAResponse`], as soon as the first bytes show it.
pub fn parse(bytes: &[u8], method: Method, headers_max: usize) -> Result<Parse<ResponseHead>, NotAResponse> {
    const START: &[u8] = b"HTTP/1.";
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let seen = bytes.len().min(START.len());
    if bytes[..seen] != START[..seen] {
        return Err(NotAResponse::NotHttp);
    }
    match parse_with::<HEADERS_MAX>(bytes, method, headers_max) {
        Err(Failed::TooManyHeaders) if headers_max > HEADERS_MAX => parse_many(bytes, method, headers_max),
        result => result,
    }
    .map_err(|failed| match failed {
        Failed::TooManyHeaders => Refusal::TooManyHeaders.into(),
        Failed::Other(why) => why,
    })
}

/// Why parsing failed, with the reason that is worth another try set apart.
enum Failed {
    TooManyHeaders,
    Other(NotAResponse),
}

impl<E: Into<NotAResponse>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Other(error.into())
    }
}

/// With 16 KiB of stack that only these heads need.
#[cold]
#[inline(never)]
fn parse_many(bytes: &[u8], method: Method, headers_max: usize) -> Result<Parse<ResponseHead>, Failed> {
    parse_with::<RESPONSE_HEADERS_MAX>(bytes, method, headers_max)
}

#[inline]
fn parse_with<const ROOM: usize>(
    bytes: &[u8],
    method: Method,
    headers_max: usize,
) -> Result<Parse<ResponseHead>, Failed> {
    let mut room = [const { MaybeUninit::uninit() }; ROOM];
    let room = &mut room[..headers_max.min(ROOM)];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, room) {
        Ok(Status::Complete(len)) => Ok(Parse::Complete(read(&bytes[..len], method, &response)?)),
        Ok(Status::Partial) if bytes.len() == HEAD_BYTES_MAX => Err(NotAResponse::Bad(TOO_LONG).into()),
        Ok(Status::Partial) => Ok(Parse::Partial),
        Err(Error::TooManyHeaders) => Err(Failed::TooManyHeaders),
        Err(Error::Version) => Err(Refusal::UnsupportedVersion.into()),
        Err(Error::Status | Error::Token) => Err(NotAResponse::Bad("the status line is malformed").into()),
        Err(error) => Err(faults::in_headers(error, bytes).into()),
    }
}

fn read(head: &[u8], method: Method, response: &httparse::Response<'_, '_>) -> Result<ResponseHead, NotAResponse> {
    let headers: &[Header<'_>] = response.headers;
    let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let status = response.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return Err(NotAResponse::Bad("the status is below 100 or above 599"));
    }
    let fields = Fields::read(headers)?;
    let body = fields.body(method, version, status)?;
    let self_delimited = body != Body::UntilClose;
    let Hops { close, keep_alive, .. } = fields.hops;
    let keep_alive = self_delimited && !close && (version == Version::Http11 || keep_alive);
    let chunked = fields.chunked;
    let rewrite = is_sloppy(head, headers)
        || fields.repeated
        || headers.len() > HEADERS_MAX
        || (is_unframed(method, status) && (fields.length.is_some() || chunked));
    let cuts = if rewrite { Cuts::default() } else { fields.cuts(head, headers, status) };
    let len = head.len() as u16;
    Ok(ResponseHead { len, status, version, body, keep_alive, self_delimited, close, chunked, rewrite, cuts })
}

/// Whether a response's status allows neither `Content-Length` nor `Transfer-Encoding` (RFC 9110 §8.6, RFC 9112 §6.1).
/// Recipients exist that would wait for a body all the same.
pub(super) fn is_unframed(method: Method, status: u16) -> bool {
    status < 200 || status == 204 || is_tunnel(method, status)
}

/// Whether what follows the head is no longer HTTP.
pub(super) fn is_tunnel(method: Method, status: u16) -> bool {
    status == 101 || (method == Method::Connect && (200..300).contains(&status))
}

/// Whether a line ends without CR, or no space follows the status. The parser has seen to it that lines end in LF or
/// CRLF and have no other CR, so one byte a line tells.
fn is_sloppy(head: &[u8], headers: &[Header<'_>]) -> bool {
    let line_start = |header: &Header<'_>| usize::from(Span::locate(header.name.as_bytes(), head).start);
    let bare = |line: usize| head[line - 2] != b'\r';
    // The blank line is there, so the head ends in two line ends.
    head[b"HTTP/1.1 200".len()] != b' '
        || bare(head.len())
        || bare(head.len() - 2)
        || headers.iter().map(line_start).any(bare)
}

/// What the headers say.
#[derive(Default)]
struct Fields<'a> {
    /// `Content-Length`.
    length: Option<u64>,
    /// Whether the length is there more than once, or with leading zeros.
    repeated: bool,
    /// `Transfer-Encoding: chunked`.
    chunked: bool,
    hops: Hops<'a>,
    /// `Upgrade` header lines, one bit each.
    upgrades: u128,
}

impl<'a> Fields<'a> {
    fn read(headers: &[Header<'a>]) -> Result<Fields<'a>, NotAResponse> {
        let mut fields = Fields::default();
        for (index, header) in headers.iter().enumerate() {
            // Lines are counted for cuts, and a head with more is written anew.
            fields.header(index.min(HEADERS_MAX - 1), header.name.as_bytes(), header.value)?;
        }
        Ok(fields)
    }

    /// Reads one header. Lengths first: they tell most names apart without looking at them.
    #[inline]
    fn header(&mut self, index: usize, name: &[u8], value: &'a [u8]) -> Result<(), NotAResponse> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            7 if is("upgrade") => self.upgrades |= 1 << index,
            10 if is("connection") => self.hops.connection(index, value)?,
            14 if is("content-length") => self.length(value)?,
            17 if is("transfer-encoding") => self.coding(value)?,
            _ if hops::always(name) => self.hops.mark(index),
            _ => {}
        }
        Ok(())
    }

    /// Reads a `Content-Length`. Repeating it is tolerated, also with leading zeros: it goes on once (RFC 9110 §8.6).
    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for digits in class::raw_elements(value) {
            let length = decimal(digits).ok_or(Refusal::BadLength)?;
            self.repeated |= self.length.is_some() || (digits.len() > 1 && digits[0] == b'0');
            if self.length.replace(length).is_some_and(|other| other != length) {
                return Err(Refusal::DifferingLengths);
            }
        }
        Ok(())
    }

    /// Reads a `Transfer-Encoding`. The client was asked for no other than chunked, because `TE` goes no further; what
    /// recipients make of another, or of chunked twice, differs.
    fn coding(&mut self, value: &[u8]) -> Result<(), NotAResponse> {
        if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
            return Err(NotAResponse::Bad("the Transfer-Encoding is not chunked, once"));
        }
        self.chunked = true;
        Ok(())
    }

    /// RFC 9112 §6.3. What the head declares must be in order even where it does not count, because not every
    /// client knows when it does not.
    fn body(&self, method: Method, version: Version, status: u16) -> Result<Body, NotAResponse> {
        if is_tunnel(method, status) {
            return Ok(Body::UntilClose);
        }
        if version == Version::Http10 && self.chunked {
            return Err(Refusal::EncodingInHttp10.into());
        }
        let declared = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Refusal::LengthAndEncoding.into()),
            (Some(length), false) => Body::Length(length),
            (None, true) => Body::CHUNKED,
            (None, false) => Body::UntilClose,
        };
        match status {
            100..200 | 204 | 304 => Ok(Body::EMPTY),
            _ if method == Method::Head => Ok(Body::EMPTY),
            _ => Ok(declared),
        }
    }

    fn cuts(self, head: &[u8], headers: &[Header<'_>], status: u16) -> Cuts {
        let mut hops = self.hops;
        match status {
            // Both sides switch protocols together, so this hop's terms are the next one's, too.
            101 => return Cuts::default(),
            // Says which protocol the client is to switch to (RFC 9110 §15.5.22).
            426 => {}
            _ => hops.mark_all(self.upgrades),
        }
        hops.cuts(head, headers)
    }
}

impl From<Refusal> for NotAResponse {
    fn from(refusal: Refusal) -> NotAResponse {
        NotAResponse::Bad(refusal.wrong())
    }
}

impl From<TooMany> for NotAResponse {
    fn from(TooMany: TooMany) -> NotAResponse {
        NotAResponse::Bad("too many hop-by-hop headers")
    }
}
