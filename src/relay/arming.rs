//! What is received, and what is armed to receive more: a poll for those who rarely speak, a stream for those who do
//! all the time, nothing for those who must wait.
use super::{
    conn::{Conn, NONE, State, armed, flag},
    letter::Letter,
    shard::Shard,
    timers::TICK_MILLIS,
};
use crate::io::{Armed, Buf, End, Io, Key, Received};

/// Receives less than this apart make a connection hot; without one for twice as long it cools down.
pub(super) const HEAT_TICKS: u32 = (1000 / TICK_MILLIS) as u32;
/// So many of them in a row.
const HEAT_NEEDED: u8 = 2;
/// A client that has asked its last is watched, for a reset, only after as long as this: most have their answer by then.
const LAST_TICKS: u32 = 2;

impl<I: Io<Mail = Letter>> Shard<I> {
    pub(super) fn received(&mut self, key: Key, buf: Buf, more: bool) {
        if !more {
            self.disarm(key, armed::STREAM | armed::CANCELLING);
        }
        let slot = key.slot;
        self.conns[slot].active = self.tick;
        if self.spoke_too_soon(slot) {
            self.io.release(buf);
        } else {
            self.take_in(slot, buf);
            self.advance(slot);
        }
        self.settle(slot);
    }

    pub(super) fn ended(&mut self, key: Key, end: End) {
        self.disarm(key, armed::STREAM | armed::CANCELLING);
        match end {
            End::Eof => self.conns[key.slot].flags |= flag::EOF,
            End::Failed => self.conns[key.slot].flags |= flag::FAILED,
            End::NoBuffers => self.starve(key.slot),
            End::Cancelled => {}
        }
        self.advance(key.slot);
        self.settle(key.slot);
    }

    pub(super) fn readable(&mut self, key: Key) {
        let slot = key.slot;
        self.disarm(key, armed::POLL_IN | armed::CANCELLING);
        let conn = &mut self.conns[slot];
        let quick = self.tick.saturating_sub(conn.active) < HEAT_TICKS;
        conn.heat = if quick { conn.heat.saturating_add(1) } else { 0 };
        if conn.heat > HEAT_NEEDED && matches!(conn.state, State::Idle | State::Client | State::Gateway) {
            // From here on the bytes come by themselves.
            conn.flags |= flag::HOT;
            conn.active = self.tick;
        }
        match self.asked_this_turn(slot) {
            true => self.look_before_answer(slot),
            false => self.receive(slot),
        }
        self.settle(slot);
    }

    pub(super) fn asked_this_turn(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        conn.state == State::Gateway && self.sessions[conn.session].asked_in == self.turn
    }

    /// A gateway that was asked in this turn was readable before. A poll may also end for no reason.
    pub(super) fn look_before_answer(&mut self, slot: u32) {
        match self.io.recv(self.conns[slot].fd) {
            Received::Nothing => {}
            Received::NoBuffers => self.starve(slot),
            Received::Bytes(buf) => {
                self.take_in(slot, buf);
                if !self.spoke_too_soon(slot) {
                    self.advance(slot);
                }
            }
            Received::Eof => {
                self.conns[slot].flags |= flag::EOF;
                self.advance(slot);
            }
            Received::Failed => {
                self.conns[slot].flags |= flag::FAILED;
                self.advance(slot);
            }
        }
    }

    /// Receives what is there, as long as it is wanted, but not more than a turn's worth.
    pub(super) fn receive(&mut self, slot: u32) {
        let mut left = self.config.turn_bytes;
        while self.wants_input(slot) && self.conns[slot].armed & armed::STREAM == 0 {
            if self.is_bulk(slot) {
                return self.advance(slot);
            }
            if left == 0 {
                return self.go_on_later(slot);
            }
            let fd = self.conns[slot].fd;
            let whole = match self.io.recv(fd) {
                Received::Bytes(buf) => {
                    let len = buf.len();
                    left = left.saturating_sub(len);
                    self.conns[slot].active = self.tick;
                    self.take_in(slot, buf);
                    len == self.io.buffer_size()
                }
                Received::Nothing => return,
                Received::NoBuffers => return self.starve(slot),
                Received::Eof => {
                    self.conns[slot].flags |= flag::EOF;
                    false
                }
                Received::Failed => {
                    self.conns[slot].flags |= flag::FAILED;
                    false
                }
            };
            self.advance(slot);
            // A buffer that is not full means that there is no more for now; and what a gateway sends that has just
            // been asked anew is for another look.
            if !whole || self.asked_this_turn(slot) {
                return;
            }
        }
    }

    /// Puts received bytes where they belong, or nowhere.
    pub(super) fn take_in(&mut self, slot: u32, buf: Buf) {
        let conn = &mut self.conns[slot];
        if matches!(conn.state, State::Lingering | State::Closing) {
            return self.io.release(buf);
        }
        let whole = buf.len() == self.io.buffer_size();
        self.append(slot, buf);
        let conn = &self.conns[slot];
        if conn.session != NONE {
            let session = &mut self.sessions[conn.session];
            let flow = if session.client == slot { &mut session.up } else { &mut session.down };
            flow.unseen = whole;
            flow.full_reads = if whole { flow.full_reads.saturating_add(1) } else { 0 };
        }
    }

    /// Does whatever a connection's state says about what it has received.
    pub(super) fn advance(&mut self, slot: u32) {
        match self.conns[slot].state {
            State::Idle => self.next_head(slot),
            State::Client | State::Gateway => self.run(self.conns[slot].session),
            State::Parked => self.parked_spoke(slot),
            State::Settling => self.settled(slot),
            State::Lingering => self.lingered(slot),
            State::Moving | State::Closing | State::Free => {}
        }
    }

    /// Arms what a connection needs now, and its timer. To be called when its events are dealt with.
    pub(super) fn settle(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        match conn.state {
            State::Free => return,
            State::Closing => return self.finish(slot),
            State::Moving => return self.depart(slot),
            _ => {}
        }
        if !conn.input.is_empty() {
            self.make_room(slot);
        }
        let wanted = self.wants_input(slot);
        let conn = &self.conns[slot];
        let key = self.conns.key(slot);
        if wanted && !conn.receiving() {
            if conn.is(flag::HOT) && !self.is_bulk(slot) {
                self.io.stream(conn.fd, key);
                self.conns[slot].armed |= armed::STREAM;
            } else {
                self.io.poll_in(conn.fd, key);
                self.conns[slot].armed |= armed::POLL_IN;
            }
        } else if conn.armed & (armed::STREAM | armed::CANCELLING) == armed::STREAM && self.must_stop(slot) {
            self.stop_stream(slot);
        }
        self.schedule(slot);
    }

    /// Back-pressure: a stream that goes on while its bytes pile up must be stopped, and one that is to be spliced.
    pub(super) fn must_stop(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        self.is_bulk(slot)
            || conn.is(flag::STASHED)
            || self.links.iter(&conn.input).nth(self.config.held_buffers - 1).is_some()
    }

    pub(super) fn stop_stream(&mut self, slot: u32) {
        self.io.cancel(self.conns.key(slot), Armed::Stream);
        self.conns[slot].armed |= armed::CANCELLING;
    }

    /// Whether more bytes from this connection could be put to use.
    pub(super) fn wants_input(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        if conn.flags & (flag::EOF | flag::FAILED | flag::STARVED | flag::AGAIN) != 0 {
            return false;
        }
        match conn.state {
            State::Free | State::Moving | State::Settling | State::Closing => false,
            State::Idle | State::Parked | State::Lingering => true,
            State::Client | State::Gateway => {
                let session = &self.sessions[conn.session];
                let flow = if session.client == slot { &session.up } else { &session.down };
                !conn.has_input() && flow.is_flushed() && !flow.dead && !conn.is(flag::LAST)
            }
        }
    }

    /// Whether this connection's bytes are spliced.
    pub(super) fn is_bulk(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        if conn.session == NONE {
            return false;
        }
        let session = &self.sessions[conn.session];
        if session.client == slot { session.up.bulk } else { session.down.bulk }
    }

    /// Asks to be told when there is room to send to a connection.
    pub(super) fn want_room(&mut self, slot: u32) {
        let key = self.conns.key(slot);
        let conn = &mut self.conns[slot];
        if conn.armed & armed::POLL_OUT == 0 {
            conn.armed |= armed::POLL_OUT;
            let fd = conn.fd;
            self.io.poll_out(fd, key);
        }
    }

    /// A connection has more to move, but the others have waited long enough.
    pub(super) fn go_on_later(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if !conn.is(flag::AGAIN) {
            conn.flags |= flag::AGAIN;
            self.again.push_back(slot);
        }
    }

    pub(super) fn run_again(&mut self) {
        for _ in 0..self.again.len() {
            let Some(slot) = self.again.pop_front() else { return };
            // The slot may be another connection's by now: then this is a look for nothing.
            self.conns[slot].flags &= !flag::AGAIN;
            self.receive(slot);
            self.settle(slot);
        }
    }

    pub(super) fn starve(&mut self, slot: u32) {
        self.counters.starved.bump();
        let conn = &mut self.conns[slot];
        if !conn.is(flag::STARVED) {
            conn.flags |= flag::STARVED;
            self.starved.push_back(slot);
        }
    }

    /// Those that found no buffer get their turn, in order, as far as there are buffers.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        for _ in 0..self.starved.len().min(self.io.at_hand()) {
            let Some(slot) = self.starved.pop_front() else { return };
            self.conns[slot].flags &= !flag::STARVED;
            self.advance(slot);
            self.settle(slot);
        }
    }

    pub(super) fn schedule(&mut self, slot: u32) {
        let Some(due) = due(&self.conns[slot]) else { return };
        self.wheel.set(&mut self.conns, slot, due);
    }

    /// A connection that has become quiet goes back to the poll, which costs the least while nothing comes.
    pub(super) fn cool(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        conn.flags &= !flag::HOT;
        conn.heat = 0;
        if conn.armed & (armed::STREAM | armed::CANCELLING) == armed::STREAM {
            self.stop_stream(slot);
        }
    }

    /// Does what becomes due without being a deadline.
    pub(super) fn time_passes(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.is(flag::LAST) && conn.active + LAST_TICKS <= self.tick {
            conn.flags &= !flag::LAST;
            return self.settle(slot);
        }
        if conn.is(flag::HOT) && conn.active + 2 * HEAT_TICKS <= self.tick {
            self.cool(slot);
        }
        self.schedule(slot);
    }
}

/// The tick at which a connection must be looked at.
fn due(conn: &Conn) -> Option<u32> {
    let cooling = conn.is(flag::HOT).then_some(conn.active + 2 * HEAT_TICKS);
    let unwatched = conn.is(flag::LAST).then_some(conn.active + LAST_TICKS);
    let deadline = (conn.deadline != 0).then_some(conn.deadline);
    [cooling, unwatched, deadline].into_iter().flatten().min()
}
