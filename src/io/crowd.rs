//! A back end in memory for very many connections: the same [`Engine`] and [`Calls`] at a constant, small cost for each
//! operation, whatever the number of connections.
//!
//! It is what the shard's own time and memory are measured on, at sizes that no kernel of one machine could hold the
//! sockets of. Where [`super::sim`] asks what could go wrong and checks each rule, everything goes well here: bytes
//! arrive whole and at once, every peer takes what it is sent, and events come in the order of their causes.

use super::{
    Armed, Buf, Calls, End, Engine, Event, Half, Interest, Key, Millis, Pipe, Read, Received, Socket, Spliced,
};
use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

/// Maximum events of one turn, about as many as a ring brings under load.
const EVENTS_MAX: usize = 256;
/// Bytes of a buffer, and buffers in the pool.
const BUFFER_BYTES: usize = 16 << 10;
const BUFFERS: usize = 1024;

/// What is armed for a line.
const READ: u8 = 1;
const WRITE: u8 = 2;
const STREAM: u8 = 4;
const CANCELLED: u8 = 8;

/// One connection: what the shard has armed for it, and what its far end has said. 24 bytes.
#[derive(Default)]
struct Line {
    /// What was said and not received yet.
    said: Option<Box<[u8]>>,
    slot: u32,
    generation: u16,
    armed: u8,
    /// The far end has finished; it is told at most once a watch.
    finished: bool,
}

const _: () = assert!(size_of::<Line>() <= 24, "ten million lines must fit");

impl Line {
    /// Whether a receive would find something.
    fn is_readable(&self) -> bool {
        self.said.is_some() || self.finished
    }

    /// Whether an armed operation has something to tell.
    fn is_due(&self) -> bool {
        self.armed & (WRITE | CANCELLED) != 0 || (self.armed & (READ | STREAM) != 0 && self.is_readable())
    }

    fn key(&self) -> Key {
        Key { slot: self.slot, generation: self.generation }
    }
}

struct State<M> {
    now: Millis,
    lines: Vec<Line>,
    /// Numbers of lines that are closed and may be used again.
    vacant: Vec<u32>,
    /// Connected and not accepted.
    backlog: VecDeque<u32>,
    accepting: bool,
    /// Lines that may have something to tell.
    due: VecDeque<u32>,
    mail: VecDeque<M>,
    /// Sent by the shard: by line, how many of the bytes.
    sent: Vec<(u32, usize)>,
    sent_bytes: Vec<u8>,
    /// Closed by the shard.
    closed: Vec<u32>,
}

impl<M> State<M> {
    fn line(&mut self, socket: &Socket) -> &mut Line {
        &mut self.lines[socket.number() as usize]
    }

    /// Remembers a line that has something to tell.
    fn look(&mut self, number: u32) {
        if self.lines[number as usize].is_due() {
            self.due.push_back(number);
        }
    }

    fn arm(&mut self, socket: &Socket, key: Key, armed: u8) {
        let line = self.line(socket);
        (line.slot, line.generation) = (key.slot, key.generation);
        line.armed |= armed;
        self.look(socket.number() as u32);
    }

    fn close(&mut self, socket: Socket) {
        let number = socket.into_number() as u32;
        self.lines[number as usize] = Line::default();
        self.closed.push(number);
    }
}

/// The far ends of a [`Crowd`]'s connections, and its clock. Clones are handles to the same.
pub struct FarEnds<M>(Rc<RefCell<State<M>>>);

impl<M> Clone for FarEnds<M> {
    fn clone(&self) -> Self {
        FarEnds(Rc::clone(&self.0))
    }
}

impl<M> FarEnds<M> {
    /// Nobody yet, with room for so many connections: none of it is allocated later.
    pub fn new(room: usize) -> FarEnds<M> {
        FarEnds(Rc::new(RefCell::new(State {
            now: 1,
            lines: (0..room).map(|_| Line::default()).collect(),
            vacant: (0..room as u32).rev().collect(),
            backlog: VecDeque::new(),
            accepting: false,
            due: VecDeque::new(),
            mail: VecDeque::new(),
            sent: Vec::new(),
            sent_bytes: Vec::new(),
            closed: Vec::with_capacity(room),
        })))
    }

    /// The back end of the shard.
    pub fn engine(&self) -> Crowd<M> {
        let pool = Pool { memory: vec![0; BUFFER_BYTES * BUFFERS], at_hand: (0..BUFFERS as u16).collect() };
        Crowd { calls: CrowdCalls { ends: self.clone(), pool }, now: self.state().now }
    }

    fn state(&self) -> RefMut<'_, State<M>> {
        self.0.borrow_mut()
    }

    /// A new connection that says this at once.
    ///
    /// # Panics
    /// There is no room for another.
    pub fn connect(&self, bytes: &[u8]) -> u32 {
        let mut state = self.state();
        let number = state.vacant.pop().expect("room for a connection");
        state.lines[number as usize].said = Some(bytes.into());
        state.backlog.push_back(number);
        number
    }

    /// A far end says something more; what it said before was received.
    pub fn say(&self, number: u32, bytes: &[u8]) {
        let mut state = self.state();
        let before = state.lines[number as usize].said.replace(bytes.into());
        debug_assert!(before.is_none(), "what was said before is received first");
        state.look(number);
    }

    /// A far end has finished, or is gone.
    pub fn finish(&self, number: u32) {
        let mut state = self.state();
        state.lines[number as usize].finished = true;
        state.look(number);
    }

    /// What the shard has sent since the last call, and to whom.
    pub fn hear(&self, mut each: impl FnMut(u32, &[u8])) {
        let (sent, bytes) = {
            let mut state = self.state();
            (std::mem::take(&mut state.sent), std::mem::take(&mut state.sent_bytes))
        };
        let mut rest = &bytes[..];
        for (number, len) in sent {
            let (some, others) = rest.split_at(len);
            each(number, some);
            rest = others;
        }
    }

    /// How many connections the shard has closed since the last call. Their numbers are used again from now on.
    pub fn count_closed(&self) -> usize {
        let state = &mut *self.state();
        let count = state.closed.len();
        state.vacant.append(&mut state.closed);
        count
    }

    /// Whether the shard has something to be told.
    pub fn is_stirred(&self) -> bool {
        let state = self.state();
        !state.due.is_empty() || !state.mail.is_empty() || (state.accepting && !state.backlog.is_empty())
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Millis) {
        self.state().now = now;
    }

    /// Sends mail to the shard.
    pub fn post(&self, mail: M) {
        self.state().mail.push_back(mail);
    }
}

struct Pool {
    memory: Vec<u8>,
    at_hand: Vec<u16>,
}

impl Pool {
    /// Receives what was said, as far as it fits. There must be a buffer at hand.
    fn fill(&mut self, line: &mut Line, max: usize) -> Buf {
        let id = self.at_hand.pop().expect("a buffer at hand");
        let said = line.said.take().expect("something was said");
        let len = said.len().min(BUFFER_BYTES).min(max);
        if len < said.len() {
            line.said = Some(said[len..].into());
        }
        let at = usize::from(id) * BUFFER_BYTES;
        self.memory[at..at + len].copy_from_slice(&said[..len]);
        Buf { id, start: 0, end: len as u32 }
    }
}

/// The back end of one shard.
pub struct Crowd<M> {
    calls: CrowdCalls<M>,
    now: Millis,
}

/// Its plain calls.
pub struct CrowdCalls<M> {
    ends: FarEnds<M>,
    pool: Pool,
}

impl<M> Crowd<M> {
    /// What a line has to tell. It is looked at again if that was not all.
    fn tell(state: &mut State<M>, pool: &mut Pool, number: u32) -> Option<Event<M>> {
        let line = &mut state.lines[number as usize];
        let key = line.key();
        let event = match line.armed {
            armed if armed & WRITE != 0 => {
                line.armed &= !WRITE;
                Event::Writable { key }
            }
            armed if armed & READ != 0 && line.is_due() => {
                line.armed &= !(READ | CANCELLED);
                Event::Readable { key }
            }
            armed if armed & STREAM != 0 && line.said.is_some() => {
                Event::Received { key, buf: pool.fill(line, usize::MAX), more: true }
            }
            armed if armed & STREAM != 0 && line.is_due() => {
                let end = if line.finished { End::Eof } else { End::Cancelled };
                line.armed &= !(STREAM | CANCELLED);
                Event::Ended { key, end }
            }
            _ => return None,
        };
        state.look(number);
        Some(event)
    }
}

impl<M> Engine for Crowd<M> {
    type Mail = M;
    type Calls = CrowdCalls<M>;

    fn calls(&mut self) -> &mut CrowdCalls<M> {
        &mut self.calls
    }

    fn calls_ref(&self) -> &CrowdCalls<M> {
        &self.calls
    }

    fn now(&self) -> Millis {
        self.now
    }

    fn turn(&mut self, _until: Option<Millis>, events: &mut Vec<Event<M>>) -> io::Result<()> {
        let CrowdCalls { ends, pool } = &mut self.calls;
        let state = &mut *ends.0.borrow_mut();
        self.now = state.now;
        events.extend(state.mail.drain(..).map(Event::Mail));
        while events.len() < EVENTS_MAX
            && let Some(number) = state.due.pop_front()
        {
            events.extend(Crowd::tell(state, pool, number));
        }
        while events.len() < EVENTS_MAX
            && state.accepting
            && let Some(number) = state.backlog.pop_front()
        {
            events.push(Event::Accepted { listener: 0, socket: Socket::new(number as i32) });
        }
        Ok(())
    }

    fn accept(&mut self, _listener: usize) {
        self.calls.ends.state().accepting = true;
    }

    fn pause_accepting(&mut self, _listener: usize) {
        self.calls.ends.state().accepting = false;
    }

    fn stop_accepting(&mut self) {
        self.calls.ends.state().accepting = false;
    }

    fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        let armed = if interest == Interest::Readable { READ } else { WRITE };
        self.calls.ends.state().arm(socket, key, armed);
    }

    fn stream(&mut self, socket: &Socket, key: Key) {
        self.calls.ends.state().arm(socket, key, STREAM);
    }

    fn cancel(&mut self, key: Key, _armed: Armed) {
        // As in a kernel, the cost grows with what is armed; no path that is measured comes here.
        let state = &mut *self.calls.ends.state();
        if let Some(number) = state.lines.iter().position(|line| line.armed != 0 && line.key() == key) {
            state.lines[number].armed |= CANCELLED;
            state.look(number as u32);
        }
    }

    fn mail(&mut self, _shard: usize, mail: M) -> Result<(), M> {
        // There is one shard.
        Err(mail)
    }
}

impl<M> Calls for CrowdCalls<M> {
    fn recv(&mut self, socket: &Socket, max: usize) -> Received {
        let mut state = self.ends.0.borrow_mut();
        let line = state.line(socket);
        match (&line.said, line.finished) {
            (Some(_), _) if self.pool.at_hand.is_empty() => Received::NoBuffers,
            (Some(_), _) => Received::Bytes(self.pool.fill(line, max)),
            (None, true) => Received::Eof,
            (None, false) => Received::Nothing,
        }
    }

    fn read(&mut self, socket: &Socket, into: &mut [u8]) -> Read {
        let mut state = self.ends.0.borrow_mut();
        let line = state.line(socket);
        let Some(said) = line.said.take() else { return if line.finished { Read::Eof } else { Read::Nothing } };
        let len = said.len().min(into.len());
        into[..len].copy_from_slice(&said[..len]);
        line.said = (len < said.len()).then(|| said[len..].into());
        Read::Bytes(len)
    }

    fn lend(&mut self, bytes: &[u8]) -> Option<Buf> {
        let id = self.pool.at_hand.pop()?;
        let len = bytes.len().min(BUFFER_BYTES);
        let at = usize::from(id) * BUFFER_BYTES;
        self.pool.memory[at..at + len].copy_from_slice(&bytes[..len]);
        Some(Buf { id, start: 0, end: len as u32 })
    }

    fn is_silent(&self, socket: &Socket) -> bool {
        !self.ends.state().line(socket).is_readable()
    }

    fn send(&self, socket: &Socket, parts: &[io::IoSlice<'_>], _more: bool) -> io::Result<usize> {
        let state = &mut *self.ends.state();
        let before = state.sent_bytes.len();
        parts.iter().for_each(|part| state.sent_bytes.extend_from_slice(part));
        let len = state.sent_bytes.len() - before;
        state.sent.push((socket.number() as u32, len));
        Ok(len)
    }

    fn unsent(&self, _socket: &Socket) -> u32 {
        0
    }

    fn unanswered(&self, _socket: &Socket) -> Duration {
        Duration::ZERO
    }

    fn push(&self, _socket: &Socket) {}

    fn splice_in(&mut self, _socket: &Socket, _pipe: &Pipe, _max: usize) -> Spliced {
        Spliced::Failed
    }

    fn splice_out(&mut self, _pipe: &Pipe, _socket: &Socket, _max: usize, _more: bool) -> Spliced {
        Spliced::Failed
    }

    fn shutdown(&mut self, socket: &Socket, half: Half) {
        // The far end of a connection that is ended ends, too.
        if half == Half::Both {
            self.disconnect(socket);
        }
    }

    fn disconnect(&mut self, socket: &Socket) {
        let state = &mut *self.ends.state();
        let line = state.line(socket);
        line.said = None;
        line.finished = true;
        state.look(socket.number() as u32);
    }

    fn close(&mut self, socket: Socket) {
        self.ends.state().close(socket);
    }

    fn reset(&mut self, socket: Socket) {
        self.ends.state().close(socket);
    }

    fn set_patience(&mut self, _socket: &Socket, _patience: Duration) {}

    fn set_low_water(&mut self, _socket: &Socket, _bytes: u32) {}

    fn peer(&self, socket: &Socket) -> Option<SocketAddr> {
        // Everybody has an address of its own.
        let address = Ipv4Addr::from_bits((10 << 24) + socket.number() as u32);
        Some(SocketAddr::new(IpAddr::V4(address), 1024))
    }

    fn bytes(&self, buf: &Buf) -> &[u8] {
        let at = usize::from(buf.id) * BUFFER_BYTES;
        &self.pool.memory[at + buf.start as usize..at + buf.end as usize]
    }

    fn release(&mut self, buf: Buf) {
        self.pool.at_hand.push(buf.id);
    }

    fn buffer_size(&self) -> usize {
        BUFFER_BYTES
    }

    fn buffers(&self) -> (usize, usize) {
        (BUFFERS, self.pool.at_hand.len())
    }

    fn at_hand(&self) -> usize {
        self.pool.at_hand.len()
    }

    fn pipe(&mut self) -> Option<Pipe> {
        None
    }

    fn release_pipe(&mut self, _pipe: Pipe, _empty: bool) {}

    fn pipes_held(&self) -> usize {
        0
    }
}
