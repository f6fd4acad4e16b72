//! HTTP as the actors read it: their own few lines, because an oracle must not share the relay's parser.

/// Bytes that came and have not been read.
#[derive(Default)]
pub struct Inbox {
    pub bytes: Vec<u8>,
    at: usize,
}

impl Inbox {
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub fn take(&mut self, count: usize) -> &[u8] {
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// A head of either kind.
#[derive(Clone, Debug)]
pub struct Head {
    /// As it came.
    pub raw: Vec<u8>,
    /// Its first line's words.
    pub words: Vec<String>,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Takes a head, if a whole one is there.
    pub fn take(inbox: &mut Inbox) -> Option<Head> {
        let len = memchr::memmem::find(inbox.rest(), b"\r\n\r\n")? + 4;
        let raw = inbox.take(len).to_vec();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let words = lines.next()?.split(' ').map(str::to_owned).collect();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Some(Head { raw, words, headers })
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// A header's value as a number.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.header(name)?.parse().ok()
    }

    pub fn status(&self) -> u16 {
        self.words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// Whether `Connection` has this token.
    pub fn connection(&self, token: &str) -> bool {
        self.header("connection").is_some_and(|value| value.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    /// How the body of this message ends, unless the message is a response without one by rule.
    pub fn framing(&self, response: bool) -> Framing {
        match (self.header("transfer-encoding"), self.number("content-length")) {
            (Some(_), _) => Framing::Size,
            (None, Some(length)) => Framing::Left(length),
            (None, None) if response => Framing::UntilClose,
            (None, None) => Framing::Done,
        }
    }
}

/// How a body goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, and no framing around them.
    Left(usize),
    /// A chunk's size line is next.
    Size,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, up to a blank line.
    Trailers,
    /// Everything.
    UntilClose,
    /// Nothing more.
    Done,
}

/// A body being received.
#[derive(Debug)]
pub struct Body {
    pub framing: Framing,
    pub bytes: Vec<u8>,
    /// Trailer lines.
    pub trailers: Vec<String>,
}

impl Body {
    pub fn new(framing: Framing) -> Body {
        let framing = if framing == Framing::Left(0) { Framing::Done } else { framing };
        Body { framing, bytes: Vec::new(), trailers: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Takes what belongs to this body. The error says what is wrong with its framing.
    pub fn feed(&mut self, inbox: &mut Inbox) -> Result<(), String> {
        loop {
            let there = inbox.rest().len();
            self.framing = match self.framing {
                Framing::Done => return Ok(()),
                Framing::UntilClose => {
                    self.bytes.extend(inbox.take(there));
                    return Ok(());
                }
                Framing::Left(left) => {
                    self.bytes.extend(inbox.take(left.min(there)));
                    if left > there {
                        self.framing = Framing::Left(left - there);
                        return Ok(());
                    }
                    Framing::Done
                }
                Framing::Chunk(left) => {
                    self.bytes.extend(inbox.take(left.min(there)));
                    if left > there {
                        self.framing = Framing::Chunk(left - there);
                        return Ok(());
                    }
                    Framing::ChunkEnd
                }
                Framing::Size | Framing::ChunkEnd | Framing::Trailers => {
                    let Some(end) = inbox.rest().windows(2).position(|two| two == b"\r\n") else { return Ok(()) };
                    let line = String::from_utf8_lossy(&inbox.take(end + 2)[..end]).into_owned();
                    self.line(&line)?
                }
            };
        }
    }

    fn line(&mut self, line: &str) -> Result<Framing, String> {
        Ok(match self.framing {
            Framing::ChunkEnd if line.is_empty() => Framing::Size,
            Framing::Trailers if line.is_empty() => Framing::Done,
            Framing::Trailers => {
                self.trailers.push(line.to_owned());
                Framing::Trailers
            }
            Framing::Size => {
                let digits = line.split(';').next().unwrap_or_default();
                match usize::from_str_radix(digits, 16) {
                    Ok(0) => Framing::Trailers,
                    Ok(size) => Framing::Chunk(size),
                    Err(_) => return Err(format!("chunk size {line:?}")),
                }
            }
            _ => return Err(format!("{:?} finds {line:?}", self.framing)),
        })
    }
}

/// Where the data of each chunk ends, in a body that begins at `at`.
pub fn chunk_ends(bytes: &[u8], mut at: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    while let Some(line) = memchr::memmem::find(&bytes[at..], b"\r\n") {
        let digits = bytes[at..at + line].split(|&b| b == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size @ 1..) = size else { break };
        at += line + 2 + size;
        ends.push(at);
        at += 2;
    }
    ends
}

/// Writes `bytes` in chunks that `cut` chooses the sizes of, with a trailer.
pub fn chunked(bytes: &[u8], trailer: Option<&str>, mut cut: impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(cut(rest.len()));
        let extension = if chunk.len() % 7 == 0 { ";x=y" } else { "" };
        out.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        rest = behind;
    }
    out.extend(b"0\r\n");
    out.extend(trailer.iter().flat_map(|line| line.bytes().chain(*b"\r\n")));
    out.extend(b"\r\n");
    out
}
