//! Hand-off: a client moves to the shard that has its gateway, with its transport and its unread bytes.
use super::{
    conn::{Client, Flags, Role, mapped, watch},
    exchange::{ExchangeId, Traits},
    message::{HandOff, Message},
    tables::{End, Tables},
};
use crate::{http::Refusal, io::Engine};
use std::{io::IoSlice, mem::ManuallyDrop};

impl<E: Engine<Mail = Message>> Tables<E> {
    /// Sends a client to another shard, as soon as nothing is armed for it here. A waiting client keeps its deadline.
    pub fn hand_off(&mut self, slot: u32, shard: usize, give_up: u32) {
        let key = self.conns.key(slot);
        let conn = &mut self.conns[slot];
        conn.role = Role::Client(Client::Leaving);
        conn.domain = shard as u32;
        conn.deadline = give_up;
        watch::stop_all(conn, key, &mut self.engine);
        self.wake(slot);
    }

    /// The second half of a hand-off, once nothing is armed. The slot is given up.
    pub fn depart(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if conn.is_armed() {
            return;
        }
        let shard = conn.domain as usize;
        if conn.is(Flags::FAILED) {
            self.forget_exchange(slot);
            return self.close(slot);
        }
        let mut head = Vec::new();
        if let Some(id) = conn.exchange.some() {
            head = self.exchanges[id].head.take(&mut self.inboxes.account);
        }
        self.forget_exchange(slot);
        let conn = &mut self.conns[slot];
        let (input, taken) = self.inboxes.take_all(&mut conn.inbox, self.engine.calls());
        let Some(transport) = conn.transport.take() else { return };
        let session = transport.take_session(&self.sessions);
        let hand_off = HandOff {
            transport: ManuallyDrop::new(transport),
            session,
            address: conn.ip(),
            head,
            input,
            taken,
            eof: conn.is(Flags::EOF),
            trusted: conn.is(Flags::TRUSTED),
            counted: !conn.is(Flags::UNCOUNTED),
            tries: conn.tries,
            give_up: conn.deadline,
        };
        conn.domain = super::conn::NONE;
        self.counters.handed_over.bump();
        // Without its transport: the connection goes on elsewhere.
        self.give_up_slot(slot);
        if let Err(Message::Client(hand_off)) = self.engine.mail(shard, Message::Client(Box::new(hand_off))) {
            self.turn_away(*hand_off, Refusal::ShuttingDown);
        }
    }

    /// Removes a client's exchange, which has no gateway.
    fn forget_exchange(&mut self, slot: u32) {
        let id = std::mem::replace(&mut self.conns[slot].exchange, ExchangeId::NONE);
        if let Some(id) = id.some() {
            self.exchanges.end(id, &mut self.inboxes.account);
        }
    }

    /// A client arrives from another shard.
    pub fn arrived(&mut self, hand_off: HandOff) {
        if self.end == End::Stopping {
            return self.turn_away(hand_off, Refusal::ShuttingDown);
        }
        if self.inboxes.account.is_full() {
            self.counters.over_memory.bump();
            return self.turn_away(hand_off, Refusal::MemoryFull);
        }
        let HandOff { transport, session, address, head, input, taken, eof, trusted, counted, tries, give_up } =
            hand_off;
        transport.put_session(session, &self.sessions);
        let slot = self.conns.insert(Some(ManuallyDrop::into_inner(transport)), address, self.tick);
        let conn = &mut self.conns[slot];
        conn.flags.insert(Flags::HANDED_OVER | Flags::READABLE);
        conn.flags.set(Flags::EOF, eof);
        conn.flags.set(Flags::TRUSTED, trusted);
        conn.flags.set(Flags::UNCOUNTED, !counted);
        conn.deadline = give_up;
        conn.tries = tries;
        let restored = self.inboxes.restore(&mut conn.inbox, input, taken);
        let collecting = head.is_empty() || self.exchange_of(slot).is_some();
        if !restored || !collecting {
            return self.close(slot);
        }
        if let Some(id) = self.conns[slot].exchange.some() {
            let x = &mut self.exchanges[id];
            x.head.extend(&mut self.inboxes.account, &head);
            x.traits.insert(Traits::WHOLE);
        }
        self.wake(slot);
    }

    /// Ends a client that arrives where it cannot be served, with an answer as far as there is room for one.
    fn turn_away(&mut self, hand_off: HandOff, refusal: Refusal) {
        let HandOff { transport, session, address, counted, .. } = hand_off;
        let mut transport = ManuallyDrop::into_inner(transport);
        transport.put_session(session, &self.sessions);
        self.counters.refused(refusal).bump();
        let calls = self.engine.calls();
        let _ = transport.send(calls, &self.sessions, &[IoSlice::new(refusal.closing())], false);
        transport.close(calls, &self.sessions);
        self.shared.admission.release(&mapped(address), counted);
    }
}
