//! A connection of the gateway or the tunnel client: TCP, or TLS on top of it.
use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::socket::has_read;
use super::trust;

/// A connection. Both of its directions may be in use at the same time, each by one task.
#[derive(Debug)]
pub(super) struct Link {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
}

#[derive(Debug)]
struct Tls {
    connection: Mutex<ClientConnection>,
    /// Its end must not be taken for one in order.
    reset: AtomicBool,
}

impl Link {
    /// Bytes as they are.
    pub fn plain(tcp: TcpStream) -> Link {
        Link { tcp, tls: None }
    }

    /// Shakes hands with the server of that name or address.
    ///
    /// # Errors
    /// Those of the connection; a certificate that is not for `host`, or by nobody who is trusted.
    pub async fn secure(tcp: TcpStream, config: &Arc<ClientConfig>, host: &str) -> io::Result<Link> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let tls = Tls { connection: Mutex::new(connection), reset: AtomicBool::new(false) };
        let link = Link { tcp, tls: Some(Box::new(tls)) };
        while link.advance()? {
            link.tcp.readable().await?;
        }
        std::future::poll_fn(|context| Pin::new(&mut End(&link)).poll_flush(context)).await?;
        Ok(link)
    }

    /// Takes the handshake as far as it goes. Whether it waits for the server.
    fn advance(&self) -> io::Result<bool> {
        let Some(mut connection) = self.connection() else { return Ok(false) };
        loop {
            let sent = write_out(&mut connection, &self.tcp);
            if !connection.is_handshaking() {
                return sent.or_else(|error| if would_block(&error) { Ok(()) } else { Err(error) }).map(|()| false);
            }
            match connection.read_tls(&mut Now(&self.tcp)) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended during the TLS handshake")),
                Ok(_) => process(&mut connection, &self.tcp)?,
                Err(error) if would_block(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// The TCP connection, for its options, and for whether it has ended.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The TCP connection, if its bytes are those that are meant.
    pub fn bare(&self) -> Option<&TcpStream> {
        self.tls.is_none().then_some(&self.tcp)
    }

    /// Whether it is TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    fn connection(&self) -> Option<MutexGuard<'_, ClientConnection>> {
        self.tls.as_ref().map(|tls| tls.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ready when there is probably something to read, or an end.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn readable(&self) -> io::Result<()> {
        if let Some(mut connection) = self.connection()
            && connection.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
        {
            return Ok(());
        }
        self.tcp.readable().await
    }

    /// Appends what there is right now.
    ///
    /// # Errors
    /// Those of the connection, and [`io::ErrorKind::WouldBlock`] when there is nothing.
    pub fn try_read_buf(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        let Some(mut connection) = self.connection() else {
            let room = into.capacity() - into.len();
            let read = self.tcp.try_read_buf(into)?;
            has_read(&self.tcp, read, room);
            return Ok(read);
        };
        let before = into.len();
        into.resize(into.capacity(), 0);
        let read = read_now(&mut connection, &self.tcp, &mut into[before..]);
        into.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Whether it is still open, and nothing has come that nobody asked for.
    pub fn is_quiet(&self) -> bool {
        let mut room = [0];
        match self.connection() {
            // Session tickets are no message.
            Some(mut connection) => {
                read_now(&mut connection, &self.tcp, &mut room).is_err_and(|error| would_block(&error))
            }
            // Asks the kernel, not the event loop, which may not have heard yet.
            None => {
                let peeked = SockRef::from(&self.tcp).peek(&mut [std::mem::MaybeUninit::uninit(); 1]);
                let quiet = peeked.is_err_and(|error| would_block(&error));
                if quiet {
                    super::socket::has_read_all(&self.tcp);
                }
                quiet
            }
        }
    }

    /// Has the drop reset the connection, so that the peer does not take it for an end in order.
    pub fn reset_on_drop(&self) {
        if let Some(tls) = &self.tls {
            tls.reset.store(true, Relaxed);
        }
        super::socket::reset_on_drop(&self.tcp);
    }
}

impl Drop for Link {
    /// Says close_notify: without it the peer would have to take what it got for incomplete.
    fn drop(&mut self) {
        if let Some(tls) = &self.tls
            && !tls.reset.load(Relaxed)
            && let Some(mut connection) = self.connection()
        {
            connection.send_close_notify();
            let _as_far_as_there_is_room = write_out(&mut connection, &self.tcp);
        }
    }
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Opens what was received. What the server has to be told of a failure is sent, if there is room for it.
fn process(connection: &mut ClientConnection, tcp: &TcpStream) -> io::Result<()> {
    connection.process_new_packets().map(|_| ()).map_err(|error| {
        let _it_fails_anyway = write_out(connection, tcp);
        io::Error::new(io::ErrorKind::InvalidData, trust::explain(&error))
    })
}

/// Reads what there is right now.
fn read_now(connection: &mut ClientConnection, tcp: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match connection.reader().read(into) {
            Err(error) if would_block(&error) => {}
            done => return done,
        }
        // Its answers, such as new keys, go out as room allows.
        if let Err(error) = write_out(connection, tcp)
            && !would_block(&error)
        {
            return Err(error);
        }
        connection.read_tls(&mut Now(tcp))?;
        process(connection, tcp)?;
    }
}

/// Sends what is sealed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when something is left, and those of the connection.
fn write_out(connection: &mut ClientConnection, tcp: &TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(&mut Now(tcp))?;
    }
    Ok(())
}

/// A TCP connection, without waiting.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection as a source and a sink that may be watched at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'s>(pub &'s Link);

impl AsyncRead for End<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Link { tcp, .. } = self.0;
        loop {
            let read = match self.0.connection() {
                Some(mut connection) => {
                    let read = read_now(&mut connection, tcp, into.initialize_unfilled());
                    into.advance(*read.as_ref().unwrap_or(&0));
                    read.map(|_| ())
                }
                None => {
                    // Readiness first: it saves a call that finds nothing.
                    ready!(tcp.poll_read_ready(context))?;
                    let room = into.remaining();
                    tcp.try_read_buf(into).map(|read| has_read(tcp, read, room))
                }
            };
            match read {
                Err(error) if would_block(&error) => ready!(tcp.poll_read_ready(context))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncWrite for End<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Link { tcp, .. } = self.0;
        loop {
            let written = match self.0.connection() {
                Some(mut connection) => {
                    let taken = connection.writer().write(bytes)?;
                    match write_out(&mut connection, tcp) {
                        Err(error) if would_block(&error) && taken > 0 => Ok(taken),
                        sent => sent.map(|()| taken),
                    }
                }
                None => {
                    ready!(tcp.poll_write_ready(context))?;
                    tcp.try_write(bytes)
                }
            };
            match written {
                Err(error) if would_block(&error) => ready!(tcp.poll_write_ready(context))?,
                // All that was sealed before has gone: now there is room.
                Ok(0) if !bytes.is_empty() && self.0.is_secure() => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Link { tcp, .. } = self.0;
        loop {
            let Some(mut connection) = self.0.connection() else { return Poll::Ready(Ok(())) };
            match write_out(&mut connection, tcp) {
                Err(error) if would_block(&error) => {}
                done => return Poll::Ready(done),
            }
            drop(connection);
            ready!(tcp.poll_write_ready(context))?;
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(mut connection) = self.0.connection() {
            connection.send_close_notify();
        }
        ready!(self.as_mut().poll_flush(context))?;
        Poll::Ready(SockRef::from(&self.0.tcp).shutdown(Shutdown::Write))
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut End(&self)).poll_read(context, into)
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut End(&self)).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut End(&self)).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut End(&self)).poll_shutdown(context)
    }
}
