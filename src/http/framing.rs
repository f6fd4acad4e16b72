//! Where a message's body ends, and which of its bytes go on (RFC 9112 §6, §7.1).
use super::{Refusal, class, trailers};

/// Longest chunk-size line, extensions included, in bytes. Extensions mean nothing to anybody; a long one is an attack.
pub const CHUNK_LINE_BYTES_MAX: u16 = 4096;

/// Longest trailer section, in bytes, its blank line included.
pub const TRAILER_BYTES_MAX: u16 = 16 * 1024;

/// Longest body, and longest chunk, in bytes: what recipients that count in signed 64 bits can hold.
pub const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// Progress through one message body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Length known: bytes still to come. `Length(0)` is a message without a body, or one that is complete.
    Length(u64),
    /// `Transfer-Encoding: chunked`, its framing followed byte by byte.
    Chunked(Chunked),
    /// Everything until the sender closes (responses and tunnels only).
    UntilClose,
}

// Every session holds two of these.
const _: () = assert!(size_of::<Body>() <= 24);

/// What becomes of the next bytes of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// This many bytes, the first ones, go on as they are.
    pub pass: usize,
    /// This many bytes behind those are consumed and go nowhere.
    pub drop: usize,
}

/// State of the chunked coding's parser (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    /// In a size line: the size so far. In data: bytes still to come. In a trailer's name: the hash so far.
    left: u64,
    /// Bytes of the current size line, or of the trailer section, so far.
    line: u16,
    /// What the next byte is.
    next: Next,
    /// Whether only the data goes on, without the framing around it.
    decoded: bool,
}

/// What the next byte of a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first digit of a chunk size.
    FirstDigit,
    /// Another digit, or what ends the size.
    Digit,
    /// Whitespace before a `;` (RFC 9112 §7.1.1 has it as "bad" whitespace that must be accepted).
    Space,
    /// The first byte of an extension's name, or whitespace before it.
    Extension,
    /// Part of an extension's name, or what ends it.
    ExtensionName,
    /// Whitespace behind an extension's name.
    BehindName,
    /// The first byte of an extension's value, or whitespace before it.
    ExtensionValue,
    /// Part of a value that is a token, or what ends it.
    ValueToken,
    /// Part of a quoted value.
    Quoted,
    /// What a backslash in a quoted value stands before.
    Escaped,
    /// What follows the closing quote.
    BehindQuote,
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
    /// Part of a trailer's name that began with `Proxy-`.
    TrailerProxyName,
    /// Part of a trailer's value.
    TrailerValue,
    /// The LF of a trailer line.
    TrailerLf,
    /// The LF of the blank line.
    EndLf,
    /// Nothing: the body has ended.
    Nothing,
}

impl Next {
    /// Within a chunk's extensions, or the whitespace around them.
    fn is_extension(self) -> bool {
        use Next::*;
        matches!(
            self,
            Space
                | Extension
                | ExtensionName
                | BehindName
                | ExtensionValue
                | ValueToken
                | Quoted
                | Escaped
                | BehindQuote
        )
    }
}

impl Body {
    /// No body at all.
    pub const EMPTY: Body = Body::Length(0);

    /// A chunked body, from its first byte, that stays chunked. Extensions are dropped: a recipient may ignore them
    /// (RFC 9112 §7.1.1), and recipients disagree on where odd ones end.
    pub const CHUNKED: Body = Body::Chunked(Chunked { left: 0, line: 0, next: Next::FirstDigit, decoded: false });

    /// A chunked body, from its first byte, of which only the data goes on: for clients that do not know the coding.
    pub const DECODED: Body = Body::Chunked(Chunked { left: 0, line: 0, next: Next::FirstDigit, decoded: true });

    /// What becomes of the first of `bytes`, which come next in this body; the state moves past `pass` and `drop`.
    /// Both are 0 only when the body is done or `bytes` is empty: the caller asks again for the rest.
    ///
    /// # Errors
    /// Bad chunk framing, or a trailer field that must not be one. The state is of no use afterwards.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        match self {
            Body::Length(left) => {
                let n = (*left).min(bytes.len() as u64);
                *left -= n;
                Ok(Piece { pass: n as usize, drop: 0 })
            }
            Body::Chunked(chunked) => chunked.next(bytes),
            Body::UntilClose => Ok(Piece { pass: bytes.len(), drop: 0 }),
        }
    }

    /// How many of `bytes`, from the first, belong to this body, whatever becomes of them; the state moves past them.
    /// Fewer than all of them only when the body ends inside `bytes`.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        loop {
            let Piece { pass, drop } = self.next(&bytes[at..])?;
            if pass + drop == 0 {
                return Ok(at);
            }
            at += pass + drop;
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
    fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        let pass = self.run(bytes, true)?;
        let drop = self.run(&bytes[pass..], false)?;
        Ok(Piece { pass, drop })
    }

    /// Moves past the first of `bytes`, as long as they are to pass, or to be dropped.
    #[inline]
    fn run(&mut self, bytes: &[u8], pass: bool) -> Result<usize, Refusal> {
        let mut at = 0;
        while let Some(&b) = bytes.get(at) {
            match self.next {
                Next::Data if pass => {
                    let n = self.left.min((bytes.len() - at) as u64);
                    self.skip(n);
                    at += n as usize;
                }
                Next::Data | Next::Nothing => break,
                _ if self.passes(b) != pass => break,
                _ => {
                    self.next = self.step(b)?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    /// Whether a byte of framing goes on.
    #[inline]
    fn passes(&self, b: u8) -> bool {
        match self.next {
            _ if self.decoded => false,
            Next::Digit => !matches!(b, b' ' | b'\t' | b';'),
            next if next.is_extension() => b == b'\r',
            _ => true,
        }
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
            Next::FirstDigit | Next::Digit | Next::SizeLf => self.size_line(b),
            Next::DataCr if b == b'\r' => Ok(Next::DataLf),
            Next::DataLf if b == b'\n' => {
                self.line = 0;
                Ok(Next::FirstDigit)
            }
            Next::DataCr | Next::DataLf => Err(Refusal::BadChunkEnd),
            next if next.is_extension() => self.extension(b),
            _ => self.trailer(b),
        }
    }

    fn size_line(&mut self, b: u8) -> Result<Next, Refusal> {
        self.line += 1;
        match (self.next, b) {
            (Next::FirstDigit | Next::Digit, b'0'..=b'9') => self.digit(b - b'0'),
            (Next::FirstDigit | Next::Digit, b'a'..=b'f') => self.digit(b - b'a' + 10),
            (Next::FirstDigit | Next::Digit, b'A'..=b'F') => self.digit(b - b'A' + 10),
            (Next::Digit, b'\r') => Ok(Next::SizeLf),
            (Next::Digit, b' ' | b'\t') => Ok(Next::Space),
            (Next::Digit, b';') => Ok(Next::Extension),
            (Next::SizeLf, _) if self.line > CHUNK_LINE_BYTES_MAX => Err(Refusal::ChunkLineTooLong),
            (Next::SizeLf, b'\n') => {
                self.line = 0;
                Ok(if self.left > 0 { Next::Data } else { Next::TrailerStart })
            }
            _ => Err(Refusal::BadChunkSize),
        }
    }

    /// Digits come first, so the line so far is the digits so far, leading zeros included.
    fn digit(&mut self, digit: u8) -> Result<Next, Refusal> {
        if self.line > 16 || self.left > BODY_BYTES_MAX >> 4 {
            return Err(Refusal::BadChunkSize);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(Next::Digit)
    }

    /// RFC 9112 §7.1.1, to the letter: where one parser sees an extension and another the end of the line, they
    /// would read two different messages.
    fn extension(&mut self, b: u8) -> Result<Next, Refusal> {
        use Next::*;
        self.line += 1;
        if self.line > CHUNK_LINE_BYTES_MAX {
            return Err(Refusal::ChunkLineTooLong);
        }
        let next = match (self.next, b) {
            (ExtensionName | ValueToken | BehindQuote, b'\r') => SizeLf,
            (ExtensionName | ValueToken | BehindQuote | Space | BehindName, b';') => Extension,
            (ExtensionName | BehindName, b'=') => ExtensionValue,
            (ExtensionName | BehindName, b' ' | b'\t') => BehindName,
            (Space | ValueToken | BehindQuote, b' ' | b'\t') => Space,
            (Extension | ExtensionValue, b' ' | b'\t') => self.next,
            (Extension | ExtensionName, _) if class::is_token(b) => ExtensionName,
            (ExtensionValue | ValueToken, _) if class::is_token(b) => ValueToken,
            (ExtensionValue, b'"') => Quoted,
            (Quoted, b'"') => BehindQuote,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, _) if class::is_value(b) => Quoted,
            _ => return Err(Refusal::BadChunkSize),
        };
        Ok(next)
    }

    fn trailer(&mut self, b: u8) -> Result<Next, Refusal> {
        self.line += 1;
        if self.line > TRAILER_BYTES_MAX {
            return Err(Refusal::TrailersTooLarge);
        }
        match (self.next, b) {
            (Next::TrailerStart, b'\r') => Ok(Next::EndLf),
            (Next::TrailerStart, _) if class::is_token(b) => {
                self.left = trailers::hash(trailers::START, b);
                Ok(Next::TrailerName)
            }
            (Next::TrailerName | Next::TrailerProxyName, _) if class::is_token(b) => {
                self.left = trailers::hash(self.left, b);
                Ok(if self.left == trailers::PROXY { Next::TrailerProxyName } else { self.next })
            }
            (Next::TrailerName, b':') if trailers::is_forbidden(self.left) => Err(Refusal::ForbiddenTrailer),
            (Next::TrailerProxyName, b':') if self.left != trailers::PROXY_STATUS => Err(Refusal::ForbiddenTrailer),
            (Next::TrailerName | Next::TrailerProxyName, b':') => Ok(Next::TrailerValue),
            (Next::TrailerValue, b'\r') => Ok(Next::TrailerLf),
            (Next::TrailerValue, _) if class::is_value(b) => Ok(Next::TrailerValue),
            (Next::TrailerLf, b'\n') => Ok(Next::TrailerStart),
            (Next::EndLf, b'\n') => Ok(Next::Nothing),
            _ => Err(Refusal::BadTrailer),
        }
    }
}

/// What a request's head says about its transfer coding, header by header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Declared {
    /// `Transfer-Encoding`.
    coding: Option<Coding>,
}

/// The last transfer coding of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

impl Declared {
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

    /// Whether a `Transfer-Encoding` was read.
    pub fn has_coding(&self) -> bool {
        self.coding.is_some()
    }

    /// The body of a request without a length (RFC 9112 §6.3): none unless declared, and never one without a declared
    /// end.
    pub fn request_body(&self) -> Result<Body, Refusal> {
        match self.coding {
            None => Ok(Body::EMPTY),
            Some(Coding::Chunked) => Ok(Body::CHUNKED),
            Some(Coding::Other) => Err(Refusal::BadTransferEncoding),
        }
    }
}

/// A length of at least one digit. `None` also when it is more than [`BODY_BYTES_MAX`].
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|&number| number <= BODY_BYTES_MAX)
}
