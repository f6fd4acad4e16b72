//! A connection's transport: every byte in or out passes here.
//!
//! Today there is one variant, plain TCP. TLS will be the second, and nothing above this module will notice.
use crate::io::{Calls, Half, Pipe, Received, Socket, Spliced};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    time::Duration,
};

/// A connection's transport. It owns the socket.
#[derive(Debug)]
pub enum Transport {
    /// Bytes as they are.
    Plain(Socket),
}

impl Transport {
    /// The socket, for watches and streams.
    pub fn socket(&self) -> &Socket {
        match self {
            Transport::Plain(socket) => socket,
        }
    }

    /// Receives what has arrived, at most one buffer and at most `max` bytes.
    pub fn receive(&mut self, calls: &mut impl Calls, max: usize) -> Received {
        match self {
            Transport::Plain(socket) => calls.recv(socket, max),
        }
    }

    /// Whether there is nothing to receive, not even an end; takes no buffer.
    pub fn is_silent(&self, calls: &impl Calls) -> bool {
        match self {
            Transport::Plain(socket) => calls.is_silent(socket),
        }
    }

    /// Sends as much of `parts` as there is room for. `more` promises that others follow at once.
    ///
    /// # Errors
    /// The connection cannot send any more.
    pub fn send(&mut self, calls: &impl Calls, parts: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => calls.send(socket, parts, more),
        }
    }

    /// Bytes that were sent and that the peer has not acknowledged.
    pub fn unsent(&self, calls: &impl Calls) -> u32 {
        match self {
            Transport::Plain(socket) => calls.unsent(socket),
        }
    }

    /// How long ago the peer has last acknowledged anything, if it owes an acknowledgement; otherwise zero.
    pub fn unanswered(&self, calls: &impl Calls) -> Duration {
        match self {
            Transport::Plain(socket) => calls.unanswered(socket),
        }
    }

    /// Sends what `more` has held back.
    pub fn push(&mut self, calls: &impl Calls) {
        match self {
            Transport::Plain(socket) => calls.push(socket),
        }
    }

    /// Whether bytes may be spliced, unseen by the program.
    pub fn may_splice(&self) -> bool {
        match self {
            Transport::Plain(_) => true,
        }
    }

    /// Moves bytes into a pipe.
    pub fn splice_in(&mut self, calls: &mut impl Calls, pipe: &Pipe, max: usize) -> Spliced {
        match self {
            Transport::Plain(socket) => calls.splice_in(socket, pipe, max),
        }
    }

    /// Moves bytes out of a pipe. `more` promises that others follow at once.
    pub fn splice_out(&mut self, calls: &mut impl Calls, pipe: &Pipe, max: usize, more: bool) -> Spliced {
        match self {
            Transport::Plain(socket) => calls.splice_out(pipe, socket, max, more),
        }
    }

    /// Half-close: the peer gets a FIN.
    pub fn finish(&mut self, calls: &mut impl Calls) {
        match self {
            Transport::Plain(socket) => calls.shutdown(socket, Half::Send),
        }
    }

    /// Shuts down both directions in order; what is armed ends by itself.
    pub fn shut(&mut self, calls: &mut impl Calls) {
        match self {
            Transport::Plain(socket) => calls.shutdown(socket, Half::Both),
        }
    }

    /// Resets the connection; what is armed ends by itself. The socket is closed later.
    pub fn disconnect(&mut self, calls: &mut impl Calls) {
        match self {
            Transport::Plain(socket) => calls.disconnect(socket),
        }
    }

    /// Closes the socket. Nothing may be armed for it.
    pub fn close(self, calls: &mut impl Calls) {
        match self {
            Transport::Plain(socket) => calls.close(socket),
        }
    }

    /// Closes the socket with a reset. Nothing may be armed for it.
    pub fn reset(self, calls: &mut impl Calls) {
        match self {
            Transport::Plain(socket) => calls.reset(socket),
        }
    }

    /// How long sent bytes may stay unacknowledged, or the peer's window closed; zero for the system's own limit.
    pub fn set_patience(&mut self, calls: &mut impl Calls, patience: Duration) {
        match self {
            Transport::Plain(socket) => calls.set_patience(socket, patience),
        }
    }

    /// How many bytes must have arrived before a watch or a stream hears of them; the end is always heard.
    pub fn set_low_water(&mut self, calls: &mut impl Calls, bytes: u32) {
        match self {
            Transport::Plain(socket) => calls.set_low_water(socket, bytes),
        }
    }

    /// The peer's address.
    pub fn peer(&self, calls: &impl Calls) -> Option<SocketAddr> {
        match self {
            Transport::Plain(socket) => calls.peer(socket),
        }
    }
}
