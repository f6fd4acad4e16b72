//! Message heads as they arrive: the only place where the gateway and the tunnel client parse them.
use std::io;

use memchr::memchr_iter;
use tokio::io::AsyncRead;

use super::buffer::Buffer;
use crate::http::{
    HEADERS_MAX, Method, Parse, Refusal, RequestHead, ResponseHead, request,
    response::{self, NotAResponse},
};

/// Most header fields of a response from the target: cookie-laden applications have hundreds. The parser may have a
/// lower limit of its own.
pub(super) const RESPONSE_FIELDS_MAX: usize = 512;

/// Reads a request's head into `buffer` and leaves it there; None at the end of `source` before its first byte.
///
/// # Errors
/// Those of the source, and [`io::ErrorKind::UnexpectedEof`] inside the head.
pub(super) async fn request(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut Buffer,
) -> io::Result<Option<Result<RequestHead, Refusal>>> {
    let head = read(source, buffer, |bytes| request::parse(bytes, HEADERS_MAX)).await?;
    match (head, buffer.is_empty()) {
        (None, false) => Err(io::ErrorKind::UnexpectedEof.into()),
        (head, _) => Ok(head),
    }
}

/// Reads the head of a response to `method` into `buffer` and leaves it there; None at the end of `source`.
///
/// # Errors
/// Those of the source.
pub(super) async fn response(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut Buffer,
    method: Method,
) -> io::Result<Option<Result<ResponseHead, NotAResponse>>> {
    read(source, buffer, |bytes| response::parse(bytes, method, RESPONSE_FIELDS_MAX)).await
}

/// Reads until `parse` has found a head or an error; None at the end of `source` before that.
async fn read<T, E>(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut Buffer,
    parse: impl Fn(&[u8]) -> Result<Parse<T>, E>,
) -> io::Result<Option<Result<T, E>>> {
    let mut arrival = Arrival::default();
    loop {
        if arrival.is_worth_parsing(buffer.filled()) {
            match parse(buffer.filled()) {
                Ok(Parse::Complete(head)) => return Ok(Some(Ok(head))),
                Ok(Parse::Partial) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
        }
        if buffer.fill(source).await? == 0 {
            return Ok(None);
        }
    }
}

/// Decides when to parse a head that comes in pieces, so that the work is linear in its length whatever the pieces:
/// when an empty line has come, because that may be its end, and when it has doubled since, so that what cannot
/// become a head is found out early.
#[derive(Debug, Default)]
struct Arrival {
    /// Bytes that were searched for an empty line.
    searched: usize,
    /// Bytes that were there when the head was last parsed.
    parsed: usize,
}

impl Arrival {
    /// Whether parsing `bytes`, all that have come so far, may say more than it did the last time.
    fn is_worth_parsing(&mut self, bytes: &[u8]) -> bool {
        // Two bytes back: the line feed before CR LF may have been the last byte but one.
        let from = self.searched.saturating_sub(2);
        let new = self.searched.saturating_sub(from);
        let fresh = &bytes[from..];
        let ended = memchr_iter(b'\n', fresh).any(|at| match fresh[at + 1..] {
            [b'\n', ..] => at + 1 >= new,
            [b'\r', b'\n', ..] => at + 2 >= new,
            _ => false,
        });
        self.searched = bytes.len();
        let worth = bytes.len() > self.parsed && (ended || bytes.len() >= 2 * self.parsed);
        if worth {
            self.parsed = bytes.len();
        }
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a head is parsed until it is complete, when it comes in pieces of so many bytes.
    fn parses(head: &[u8], piece: usize) -> usize {
        let mut arrival = Arrival::default();
        let ends = (piece..head.len()).step_by(piece).chain([head.len()]);
        let mut worth = ends.map(|end| arrival.is_worth_parsing(&head[..end])).collect::<Vec<_>>();
        assert_eq!(worth.pop(), Some(true), "the end is seen");
        worth.into_iter().filter(|worth| *worth).count() + 1
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_parsed_a_few_times_only() {
        for line_end in ["\r\n", "\n"] {
            let fields = format!("X-Field: value{line_end}").repeat(4000);
            let head = format!("HTTP/1.1 200 OK{line_end}{fields}{line_end}");
            for piece in [1, 2, 3, 7, 1000] {
                assert!(parses(head.as_bytes(), piece) <= 18);
            }
            assert_eq!(parses(head.as_bytes(), head.len()), 1);
        }
    }

    #[test]
    fn an_end_is_found_however_it_is_split() {
        let head = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
        for split in 1..head.len() {
            let mut arrival = Arrival::default();
            arrival.is_worth_parsing(&head[..split]);
            assert!(arrival.is_worth_parsing(head), "split at {split}");
        }
    }

    #[test]
    fn an_empty_line_is_found_only_once() {
        let mut arrival = Arrival::default();
        assert!(arrival.is_worth_parsing(b"\r\n\r\nGET / HTTP/1.1\r\n"));
        assert!(!arrival.is_worth_parsing(b"\r\n\r\nGET / HTTP/1.1\r\nA"));
        let mut arrival = Arrival::default();
        assert!(arrival.is_worth_parsing(b"\r\n\r\n"));
        assert!(!arrival.is_worth_parsing(b"\r\n\r\nG"));
        assert!(!arrival.is_worth_parsing(b"\r\n\r\nGE"));
    }
}
