//! A polite client: one small request at a time on one kept connection, with a pause behind each answer.
//!
//! What it waits is what the relay's other peers make it wait. It blocks, on a thread of its own, so that nothing of
//! the load generator's own lies between its clock and the socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::runtime;

/// Longest wait that is told from longer ones, in microseconds.
const WAIT_MAX_MICROS: u64 = 60_000_000;
/// Pause after a connection has failed.
const PAUSE: Duration = Duration::from_millis(10);

/// Arguments of `polite`.
#[derive(Args, Clone, Debug)]
pub struct PoliteArgs {
    /// Where the relay listens
    #[arg(long)]
    target: SocketAddr,
    /// Domain to ask for
    #[arg(long, default_value = "d0")]
    domain: String,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Milliseconds between an answer and the next request
    #[arg(long, default_value_t = 1.0)]
    pause: f64,
    /// Seconds after which an answer is given up
    #[arg(long, default_value_t = 10.0)]
    patience: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Waits {
    samples: u64,
    /// Answers that did not come or were not 200, and connections that failed.
    errors: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// Asks until the time is up and prints the waits as JSON.
///
/// # Errors
/// When no connection could ever be opened.
pub fn run(args: &PoliteArgs) -> io::Result<()> {
    runtime::die_with_parent();
    let request = format!("GET /{}/x HTTP/1.1\r\nHost: {}\r\n\r\n", args.domain, args.target).into_bytes();
    let mut waits = Histogram::<u64>::new_with_max(WAIT_MAX_MICROS, 3).map_err(io::Error::other)?;
    let mut errors = 0;
    let mut stream = None;
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    while Instant::now() < until {
        let began = Instant::now();
        match ask(args, &mut stream, &request) {
            Ok(()) => {
                waits.saturating_record(began.elapsed().as_micros() as u64);
                thread::sleep(Duration::from_secs_f64(args.pause / 1e3));
            }
            Err(_) => {
                // It waited all the same.
                waits.saturating_record(began.elapsed().as_micros() as u64);
                errors += 1;
                stream = None;
                thread::sleep(PAUSE);
            }
        }
    }
    let at = |quantile| waits.value_at_quantile(quantile) as f64 / 1e3;
    let found =
        Waits { samples: waits.len(), errors, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: waits.max() as f64 / 1e3 };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// One request and its answer, on the connection there is or a new one.
fn ask(args: &PoliteArgs, stream: &mut Option<TcpStream>, request: &[u8]) -> io::Result<()> {
    let patience = Duration::from_secs_f64(args.patience);
    if stream.is_none() {
        let new = TcpStream::connect_timeout(&args.target, patience)?;
        new.set_nodelay(true)?;
        new.set_read_timeout(Some(patience))?;
        new.set_write_timeout(Some(patience))?;
        *stream = Some(new);
    }
    let Some(stream) = stream else { return Err(io::ErrorKind::NotConnected.into()) };
    stream.write_all(request)?;
    let mut buf = [0; 4096];
    let mut held = 0;
    loop {
        let count = stream.read(&mut buf[held..])?;
        held += count;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = whole(&buf[..held])? {
            return if end == held { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
    }
}

/// Where the answer ends, if all of it is there.
fn whole(bytes: &[u8]) -> io::Result<Option<usize>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not the answer asked for");
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(|_| bad())? {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return Ok(None),
    };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    match (response.code, length) {
        (Some(200), Some(length)) => Ok((bytes.len() >= head + length).then_some(head + length)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        for end in 0..answer.len() {
            assert_eq!(whole(&answer[..end]).unwrap(), None);
        }
        assert_eq!(whole(answer).unwrap(), Some(answer.len()));
        assert!(whole(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\nab").is_err());
    }
}
