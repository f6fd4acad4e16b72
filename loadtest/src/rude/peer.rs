//! What rude peers share: connections that block, registrations, and the count of what they did.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Pause after a connection has ended, so that a relay that is gone is not hammered.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a connection or a registration may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head that is read, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// Stack of a peer's thread: its buffers are on the heap.
const STACK: usize = 64 * 1024;

/// All peers of a process: where the relay is, and what they have done.
#[derive(Clone)]
pub struct Rude {
    target: SocketAddr,
    counts: Arc<[AtomicU64; 2]>,
}

impl Rude {
    /// Peers of the relay at `target` that have done nothing yet.
    pub fn new(target: SocketAddr) -> Self {
        Self { target, counts: Arc::default() }
    }

    /// Counts operations: whatever the kind has most of.
    pub fn did(&self, operations: u64) {
        self.counts[0].fetch_add(operations, Relaxed);
    }

    /// Counts bytes received or taken from us.
    pub fn moved(&self, bytes: u64) {
        self.counts[1].fetch_add(bytes, Relaxed);
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.counts[0].load(Relaxed)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.counts[1].load(Relaxed)
    }

    /// A connection to the relay.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.target, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A gateway of `domain`, registered as `ptth`; nothing has been read behind the 101.
    pub fn register(&self, domain: &str) -> io::Result<TcpStream> {
        let mut stream = self.connect()?;
        let host = self.target;
        let request = format!(
            "GET /{domain} HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = read_head(&mut stream)?;
        stream.set_read_timeout(None)?;
        if head.starts_with(b"HTTP/1.1 101 ") {
            return Ok(stream);
        }
        Err(io::Error::other(format!("not registered: {}", String::from_utf8_lossy(&head))))
    }

    /// Does `work` on a thread of its own, again and again.
    pub fn go(&self, work: impl Fn(&Rude) -> io::Result<()> + Send + 'static) {
        let rude = self.clone();
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            loop {
                // Connections that the relay ends are part of the game.
                let _ = work(&rude);
                thread::sleep(PAUSE);
            }
        });
        if let Err(error) = thread {
            eprintln!("ringback-loadtest: one peer less: {error}");
        }
    }
}

/// Reads up to and including a blank line, byte by byte: nothing behind it is touched.
pub fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}
