//! A connection with what has been read from it and not yet used.

use std::io;
use std::net::{IpAddr, SocketAddr};

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

use crate::framing::{ChunkDecoder, Framing};
use crate::pace::Pace;

/// Room for a read when heads are expected, in bytes: an idle connection holds no more.
const SMALL_READ: usize = 1024;
/// Room for a read inside a long body, in bytes.
const BULK_READ: usize = 256 * 1024;
/// The largest head that is read, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A stream and its unread bytes.
pub struct Conn {
    stream: TcpStream,
    /// Bytes read; those before `start` have been used.
    buf: Vec<u8>,
    start: usize,
}

impl Conn {
    /// Takes a connected stream over.
    pub fn new(stream: TcpStream) -> Self {
        // A refusal costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        Self { stream, buf: Vec::new(), start: 0 }
    }

    /// Connects to `to`, from the address `source` if one is given.
    ///
    /// A source address of its own gives a process its own 28,000 local ports.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let stream = match source {
            None => TcpStream::connect_addr(to).await?,
            Some(source) => connect_from(to, source).await?,
        };
        Ok(Self::new(stream))
    }

    /// Keeps what is written from now on to a rate.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keep_to(&self, pace: Pace) -> io::Result<()> {
        pace.apply(&self.stream)
    }

    /// The bytes read and not used.
    pub fn unread(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// Marks the first `count` unread bytes as used.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.buf.len());
        if self.start == self.buf.len() {
            self.buf.clear();
            self.start = 0;
        }
    }

    /// Reads what there is, at least one byte; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn fill(&mut self, room: usize) -> io::Result<usize> {
        let mut buf = std::mem::take(&mut self.buf);
        if self.start > 0 {
            buf.drain(..self.start);
            self.start = 0;
        }
        let used = buf.len();
        buf.reserve(room);
        let (result, slice) = self.stream.read(buf.slice_mut(used..)).await;
        self.buf = slice.into_inner();
        result
    }

    /// Reads until a whole head, blank line included, is unread; gives its length, or `None` at a clean end.
    ///
    /// # Errors
    /// `UnexpectedEof` inside a head, `InvalidData` when it grows too long, or what the kernel says.
    pub async fn head(&mut self) -> io::Result<Option<usize>> {
        let mut searched = 0;
        loop {
            let unread = self.unread();
            if let Some(at) = memchr::memmem::find(&unread[searched..], b"\r\n\r\n") {
                return Ok(Some(searched + at + 4));
            }
            searched = unread.len().saturating_sub(3);
            if unread.len() > HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "head too long"));
            }
            if self.fill(SMALL_READ).await? == 0 {
                return match self.unread() {
                    [] => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// Reads up to and including a line feed, for tunnels; `None` at a clean end.
    ///
    /// # Errors
    /// As [`Conn::head`].
    pub async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.unread()) {
                let line = String::from_utf8_lossy(&self.unread()[..at]).into_owned();
                self.consume(at + 1);
                return Ok(Some(line));
            }
            if self.unread().len() > HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            if self.fill(SMALL_READ).await? == 0 {
                return match self.unread() {
                    [] => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// Reads a whole body, hands its payload to `payload`, and gives the payload's length in bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends first, `InvalidData` on bad chunks.
    pub async fn body(&mut self, framing: Framing, mut payload: impl FnMut(&[u8])) -> io::Result<u64> {
        match framing {
            Framing::Length(length) => self.body_by_length(length, &mut payload).await,
            Framing::Chunked => self.body_by_chunks(&mut payload).await,
            Framing::UntilClose => self.body_until_close(&mut payload).await,
        }
    }

    async fn body_by_length(&mut self, length: u64, payload: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut left = length;
        while left > 0 {
            if self.unread().is_empty() {
                let room = BULK_READ.min((left as usize).max(SMALL_READ));
                if self.fill(room).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let here = left.min(self.unread().len() as u64) as usize;
            payload(&self.unread()[..here]);
            self.consume(here);
            left -= here as u64;
        }
        self.give_back();
        Ok(length)
    }

    async fn body_by_chunks(&mut self, payload: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut decoder = ChunkDecoder::default();
        let mut length = 0;
        let mut room = SMALL_READ;
        loop {
            let taken = decoder.feed(self.unread(), |bytes| {
                length += bytes.len() as u64;
                payload(bytes);
            })?;
            self.consume(taken);
            if decoder.is_done() {
                self.give_back();
                return Ok(length);
            }
            if self.fill(room).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            room = BULK_READ;
        }
    }

    async fn body_until_close(&mut self, payload: &mut impl FnMut(&[u8])) -> io::Result<u64> {
        let mut length = 0;
        loop {
            let here = self.unread().len();
            payload(self.unread());
            length += here as u64;
            self.consume(here);
            if self.fill(BULK_READ).await? == 0 {
                return Ok(length);
            }
        }
    }

    /// Gives a bulk buffer back once nothing is in it, so an idle connection stays small.
    fn give_back(&mut self) {
        if self.buf.is_empty() && self.buf.capacity() > BULK_READ {
            self.buf = Vec::new();
        }
    }

    /// Writes all of `bytes` and gives the buffer back.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn write<T: IoBuf + 'static>(&mut self, bytes: T) -> io::Result<T> {
        let (result, bytes) = self.stream.write_all(bytes).await;
        result.map(|_| bytes)
    }

    /// Says that nothing more will be written.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }
}

/// Connects from an address of the caller's choice without blocking the ring.
async fn connect_from(to: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(to);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => (),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let twin = socket.try_clone()?;
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable(false).await?;
    if let Some(error) = twin.take_error()? {
        return Err(error);
    }
    // A ring reports EAGAIN on a non-blocking socket instead of waiting.
    twin.set_nonblocking(false)?;
    Ok(stream)
}
