//! Where a message's body ends: by length, by chunks, or with the connection.

use std::io;

/// How the bytes behind a head are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes follow.
    Length(u64),
    /// Chunks follow, up to the empty one and its trailers.
    Chunked,
    /// Everything up to the end of the connection.
    UntilClose,
}

/// Where a [`ChunkDecoder`] stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hexadecimal digits of a chunk's size.
    Size,
    /// Behind the size, in a chunk extension or before the line feed.
    SizeEnd,
    /// This many bytes of the chunk are still to come.
    Data(u64),
    /// In the line end behind a chunk's bytes.
    DataEnd,
    /// In the trailers; true while the present line is still empty.
    Trailer { empty: bool },
    /// Behind the last line.
    Done,
}

/// Takes chunked coding apart, whatever the pieces it arrives in.
#[derive(Debug)]
pub struct ChunkDecoder {
    state: State,
    /// The chunk size read so far.
    size: u64,
    /// Whether the size has at least one digit.
    digits: bool,
}

impl Default for ChunkDecoder {
    fn default() -> Self {
        Self { state: State::Size, size: 0, digits: false }
    }
}

impl ChunkDecoder {
    /// Takes what it can from `input`, hands the payload to `payload`, and says how many bytes it took.
    ///
    /// It takes everything unless the body ends within `input`; see [`ChunkDecoder::is_done`].
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not chunked coding.
    pub fn feed(&mut self, input: &[u8], mut payload: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let here = left.min((input.len() - at) as u64) as usize;
                payload(&input[at..at + here]);
                at += here;
                self.state = match left - here as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
            } else {
                self.step(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the empty chunk and the trailers have been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One byte that is not payload.
    fn step(&mut self, byte: u8) -> io::Result<()> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                let size = self.size.checked_mul(16).ok_or_else(bad_chunk)?;
                self.size = size + u64::from(digit);
                self.digits = true;
                State::Size
            }
            (State::Size, b'\r' | b';') if self.digits => State::SizeEnd,
            (State::SizeEnd, b'\n') => self.begin_chunk(),
            (State::SizeEnd, _) => State::SizeEnd,
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size,
            (State::Trailer { empty: true }, b'\n') => State::Done,
            (State::Trailer { .. }, b'\n') => State::Trailer { empty: true },
            (State::Trailer { empty }, b'\r') => State::Trailer { empty },
            (State::Trailer { .. }, _) => State::Trailer { empty: false },
            _ => return Err(bad_chunk()),
        };
        Ok(())
    }

    /// The size line is complete.
    fn begin_chunk(&mut self) -> State {
        let size = std::mem::take(&mut self.size);
        self.digits = false;
        match size {
            0 => State::Trailer { empty: true },
            size => State::Data(size),
        }
    }
}

fn bad_chunk() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "bad chunked coding")
}

/// `bytes` as chunked coding in one piece, without the empty chunk at the end.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

/// The empty chunk that ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], piece: usize) -> (Vec<u8>, usize, bool) {
        let (mut decoder, mut payload, mut taken) = (ChunkDecoder::default(), Vec::new(), 0);
        for part in input.chunks(piece) {
            taken += decoder.feed(part, |bytes| payload.extend_from_slice(bytes)).unwrap();
        }
        (payload, taken, decoder.is_done())
    }

    #[test]
    fn any_split_gives_the_same_payload_and_end() {
        let body = b"5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
        let mut input = body.to_vec();
        input.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        for piece in 1..input.len() {
            let (payload, taken, done) = decode(&input, piece);
            assert_eq!(payload, b"hello0123456789");
            assert_eq!(taken, body.len());
            assert!(done);
        }
    }

    #[test]
    fn a_size_that_is_not_hexadecimal_is_refused() {
        let mut decoder = ChunkDecoder::default();
        assert!(decoder.feed(b"xyz\r\n", |_| ()).is_err());
        let mut decoder = ChunkDecoder::default();
        assert!(decoder.feed(b"\r\n", |_| ()).is_err());
    }

    #[test]
    fn what_is_chunked_is_unchunked() {
        let mut wire = chunk(&[7; 300]);
        wire.extend_from_slice(LAST_CHUNK);
        let (payload, taken, done) = decode(&wire, 11);
        assert_eq!((payload, taken, done), (vec![7; 300], wire.len(), true));
    }
}
