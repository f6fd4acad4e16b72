//! What a connection needs next: what is armed for it, room for its bytes, its timer.
use super::Tables;
use crate::{
    io::{Calls, Engine},
    relay::{
        conn::{Arms, Client, Flags, Gateway, HOT, NONE, Role, watch, watch::Wish},
        exchange::Phase,
        message::Message,
    },
};

impl<E: Engine<Mail = Message>> Tables<E> {
    /// Arms what a connection needs now, and its timer. To be called after its step.
    pub fn rearm(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if matches!(conn.role, Role::Free | Role::Closing) {
            return;
        }
        if conn.inbox.holds_buffers() {
            self.make_room(slot);
        }
        if self.conns[slot].flags & (Flags::STARVED | Flags::IN_LINE) == Flags::STARVED {
            self.starve(slot);
        }
        let wish = self.wish(slot);
        let key = self.conns.key(slot);
        watch::rearm(&mut self.conns[slot], key, wish, &mut self.engine);
        self.schedule(slot);
    }

    /// Rearms a client and, if it has one, its gateway.
    pub fn rearm_both(&mut self, client: u32) {
        if let Some(id) = self.conns[client].exchange.some() {
            let gateway = self.exchanges[id].gateway;
            if gateway != NONE {
                self.rearm(gateway);
            }
        }
        self.rearm(client);
    }

    /// What a connection should have armed.
    fn wish(&self, slot: u32) -> Wish {
        let conn = &self.conns[slot];
        let deaf = conn.flags.intersects(Flags::EOF | Flags::FAILED | Flags::STARVED | Flags::QUEUED);
        let piling = conn.inbox.is_spilled() || self.inboxes.holds(&conn.inbox, self.config.held_buffers);
        let mut wish = Wish { read: !deaf, stop: piling, ..Wish::default() };
        let x = conn.exchange.some().map(|id| &self.exchanges[id]);
        match (conn.role, x) {
            (Role::Free | Role::Closing | Role::Client(Client::Leaving), _) => return Wish::default(),
            (Role::Gateway(_, Gateway::Quarantined), _) => return Wish { stop: true, ..Wish::default() },
            // The relay's own response waits for room; the client's next bytes wait, too.
            (Role::Client(Client::Busy), Some(x)) if x.phase == Phase::Parting => {
                wish = Wish { write: true, ..Wish::default() }
            }
            (Role::Client(Client::Busy), Some(x)) => {
                let tight = x.phase == Phase::Waiting && self.inboxes.account.is_tight();
                wish.read &= (x.phase == Phase::Reading || x.up.wants(conn)) && !tight && !conn.is(Flags::LAST);
                wish.bulk = x.up.bulk;
                wish.write = x.down.blocked;
            }
            (Role::Gateway(_, Gateway::Joined), Some(x)) if x.phase.is_joined() => {
                wish.read &= x.down.wants(conn) && !self.conns[x.client].is(Flags::QUEUED);
                wish.bulk = x.down.bulk;
                wish.write = x.up.blocked;
            }
            _ => {}
        }
        wish.stop |= wish.bulk;
        wish.write |= conn.transport.as_ref().is_some_and(|transport| transport.owes(&self.sessions));
        wish
    }

    /// Spills a connection's bytes, if buffers are short and memory is not.
    fn make_room(&mut self, slot: u32) {
        let calls = self.engine.calls();
        if calls.at_hand() <= calls.buffers().0 / 4 && !self.inboxes.account.is_full() {
            self.inboxes.spill(&mut self.conns[slot].inbox, calls);
        }
    }

    /// A receive found no buffer at hand. If some are in the kernel's ring, a stream can use those; otherwise the
    /// connection waits in line.
    fn starve(&mut self, slot: u32) {
        let calls = self.engine.calls_ref();
        let conn = &mut self.conns[slot];
        let bulk = conn.exchange.some().is_some_and(|id| self.exchanges[id].up.bulk || self.exchanges[id].down.bulk);
        let streams = conn.transport().may_stream() && !bulk && !conn.arms.contains(Arms::STREAM);
        if calls.buffers().1 > calls.at_hand() && streams {
            conn.flags.remove(Flags::STARVED);
            conn.heat = HOT;
            conn.active = self.tick;
            return;
        }
        conn.flags.insert(Flags::IN_LINE);
        let key = self.conns.key(slot);
        self.line.push_back(key);
    }

    /// Puts a connection on the timer wheel, if something is due for it.
    fn schedule(&mut self, slot: u32) {
        if let Some(due) = watch::due(&self.conns[slot], self.times.bulk_delay) {
            self.wheel.set(&mut self.conns, slot, due);
        }
    }
}
