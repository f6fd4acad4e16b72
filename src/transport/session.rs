//! TLS on a connection: what is kept of it between two calls.
//!
//! A session that is idle holds no bytes. What is left of a begun record waits here, outside the pool; so do opened bytes
//! for which there was no buffer, and sealed ones for which the socket had no room: sealed bytes cannot be taken back, so
//! they go before everything else.
use super::{
    certificates::Acceptor,
    hello::{Hello, hello},
    records::{Progress, RECORD_BYTES, Records, sealed_bytes},
};
use crate::io::{Calls, Half, Read, Received, Socket};
use hashbrown::HashTable;
use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, IoSlice},
};

/// Bytes that one receive takes, and that are sealed for one send.
const BULK_BYTES: usize = 64 << 10;
/// Bytes of a begun record, or of the records of a begun handshake message, at most: rustls takes no longer ones.
const BEGUN_BYTES_MAX: usize = 80 << 10;
/// A ClientHello, record headers included, at most: post-quantum shares make 2 KiB, and a session ticket may add some.
const HELLO_BYTES_MAX: usize = 16 << 10;
/// What a client gets that speaks HTTP without TLS.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nX-Relay-Error: tls-expected\r\nContent-Type: text/plain\r\n\
    Content-Length: 50\r\nConnection: close\r\n\r\nThis port expects TLS: ask with https:// instead.\n";

/// What a byte of a record besides its plaintext costs, in bytes that are opened: many short records cost far more than few
/// long ones.
const COST_BESIDE: usize = 64;

/// What is kept of one TLS connection.
#[derive(Default)]
pub struct Session {
    /// None until a whole ClientHello has arrived.
    records: Option<Box<Records>>,
    /// Received bytes of a record, or of a ClientHello, that is not whole yet.
    begun: Vec<u8>,
    /// Opened bytes, of which the first `taken` have been passed on.
    opened: Vec<u8>,
    taken: usize,
    /// Sealed bytes, of which the first `sent` have been sent.
    owed: Vec<u8>,
    sent: usize,
    /// Of the bytes that the next sends are given, so many have been sealed already and are, or were, in `owed`.
    sealed: usize,
    /// Sealed bytes that the socket has taken since that was last asked.
    moved: u32,
    state: State,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of what it protects.
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The handshake is over.
    open: bool,
    /// A whole ClientHello waits to be answered.
    due: bool,
    /// The peer has finished, in order.
    ended: bool,
    /// The connection cannot go on.
    failed: bool,
    /// It ended without close_notify: something may be missing.
    cut: bool,
    /// A close_notify has been sealed.
    closed: bool,
    /// A FIN is to follow what is owed.
    finishing: bool,
    /// The last send was not taken whole: no more than a record is sealed ahead.
    slow: bool,
}

/// The TLS sessions of one shard.
pub struct Sessions {
    inner: RefCell<Inner>,
    /// ClientHellos that may still be answered in this turn.
    steps: Cell<u32>,
    /// Handshakes that are not over.
    handshakes: Cell<usize>,
    /// Bytes that all sessions hold.
    held: Cell<usize>,
    /// What has been opened since that was last asked, in bytes that cost as much.
    cost: Cell<usize>,
}

struct Inner {
    acceptor: Option<Acceptor>,
    /// By the sockets' ids.
    table: HashTable<(u32, Box<Session>)>,
    /// Where records are received and opened, and where they are sealed. Empty until there is a session.
    received: Vec<u8>,
    opened: Vec<u8>,
    gathered: Vec<u8>,
    sealed: Vec<u8>,
}

fn hash(id: u32) -> u64 {
    u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Sessions {
    /// None yet. Without an `acceptor` there will be none.
    pub fn new(acceptor: Option<Acceptor>) -> Sessions {
        let inner = Inner {
            acceptor,
            table: HashTable::new(),
            received: Vec::new(),
            opened: Vec::new(),
            gathered: Vec::new(),
            sealed: Vec::new(),
        };
        Sessions {
            inner: RefCell::new(inner),
            steps: Cell::new(0),
            handshakes: Cell::new(0),
            held: Cell::new(0),
            cost: Cell::new(0),
        }
    }

    /// A turn begins, in which so many ClientHellos may be answered: each takes as long as thirty requests.
    pub fn begin_turn(&self, steps: u32) {
        self.steps.set(steps);
    }

    /// Sessions there are, and how many of those have not finished their handshake.
    pub fn count(&self) -> (usize, usize) {
        (self.inner.borrow().table.len(), self.handshakes.get())
    }

    /// Bytes that the sessions hold.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// What has been opened since the last call, as the bytes that would have cost as much to pass on.
    pub fn take_cost(&self) -> usize {
        self.cost.take()
    }

    /// A session for a new connection.
    pub(super) fn begin(&self, socket: &Socket) {
        self.handshakes.set(self.handshakes.get() + 1);
        self.insert(socket, Box::default());
    }

    fn insert(&self, socket: &Socket, session: Box<Session>) {
        let inner = &mut *self.inner.borrow_mut();
        let id = socket.id();
        debug_assert!(inner.table.find(hash(id), |entry| entry.0 == id).is_none(), "a socket has one session");
        inner.table.insert_unique(hash(id), (id, session), |entry| hash(entry.0));
    }

    /// Takes a session out, for another shard or for good.
    pub(super) fn take(&self, socket: &Socket) -> Option<Box<Session>> {
        let id = socket.id();
        let entry = self.inner.borrow_mut().table.find_entry(hash(id), |entry| entry.0 == id).ok()?.remove().0;
        if !entry.1.state.open {
            self.handshakes.set(self.handshakes.get() - 1);
        }
        self.held.set(self.held.get() - entry.1.held());
        Some(entry.1)
    }

    /// A session that another shard has taken out.
    pub(super) fn put(&self, socket: &Socket, session: Box<Session>) {
        if !session.state.open {
            self.handshakes.set(self.handshakes.get() + 1);
        }
        self.held.set(self.held.get() + session.held());
        self.insert(socket, session);
    }

    /// The session of a socket, and what all of them use.
    fn with<R>(&self, socket: &Socket, act: impl FnOnce(&mut Session, &mut Work<'_>) -> R) -> R {
        let id = socket.id();
        let Inner { acceptor, table, received, opened, gathered, sealed } = &mut *self.inner.borrow_mut();
        let session = &mut table.find_mut(hash(id), |entry| entry.0 == id).expect("a secure socket has a session").1;
        let mut work = Work { acceptor, received, opened, gathered, sealed, sessions: self };
        let before = session.held();
        let result = act(session, &mut work);
        self.held.set(self.held.get() + session.held() - before);
        result
    }

    pub(super) fn receive(&self, calls: &mut impl Calls, socket: &Socket, max: usize) -> Received {
        self.with(socket, |session, work| session.receive(work, calls, socket, max))
    }

    pub(super) fn is_silent(&self, calls: &mut impl Calls, socket: &Socket) -> bool {
        self.with(socket, |session, work| {
            if session.is_drained() {
                session.pull(work, calls, socket);
                session.keep(work);
            }
            session.is_drained() && !session.state.ended && !session.state.failed
        })
    }

    pub(super) fn send(&self, calls: &impl Calls, socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(socket, |session, work| session.send(work, calls, socket, parts))
    }

    pub(super) fn flush(&self, calls: &mut impl Calls, socket: &Socket) {
        self.with(socket, |session, _| session.flush_all(calls, socket));
    }

    pub(super) fn part(&self, calls: &mut impl Calls, socket: &Socket) {
        self.with(socket, |session, _| session.part(calls, socket));
    }

    pub(super) fn finish(&self, calls: &mut impl Calls, socket: &Socket) {
        self.with(socket, |session, _| session.finish(calls, socket));
    }

    /// Something is left to be passed on that no event will tell of.
    pub(super) fn has_more(&self, socket: &Socket) -> bool {
        // An end that came with bytes, too: nothing more will arrive to tell of it.
        self.with(socket, |session, _| {
            !session.is_drained() || session.state.due || session.state.ended || session.state.failed
        })
    }

    pub(super) fn owes(&self, socket: &Socket) -> bool {
        self.with(socket, |session, _| !session.owed.is_empty() && !session.state.failed)
    }

    /// Sealed bytes that the socket has taken since that was last asked.
    pub(super) fn take_moved(&self, socket: &Socket) -> u32 {
        self.with(socket, |session, _| std::mem::take(&mut session.moved))
    }

    pub(super) fn was_cut(&self, socket: &Socket) -> bool {
        self.with(socket, |session, _| session.state.cut)
    }
}

/// What all sessions of a shard use.
struct Work<'a> {
    acceptor: &'a Option<Acceptor>,
    received: &'a mut Vec<u8>,
    opened: &'a mut Vec<u8>,
    gathered: &'a mut Vec<u8>,
    sealed: &'a mut Vec<u8>,
    sessions: &'a Sessions,
}

impl Session {
    /// Bytes that it holds.
    fn held(&self) -> usize {
        self.begun.len() + self.opened.len() + self.owed.len()
    }

    fn is_drained(&self) -> bool {
        self.taken == self.opened.len()
    }

    /// Passes on opened bytes, receiving if there are none.
    fn receive(&mut self, work: &mut Work<'_>, calls: &mut impl Calls, socket: &Socket, max: usize) -> Received {
        if self.is_drained() {
            self.pull(work, calls, socket);
            if !work.opened.is_empty() {
                let len = work.opened.len().min(max);
                let lent = calls.lend(&work.opened[..len]);
                let taken = lent.as_ref().map_or(0, |buf| buf.len());
                // What fits the buffer needs no memory of the session.
                if taken == work.opened.len() {
                    work.opened.clear();
                } else {
                    self.keep(work);
                    self.taken = taken;
                }
                return lent.map_or(Received::NoBuffers, Received::Bytes);
            }
        }
        if !self.is_drained() {
            let rest = &self.opened[self.taken..];
            let Some(buf) = calls.lend(&rest[..rest.len().min(max)]) else { return Received::NoBuffers };
            self.taken += buf.len();
            if self.is_drained() {
                self.opened = Vec::new();
                self.taken = 0;
            }
            return Received::Bytes(buf);
        }
        match self.state {
            State { failed: true, .. } => Received::Failed,
            State { ended: true, .. } => Received::Eof,
            _ => Received::Nothing,
        }
    }

    /// Keeps what was opened and not passed on.
    fn keep(&mut self, work: &mut Work<'_>) {
        if !work.opened.is_empty() {
            debug_assert!(self.is_drained());
            self.opened = work.opened.as_slice().to_vec();
            self.taken = 0;
            work.opened.clear();
        }
    }

    /// Receives what has arrived, and opens it into the shard's memory.
    fn pull(&mut self, work: &mut Work<'_>, calls: &mut impl Calls, socket: &Socket) {
        work.opened.clear();
        if self.state.ended || self.state.failed {
            return;
        }
        if work.received.is_empty() {
            work.received.resize(BEGUN_BYTES_MAX + BULK_BYTES, 0);
        }
        let before = self.begun.len();
        let room = if self.records.is_some() { BULK_BYTES } else { HELLO_BYTES_MAX.saturating_sub(before) };
        let came = match self.state.due {
            true if work.sessions.steps.get() == 0 => return,
            true => Read::Bytes(0),
            false if before > BEGUN_BYTES_MAX => Read::Failed,
            false => calls.read(socket, &mut work.received[before..before + room]),
        };
        let came = match came {
            Read::Bytes(len) => len,
            Read::Nothing => return,
            Read::Eof => {
                // In order only behind a close_notify, which sets `ended`.
                self.state.cut = true;
                return self.fail();
            }
            Read::Failed => return self.fail(),
        };
        work.received[..before].copy_from_slice(&self.begun);
        self.begun = Vec::new();
        self.open(work, before + came, calls, socket);
    }

    /// Opens the first `len` received bytes.
    fn open(&mut self, work: &mut Work<'_>, len: usize, calls: &mut impl Calls, socket: &Socket) {
        let bytes = &mut work.received[..len];
        let records = match &mut self.records {
            Some(records) => records,
            None => match (hello(bytes), work.acceptor) {
                (Hello::Partial, _) if len < HELLO_BYTES_MAX => {
                    self.begun = bytes.to_vec();
                    return;
                }
                (Hello::Whole, Some(_)) if work.sessions.steps.get() == 0 => {
                    self.state.due = true;
                    self.begun = bytes.to_vec();
                    return;
                }
                (Hello::Whole | Hello::Odd, Some(acceptor)) => {
                    work.sessions.steps.set(work.sessions.steps.get().saturating_sub(1));
                    self.state.due = false;
                    match acceptor.accept() {
                        Ok(records) => self.records.insert(Box::new(records)),
                        Err(_) => return self.fail(),
                    }
                }
                (Hello::Plain, _) => {
                    let _ = calls.send(socket, &[IoSlice::new(NOT_TLS)], false);
                    return self.fail();
                }
                _ => return self.fail(),
            },
        };
        match records.open(bytes, work.opened, &mut self.owed) {
            Ok((done, progress)) => {
                // What is not plaintext is some twenty bytes a record, and a record costs as much as a KiB or two.
                let beside = done.saturating_sub(work.opened.len());
                work.sessions.cost.set(work.sessions.cost.get() + done + COST_BESIDE * beside);
                if done < len && progress != Progress::Finished {
                    self.begun = bytes[done..].to_vec();
                }
                if progress != Progress::Handshake && !self.state.open {
                    self.state.open = true;
                    work.sessions.handshakes.set(work.sessions.handshakes.get() - 1);
                }
                self.state.ended = progress == Progress::Finished;
                self.flush_all(calls, socket);
            }
            Err(_) => {
                self.flush_all(calls, socket);
                self.fail();
            }
        }
    }

    fn fail(&mut self) {
        self.state.failed = true;
        self.begun = Vec::new();
        self.owed = Vec::new();
        self.sent = 0;
    }

    /// Sends sealed bytes that are owed. Whether none are left.
    fn flush(&mut self, calls: &impl Calls, socket: &Socket) -> io::Result<bool> {
        if self.owed.is_empty() {
            return Ok(true);
        }
        let sent = calls.send(socket, &[IoSlice::new(&self.owed[self.sent..])], false)?;
        self.sent += sent;
        self.moved = self.moved.saturating_add(sent as u32);
        if self.sent < self.owed.len() {
            return Ok(false);
        }
        self.owed = Vec::new();
        self.sent = 0;
        Ok(true)
    }

    /// The same, and the FIN that is to follow.
    fn flush_all(&mut self, calls: &mut impl Calls, socket: &Socket) {
        match self.flush(calls, socket) {
            Ok(true) if self.state.finishing => {
                self.state.finishing = false;
                calls.shutdown(socket, Half::Send);
            }
            Ok(_) => {}
            Err(_) => self.fail(),
        }
    }

    /// Seals and sends. Bytes whose records the socket did not take whole do not count as sent: they are counted by later
    /// calls, which must be given the same bytes first.
    fn send(
        &mut self,
        work: &mut Work<'_>,
        calls: &impl Calls,
        socket: &Socket,
        parts: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let total = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.state.failed || self.state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !self.state.open {
            // Nobody can read it yet, and it is the last that the connection gets.
            return Ok(total);
        }
        if !self.flush(calls, socket)? {
            self.state.slow = true;
            return Ok(0);
        }
        let mut sent = self.sealed.min(total);
        self.sealed -= sent;
        while sent < total {
            let most = if self.state.slow { RECORD_BYTES } else { BULK_BYTES };
            let bytes = gather(parts, sent, most, work.gathered);
            let Some(records) = &mut self.records else { return Ok(total) };
            if work.sealed.is_empty() {
                work.sealed.resize(sealed_bytes(BULK_BYTES), 0);
            }
            let Ok(len) = records.seal(bytes, &mut self.begun, work.sealed) else {
                self.fail();
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            let sealed = &work.sealed[..len];
            let taken = calls.send(socket, &[IoSlice::new(sealed)], false)?;
            self.moved = self.moved.saturating_add(taken as u32);
            self.state.slow = taken < sealed.len();
            if self.state.slow {
                self.owed.extend_from_slice(&sealed[taken..]);
                self.sealed = bytes.len();
                break;
            }
            sent += bytes.len();
        }
        Ok(sent)
    }

    /// A close_notify, and a FIN behind it.
    fn finish(&mut self, calls: &mut impl Calls, socket: &Socket) {
        self.close();
        self.state.finishing = true;
        self.flush_all(calls, socket);
        if self.state.failed {
            calls.shutdown(socket, Half::Send);
        }
    }

    fn close(&mut self) {
        if self.state.open
            && !self.state.closed
            && !self.state.failed
            && let Some(records) = &mut self.records
        {
            self.state.closed = true;
            records.close(&mut self.begun, &mut self.owed);
        }
    }

    /// Says goodbye, as far as there is room for it, before the connection is closed.
    fn part(&mut self, calls: &mut impl Calls, socket: &Socket) {
        self.close();
        self.flush_all(calls, socket);
    }
}

/// At most `most` bytes of `parts`, from the byte `at` on: in one piece, copied if they are in several.
fn gather<'a>(parts: &'a [IoSlice<'_>], mut at: usize, most: usize, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    gathered.clear();
    for (n, part) in parts.iter().enumerate() {
        if at >= part.len() {
            at -= part.len();
            continue;
        }
        let rest = &part[at..];
        if gathered.is_empty() && (rest.len() >= most || n + 1 == parts.len()) {
            return &rest[..rest.len().min(most)];
        }
        at = 0;
        let some = &rest[..rest.len().min(most - gathered.len())];
        gathered.extend_from_slice(some);
        if gathered.len() == most {
            break;
        }
    }
    gathered
}
