//! Peers that are rude by the amount each of them sends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::peer::{Rude, read_head};
use crate::framing::chunk;

/// Bytes written at once by those who pipeline.
const AT_ONCE: usize = 1 << 20;
/// Bytes written at once by those who transfer, and read at once by all.
const BLOCK: usize = 256 << 10;
/// The length that transfers by length announce: more than any of them gets through.
const ENDLESS: u64 = 1 << 50;
/// How long gateways may take to register, all together.
const REGISTRATIONS: Duration = Duration::from_secs(20);

/// `unit` as often as it fits into `bytes`.
fn repeated(unit: &[u8], bytes: usize) -> Vec<u8> {
    unit.repeat((bytes / unit.len()).max(1))
}

/// Reads and counts until the stream ends.
fn discard(rude: &Rude, stream: &mut TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BLOCK];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            count => rude.moved(count as u64),
        }
    }
}

/// One connection that writes a mebibyte of requests for `domain` at a time, and reads what comes.
pub fn pipelined(rude: &Rude, domain: &str) {
    let request = format!("GET /{domain}/ HTTP/1.1\r\nHost: r\r\n\r\n");
    let block = repeated(request.as_bytes(), AT_ONCE);
    let count = (block.len() / request.len()) as u64;
    rude.go(move |rude| {
        let mut stream = rude.connect()?;
        let mut answers = stream.try_clone()?;
        let reader = rude.clone();
        let reading = thread::spawn(move || {
            let _ = discard(&reader, &mut answers);
            // The relay has closed: the writer is to know it, too.
            let _ = answers.shutdown(Shutdown::Both);
        });
        while stream.write_all(&block).is_ok() {
            rude.did(count);
        }
        let _ = stream.shutdown(Shutdown::Both);
        let _ = reading.join();
        Ok(())
    });
}

/// [`pipelined`] requests, and the gateway that answers them.
pub fn served(rude: &Rude) -> io::Result<()> {
    gateways(rude, &["rude".to_owned()], |_, mut stream| {
        let mut buf = vec![0; BLOCK];
        let mut line_ends = 0;
        loop {
            let count = stream.read(&mut buf)?;
            if count == 0 {
                return Ok(());
            }
            let mut answers = Vec::new();
            for &byte in &buf[..count] {
                // CR LF CR LF ends a request; none has a body.
                line_ends = match (byte, line_ends) {
                    (b'\r', 0 | 2) | (b'\n', 1 | 3) => line_ends + 1,
                    (b'\r', _) => 1,
                    _ => 0,
                };
                if line_ends == 4 {
                    line_ends = 0;
                    answers.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            }
            stream.write_all(&answers)?;
        }
    })?;
    pipelined(rude, "rude");
    Ok(())
}

/// A gateway that answers its one request with interim responses for ever, and the client that asked.
pub fn interim(rude: &Rude) -> io::Result<()> {
    let one = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    let block = repeated(one, AT_ONCE);
    let count = (block.len() / one.len()) as u64;
    gateways(rude, &["rude".to_owned()], move |rude, mut stream| {
        read_head(&mut stream)?;
        loop {
            stream.write_all(&block)?;
            rude.did(count);
        }
    })?;
    rude.go(|rude| {
        let mut stream = rude.connect()?;
        stream.write_all(b"GET /rude/ HTTP/1.1\r\nHost: r\r\n\r\n")?;
        discard(rude, &mut stream)
    });
    Ok(())
}

/// How a transfer's bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// By a length that is never reached.
    Length,
    /// In chunks of this many bytes.
    Chunks(usize),
    /// Not at all, behind CONNECT.
    Tunnel,
}

/// What the transfers of one kind send.
pub struct Bulk {
    body: Body,
    /// What is written again and again.
    block: Vec<u8>,
}

impl Bulk {
    /// The transfers of a kind.
    pub fn new(body: Body) -> Self {
        let block = match body {
            Body::Chunks(size) => repeated(&chunk(&vec![b'x'; size]), BLOCK),
            _ => vec![b'x'; BLOCK],
        };
        Self { body, block }
    }

    fn framing(&self) -> String {
        match self.body {
            Body::Length => format!("Content-Length: {ENDLESS}\r\n"),
            Body::Chunks(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
            Body::Tunnel => String::new(),
        }
    }

    fn request(&self, domain: &str, upload: bool) -> String {
        match (self.body, upload) {
            (Body::Tunnel, _) => format!("CONNECT /{domain} HTTP/1.1\r\nHost: r\r\n\r\n"),
            (_, true) => format!("POST /{domain}/ HTTP/1.1\r\nHost: r\r\n{}\r\n", self.framing()),
            (_, false) => format!("GET /{domain}/ HTTP/1.1\r\nHost: r\r\n\r\n"),
        }
    }

    /// Sends for ever.
    fn send(&self, rude: &Rude, stream: &mut TcpStream) -> io::Result<()> {
        loop {
            stream.write_all(&self.block)?;
            rude.did(1);
        }
    }
}

/// `flows` transfers, each from its own client or to it; every second one is an upload.
pub fn bulk(rude: &Rude, flows: usize, bulk: &Bulk) -> io::Result<()> {
    let bulk = Arc::new(Bulk { body: bulk.body, block: bulk.block.clone() });
    let is_upload = |flow: usize| flow % 2 == 1;
    for upload in [false, true] {
        let domains: Vec<String> =
            (0..flows).filter(|flow| is_upload(*flow) == upload).map(|flow| format!("rude-{flow}")).collect();
        let bulk = bulk.clone();
        gateways(rude, &domains, move |rude, mut stream| {
            read_head(&mut stream)?;
            match (bulk.body, upload) {
                (Body::Tunnel, _) => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?,
                (_, false) => stream.write_all(format!("HTTP/1.1 200 OK\r\n{}\r\n", bulk.framing()).as_bytes())?,
                // Never answered: it never ends.
                (_, true) => (),
            }
            if upload { discard(rude, &mut stream) } else { bulk.send(rude, &mut stream) }
        })?;
    }
    for flow in 0..flows {
        let bulk = bulk.clone();
        rude.go(move |rude| {
            let mut stream = rude.connect()?;
            stream.write_all(bulk.request(&format!("rude-{flow}"), is_upload(flow)).as_bytes())?;
            if bulk.body == Body::Tunnel {
                read_head(&mut stream)?;
            }
            if is_upload(flow) { bulk.send(rude, &mut stream) } else { discard(rude, &mut stream) }
        });
    }
    Ok(())
}

/// Gateways of `domains`, each of which does `serve` with its connection and then registers anew. All have been
/// registered once when this returns.
pub fn gateways(
    rude: &Rude,
    domains: &[String],
    serve: impl Fn(&Rude, TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<()> {
    let serve = Arc::new(serve);
    let (registered, all) = channel();
    for domain in domains {
        let (domain, serve, registered) = (domain.clone(), serve.clone(), registered.clone());
        rude.go(move |rude| {
            let stream = rude.register(&domain)?;
            let _ = registered.send(());
            serve(rude, stream)
        });
    }
    for _ in domains {
        all.recv_timeout(REGISTRATIONS).map_err(|_| io::Error::other("the relay does not take the gateways"))?;
    }
    Ok(())
}
