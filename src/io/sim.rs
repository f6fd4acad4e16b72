//! The simulated back end: the same [`Engine`] and [`Calls`], over a world made of memory and driven by a seed.
//!
//! A [`World`] holds a clock, connections and the shards' operations. The world's seed decides whatever could happen
//! next: the order of completions, how many bytes a call moves, how long mail is in transit. The same seed gives the
//! same run. A shard that breaks a rule of those traits (closes a descriptor with something armed, releases a buffer
//! twice, uses a descriptor after closing it) panics at once, with the seed.

mod armed;
mod conn;
mod flow;
mod meter;
mod pool;
mod random;
mod state;
mod tuning;
mod turn;
mod world;

pub use random::Random;
pub use tuning::{Budget, Tuning};
pub use world::{Heard, Peer, World};

use super::{
    Armed, Buf, Calls, Engine, Event, Half, Interest, Key, Millis, Pipe, Read, Received, SEND_PARTS_MAX, Socket,
    Spliced,
};
use conn::{End, Found};
use pool::{Pipes, Pool};
use state::{State, Whom};
use std::cell::RefMut;
use std::io;
use std::net::SocketAddr;

/// The error of a failed ring.
const EBADF: i32 = 9;
/// Bytes that a connection takes at once when nothing is in flight on it.
const SURE_ROOM: usize = 512;

/// One shard's door to a simulated world.
pub struct Sim<M> {
    calls: SimCalls<M>,
    now: Millis,
    /// Whether the last turn brought something, or kept something back.
    busy: bool,
}

/// The plain calls of one shard in a simulated world.
pub struct SimCalls<M> {
    world: World<M>,
    number: usize,
    pool: Pool,
    pipes: Pipes,
}

impl<M> Sim<M> {
    fn new(world: World<M>, number: usize) -> Sim<M> {
        let (pool, pipes, now) = {
            let state = world.0.borrow();
            let tuning = &state.tuning;
            let pool = Pool::new(tuning.buffers, tuning.buffer_bytes, tuning.ring_buffers);
            (pool, Pipes::new(tuning.pipes, tuning.pipe_bytes), state.now)
        };
        Sim { calls: SimCalls { world, number, pool, pipes }, now, busy: false }
    }

    /// Whether the last turn brought something or could have: another one is due before the clock goes on.
    pub fn busy(&self) -> bool {
        self.busy || self.calls.world.0.borrow().shards[self.calls.number].stirred
    }

    /// Describes what the shard has on loan, if anything.
    pub fn on_loan(&self) -> Option<String> {
        let lent = self.calls.pool.lent();
        match (lent.is_empty(), self.calls.pipes.held()) {
            (true, 0) => None,
            (_, pipes) => Some(format!("shard {} has buffers {lent:?} and {pipes} pipes on loan", self.calls.number)),
        }
    }
}

impl<M> Drop for Sim<M> {
    fn drop(&mut self) {
        // A panic may have come from within the world.
        if let Ok(mut state) = self.calls.world.0.try_borrow_mut() {
            state.shards[self.calls.number].over = true;
        }
    }
}

impl<M> SimCalls<M> {
    fn state(&self) -> RefMut<'_, State<M>> {
        self.world.0.borrow_mut()
    }

    /// The value, or the end of the simulation.
    fn expect<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|wrong| self.world.fault(&wrong))
    }

    /// How many of `whole` bytes a send takes at most. A few always fit when nothing before them is unread: no
    /// kernel has a send buffer so small.
    fn limit(state: &mut State<M>, conn: usize, whole: usize) -> usize {
        let least = if state.conns[conn].has_sent_all(End::Near) { SURE_ROOM } else { 0 };
        let some = if Self::balks(state) { 0 } else { Self::some_of(state, whole) };
        some.max(whole.min(least))
    }

    /// How many of `whole` bytes a call moves.
    fn some_of(state: &mut State<M>, whole: usize) -> usize {
        match state.random.chance(state.tuning.partial) {
            true => state.random.part(whole),
            false => whole,
        }
    }

    /// Whether a call that could move something moves nothing.
    fn balks(state: &mut State<M>) -> bool {
        let odds = state.tuning.partial / 8;
        state.random.chance(odds)
    }
}

impl<M> Engine for Sim<M> {
    type Mail = M;
    type Calls = SimCalls<M>;

    fn calls(&mut self) -> &mut SimCalls<M> {
        &mut self.calls
    }

    fn calls_ref(&self) -> &SimCalls<M> {
        &self.calls
    }

    fn now(&self) -> Millis {
        self.now
    }

    fn turn(&mut self, _until: Option<Millis>, events: &mut Vec<Event<M>>) -> io::Result<()> {
        let SimCalls { world, number, pool, .. } = &mut self.calls;
        let mut state = world.0.borrow_mut();
        self.now = state.now;
        if state.tuning.fails_from.is_some_and(|from| from <= state.now) {
            state.note(|| format!("shard {number}: the turn fails"));
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let before = events.len();
        state.shards[*number].stirred = false;
        self.busy = state.turn(*number, pool, events) | (events.len() > before);
        Ok(())
    }

    fn accept(&mut self, listener: usize) {
        let number = self.calls.number;
        let mut state = self.calls.state();
        let listener = &mut state.shards[number].listeners[listener];
        if !listener.closed {
            listener.accepting = true;
            state.shards[number].stirred = true;
        }
    }

    fn pause_accepting(&mut self, listener: usize) {
        let number = self.calls.number;
        self.calls.state().shards[number].listeners[listener].accepting = false;
    }

    fn stop_accepting(&mut self) {
        let number = self.calls.number;
        let state = &mut *self.calls.state();
        for at in 0..state.shards[number].listeners.len() {
            let listener = &mut state.shards[number].listeners[at];
            listener.accepting = false;
            listener.closed = true;
            // Closing a listener resets who was not accepted yet.
            for conn in std::mem::take(&mut listener.backlog) {
                state.close(conn, End::Near, true);
            }
        }
    }

    fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        self.calls.state().arm(self.calls.number, socket, key, Armed::Watch(interest));
    }

    fn stream(&mut self, socket: &Socket, key: Key) {
        self.calls.state().arm(self.calls.number, socket, key, Armed::Stream);
    }

    fn cancel(&mut self, key: Key, armed: Armed) {
        let number = self.calls.number;
        let mut state = self.calls.state();
        state.note(|| format!("shard {number}: cancel {armed:?} {}", state::name(key)));
        state.shards[number].stirred = true;
        match state.shards[number].table.cancel(key, armed) {
            Ok(conn) => state.touched(number, conn),
            Err(wrong) => state.fault(&wrong),
        }
    }

    fn mail(&mut self, shard: usize, mail: M) -> Result<(), M> {
        self.calls.state().post(self.calls.number, shard, mail);
        Ok(())
    }
}

impl<M> Calls for SimCalls<M> {
    fn recv(&mut self, fd: &Socket, max: usize) -> Received {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "recv");
        state.touched(self.number, conn);
        state.forbid_stream(fd, "recv");
        // A buffer must be had before the kernel is asked.
        let empty = self.pool.at_hand() == 0;
        let received = match state.conns[conn].look(End::Near) {
            _ if empty && state.random.chance(500) => Received::NoBuffers,
            Found::Bytes(_) if empty => Received::NoBuffers,
            Found::Bytes(there) => {
                let len = Self::some_of(state, there.min(self.pool.size()).min(max));
                let conn = &mut state.conns[conn];
                Received::Bytes(self.pool.lend(len, |out| conn.take(End::Near, out)))
            }
            Found::Nothing => Received::Nothing,
            Found::Eof => Received::Eof,
            Found::Reset => {
                state.conns[conn].tell(End::Near);
                Received::Failed
            }
        };
        state.note(|| format!("shard {}: recv {fd:?}: {received:?}", self.number));
        let bytes = if let Received::Bytes(buf) = &received { buf.len() } else { 0 };
        if bytes > 0 {
            state.wake(Whom::Actor(state.conns[conn].far));
        }
        state.called(self.number, conn, bytes);
        received
    }

    fn read(&mut self, fd: &Socket, into: &mut [u8]) -> Read {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "read");
        state.touched(self.number, conn);
        state.forbid_stream(fd, "read");
        let read = match state.conns[conn].look(End::Near) {
            Found::Bytes(there) => {
                let len = Self::some_of(state, there.min(into.len()));
                state.conns[conn].take(End::Near, &mut into[..len]);
                Read::Bytes(len)
            }
            Found::Nothing => Read::Nothing,
            Found::Eof => Read::Eof,
            Found::Reset => {
                state.conns[conn].tell(End::Near);
                Read::Failed
            }
        };
        state.note(|| format!("shard {}: read {fd:?}: {read:?}", self.number));
        let bytes = if let Read::Bytes(len) = read { len } else { 0 };
        if bytes > 0 {
            state.wake(Whom::Actor(state.conns[conn].far));
        }
        state.called(self.number, conn, bytes);
        read
    }

    fn lend(&mut self, bytes: &[u8]) -> Option<Buf> {
        if self.pool.at_hand() == 0 {
            return None;
        }
        let len = bytes.len().min(self.pool.size());
        Some(self.pool.lend(len, |out| out.copy_from_slice(&bytes[..len])))
    }

    fn is_silent(&self, fd: &Socket) -> bool {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "peek");
        state.touched(self.number, conn);
        state.forbid_stream(fd, "peek");
        let silent = state.conns[conn].look(End::Near) == Found::Nothing;
        state.called(self.number, conn, 0);
        silent
    }

    fn unsent(&self, fd: &Socket) -> u32 {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "ask");
        state.touched(self.number, conn);
        let unsent = state.conns[conn].unsent(End::Near);
        state.called(self.number, conn, 0);
        unsent as u32
    }

    fn send(&self, fd: &Socket, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "send");
        state.touched(self.number, conn);
        if parts.len() > SEND_PARTS_MAX {
            state.fault(&format!("send of {} parts", parts.len()));
        }
        let whole = parts.iter().map(|part| part.len()).sum();
        let limit = Self::limit(state, conn, whole);
        let slices: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        let sent = state.send(conn, End::Near, &slices, limit, more);
        state.shards[self.number].stirred = true;
        state.note(|| {
            let corked = if more { ", more to come" } else { "" };
            format!("shard {}: send {fd:?}: {sent:?} of {whole}{corked}", self.number)
        });
        state.called(self.number, conn, sent.unwrap_or(0));
        sent.ok_or_else(|| match state.conns[conn].tell(End::Near) {
            true => io::ErrorKind::ConnectionReset.into(),
            false => io::ErrorKind::BrokenPipe.into(),
        })
    }

    fn bytes(&self, buf: &Buf) -> &[u8] {
        self.expect(self.pool.bytes(buf))
    }

    fn release(&mut self, buf: Buf) {
        let released = self.pool.release(buf);
        self.expect(released);
    }

    fn buffer_size(&self) -> usize {
        self.pool.size()
    }

    fn buffers(&self) -> (usize, usize) {
        (self.pool.count(), self.pool.free())
    }

    fn at_hand(&self) -> usize {
        self.pool.at_hand()
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.pipes.lend()
    }

    fn release_pipe(&mut self, pipe: Pipe, empty: bool) {
        let released = self.pipes.release(pipe, empty);
        self.expect(released);
    }

    fn pipes_held(&self) -> usize {
        self.pipes.held()
    }

    fn splice_in(&mut self, fd: &Socket, pipe: &Pipe, max: usize) -> Spliced {
        let room = self.pipes.room(pipe);
        let room = self.expect(room);
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "splice_in");
        state.touched(self.number, conn);
        state.forbid_stream(fd, "splice_in");
        let spliced = match state.conns[conn].look(End::Near) {
            Found::Eof => Spliced::Eof,
            Found::Reset => {
                state.conns[conn].tell(End::Near);
                Spliced::Failed
            }
            Found::Bytes(there) if room.min(max) > 0 && !Self::balks(state) => {
                let len = Self::some_of(state, there.min(room).min(max));
                let mut bytes = vec![0; len];
                state.conns[conn].take(End::Near, &mut bytes);
                self.pipes.content(pipe).expect("held").extend(bytes);
                Spliced::Moved(len)
            }
            Found::Bytes(_) | Found::Nothing => Spliced::Blocked,
        };
        state.note(|| format!("shard {}: splice {fd:?} to pipe {}: {spliced:?}", self.number, pipe.0));
        let bytes = if let Spliced::Moved(bytes) = spliced { bytes } else { 0 };
        if bytes > 0 {
            state.wake(Whom::Actor(state.conns[conn].far));
        }
        state.called(self.number, conn, bytes);
        spliced
    }

    fn splice_out(&mut self, pipe: &Pipe, fd: &Socket, max: usize, more: bool) -> Spliced {
        let state = &mut *self.world.0.borrow_mut();
        let conn = state.behind(fd, "splice_out");
        state.touched(self.number, conn);
        let content = match self.pipes.content(pipe) {
            Ok(content) => content,
            Err(wrong) => state.fault(&wrong),
        };
        let whole = content.len().min(max);
        let limit = Self::limit(state, conn, whole);
        let bytes = &content.make_contiguous()[..whole];
        let spliced = match state.send(conn, End::Near, &[bytes], limit, more) {
            None => {
                state.conns[conn].tell(End::Near);
                Spliced::Failed
            }
            Some(0) => Spliced::Blocked,
            Some(sent) => {
                content.drain(..sent);
                Spliced::Moved(sent)
            }
        };
        state.shards[self.number].stirred = true;
        state.note(|| {
            let corked = if more { ", more to come" } else { "" };
            format!("shard {}: splice pipe {} to {fd:?}: {spliced:?}{corked}", self.number, pipe.0)
        });
        let bytes = if let Spliced::Moved(bytes) = spliced { bytes } else { 0 };
        state.called(self.number, conn, bytes);
        spliced
    }

    fn unanswered(&self, fd: &Socket) -> std::time::Duration {
        // No path is ever lost here.
        self.state().behind(fd, "ask");
        std::time::Duration::ZERO
    }

    fn push(&self, fd: &Socket) {
        let state = &mut *self.state();
        let conn = state.behind(fd, "push");
        state.touched(self.number, conn);
        state.push(conn);
        state.note(|| format!("shard {}: push {fd:?}", self.number));
    }

    fn set_patience(&mut self, fd: &Socket, _patience: std::time::Duration) {
        self.state().behind(fd, "patience");
    }

    fn set_low_water(&mut self, fd: &Socket, bytes: u32) {
        let mut state = self.state();
        let conn = state.behind(fd, "mark");
        let conn = &mut state.conns[conn];
        if std::mem::replace(&mut conn.mark, bytes as usize) == 1 {
            // While there was none, nothing may have been armed that would have heard.
            conn.unheard_since = None;
        }
        state.note(|| format!("shard {}: low-water mark {bytes} {fd:?}", self.number));
    }

    fn disconnect(&mut self, fd: &Socket) {
        let mut state = self.state();
        let conn = state.behind(fd, "disconnect");
        state.touched(self.number, conn);
        state.note(|| format!("shard {}: disconnect {fd:?}", self.number));
        state.shards[self.number].stirred = true;
        state.disconnect(conn);
    }

    fn shutdown(&mut self, fd: &Socket, half: Half) {
        let mut state = self.state();
        let conn = state.behind(fd, "shutdown");
        state.touched(self.number, conn);
        state.note(|| format!("shard {}: shutdown {fd:?} {half:?}", self.number));
        state.shards[self.number].stirred = true;
        state.shutdown(conn, End::Near, half);
    }

    fn close(&mut self, fd: Socket) {
        let mut state = self.state();
        state.note(|| format!("shard {}: close {fd:?}", self.number));
        state.shards[self.number].stirred = true;
        let conn = state.vacate(fd, "close");
        state.touched(self.number, conn);
        state.close(conn, End::Near, false);
    }

    fn reset(&mut self, fd: Socket) {
        let mut state = self.state();
        state.note(|| format!("shard {}: reset {fd:?}", self.number));
        state.shards[self.number].stirred = true;
        let conn = state.vacate(fd, "reset");
        state.touched(self.number, conn);
        state.close(conn, End::Near, true);
    }

    fn peer(&self, fd: &Socket) -> Option<SocketAddr> {
        let mut state = self.state();
        let conn = state.behind(fd, "peer");
        let conn = &state.conns[conn];
        // A socket that was reset has no other end any more (ENOTCONN).
        (!conn.is_dead(End::Near)).then_some(conn.address)
    }
}
