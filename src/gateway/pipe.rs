//! Bulk from socket to socket without a copy: splice(2) through a pipe, on Linux. Elsewhere there are no pipes, and
//! everything goes through buffers.

/// Bytes that must be left for a pipe to be worth its making.
pub(super) const SPLICE_MIN: u64 = 128 * 1024;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::Pipe;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use none::Pipe;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::{io, os::fd::OwnedFd};

    use rustix::{
        io::Errno,
        pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
    };
    use tokio::{io::Interest, net::TcpStream};

    /// What a pipe should hold. Users without privileges may have 64 MiB in all their pipes (`pipe-user-pages-soft`).
    const PIPE_BYTES: usize = 256 * 1024;
    /// What it must hold at least; the kernel gives two pages to users who have too many.
    const PIPE_BYTES_MIN: usize = 64 * 1024;
    /// A piece below this is small, and after so many of them the pipe is not worth its memory.
    const SMALL: usize = 4096;
    const SMALL_MAX: u8 = 8;

    /// A pipe that one direction uses as long as it carries bulk.
    #[derive(Debug)]
    pub(in super::super) struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        /// Bytes in it.
        held: usize,
        /// Small pieces in a row.
        small: u8,
    }

    impl Pipe {
        /// A pipe, if the system has one to give.
        pub fn open() -> Option<Pipe> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            let _it_may_do_as_it_is = fcntl_setpipe_size(&write, PIPE_BYTES);
            let enough = fcntl_getpipe_size(&write).is_ok_and(|bytes| bytes >= PIPE_BYTES_MIN);
            enough.then_some(Pipe { read, write, held: 0, small: 0 })
        }

        /// Whether nothing is in it.
        pub fn is_empty(&self) -> bool {
            self.held == 0
        }

        /// Whether pieces of some size come.
        pub fn is_worth_it(&self) -> bool {
            self.small < SMALL_MAX
        }

        /// Waits for bytes from `from` and takes at most `max` of them; 0 at its end. Only for an empty pipe.
        ///
        /// # Errors
        /// Those of the source.
        pub async fn fill(&mut self, from: &TcpStream, max: u64) -> io::Result<usize> {
            debug_assert!(self.is_empty());
            let max = usize::try_from(max).unwrap_or(usize::MAX).min(PIPE_BYTES);
            self.held = moved(from, Interest::READABLE, || splice(from, None, &self.write, None, max, FLAGS)).await?;
            self.small = if self.held < SMALL { self.small.saturating_add(1) } else { 0 };
            Ok(self.held)
        }

        /// Passes some of what it holds to `to`, as soon as there is room.
        ///
        /// # Errors
        /// Those of the sink.
        pub async fn drain(&mut self, to: &TcpStream) -> io::Result<()> {
            let sent = moved(to, Interest::WRITABLE, || splice(&self.read, None, to, None, self.held, FLAGS)).await?;
            self.held -= sent;
            if sent == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
        }
    }

    const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

    /// Tries until something has moved.
    async fn moved(
        socket: &TcpStream,
        interest: Interest,
        attempt: impl Fn() -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        loop {
            match socket.try_io(interest, || Ok(attempt()?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.ready(interest).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod none {
    use std::io;

    use tokio::net::TcpStream;

    /// There is none.
    #[derive(Debug)]
    pub(in super::super) enum Pipe {}

    impl Pipe {
        pub fn open() -> Option<Pipe> {
            None
        }

        pub fn is_empty(&self) -> bool {
            match *self {}
        }

        pub fn is_worth_it(&self) -> bool {
            match *self {}
        }

        pub async fn fill(&mut self, _from: &TcpStream, _max: u64) -> io::Result<usize> {
            match *self {}
        }

        pub async fn drain(&mut self, _to: &TcpStream) -> io::Result<()> {
            match *self {}
        }
    }
}
