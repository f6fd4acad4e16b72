//! Ends of connections and exchanges, down to the slots and records that are freed after the turn.
use super::{End, Tables};
use crate::{
    http::Refusal,
    io::Engine,
    relay::{
        conn::{Client, Flags, NONE, Role},
        exchange::{ExchangeId, Phase, Traits},
        message::Message,
        ready::Budget,
        timers::{TICK_MILLIS, after, is_later},
    },
};
use std::io::IoSlice;

/// Linger times that a peer gets as long as it goes on sending.
pub const LINGERS_MAX: u8 = 6;
/// Linger time, at most, of a connection that was turned away.
const DENIED_LINGER_TICKS: u32 = (2000 / TICK_MILLIS) as u32;

impl<E: Engine<Mail = Message>> Tables<E> {
    /// Ends a connection that has no exchange. Its slot is freed when nothing is armed any more and the turn is over.
    pub fn close(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        debug_assert!(conn.exchange == ExchangeId::NONE);
        if matches!(conn.role, Role::Free | Role::Closing) {
            return;
        }
        let owes = self.owes_goodbye(slot);
        if matches!(self.conns[slot].role, Role::Gateway(..)) {
            self.leave(slot);
        }
        if owes {
            return self.begin_lingering(slot);
        }
        self.wheel.unlink(&mut self.conns, slot);
        let conn = &mut self.conns[slot];
        self.inboxes.clear(&mut conn.inbox, self.engine.calls());
        conn.role = Role::Closing;
        conn.deadline = 0;
        if !conn.is_armed() {
            return self.doomed.push(slot);
        }
        // Ends what is armed. Closing alone would leave it armed, and the peer without a FIN.
        match conn.flags.contains(Flags::RESET) {
            true => conn.transport().disconnect(self.engine.calls()),
            false => conn.transport().shut(self.engine.calls(), &self.sessions),
        }
    }

    /// Whether a close_notify waits for room: without it the peer could not know that it has everything.
    fn owes_goodbye(&mut self, slot: u32) -> bool {
        let conn = &mut self.conns[slot];
        // Who lingers has had its time.
        let over = conn.role == Role::Lingering || conn.is(Flags::RESET | Flags::FAILED) || self.end == End::Stopping;
        let transport = conn.transport.as_mut().filter(|_| !over);
        transport.is_some_and(|transport| transport.part(self.engine.calls(), &self.sessions))
    }

    /// Marks a closing connection, for which nothing is armed any more, to be freed.
    pub fn doom(&mut self, slot: u32) {
        debug_assert!(self.conns[slot].role == Role::Closing && !self.conns[slot].is_armed());
        self.doomed.push(slot);
    }

    /// Gives up a slot whose transport was handed off.
    pub fn give_up_slot(&mut self, slot: u32) {
        self.wheel.unlink(&mut self.conns, slot);
        let conn = &mut self.conns[slot];
        debug_assert!(conn.transport.is_none() && !conn.is_armed());
        conn.role = Role::Closing;
        conn.deadline = 0;
        self.doomed.push(slot);
    }

    /// Ends a connection in order: sends a FIN and waits for the peer's, so that no reset overtakes the response while
    /// the peer is still sending (RFC 9112 §9.6). A silent peer has the linger time, one that goes on sending
    /// [`LINGERS_MAX`] times as long.
    pub fn linger(&mut self, slot: u32) {
        match self.conns[slot].has_ended() {
            true => self.close(slot),
            false => self.begin_lingering(slot),
        }
    }

    fn begin_lingering(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        debug_assert!(conn.exchange == ExchangeId::NONE);
        self.inboxes.clear(&mut conn.inbox, self.engine.calls());
        conn.role = Role::Lingering;
        conn.flags.remove(Flags::LAST);
        conn.tries = 0;
        conn.deadline = after(self.tick, self.times.linger);
        conn.transport().finish(self.engine.calls(), &self.sessions);
        self.wake(slot);
    }

    /// The linger time of a connection is over: if something has arrived meanwhile, or it is still owed something, it gets
    /// another.
    pub fn linger_on(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        let from = if conn.transport().owes(&self.sessions) { self.tick } else { conn.active };
        let until = after(from, self.times.linger);
        conn.tries += 1;
        match conn.tries < LINGERS_MAX && is_later(until, self.tick) {
            true => conn.deadline = until,
            false => self.close(slot),
        }
    }

    /// Lets a connection that was turned away linger only shortly: descriptors for such are few.
    pub fn linger_less(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.role == Role::Lingering {
            conn.tries = LINGERS_MAX;
            conn.deadline = after(self.tick, self.times.linger.min(DENIED_LINGER_TICKS));
        }
    }

    /// Ends an exchange and closes its gateway, if it still has one. The caller decides about the client.
    pub fn end_exchange(&mut self, id: ExchangeId) {
        let client = self.exchanges[id].client;
        if self.exchanges[id].phase == Phase::Waiting {
            self.stop_waiting(client);
        }
        self.drop_gateway(id);
        self.conns[client].exchange = ExchangeId::NONE;
        let x = &mut self.exchanges[id];
        for flow in [&mut x.up, &mut x.down] {
            flow.return_pipe(self.engine.calls());
        }
        self.exchanges.end(id, &mut self.inboxes.account);
    }

    /// Ends an exchange and both of its connections, the client's with a reset if it must not take what it has for the
    /// whole.
    pub fn abort(&mut self, id: ExchangeId, reset: bool) {
        let client = self.exchanges[id].client;
        self.end_exchange(id);
        self.conns[client].flags.set(Flags::RESET, reset);
        self.close(client);
    }

    /// Takes the gateway out of an exchange and closes it.
    pub fn drop_gateway(&mut self, id: ExchangeId) {
        let x = &mut self.exchanges[id];
        // A gateway that is given up within an exchange must notice at once, even with unread bytes: it is reset.
        let within = match x.phase {
            Phase::Asked => true,
            Phase::Answering => !x.down.is_done() && !x.down.body.is_done(),
            Phase::Tunnel => !x.down.ended && !x.up.ended,
            _ => false,
        };
        let gateway = std::mem::replace(&mut x.gateway, NONE);
        if gateway != NONE {
            let conn = &mut self.conns[gateway];
            conn.exchange = ExchangeId::NONE;
            conn.flags.set(Flags::RESET, within && !conn.has_ended());
            self.close(gateway);
        }
    }

    /// Sends a client the relay's own response, and ends its exchange if it has one. `head_only` for HEAD, whose
    /// responses have no body.
    pub fn answer(&mut self, slot: u32, refusal: Refusal, keep: bool, head_only: bool, budget: &mut Budget) {
        self.counters.refused(refusal).bump();
        let answer = if keep { refusal.kept() } else { refusal.closing() };
        self.answer_with(slot, answer, keep, head_only, budget);
    }

    /// Sends a client a response of the relay's own, as it stands.
    pub fn answer_with(&mut self, slot: u32, mut answer: &[u8], keep: bool, head_only: bool, budget: &mut Budget) {
        if let Some(id) = self.conns[slot].exchange.some() {
            if !self.exchanges[id].down.is_flushed() {
                // Within another response this one would be taken for a part of it.
                return self.abort(id, true);
            }
            self.end_exchange(id);
        }
        if head_only && let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") {
            answer = &answer[..end + 4];
        }
        let conn = &mut self.conns[slot];
        let sent = conn.transport().send(self.engine.calls(), &self.sessions, &[IoSlice::new(answer)], false);
        budget.spend(answer.len());
        conn.flags.remove(Flags::HANDED_OVER | Flags::LAST);
        conn.tries = 0;
        match sent {
            Ok(sent) if sent < answer.len() => self.begin_parting(slot, &answer[sent..], keep),
            Ok(_) if keep => {
                conn.role = Role::Client(Client::Idle);
                conn.deadline = after(self.tick, self.times.client_idle);
            }
            _ => self.linger(slot),
        }
    }

    /// The relay's own response waits for room.
    fn begin_parting(&mut self, slot: u32, rest: &[u8], keep: bool) {
        let Some(id) = self.exchange_of(slot) else { return self.close(slot) };
        let x = &mut self.exchanges[id];
        x.phase = Phase::Parting;
        x.down.out.extend(&mut self.inboxes.account, rest);
        x.down.blocked = true;
        x.traits.set(Traits::KEEP_CLIENT, keep);
        self.conns[slot].deadline = after(self.tick, self.times.session_idle);
    }

    // Between two turns.

    /// Frees what was given up during the turn.
    pub fn reap(&mut self) {
        for at in 0..self.doomed.len() {
            let slot = self.doomed[at];
            let conn = &self.conns[slot];
            let (reset, counted) = (conn.is(Flags::RESET), !conn.is(Flags::UNCOUNTED));
            if conn.transport.is_some() {
                self.shared.admission.release(&conn.address, counted);
            }
            match (self.conns.remove(slot), reset) {
                (Some(transport), true) => transport.reset(self.engine.calls(), &self.sessions),
                (Some(transport), false) => transport.close(self.engine.calls(), &self.sessions),
                (None, _) => {}
            }
        }
        self.doomed.clear();
        self.exchanges.reap();
        while let Some(domain) = self.empty_domains.pop() {
            if self.park.contains(domain) && !self.park[domain].is_listed() && self.park[domain].waiting.is_empty() {
                self.park.remove(domain);
            }
        }
    }
}
