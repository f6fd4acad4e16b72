//! A connection's transport: every byte in or out passes here, plain or by TLS, and nothing above this module notices
//! which.

pub mod certificates;
mod hello;
mod records;
mod session;

pub use certificates::{Acceptor, Certificates};
pub use session::{Session, Sessions};

use crate::io::{Calls, Half, Pipe, Received, Socket, Spliced};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    time::Duration,
};

/// A connection's transport: bytes as they are, or TLS records. It owns the socket.
///
/// It is in every connection's slot, so it takes four bytes: what there is of a TLS connection besides its socket is kept
/// by the shard's [`Sessions`], and the socket's mark says that there is something.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
}

const _: () = assert!(size_of::<Option<Transport>>() == 4, "a slot has no room for more");

impl Transport {
    /// Carries bytes as they are.
    pub fn plain(socket: Socket) -> Transport {
        Transport { socket }
    }

    /// Carries bytes by TLS, beginning with the handshake.
    pub fn secure(mut socket: Socket, sessions: &Sessions) -> Transport {
        socket.mark();
        sessions.begin(&socket);
        Transport { socket }
    }

    /// Whether it is TLS.
    #[inline]
    pub fn is_secure(&self) -> bool {
        self.socket.is_marked()
    }

    /// The socket, for watches and streams.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Receives what has arrived, at most one buffer and at most `max` bytes. With TLS an end without close_notify counts
    /// as a failure, since something may be missing.
    pub fn receive(&mut self, calls: &mut impl Calls, sessions: &Sessions, max: usize) -> Received {
        match self.is_secure() {
            false => calls.recv(&self.socket, max),
            true => sessions.receive(calls, &self.socket, max),
        }
    }

    /// Whether more can be received of which no event will tell.
    #[inline]
    pub fn has_more(&self, sessions: &Sessions) -> bool {
        self.is_secure() && sessions.has_more(&self.socket)
    }

    /// Whether there is nothing to receive, not even an end; takes no buffer.
    pub fn is_silent(&mut self, calls: &mut impl Calls, sessions: &Sessions) -> bool {
        match self.is_secure() {
            false => calls.is_silent(&self.socket),
            true => sessions.is_silent(calls, &self.socket),
        }
    }

    /// Whether it ended without saying so.
    pub fn was_cut(&self, sessions: &Sessions) -> bool {
        self.is_secure() && sessions.was_cut(&self.socket)
    }

    /// Sends as much of `parts` as there is room for. `more` promises that others follow at once. What was not sent must
    /// be given again, before anything else: with TLS it may have been sealed already.
    ///
    /// # Errors
    /// The connection cannot send any more.
    pub fn send(
        &mut self,
        calls: &impl Calls,
        sessions: &Sessions,
        parts: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        match self.is_secure() {
            false => calls.send(&self.socket, parts, more),
            true => sessions.send(calls, &self.socket, parts),
        }
    }

    /// Whether sealed bytes wait for room.
    #[inline]
    pub fn owes(&self, sessions: &Sessions) -> bool {
        self.is_secure() && sessions.owes(&self.socket)
    }

    /// Sends sealed bytes, now that there is room.
    #[inline]
    pub fn flush(&mut self, calls: &mut impl Calls, sessions: &Sessions) {
        if self.is_secure() {
            sessions.flush(calls, &self.socket);
        }
    }

    /// Bytes that the socket has taken since that was last asked, where `sent` have been sent: of a record that is
    /// larger than what there is room for, nothing is sent for a while, although it moves.
    #[inline]
    pub fn take_moved(&self, sessions: &Sessions, sent: u32) -> u32 {
        if self.is_secure() { sessions.take_moved(&self.socket) } else { sent }
    }

    /// Bytes that were sent and that the peer has not acknowledged.
    pub fn unsent(&self, calls: &impl Calls) -> u32 {
        calls.unsent(&self.socket)
    }

    /// How long ago the peer has last acknowledged anything, if it owes an acknowledgement; otherwise zero.
    pub fn unanswered(&self, calls: &impl Calls) -> Duration {
        calls.unanswered(&self.socket)
    }

    /// Sends what `more` has held back.
    pub fn push(&mut self, calls: &impl Calls) {
        calls.push(&self.socket);
    }

    /// Whether bytes may be spliced, unseen by the program.
    #[inline]
    pub fn may_splice(&self) -> bool {
        !self.is_secure()
    }

    /// Whether bytes may be received into pool buffers as they come.
    #[inline]
    pub fn may_stream(&self) -> bool {
        !self.is_secure()
    }

    /// Moves bytes into a pipe.
    pub fn splice_in(&mut self, calls: &mut impl Calls, pipe: &Pipe, max: usize) -> Spliced {
        debug_assert!(self.may_splice());
        calls.splice_in(&self.socket, pipe, max)
    }

    /// Moves bytes out of a pipe. `more` promises that others follow at once.
    pub fn splice_out(&mut self, calls: &mut impl Calls, pipe: &Pipe, max: usize, more: bool) -> Spliced {
        debug_assert!(self.may_splice());
        calls.splice_out(pipe, &self.socket, max, more)
    }

    /// Half-close: the peer gets a close_notify, if it is TLS, and a FIN.
    pub fn finish(&mut self, calls: &mut impl Calls, sessions: &Sessions) {
        match self.is_secure() {
            false => calls.shutdown(&self.socket, Half::Send),
            true => sessions.finish(calls, &self.socket),
        }
    }

    /// Says goodbye, before the connection is closed. Whether some of that waits for room.
    pub fn part(&mut self, calls: &mut impl Calls, sessions: &Sessions) -> bool {
        self.is_secure() && {
            sessions.part(calls, &self.socket);
            sessions.owes(&self.socket)
        }
    }

    /// Shuts down both directions in order; what is armed ends by itself.
    pub fn shut(&mut self, calls: &mut impl Calls, sessions: &Sessions) {
        if self.is_secure() {
            sessions.part(calls, &self.socket);
        }
        calls.shutdown(&self.socket, Half::Both);
    }

    /// Resets the connection; what is armed ends by itself. The socket is closed later.
    pub fn disconnect(&mut self, calls: &mut impl Calls) {
        calls.disconnect(&self.socket);
    }

    /// Closes the socket. Nothing may be armed for it.
    pub fn close(self, calls: &mut impl Calls, sessions: &Sessions) {
        if self.is_secure() {
            sessions.part(calls, &self.socket);
            sessions.take(&self.socket);
        }
        calls.close(self.socket);
    }

    /// Closes the socket with a reset. Nothing may be armed for it.
    pub fn reset(self, calls: &mut impl Calls, sessions: &Sessions) {
        if self.is_secure() {
            sessions.take(&self.socket);
        }
        calls.reset(self.socket);
    }

    /// Takes the session out of a shard that the transport leaves.
    pub fn take_session(&self, sessions: &Sessions) -> Option<Box<Session>> {
        self.is_secure().then(|| sessions.take(&self.socket)).flatten()
    }

    /// Puts it into the shard where the transport arrives.
    pub fn put_session(&self, session: Option<Box<Session>>, sessions: &Sessions) {
        if let Some(session) = session {
            sessions.put(&self.socket, session);
        }
    }

    /// How long sent bytes may stay unacknowledged, or the peer's window closed; zero for the system's own limit.
    pub fn set_patience(&mut self, calls: &mut impl Calls, patience: Duration) {
        calls.set_patience(&self.socket, patience);
    }

    /// How many bytes must have arrived before a watch or a stream hears of them; the end is always heard.
    pub fn set_low_water(&mut self, calls: &mut impl Calls, bytes: u32) {
        calls.set_low_water(&self.socket, bytes);
    }

    /// The peer's address.
    pub fn peer(&self, calls: &impl Calls) -> Option<SocketAddr> {
        calls.peer(&self.socket)
    }
}
