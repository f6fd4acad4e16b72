//! Answers of classic devices that are nearly HTTP.
//!
//! Sketches write their answers by hand, and the programs that they were written for read them leniently. Passing such
//! an answer on as it is would leave its meaning to the next recipient: a front proxy that shares its connections
//! among users may find another end of it than the client does, and give one user's answer to another. So it is read
//! here, leniently and once, and what goes on is one clean head of ours and then what the device sends, until it ends.
use super::framing::decimal;
use super::response::{NotAResponse, is_tunnel};
use super::{Body, HEAD_BYTES_MAX, Method, Parse, RESPONSE_HEADERS_MAX, Refusal, class, hops};

/// An answer that was read leniently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Bytes of the device's head, empty lines in front included.
    pub len: usize,
    /// The head that goes on instead.
    pub head: Vec<u8>,
    /// Its status, 200 to 599.
    pub status: u16,
    /// What follows. The device's connection ends behind it, and so does the client's: the head says so.
    pub body: Body,
}

/// Reads the answer at the start of `bytes`, which the strict parser does not take, to a request with `method`.
///
/// These are put right: empty lines first; any version; no reason, or no space before it; line ends without CR; folded
/// lines; whitespace before a colon; values with control characters (left out); a header line that is none (the body
/// begins there); a `Content-Length` or `Transfer-Encoding` that does not say where the body ends.
///
/// # Errors
/// What does not begin with `HTTP/` and a final status, or has too long a head.
pub fn parse(bytes: &[u8], method: Method) -> Result<Parse<Repaired>, NotAResponse> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let start = bytes.iter().position(|&b| b != b'\r' && b != b'\n').unwrap_or(bytes.len());
    if !starts_alike(&bytes[start..], b"HTTP/") {
        return Err(NotAResponse::NotHttp);
    }
    match end_of(bytes, start)? {
        Some(end) => repaired(bytes, start, end, method).map(Parse::Complete),
        None if bytes.len() == HEAD_BYTES_MAX => Err(NotAResponse::too_long()),
        None => Ok(Parse::Partial),
    }
}

/// Whether one is the start of the other.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    let seen = bytes.len().min(start.len());
    bytes[..seen] == start[..seen]
}

/// Where a head ends.
#[derive(Clone, Copy, Debug)]
struct End {
    /// One past its last header line.
    lines: usize,
    /// Where the body begins.
    body: usize,
}

impl End {
    /// Whether a blank line ends it, as it should.
    fn is_blank(&self) -> bool {
        self.body > self.lines
    }
}

/// What a line, or as much of it as there is, turns out to be.
enum Kind {
    /// It cannot be told yet.
    Unknown,
    /// The blank line.
    Blank,
    /// A header line, or a continuation of one.
    Header,
    /// None of that: it belongs to the body.
    Body,
}

/// Finds the end of the head whose status line starts at `start`. Allocates nothing.
fn end_of(bytes: &[u8], start: usize) -> Result<Option<End>, NotAResponse> {
    let Some(mut at) = behind_line(bytes, start) else { return Ok(None) };
    for _ in 0..=RESPONSE_HEADERS_MAX {
        let end = behind_line(bytes, at);
        match (kind(&bytes[at..end.unwrap_or(bytes.len())]), end) {
            (Kind::Body, _) => return Ok(Some(End { lines: at, body: at })),
            (Kind::Blank, Some(end)) => return Ok(Some(End { lines: at, body: end })),
            (Kind::Header, Some(end)) => at = end,
            _ => return Ok(None),
        }
    }
    Err(Refusal::TooManyHeaders.into())
}

/// One past the line end of the line at `at`, if that is there.
fn behind_line(bytes: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\n', &bytes[at..]).map(|lf| at + lf + 1)
}

/// Tells what `line` is as soon as it can be told, and never otherwise of a longer piece of the same line.
fn kind(line: &[u8]) -> Kind {
    let name = line.iter().take_while(|&&b| class::is_token(b)).count();
    let blanks = line[name..].iter().take_while(|&&b| is_blank(b)).count();
    match line.get(name + blanks) {
        _ if name == 0 && blanks > 0 => Kind::Header,
        Some(b':') => Kind::Header,
        None => Kind::Unknown,
        Some(b'\r' | b'\n') if name == 0 => match line.iter().find(|&&b| b != b'\r') {
            Some(b'\n') => Kind::Blank,
            Some(_) => Kind::Body,
            None => Kind::Unknown,
        },
        Some(_) => Kind::Body,
    }
}

fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// What the header lines say.
#[derive(Default)]
struct Fields<'a> {
    /// The good ones, with values in one piece.
    kept: Vec<(&'a [u8], Vec<u8>)>,
    /// `Content-Length`.
    lengths: Vec<Vec<u8>>,
    /// `Transfer-Encoding`.
    codings: Vec<Vec<u8>>,
}

fn repaired(bytes: &[u8], start: usize, end: End, method: Method) -> Result<Repaired, NotAResponse> {
    let mut lines = bytes[start..end.lines].split(|&b| b == b'\n');
    let (status, reason) = status_line(lines.next().unwrap_or_default())?;
    let fields = Fields::read(lines);
    let tunnel = is_tunnel(method, status);
    let length = fields.length().filter(|_| end.is_blank() && !tunnel && status != 204);
    let body = match (length, fields.codings.as_slice()) {
        _ if tunnel => Body::UntilClose,
        _ if method == Method::Head || status == 204 || status == 304 => Body::EMPTY,
        (Some(length), _) => Body::Length(length),
        (None, [coding]) if coding.eq_ignore_ascii_case(b"chunked") && end.is_blank() => Body::DECODED,
        (None, _) => Body::UntilClose,
    };
    let mut head = format!("HTTP/1.1 {status} ").into_bytes();
    head.extend_from_slice(reason);
    head.extend_from_slice(b"\r\n");
    for (name, value) in &fields.kept {
        for part in [*name, b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    if let Some(length) = length {
        head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    if !tunnel {
        head.extend_from_slice(b"Connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Ok(Repaired { len: end.body, head, status, body })
}

/// Status and reason; the latter is empty if it cannot go on.
fn status_line(line: &[u8]) -> Result<(u16, &[u8]), NotAResponse> {
    const BAD: NotAResponse = NotAResponse::Bad("the status line is malformed");
    let line = line.strip_prefix(b"HTTP/").ok_or(BAD)?;
    let version = line.iter().take_while(|&&b| b.is_ascii_digit() || b == b'.').count();
    let blanks = line[version..].iter().take_while(|&&b| is_blank(b)).count();
    let (status, reason) = line[version + blanks..].split_at_checked(3).ok_or(BAD)?;
    let digits = status.iter().all(u8::is_ascii_digit) && !reason.first().is_some_and(u8::is_ascii_digit);
    if version == 0 || blanks == 0 || !digits {
        return Err(BAD);
    }
    let status = status.iter().fold(0, |number, &b| number * 10 + u16::from(b - b'0'));
    if !(200..600).contains(&status) {
        return Err(NotAResponse::Bad("the status is below 200 or above 599"));
    }
    let reason = reason.trim_ascii();
    Ok((status, if reason.iter().all(|&b| class::is_value(b)) { reason } else { b"" }))
}

impl<'a> Fields<'a> {
    fn read(lines: impl Iterator<Item = &'a [u8]>) -> Fields<'a> {
        let mut unfolded: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for line in lines {
            match (line.first(), unfolded.last_mut()) {
                (Some(&b), Some((_, value))) if is_blank(b) => {
                    if !value.is_empty() {
                        value.push(b' ');
                    }
                    value.extend_from_slice(line.trim_ascii());
                }
                _ => {
                    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
                    let value = line.get(colon + 1..).unwrap_or_default();
                    unfolded.push((line[..colon].trim_ascii_end(), value.trim_ascii().to_vec()));
                }
            }
        }
        let mut fields = Fields::default();
        for (name, mut value) in unfolded {
            value.truncate(value.trim_ascii_end().len());
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("content-length") {
                fields.lengths.push(value);
            } else if is("transfer-encoding") {
                fields.codings.push(value);
            } else if is_kept(name) && value.iter().all(|&b| class::is_value(b)) {
                fields.kept.push((name, value));
            }
        }
        fields
    }

    /// The length, if the fields agree on it.
    fn length(&self) -> Option<u64> {
        if !self.codings.is_empty() {
            return None;
        }
        let mut all = self.lengths.iter().flat_map(|value| class::raw_elements(value)).map(decimal);
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }
}

/// Whether a field is one, and not about the connection to the device.
fn is_kept(name: &[u8]) -> bool {
    let own = [&b"connection"[..], b"upgrade", b"trailer"].iter().any(|own| name.eq_ignore_ascii_case(own));
    !name.is_empty() && name.iter().all(|&b| class::is_token(b)) && !own && !hops::always(name)
}
