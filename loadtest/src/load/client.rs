//! One request and its answer, checked.

use std::io;
use std::rc::Rc;

use httparse::{EMPTY_HEADER, Response, Status};

use crate::conn::Conn;
use crate::framing::Framing;

/// Bytes of a body that are kept to be checked.
const CHECKED: usize = 300;
/// Headers an answer may have.
const HEADERS_MAX: usize = 64;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer asked for.
    Right,
    /// 200, but not the answer asked for: another domain's body, or a wrong number of bytes.
    Wrong,
    /// Another status.
    Status(u16),
}

/// What the answer must be.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// A body that starts with this domain.
    Domain(&'a str),
    /// A body of this many bytes.
    Bytes(u64),
    /// A small answer that reports having received this many bytes.
    Received(u64),
}

/// An answer and what it says about its connection.
#[derive(Debug)]
pub struct Answer {
    /// Whether it is right.
    pub verdict: Verdict,
    /// Payload bytes of the body.
    pub bytes: u64,
    /// The connection can take another request.
    pub reusable: bool,
}

/// Sends `request` and reads the answer; `on_bytes` is told of payload as it comes.
///
/// # Errors
/// What ended the connection.
pub async fn exchange(
    conn: &mut Conn,
    request: Rc<Vec<u8>>,
    expected: Expected<'_>,
    on_bytes: impl FnMut(u64),
) -> io::Result<Answer> {
    conn.write(request).await?;
    answer(conn, expected, on_bytes).await
}

/// Reads an answer.
///
/// # Errors
/// What ended the connection.
pub async fn answer(conn: &mut Conn, expected: Expected<'_>, mut on_bytes: impl FnMut(u64)) -> io::Result<Answer> {
    let head = loop {
        let Some(head_len) = conn.head().await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let head = parse(&conn.unread()[..head_len])?;
        conn.consume(head_len);
        if head.status >= 200 {
            break head;
        }
    };
    let mut kept = [0; CHECKED];
    let mut kept_len = 0;
    let bytes = conn
        .body(head.framing, |payload| {
            on_bytes(payload.len() as u64);
            let here = payload.len().min(CHECKED - kept_len);
            kept[kept_len..kept_len + here].copy_from_slice(&payload[..here]);
            kept_len += here;
        })
        .await?;
    let right = match expected {
        Expected::Domain(domain) => names(&kept[..kept_len], domain),
        Expected::Bytes(wanted) => bytes == wanted,
        Expected::Received(wanted) => head.received == Some(wanted),
    };
    Ok(Answer {
        verdict: match (head.status, right) {
            (200, true) => Verdict::Right,
            (200, false) => Verdict::Wrong,
            (status, _) => Verdict::Status(status),
        },
        bytes,
        reusable: !head.close && head.framing != Framing::UntilClose,
    })
}

/// Whether `body` begins with the whole name of `domain`.
fn names(body: &[u8], domain: &str) -> bool {
    body.strip_prefix(domain.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
}

/// What a response's head says.
struct Head {
    status: u16,
    framing: Framing,
    close: bool,
    /// `X-Body-Bytes`: how much of the request's body arrived.
    received: Option<u64>,
}

fn parse(head: &[u8]) -> io::Result<Head> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "bad response head");
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    match response.parse(head) {
        Ok(Status::Complete(_)) => (),
        _ => return Err(bad()),
    }
    let status = response.code.unwrap_or(0);
    let mut length = None;
    let mut chunked = false;
    let mut close = response.version == Some(0);
    let mut received = None;
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(number().ok_or_else(bad)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            close |= value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("x-body-bytes") {
            received = number();
        }
    }
    let framing = match (status, chunked, length) {
        (100..200 | 204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilClose,
    };
    Ok(Head { status, framing, close, received })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_named_whole_or_not_at_all() {
        assert!(names(b"d17 ......\n", "d17"));
        assert!(!names(b"d17 ......\n", "d1"));
        assert!(!names(b"d17", "d17"));
        assert!(!names(b"", "d17"));
    }

    #[test]
    fn framing_follows_the_head() {
        let framing = |head: &[u8]| parse(head).unwrap().framing;
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Framing::Length(5));
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Framing::Chunked);
        assert_eq!(framing(b"HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilClose);
        assert_eq!(framing(b"HTTP/1.1 204 \r\n\r\n"), Framing::Length(0));
    }
}
