//! A client's connection goes to the shard that has its gateway: the descriptor as an integer, and what was read.
use super::{
    conn::{NONE, State, armed, flag},
    letter::{Letter, Traveller},
    shard::Shard,
    timers::{TICK_MILLIS, tick},
};
use crate::{
    http::Refusal,
    io::{Armed, Io},
};
use std::sync::atomic::Ordering::SeqCst;

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Sends a client to another shard, as soon as nothing is armed for it here.
    pub(super) fn hand_over(&mut self, slot: u32, shard: usize) {
        let key = self.conns.key(slot);
        let conn = &mut self.conns[slot];
        conn.state = State::Moving;
        conn.domain = shard as u32;
        conn.deadline = 0;
        let pending = conn.armed;
        if pending & armed::STREAM != 0 && pending & armed::CANCELLING == 0 {
            self.stop_stream(slot);
        }
        if pending & armed::POLL_IN != 0 {
            self.io.cancel(key, Armed::PollIn);
        }
        if pending & armed::POLL_OUT != 0 {
            self.io.cancel(key, Armed::PollOut);
        }
    }

    /// The second half of a hand-over.
    pub(super) fn depart(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if conn.busy() {
            return;
        }
        if conn.is(flag::FAILED) || self.is_ending() {
            return self.drop_client(slot);
        }
        let (fd, address, eof, tries, shard) =
            (conn.fd, conn.ip(), conn.is(flag::EOF), conn.tries, conn.domain as usize);
        let give_up = u64::from(conn.deadline) * TICK_MILLIS;
        let mut input = Vec::new();
        if conn.session != NONE {
            input.append(&mut self.sessions[conn.session].head);
        }
        input.append(&mut self.take_input(slot));
        self.counters.handed_over.bump();
        self.drop_session_of(slot);
        self.forget(slot);
        self.uncount(slot);
        self.conns.remove(slot);
        self.io.mail(shard, Letter::Client(Box::new(Traveller { fd, address, input, eof, tries, give_up })));
    }

    /// Removes a client's session, which has no gateway.
    fn drop_session_of(&mut self, slot: u32) {
        let session = std::mem::replace(&mut self.conns[slot].session, NONE);
        if session != NONE {
            self.sessions.remove(session);
        }
    }

    /// Ends a client that was on its way.
    pub(super) fn drop_client(&mut self, slot: u32) {
        self.drop_session_of(slot);
        self.close(slot);
    }

    /// A client comes from another shard.
    pub(super) fn arrived(&mut self, traveller: Traveller) {
        if self.is_stopping() {
            self.shared.connections.fetch_sub(1, SeqCst);
            return self.io.close(traveller.fd);
        }
        let slot = self.conns.insert(traveller.fd, traveller.address, self.tick);
        self.stash(slot, traveller.input);
        let give_up = if traveller.give_up == 0 { 0 } else { tick(traveller.give_up) };
        let conn = &mut self.conns[slot];
        conn.flags |= flag::HANDED_OVER;
        if traveller.eof {
            conn.flags |= flag::EOF;
        }
        conn.deadline = give_up;
        conn.tries = traveller.tries;
        if self.limits.take_over(&self.conns[slot].address, self.tick).is_err() {
            self.counters.over_address.bump();
            self.conns[slot].flags |= flag::UNCOUNTED;
            return self.refuse(slot, Refusal::TooManyConnections, false);
        }
        self.next_head(slot);
        self.settle(slot);
    }
}
