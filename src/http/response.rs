//! Response heads (RFC 9112 §4, §6.3).
use super::framing::Declared;
use super::hops::{self, Hops, TooMany};
use super::{Body, Cuts, HEAD_BYTES_MAX, HEADERS_MAX, Method, Parse, Refusal, Version, faults};
use httparse::{Error, Header, Status};
use std::mem::MaybeUninit;

/// A response head, as far as a relay looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, blank line included.
    pub len: u16,
    /// Its status, 100 to 999.
    pub status: u16,
    /// Its version.
    pub version: Version,
    /// Framing of what follows, given the request's method (RFC 9112 §6.3). 101 and a 2xx to CONNECT: `UntilClose`.
    pub body: Body,
    /// Whether the gateway keeps its connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the head declares its body's end (length or chunked, or has no body by rule).
    pub self_delimited: bool,
    /// Hop-by-hop headers, left out on the way from a `ptth` gateway to the client.
    pub cuts: Cuts,
}

/// Why bytes from a gateway could not be taken as a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAResponse {
    /// They do not begin like HTTP/1 at all (`HTTP/1.`): a classic gateway's are relayed as an opaque stream.
    NotHttp,
    /// They begin like HTTP but break its rules; names what is wrong.
    Bad(&'static str),
}

/// Parses the head at the start of `bytes`, the answer to a request with `method`. Bare LF as a line end and a
/// missing reason phrase are tolerated, because device sketches are like that and no two readers differ about them.
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
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let room = &mut room[..headers_max.min(HEADERS_MAX)];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, room) {
        Ok(Status::Complete(len)) => Ok(Parse::Complete(read(&bytes[..len], method, &response)?)),
        Ok(Status::Partial) if bytes.len() == HEAD_BYTES_MAX => Err(NotAResponse::Bad("the head is too long")),
        Ok(Status::Partial) => Ok(Parse::Partial),
        Err(Error::Version) => Err(Refusal::UnsupportedVersion.into()),
        Err(Error::Status | Error::Token) => Err(NotAResponse::Bad("the status line is malformed")),
        Err(error) => Err(faults::in_headers(error, bytes).into()),
    }
}

fn read(head: &[u8], method: Method, response: &httparse::Response<'_, '_>) -> Result<ResponseHead, NotAResponse> {
    let headers: &[Header<'_>] = response.headers;
    let version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let status = response.code.unwrap_or_default();
    if status < 100 {
        return Err(NotAResponse::Bad("the status is below 100"));
    }
    let fields = Fields::read(headers)?;
    let body = fields.body(method, version, status)?;
    let self_delimited = body != Body::UntilClose;
    let hops = &fields.hops;
    let keep_alive = self_delimited && !hops.close && (version == Version::Http11 || hops.keep_alive);
    let cuts = fields.cuts(head, headers, status)?;
    Ok(ResponseHead { len: head.len() as u16, status, version, body, keep_alive, self_delimited, cuts })
}

/// What the headers say.
#[derive(Default)]
struct Fields<'a> {
    declared: Declared<'a>,
    hops: Hops<'a>,
    /// `Upgrade` header lines, one bit each.
    upgrades: u128,
}

impl<'a> Fields<'a> {
    fn read(headers: &[Header<'a>]) -> Result<Fields<'a>, NotAResponse> {
        let mut fields = Fields::default();
        for (index, header) in headers.iter().enumerate() {
            fields.header(index, header.name.as_bytes(), header.value)?;
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
            14 if is("content-length") => self.declared.length(value)?,
            17 if is("transfer-encoding") => self.declared.coding(value)?,
            _ if hops::always(name) => self.hops.mark(index),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3. What the head declares must be in order even where it does not count, because not every
    /// client knows when it does not.
    fn body(&self, method: Method, version: Version, status: u16) -> Result<Body, NotAResponse> {
        if status == 101 || (method == Method::Connect && (200..300).contains(&status)) {
            return Ok(Body::UntilClose);
        }
        if version == Version::Http10 && self.declared.has_coding() {
            return Err(Refusal::EncodingInHttp10.into());
        }
        let declared = self.declared.response_body()?;
        match status {
            100..200 | 204 | 304 => Ok(Body::EMPTY),
            _ if method == Method::Head => Ok(Body::EMPTY),
            _ => Ok(declared),
        }
    }

    fn cuts(self, head: &[u8], headers: &[Header<'_>], status: u16) -> Result<Cuts, NotAResponse> {
        let mut hops = self.hops;
        match status {
            // Both sides switch protocols together, so this hop's terms are the next one's, too.
            101 => return Ok(Cuts::default()),
            // Says which protocol the client is to switch to (RFC 9110 §15.5.22).
            426 => {}
            _ => hops.mark_all(self.upgrades),
        }
        Ok(hops.cuts(head, headers)?)
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
