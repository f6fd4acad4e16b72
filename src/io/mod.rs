//! The only door to the kernel: what a shard may ask for ([`Io`]) and what it is told ([`Event`]).
//!
//! Two implementations: [`uring::Uring`] and, for the tests, [`sim::Sim`]. Readiness and incoming bytes arrive
//! as events; sends, splices and shutdowns are done at once and say how far they came. That is a measured
//! choice, see `docs/journal/`.

pub mod buffers;
pub mod listen;
pub mod mail;
mod pool;
pub mod probe;
pub mod sim;
mod splice;
pub mod uring;

pub use buffers::{Buf, Chain, Links};
use std::{io, net::SocketAddr};

/// A descriptor, as an integer: it crosses threads of the process and means the same in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fd(pub i32);

/// Names a connection slot in operations and their events.
///
/// A slot is used again only after every operation armed for it has ended, and then under a new generation, so
/// an event always finds the connection it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Index of the slot.
    pub slot: u32,
    /// Which use of the slot.
    pub generation: u16,
}

/// Milliseconds on a monotonic clock that starts with the process.
pub type Millis = u64;

/// Something that happened.
#[derive(Debug)]
pub enum Event<M> {
    /// A connection arrived at a listener; it is non-blocking, with the listener's TCP options.
    Accepted {
        /// The new connection.
        fd: Fd,
    },
    /// Accepting failed and has stopped (out of descriptors, say); [`Io::accept`] starts it again.
    AcceptFailed {
        /// Which listener, by its number.
        listener: usize,
        /// The kernel's error.
        error: io::Error,
    },
    /// [`Io::poll_in`] ended: bytes, an end of stream or an error are there to be received.
    Readable {
        /// Whose.
        key: Key,
    },
    /// [`Io::poll_out`] ended: there is room to send, or an error to be found by sending.
    Writable {
        /// Whose.
        key: Key,
    },
    /// Bytes from a stream begun by [`Io::stream`].
    Received {
        /// Whose.
        key: Key,
        /// The bytes, never empty; the receiver gives the buffer back.
        buf: Buf,
        /// Whether the stream goes on by itself. If not, it has ended with this event.
        more: bool,
    },
    /// A stream ended without bytes.
    Ended {
        /// Whose.
        key: Key,
        /// Why.
        end: End,
    },
    /// Mail from another shard, or from the control side.
    Mail(M),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has finished sending.
    Eof,
    /// The pool had no buffer. Receive again when some have been given back.
    NoBuffers,
    /// Asked for by [`Io::cancel`].
    Cancelled,
    /// The connection failed.
    Failed,
}

/// What an immediate receive brought.
#[derive(Debug)]
pub enum Received {
    /// Bytes, never empty.
    Bytes(Buf),
    /// Nothing there now.
    Nothing,
    /// The pool had no buffer.
    NoBuffers,
    /// The peer has finished sending.
    Eof,
    /// The connection failed.
    Failed,
}

/// What an immediate splice moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// This many bytes, at least one.
    Moved(usize),
    /// Nothing to read, or no room to write.
    Blocked,
    /// The source has finished.
    Eof,
    /// The connection failed.
    Failed,
}

/// A pipe from the back end's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pipe(pub u16);

/// Which armed operation to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// [`Io::poll_in`].
    PollIn,
    /// [`Io::poll_out`].
    PollOut,
    /// [`Io::stream`].
    Stream,
}

/// Which half of a connection to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// No more will be sent (a FIN goes out behind what was sent).
    Send,
    /// Both halves; armed operations end by themselves.
    Both,
}

/// What a shard may ask of the world.
///
/// Armed operations (`poll_in`, `poll_out`, `stream`) end with exactly one last event each: `Readable`,
/// `Writable`, `Received { more: false }` or `Ended`. At most one of each kind is armed for a key at a time, and
/// never `poll_in` and `stream` together. All methods take effect at once or by the end of the turn.
pub trait Io {
    /// What shards send each other.
    type Mail;

    /// The time as of this turn.
    fn now(&self) -> Millis;

    /// Submits what was asked for, waits for something to happen but not beyond `until`, and appends it to
    /// `events`. With `until` in the past it only collects.
    ///
    /// # Errors
    /// The ring itself failed; nothing can go on.
    fn turn(&mut self, until: Option<Millis>, events: &mut Vec<Event<Self::Mail>>) -> io::Result<()>;

    /// Begins or resumes accepting at listener number `listener`.
    fn accept(&mut self, listener: usize);

    /// Stops accepting everywhere and closes the listeners.
    fn stop_accepting(&mut self);

    /// Waits once for something to receive. Costs the least while nothing comes; holds no buffer.
    fn poll_in(&mut self, fd: Fd, key: Key);

    /// Waits once for room to send.
    fn poll_out(&mut self, fd: Fd, key: Key);

    /// Receives into pool buffers until cancelled, ended, or out of buffers.
    fn stream(&mut self, fd: Fd, key: Key);

    /// Asks an armed operation to end. Its last event still comes: `Ended(Cancelled)` for a stream (bytes may
    /// come before), `Readable` or `Writable` for a poll, whether or not it is true.
    fn cancel(&mut self, key: Key, armed: Armed);

    /// Receives at once what is there, at most one buffer. Not while a stream is armed: it may hold earlier bytes
    /// in events that are still to come.
    fn recv(&mut self, fd: Fd) -> Received {
        self.recv_at_most(fd, usize::MAX)
    }

    /// The same, of at most `max` bytes: for what stands between two pieces of bulk.
    fn recv_at_most(&mut self, fd: Fd, max: usize) -> Received;

    /// Sends at once as much of `parts`, in order, as there is room for; 0 when there is none.
    /// At most [`SEND_PARTS_MAX`] parts.
    ///
    /// # Errors
    /// The connection cannot send any more.
    fn send(&self, fd: Fd, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.send_with(fd, parts, false)
    }

    /// The same; `more` says that others follow at once, so that a small piece need not travel alone.
    ///
    /// # Errors
    /// The connection cannot send any more.
    fn send_with(&self, fd: Fd, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize>;

    /// The bytes in a buffer.
    fn bytes(&self, buf: &Buf) -> &[u8];

    /// Gives a buffer back to the pool.
    fn release(&mut self, buf: Buf);

    /// A buffer with the first of `bytes` in it, as many as it takes; none if the pool has none to give.
    fn copy_in(&mut self, bytes: &[u8]) -> Option<Buf>;

    /// Bytes of one buffer.
    fn buffer_size(&self) -> usize;

    /// Buffers in the pool, and how many of them are free now.
    fn buffers(&self) -> (usize, usize);

    /// Buffers that an immediate receive or a copy could have now. Fewer than are free where some of those stand in
    /// the kernel's ring.
    fn at_hand(&self) -> usize;

    /// A pipe from the pool, if one may be had.
    fn pipe(&mut self) -> Option<Pipe>;

    /// Gives a pipe back; `empty` says whether all that went in came out (else it is closed, not pooled).
    fn release_pipe(&mut self, pipe: Pipe, empty: bool);

    /// Pipes held by sessions now.
    fn pipes_held(&self) -> usize;

    /// Moves at most `max` bytes from a connection into a pipe.
    fn splice_in(&mut self, fd: Fd, pipe: Pipe, max: usize) -> Spliced;

    /// Moves at most `max` bytes from a pipe to a connection; `more` says that others follow at once.
    fn splice_out(&mut self, pipe: Pipe, fd: Fd, max: usize, more: bool) -> Spliced;

    /// Shuts down a half or both. Harmless on a connection that is gone.
    fn shutdown(&mut self, fd: Fd, half: Half);

    /// Closes a descriptor. Nothing may be armed for it.
    fn close(&mut self, fd: Fd);

    /// Closes with a reset: the peer must not mistake what it has for the whole. Nothing may be armed for it.
    fn abort(&mut self, fd: Fd);

    /// The other end's address.
    fn peer(&self, fd: Fd) -> Option<SocketAddr>;

    /// Sends mail to a shard, by number.
    fn mail(&mut self, shard: usize, mail: Self::Mail);
}

/// Most parts that one [`Io::send`] takes.
pub const SEND_PARTS_MAX: usize = 24;
