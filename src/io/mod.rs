//! The only door to the kernel: the operations that a shard may request, and the events that it gets.
//!
//! Two traits make up a back end. [`Engine`] is what back ends differ in: waiting, accepting, watching, streaming,
//! cancelling, mail. [`Calls`] are plain system calls on sockets, buffers and pipes; they take effect at once and
//! report how much they did. That sends are calls and not submissions is a measured choice, see `docs/journal/`.
//!
//! Three implementations: [`uring::Uring`]; for the tests, [`sim::Sim`]; and for measurements of very many connections,
//! [`crowd::Crowd`].

pub mod buffers;
mod company;
pub mod crowd;
pub mod kernel;
pub mod listen;
pub mod mailbox;
mod pool;
pub mod probe;
pub mod sim;
mod socket;
mod splice;
pub mod uring;
mod wake;

pub use buffers::{Buf, Chain, Links};
pub use socket::Socket;
use std::{io, net::SocketAddr, time::Duration};

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
        /// At which listener, by its number.
        listener: usize,
        /// The new connection.
        socket: Socket,
    },
    /// Accepting failed and has stopped (out of descriptors, say); [`Engine::accept`] starts it again.
    AcceptFailed {
        /// Which listener, by its number.
        listener: usize,
        /// The kernel's error.
        error: io::Error,
    },
    /// A watch for [`Interest::Readable`] ended: bytes, an end of stream or an error can be received.
    Readable {
        /// The connection.
        key: Key,
    },
    /// A watch for [`Interest::Writable`] ended: there is room to send, or an error that sending will return.
    Writable {
        /// The connection.
        key: Key,
    },
    /// Bytes from a stream begun by [`Engine::stream`].
    Received {
        /// The connection.
        key: Key,
        /// The bytes, never empty. The receiver of the event must give the buffer back.
        buf: Buf,
        /// Whether the stream goes on by itself. If not, it has ended with this event.
        more: bool,
    },
    /// A stream ended without bytes.
    Ended {
        /// The connection.
        key: Key,
        /// Why.
        end: End,
    },
    /// Mail from another shard, or from the control thread.
    Mail(M),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has finished sending.
    Eof,
    /// The pool had no buffer. Receive again when some have been given back.
    NoBuffers,
    /// [`Engine::cancel`] was called.
    Cancelled,
    /// The connection failed.
    Failed,
}

/// Result of an immediate receive.
#[derive(Debug)]
pub enum Received {
    /// Bytes, never empty.
    Bytes(Buf),
    /// Nothing has arrived.
    Nothing,
    /// The pool had no buffer.
    NoBuffers,
    /// The peer has finished sending.
    Eof,
    /// The connection failed.
    Failed,
}

/// Result of an immediate receive into memory outside the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing has arrived.
    Nothing,
    /// The peer has finished sending.
    Eof,
    /// The connection failed.
    Failed,
}

/// Result of an immediate splice.
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

/// A pipe on loan from the back end's pool. It must be given back with [`Calls::release_pipe`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pipe must be given back to its pool"]
pub struct Pipe(pub(super) u16);

/// What a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to receive: bytes, an end of stream, an error.
    Readable,
    /// Room to send.
    Writable,
}

/// Which armed operation to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// [`Engine::watch`].
    Watch(Interest),
    /// [`Engine::stream`].
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

/// What back ends differ in: how a shard waits, and gets its events.
///
/// Armed operations (`watch`, `stream`) end with exactly one last event each: `Readable`, `Writable`,
/// `Received { more: false }` or `Ended`. At most one of each kind is armed for a key at a time, and never a watch for
/// [`Interest::Readable`] together with a stream. All methods take effect at once or by the end of the turn.
pub trait Engine {
    /// What shards send to each other.
    type Mail;
    /// The plain calls that go with this engine.
    type Calls: Calls;

    /// The plain calls.
    fn calls(&mut self) -> &mut Self::Calls;

    /// The plain calls, by shared reference.
    fn calls_ref(&self) -> &Self::Calls;

    /// The time at the beginning of this turn.
    fn now(&self) -> Millis;

    /// Submits the requested operations, waits until something happens or until `until`, and appends what has happened
    /// to `events`. With `until` in the past it does not wait.
    ///
    /// # Errors
    /// The ring itself failed; nothing can go on.
    fn turn(&mut self, until: Option<Millis>, events: &mut Vec<Event<Self::Mail>>) -> io::Result<()>;

    /// Begins or resumes accepting at listener number `listener`.
    fn accept(&mut self, listener: usize);

    /// Leaves new connections in the listener's backlog until [`Engine::accept`]. Some may still be reported that
    /// were accepted before.
    fn pause_accepting(&mut self, listener: usize);

    /// Stops accepting everywhere and closes the listeners.
    fn stop_accepting(&mut self);

    /// Waits once for a socket to become ready. The cheapest way to wait; holds no buffer.
    fn watch(&mut self, socket: &Socket, key: Key, interest: Interest);

    /// Receives into pool buffers until cancelled, ended, or out of buffers.
    fn stream(&mut self, socket: &Socket, key: Key);

    /// Asks an armed operation to end. Its last event still comes: `Ended(Cancelled)` for a stream (bytes may come
    /// before), `Readable` or `Writable` for a watch, whether or not it is so. The cost grows with the number of armed
    /// operations, so this must not be on a path that every connection takes.
    fn cancel(&mut self, key: Key, armed: Armed);

    /// Sends mail to a shard, by number. Gives it back if that shard has ended.
    ///
    /// # Errors
    /// That shard has ended; the mail is returned.
    fn mail(&mut self, shard: usize, mail: Self::Mail) -> Result<(), Self::Mail>;
}

/// Plain calls on sockets, pool buffers and pipes.
pub trait Calls {
    /// Receives what has arrived, at most one buffer and at most `max` bytes. Not while a stream is armed: events still
    /// to come may hold earlier bytes.
    fn recv(&mut self, socket: &Socket, max: usize) -> Received;

    /// Receives what has arrived into memory outside the pool, which must not be empty. Not while a stream is armed.
    fn read(&mut self, socket: &Socket, into: &mut [u8]) -> Read;

    /// Lends a buffer that holds the first of `bytes`, as many as fit; none if none is at hand.
    fn lend(&mut self, bytes: &[u8]) -> Option<Buf>;

    /// Whether there is nothing to receive, no end and no error: without a buffer, for when none is to be had. Not while
    /// a stream is armed.
    fn is_silent(&self, socket: &Socket) -> bool;

    /// Sends as much of `parts`, in order, as there is room for; returns 0 if there is none. At most [`SEND_PARTS_MAX`]
    /// parts. `more` promises that others follow at once, so that a small piece need not be sent alone.
    ///
    /// # Errors
    /// The connection cannot send any more.
    fn send(&self, socket: &Socket, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize>;

    /// Bytes that were sent and that the peer has not acknowledged. The kernel says that there is room for more only when
    /// a third of its buffer is free; this says before that whether the peer takes anything.
    fn unsent(&self, socket: &Socket) -> u32;

    /// How long ago the peer has last acknowledged anything, if it owes an acknowledgement of data or of probes; otherwise
    /// zero. A peer whose window is closed acknowledges probes.
    fn unanswered(&self, socket: &Socket) -> Duration;

    /// Sends what `more` has held back.
    fn push(&self, socket: &Socket);

    /// Moves at most `max` bytes from a connection into a pipe.
    fn splice_in(&mut self, socket: &Socket, pipe: &Pipe, max: usize) -> Spliced;

    /// Moves at most `max` bytes from a pipe to a connection; `more` promises that others follow at once.
    fn splice_out(&mut self, pipe: &Pipe, socket: &Socket, max: usize, more: bool) -> Spliced;

    /// Shuts down one half or both. Harmless on a connection that has ended.
    fn shutdown(&mut self, socket: &Socket, half: Half);

    /// Resets the connection and keeps the descriptor: what is armed for it ends by itself.
    fn disconnect(&mut self, socket: &Socket);

    /// Closes a socket. Nothing may be armed for it.
    fn close(&mut self, socket: Socket);

    /// Closes with a reset: the peer must not mistake what it has for the whole. Nothing may be armed for it.
    fn reset(&mut self, socket: Socket);

    /// How long sent bytes may stay unacknowledged, or a closed window closed, before the kernel gives up the peer
    /// (`TCP_USER_TIMEOUT`); zero for as long as it retransmits.
    fn set_patience(&mut self, socket: &Socket, patience: Duration);

    /// How many bytes must have arrived before whatever is armed for the socket hears of them (`SO_RCVLOWAT`), unless its
    /// receive buffer is full before. Ends and failures are always heard, and calls find whatever is there. Lowering it
    /// tells of what is there at once.
    fn set_low_water(&mut self, socket: &Socket, bytes: u32);

    /// The other end's address.
    fn peer(&self, socket: &Socket) -> Option<SocketAddr>;

    /// The bytes in a buffer.
    fn bytes(&self, buf: &Buf) -> &[u8];

    /// Gives a buffer back to the pool.
    fn release(&mut self, buf: Buf);

    /// Bytes of one buffer.
    fn buffer_size(&self) -> usize;

    /// Buffers in the pool, and how many of them are not on loan.
    fn buffers(&self) -> (usize, usize);

    /// Buffers that an immediate receive could use now. Fewer than are free if some are in the kernel's ring, where
    /// only streams can use them.
    fn at_hand(&self) -> usize;

    /// A pipe from the pool, if one is available.
    fn pipe(&mut self) -> Option<Pipe>;

    /// Gives a pipe back; one that is not `empty` is closed instead of pooled.
    fn release_pipe(&mut self, pipe: Pipe, empty: bool);

    /// Pipes in use.
    fn pipes_held(&self) -> usize;
}

/// Maximum parts of one [`Calls::send`].
pub const SEND_PARTS_MAX: usize = 24;
