//! Plain system calls on sockets, pool buffers and pipes: what every back end on Linux shares.
use super::{Buf, Calls, Half, Pipe, Read, Received, SEND_PARTS_MAX, Socket, Spliced, pool::Pool, splice::Pipes};
use rustix::{
    fd::{BorrowedFd, FromRawFd, OwnedFd},
    io::Errno,
    ioctl,
    net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt},
};
use std::{io, mem::MaybeUninit, net::SocketAddr, time::Duration};

/// Scattered bytes up to this many are gathered here and sent as one piece: cheaper than what the kernel does with
/// a list.
const GATHER_BYTES: usize = 1024;

/// Asks for the bytes that a socket has sent and that were not acknowledged (TIOCOUTQ; SIOCOUTQ in tcp(7)).
const SIOCOUTQ: ioctl::Opcode = 0x5411;

/// So many probes without an acknowledgement are not a matter of chance.
const PROBES: u8 = 3;

/// A shard's buffers and pipes, and the calls that use them.
pub struct Kernel {
    pub(super) pool: Pool,
    pub(super) pipes: Pipes,
}

fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: a `Socket` is an open descriptor until it is consumed, and it is borrowed for as long as this is used.
    unsafe { BorrowedFd::borrow_raw(socket.number()) }
}

/// Takes a socket's descriptor over, which closes when dropped.
pub(super) fn own(socket: Socket) -> OwnedFd {
    // SAFETY: the socket gives up its open descriptor for good.
    unsafe { OwnedFd::from_raw_fd(socket.into_number()) }
}

impl Calls for Kernel {
    fn recv(&mut self, socket: &Socket, max: usize) -> Received {
        let Some(mut buf) = self.pool.take() else { return Received::NoBuffers };
        buf.end = buf.end.min(u32::try_from(max).unwrap_or(u32::MAX));
        loop {
            match net::recv(borrow(socket), self.pool.bytes_mut(&mut buf), RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    self.pool.release(buf);
                    return Received::Eof;
                }
                Ok((len, _)) => {
                    buf.end = len as u32;
                    return Received::Bytes(buf);
                }
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    self.pool.release(buf);
                    return if errno == Errno::AGAIN { Received::Nothing } else { Received::Failed };
                }
            }
        }
    }

    fn read(&mut self, socket: &Socket, into: &mut [u8]) -> Read {
        loop {
            return match net::recv(borrow(socket), &mut *into, RecvFlags::DONTWAIT) {
                Ok((0, _)) => Read::Eof,
                Ok((len, _)) => Read::Bytes(len),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Read::Nothing,
                Err(_) => Read::Failed,
            };
        }
    }

    fn lend(&mut self, bytes: &[u8]) -> Option<Buf> {
        let mut buf = self.pool.take()?;
        let len = bytes.len().min(self.pool.buffer_size());
        buf.end = len as u32;
        self.pool.bytes_mut(&mut buf).copy_from_slice(&bytes[..len]);
        Some(buf)
    }

    fn is_silent(&self, socket: &Socket) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = loop {
            match net::recv(borrow(socket), &mut [0; 1], flags) {
                Err(Errno::INTR) => continue,
                peeked => break peeked,
            }
        };
        peeked == Err(Errno::AGAIN)
    }

    fn unsent(&self, socket: &Socket) -> u32 {
        // SAFETY: SIOCOUTQ (TIOCOUTQ, tcp(7)) writes one int.
        let query = unsafe { ioctl::Getter::<SIOCOUTQ, i32>::new() };
        // SAFETY: it does nothing else.
        unsafe { ioctl::ioctl(borrow(socket), query) }.map_or(0, |bytes| bytes.max(0) as u32)
    }

    fn unanswered(&self, socket: &Socket) -> Duration {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes there.
        let done = unsafe {
            libc::getsockopt(socket.number(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
        };
        // SAFETY: all of it is plain numbers, zero where the kernel wrote nothing.
        let info = unsafe { info.assume_init() };
        let owes = info.tcpi_unacked > 0 || info.tcpi_probes >= PROBES;
        if done == 0 && owes { Duration::from_millis(info.tcpi_last_ack_recv.into()) } else { Duration::ZERO }
    }

    fn send(&self, socket: &Socket, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
        debug_assert!(parts.len() <= SEND_PARTS_MAX);
        let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        flags.set(SendFlags::MORE, more);
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let small = parts.len() > 1 && total <= GATHER_BYTES;
        loop {
            let sent = match parts {
                [one] => net::send(borrow(socket), one, flags),
                _ if small => {
                    let mut gathered = [0; GATHER_BYTES];
                    let mut at = 0;
                    for part in parts {
                        gathered[at..at + part.len()].copy_from_slice(part);
                        at += part.len();
                    }
                    net::send(borrow(socket), &gathered[..total], flags)
                }
                _ => net::sendmsg(borrow(socket), parts, &mut SendAncillaryBuffer::default(), flags),
            };
            match sent {
                Ok(n) => return Ok(n),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn push(&self, socket: &Socket) {
        // Setting it, even when it is set already, makes the kernel send what MSG_MORE held back.
        let _ = sockopt::set_tcp_nodelay(borrow(socket), true);
    }

    fn splice_in(&mut self, socket: &Socket, pipe: &Pipe, max: usize) -> Spliced {
        self.pipes.fill(borrow(socket), pipe, max)
    }

    fn splice_out(&mut self, pipe: &Pipe, socket: &Socket, max: usize, more: bool) -> Spliced {
        self.pipes.drain(pipe, borrow(socket), max, more)
    }

    fn shutdown(&mut self, socket: &Socket, half: Half) {
        let how = match half {
            Half::Send => Shutdown::Write,
            Half::Both => Shutdown::Both,
        };
        let _ = net::shutdown(borrow(socket), how);
    }

    fn disconnect(&mut self, socket: &Socket) {
        // Resets the connection and wakes what is armed for it, without the search that a cancellation needs.
        let _ = net::connect_unspec(borrow(socket));
    }

    fn close(&mut self, socket: Socket) {
        drop(own(socket));
    }

    fn reset(&mut self, socket: Socket) {
        let _ = sockopt::set_socket_linger(borrow(&socket), Some(Duration::ZERO));
        drop(own(socket));
    }

    fn set_patience(&mut self, socket: &Socket, patience: Duration) {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(borrow(socket), millis);
    }

    fn set_low_water(&mut self, socket: &Socket, bytes: u32) {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        let len = size_of_val(&bytes) as libc::socklen_t;
        // SAFETY: the kernel reads one int there.
        unsafe {
            libc::setsockopt(socket.number(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const bytes).cast(), len)
        };
    }

    fn peer(&self, socket: &Socket) -> Option<SocketAddr> {
        net::getpeername(borrow(socket)).ok().flatten().and_then(|any| any.try_into().ok())
    }

    fn bytes(&self, buf: &Buf) -> &[u8] {
        self.pool.bytes(buf)
    }

    fn release(&mut self, buf: Buf) {
        self.pool.release(buf);
    }

    fn buffer_size(&self) -> usize {
        self.pool.buffer_size()
    }

    fn buffers(&self) -> (usize, usize) {
        self.pool.counts()
    }

    fn at_hand(&self) -> usize {
        self.pool.at_hand()
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.pipes.take()
    }

    fn release_pipe(&mut self, pipe: Pipe, empty: bool) {
        self.pipes.release(pipe, empty);
    }

    fn pipes_held(&self) -> usize {
        self.pipes.held()
    }
}
