//! Where a message's body ends (RFC 9112 §6).
use super::{Refusal, class};

/// Longest chunk-size line, extensions included, in bytes. Extensions mean nothing to anybody; a long one is an attack.
pub const CHUNK_LINE_BYTES_MAX: u16 = 4096;

/// Longest trailer section, in bytes, its blank line included.
pub const TRAILER_BYTES_MAX: u16 = 16 * 1024;

/// Progress through one message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Length known: bytes still to come. `Length(0)` is a message without a body, or one that is complete.
    Length(u64),
    /// `Transfer-Encoding: chunked`, forwarded as it is, its framing followed byte by byte.
    Chunked(Chunked),
    /// Everything until the sender closes (responses and tunnels only).
    UntilClose,
}

// Every session holds two of these.
const _: () = assert!(size_of::<Body>() <= 24);

/// State of the chunked coding's parser (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    /// In a size line: the size so far. In data: bytes still to come.
    left: u64,
    /// Bytes of the current size line, or of the trailer section, so far.
    line: u16,
    /// What the next byte is.
    next: Next,
}

/// What the next byte of a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first digit of a chunk size.
    FirstDigit,
    /// Another digit, or what ends the size.
    Digit,
    /// Whitespace between size and `;` (RFC 9112 §7.1.1 has it as "bad" whitespace that must be accepted).
    Space,
    /// Part of a chunk extension.
    Extension,
    /// The LF of a size line.
    SizeLf,
    /// Chunk data.
    Data,
    /// The CR behind chunk data.
    DataCr,
    /// The LF behind chunk data.
    DataLf,
    /// The first byte of a trailer line or of the blank line.
    TrailerStart,
    /// Part of a trailer's name.
    TrailerName,
    /// Part of a trailer's value.
    TrailerValue,
    /// The LF of a trailer line.
    TrailerLf,
    /// The LF of the blank line.
    EndLf,
    /// Nothing: the body has ended.
    Nothing,
}

impl Body {
    /// No body at all.
    pub const EMPTY: Body = Body::Length(0);

    /// A chunked body, from its first byte.
    pub const CHUNKED: Body = Body::Chunked(Chunked { left: 0, line: 0, next: Next::FirstDigit });

    /// How many of `bytes`, from the first, belong to this body (framing included); the state moves past them.
    /// Fewer than all of them only when the body ends inside `bytes`.
    ///
    /// # Errors
    /// Bad chunk framing. The state is of no use afterwards.
    #[inline]
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Body::Length(left) => {
                let n = (*left).min(bytes.len() as u64);
                *left -= n;
                Ok(n as usize)
            }
            Body::Chunked(chunked) => chunked.take(bytes),
            Body::UntilClose => Ok(bytes.len()),
        }
    }

    /// Whether the body has ended. Never for [`Body::UntilClose`].
    #[inline]
    pub fn is_done(&self) -> bool {
        match self {
            Body::Length(left) => *left == 0,
            Body::Chunked(chunked) => chunked.next == Next::Nothing,
            Body::UntilClose => false,
        }
    }

    /// How many bytes may pass unseen from here: the rest of a length or of the current chunk's data, no limit
    /// (`u64::MAX`) until close.
    #[inline]
    pub fn opaque(&self) -> u64 {
        match self {
            Body::Length(left) => *left,
            Body::Chunked(chunked) if chunked.next == Next::Data => chunked.left,
            Body::Chunked(_) => 0,
            Body::UntilClose => u64::MAX,
        }
    }

    /// Moves past `n` bytes that passed unseen; `n` is at most [`Body::opaque`].
    ///
    /// # Panics
    /// More bytes passed than were opaque: what they were is lost, and with it where the next message starts.
    #[inline]
    pub fn skip(&mut self, n: u64) {
        assert!(n <= self.opaque(), "{n} bytes passed unseen where {} were opaque", self.opaque());
        match self {
            Body::Length(left) => *left -= n,
            Body::Chunked(chunked) if n > 0 => chunked.skip(n),
            Body::Chunked(_) | Body::UntilClose => {}
        }
    }
}

impl Chunked {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            match self.next {
                Next::Data => {
                    let n = self.left.min((bytes.len() - at) as u64);
                    self.skip(n);
                    at += n as usize;
                }
                Next::Nothing => break,
                _ => {
                    self.next = self.step(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    fn skip(&mut self, n: u64) {
        self.left -= n;
        if self.left == 0 {
            self.next = Next::DataCr;
        }
    }

    /// Takes one byte of framing.
    #[inline]
    fn step(&mut self, b: u8) -> Result<Next, Refusal> {
        match self.next {
            Next::FirstDigit | Next::Digit | Next::Space | Next::Extension | Next::SizeLf => self.size_line(b),
            Next::DataCr if b == b'\r' => Ok(Next::DataLf),
            Next::DataLf if b == b'\n' => {
                self.line = 0;
                Ok(Next::FirstDigit)
            }
            Next::DataCr | Next::DataLf => Err(Refusal::BadChunkEnd),
            _ => self.trailer(b),
        }
    }

    fn size_line(&mut self, b: u8) -> Result<Next, Refusal> {
        self.line += 1;
        if self.line > CHUNK_LINE_BYTES_MAX {
            return Err(Refusal::ChunkLineTooLong);
        }
        match (self.next, b) {
            (Next::FirstDigit | Next::Digit, b'0'..=b'9') => self.digit(b - b'0'),
            (Next::FirstDigit | Next::Digit, b'a'..=b'f') => self.digit(b - b'a' + 10),
            (Next::FirstDigit | Next::Digit, b'A'..=b'F') => self.digit(b - b'A' + 10),
            (Next::Digit | Next::Extension, b'\r') => Ok(Next::SizeLf),
            (Next::Digit | Next::Space, b' ' | b'\t') => Ok(Next::Space),
            (Next::Digit | Next::Space, b';') => Ok(Next::Extension),
            (Next::Extension, _) if class::is_value(b) => Ok(Next::Extension),
            (Next::SizeLf, b'\n') => {
                self.line = 0;
                Ok(if self.left > 0 { Next::Data } else { Next::TrailerStart })
            }
            _ => Err(Refusal::BadChunkSize),
        }
    }

    fn digit(&mut self, digit: u8) -> Result<Next, Refusal> {
        // 16 digits fill the 64 bits exactly, so the count is the overflow check; leading zeros count.
        if self.line > 16 {
            return Err(Refusal::BadChunkSize);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(Next::Digit)
    }

    fn trailer(&mut self, b: u8) -> Result<Next, Refusal> {
        self.line += 1;
        if self.line > TRAILER_BYTES_MAX {
            return Err(Refusal::TrailersTooLarge);
        }
        match (self.next, b) {
            (Next::TrailerStart, b'\r') => Ok(Next::EndLf),
            (Next::TrailerStart | Next::TrailerName, _) if class::is_token(b) => Ok(Next::TrailerName),
            (Next::TrailerName, b':') => Ok(Next::TrailerValue),
            (Next::TrailerValue, b'\r') => Ok(Next::TrailerLf),
            (Next::TrailerValue, _) if class::is_value(b) => Ok(Next::TrailerValue),
            (Next::TrailerLf, b'\n') => Ok(Next::TrailerStart),
            (Next::EndLf, b'\n') => Ok(Next::Nothing),
            _ => Err(Refusal::BadTrailer),
        }
    }
}

/// What a head says about its body, header by header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Declared<'a> {
    /// `Content-Length`: its digits, and what they mean.
    length: Option<(&'a [u8], u64)>,
    /// `Transfer-Encoding`.
    coding: Option<Coding>,
}

/// The last transfer coding of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl<'a> Declared<'a> {
    /// Reads a `Content-Length`. Repeating the same digits is tolerated, in one header or several (RFC 9110 §8.6).
    pub fn length(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        for digits in class::raw_elements(value) {
            match self.length {
                None => self.length = Some((digits, decimal(digits).ok_or(Refusal::BadLength)?)),
                Some((first, _)) if first == digits => {}
                Some(_) if decimal(digits).is_none() => return Err(Refusal::BadLength),
                Some(_) => return Err(Refusal::DifferingLengths),
            }
        }
        Ok(())
    }

    /// Reads a `Transfer-Encoding`. Chunked must come last and once (RFC 9112 §6.1); an empty element is refused,
    /// because recipients disagree on what it means.
    pub fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in class::raw_elements(value) {
            let name = coding.split(|&b| b == b';').next().unwrap_or_default().trim_ascii_end();
            let is_token = !name.is_empty() && name.iter().all(|&b| class::is_token(b));
            if !is_token || self.coding == Some(Coding::Chunked) {
                return Err(Refusal::BadTransferEncoding);
            }
            self.coding = Some(match name.eq_ignore_ascii_case(b"chunked") {
                true if name.len() == coding.len() => Coding::Chunked,
                true => return Err(Refusal::BadTransferEncoding),
                false => Coding::Other,
            });
        }
        Ok(())
    }

    /// Whether anything was said.
    pub fn is_some(&self) -> bool {
        self.length.is_some() || self.coding.is_some()
    }

    /// Whether a `Transfer-Encoding` was read.
    pub fn has_coding(&self) -> bool {
        self.coding.is_some()
    }

    /// The body of a request (RFC 9112 §6.3): none unless declared, and never one without a declared end.
    pub fn request_body(&self) -> Result<Body, Refusal> {
        match self.body()? {
            None => Ok(Body::EMPTY),
            Some(Body::UntilClose) => Err(Refusal::BadTransferEncoding),
            Some(body) => Ok(body),
        }
    }

    /// The body of a response that may have one (RFC 9112 §6.3): until close unless declared.
    pub fn response_body(&self) -> Result<Body, Refusal> {
        Ok(self.body()?.unwrap_or(Body::UntilClose))
    }

    /// The body as declared; until close for a last coding that does not show its end.
    fn body(&self) -> Result<Option<Body>, Refusal> {
        match (self.length, self.coding) {
            (Some(_), Some(_)) => Err(Refusal::LengthAndEncoding),
            (Some((_, length)), None) => Ok(Some(Body::Length(length))),
            (None, Some(Coding::Chunked)) => Ok(Some(Body::CHUNKED)),
            (None, Some(Coding::Other)) => Ok(Some(Body::UntilClose)),
            (None, None) => Ok(None),
        }
    }
}

/// A number of at least one digit. `None` also when it does not fit.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
