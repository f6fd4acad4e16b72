//! The program behind every gateway and origin: answers at once, with bodies of any size.
//!
//! `/…/bytes/N` is answered with N bytes by length, `/…/chunked/N` with N bytes in chunks, `CONNECT` with a tunnel
//! in which the line `GET n` asks for n bytes and `PUT n` announces n bytes; everything else with a small body
//! that starts with the name of the domain.

use std::io;

use httparse::{EMPTY_HEADER, Request, Status};

use crate::conn::Conn;
use crate::framing::{Framing, LAST_CHUNK, chunk};
use crate::pace::Pace;

/// Bytes handed to the kernel in one write of a long body.
const BULK_WRITE: usize = 256 * 1024;
/// Payload of one chunk of a long chunked body, in bytes, unless it is paced.
const CHUNK: usize = 64 * 1024;
/// Headers a request may have.
const HEADERS_MAX: usize = 64;

/// What the answers of one process have in common.
pub struct Style {
    /// Length of the small body in bytes; a longer domain name makes it longer.
    pub response_bytes: usize,
    /// Small bodies are chunked.
    pub chunked: bool,
    /// Every answer closes its connection.
    pub close: bool,
    /// Rate that each connection keeps to.
    pace: Option<Pace>,
    /// Payload of one chunk of a long chunked body, in bytes.
    chunk: usize,
    /// Payload of long bodies.
    bulk: &'static [u8],
    /// The same, in chunks.
    bulk_chunks: &'static [u8],
}

impl Style {
    /// Prepares the payload; called once a process.
    pub fn new(response_bytes: usize, chunked: bool, close: bool, pace: Option<Pace>) -> Self {
        let bulk: Vec<u8> = (0..BULK_WRITE).map(|i| b'a' + (i % 23) as u8).collect();
        // Who makes data at a rate sends it as it is made.
        let chunk_bytes = pace.map_or(CHUNK, |pace| pace.piece(CHUNK));
        let bulk_chunks = bulk.chunks(chunk_bytes).flat_map(chunk).collect::<Vec<u8>>();
        Self {
            response_bytes,
            chunked,
            close,
            pace,
            chunk: chunk_bytes,
            bulk: bulk.leak(),
            bulk_chunks: bulk_chunks.leak(),
        }
    }

    /// The small body for `domain`.
    fn body(&self, domain: &str) -> Vec<u8> {
        let mut body = format!("{domain} ").into_bytes();
        body.resize(self.response_bytes.max(body.len() + 1) - 1, b'.');
        body.push(b'\n');
        body
    }

    /// A whole small answer; `received` is the length of the request's body if it had one.
    fn small(&self, domain: &str, received: Option<u64>, close: bool, head_only: bool) -> Vec<u8> {
        let body = self.body(domain);
        let mut out = b"HTTP/1.1 200 OK\r\n".to_vec();
        if let Some(received) = received {
            out.extend_from_slice(format!("X-Body-Bytes: {received}\r\n").as_bytes());
        }
        if close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        if self.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        } else {
            out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        }
        match (head_only, self.chunked) {
            (true, _) => (),
            (false, true) => {
                out.extend_from_slice(&chunk(&body));
                out.extend_from_slice(LAST_CHUNK);
            }
            (false, false) => out.extend_from_slice(&body),
        }
        out
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Small,
    Bytes(u64),
    Chunked(u64),
    Tunnel,
}

/// A request's head, as far as the answer depends on it.
#[derive(Debug)]
struct Asked {
    route: Route,
    /// The body; `None` when the request has none.
    body: Option<Framing>,
    head_only: bool,
    close: bool,
    expects_continue: bool,
    /// First path segment, kept only when the answer must name it.
    domain: Option<String>,
}

/// Serves `conn` until it ends. `name` is the domain to answer for; without it, the request's first path segment.
///
/// `on_first` is called when the first byte of the first request is there.
///
/// # Errors
/// What ended the connection in the middle of an exchange.
pub async fn serve(conn: &mut Conn, style: &Style, name: Option<&str>, mut on_first: impl FnMut()) -> io::Result<()> {
    if let Some(pace) = style.pace {
        conn.keep_to(pace)?;
    }
    // The answer to a request without a body is the same every time: built once, written many times.
    let mut ready = name.map(|name| style.small(name, None, style.close, false));
    loop {
        let Some(head_len) = conn.head().await? else {
            return Ok(());
        };
        on_first();
        let asked = parse(&conn.unread()[..head_len], name.is_none())?;
        conn.consume(head_len);
        if asked.expects_continue {
            conn.write(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]).await?;
        }
        let received = match asked.body {
            None => None,
            Some(framing) => Some(conn.body(framing, |_| ()).await?),
        };
        let close = style.close || asked.close;
        match asked.route {
            Route::Tunnel => {
                conn.write(&b"HTTP/1.1 200 OK\r\n\r\n"[..]).await?;
                return tunnel(conn, style).await;
            }
            Route::Bytes(length) => by_length(conn, style, length, close).await?,
            Route::Chunked(length) => by_chunks(conn, style, length, close).await?,
            Route::Small => {
                let usual = received.is_none() && close == style.close && !asked.head_only;
                match ready.take() {
                    Some(bytes) if usual => ready = Some(conn.write(bytes).await?),
                    kept => {
                        ready = kept;
                        let domain = name.or(asked.domain.as_deref()).unwrap_or("");
                        conn.write(style.small(domain, received, close, asked.head_only)).await?;
                    }
                }
            }
        }
        if close {
            conn.finish().await;
            return Ok(());
        }
    }
}

/// Reads a request head.
fn parse(head: &[u8], wants_domain: bool) -> io::Result<Asked> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => (),
        _ => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bad request head"));
        }
    }
    let method = request.method.unwrap_or("");
    let path = request.path.unwrap_or("");
    let mut asked = Asked {
        route: route(method, path),
        body: None,
        head_only: method == "HEAD",
        close: request.version == Some(0),
        expects_continue: false,
        domain: wants_domain.then(|| path.split('/').nth(1).unwrap_or("").to_owned()),
    };
    for header in request.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).unwrap_or("");
            let length = text.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            asked.body = Some(Framing::Length(length));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            asked.body = Some(Framing::Chunked);
        } else if header.name.eq_ignore_ascii_case("connection") {
            asked.close |= value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("expect") {
            asked.expects_continue = true;
        }
    }
    Ok(asked)
}

/// What the path asks for.
fn route(method: &str, path: &str) -> Route {
    if method == "CONNECT" {
        return Route::Tunnel;
    }
    let mut segments = path.rsplit('/');
    let count = segments.next().and_then(|count| count.parse().ok());
    match (segments.next(), count) {
        (Some("bytes"), Some(count)) => Route::Bytes(count),
        (Some("chunked"), Some(count)) => Route::Chunked(count),
        _ => Route::Small,
    }
}

fn bulk_head(framing: &str, close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\n{close}{framing}\r\n\r\n").into_bytes()
}

async fn by_length(conn: &mut Conn, style: &Style, length: u64, close: bool) -> io::Result<()> {
    conn.write(bulk_head(&format!("Content-Length: {length}"), close)).await?;
    source(conn, style, length).await
}

/// Writes `length` bytes of payload.
async fn source(conn: &mut Conn, style: &Style, length: u64) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let here = left.min(style.bulk.len() as u64);
        conn.write(&style.bulk[..here as usize]).await?;
        left -= here;
    }
    Ok(())
}

async fn by_chunks(conn: &mut Conn, style: &Style, length: u64, close: bool) -> io::Result<()> {
    conn.write(bulk_head("Transfer-Encoding: chunked", close)).await?;
    let mut left = length;
    while left >= BULK_WRITE as u64 {
        conn.write(style.bulk_chunks).await?;
        left -= BULK_WRITE as u64;
    }
    let mut rest = Vec::new();
    for part in style.bulk[..left as usize].chunks(style.chunk) {
        rest.extend(chunk(part));
    }
    rest.extend_from_slice(LAST_CHUNK);
    conn.write(rest).await.map(drop)
}

/// Lines of `GET n` and `PUT n`, until the other side ends.
async fn tunnel(conn: &mut Conn, style: &Style) -> io::Result<()> {
    while let Some(line) = conn.line().await? {
        let (verb, count) = line.trim().split_once(' ').unwrap_or((&line, ""));
        let count = count.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        match verb {
            "GET" => source(conn, style, count).await?,
            "PUT" => {
                conn.body(Framing::Length(count), |_| ()).await?;
                conn.write(format!("OK {count}\n").into_bytes()).await?;
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_says_what_is_wanted() {
        assert_eq!(route("GET", "/d1/x"), Route::Small);
        assert_eq!(route("GET", "/d1/bytes/42"), Route::Bytes(42));
        assert_eq!(route("GET", "/bytes/42"), Route::Bytes(42));
        assert_eq!(route("GET", "/d1/chunked/7"), Route::Chunked(7));
        assert_eq!(route("GET", "/d1/bytes/x"), Route::Small);
        assert_eq!(route("CONNECT", "/d1"), Route::Tunnel);
    }

    #[test]
    fn a_small_body_has_the_length_asked_for_and_names_its_domain() {
        let style = Style::new(29, false, false, None);
        let body = style.body("d17");
        assert_eq!(body.len(), 29);
        assert!(body.starts_with(b"d17 "));
        assert!(Style::new(1, false, false, None).body("d17").starts_with(b"d17 "));
    }
}
