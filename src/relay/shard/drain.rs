//! The end of a shard: it drains or stops, a bounded number of connections per turn.
use super::Shard;
use crate::{
    http::Refusal,
    io::Engine,
    relay::{
        conn::{Client, Gateway, Role},
        exchange::Phase,
        message::Message,
        ready::Budget,
        tables::End,
        timers::earlier,
    },
};

/// Slots that a drain or a stop looks at in one turn. Each that is closed ends an armed operation, the kernel runs about
/// twenty completions in one enter, in order, and whoever is being served must not wait behind thousands.
const SLOTS_PER_TURN: u32 = 16;

impl<E: Engine<Mail = Message>> Shard<E> {
    pub(super) fn drain(&mut self) {
        if self.tables.is_ending() {
            return;
        }
        let by = self.tables.in_ticks(self.tables.times.drain);
        let tunnels = self.tables.in_ticks(self.tables.times.drain_tunnels);
        self.tunnels_until = Some(earlier(tunnels, by));
        self.begin_end(End::Draining(by));
    }

    /// A drain ends tunnels, too, from now on.
    pub(super) fn end_tunnels(&mut self) {
        self.ending_at = Some(0);
    }

    pub(super) fn stop(&mut self) {
        if self.tables.end != End::Stopping {
            self.begin_end(End::Stopping);
        }
    }

    fn begin_end(&mut self, end: End) {
        self.tables.end = end;
        self.tables.engine.stop_accepting();
        self.accept_pauses.clear();
        self.ending_at = Some(0);
    }

    /// Ends the next portion of connections that need not be kept. In portions, so that a full shard goes on serving.
    pub(super) fn go_on_ending(&mut self) {
        let Some(start) = self.ending_at else { return };
        let slots = self.tables.conns.numbers().end;
        let end = start.saturating_add(SLOTS_PER_TURN).min(slots);
        let mut budget = Budget::new(usize::MAX, u32::MAX);
        for slot in start..end {
            match self.tables.end {
                End::None => {}
                End::Draining(_) => self.release(slot, &mut budget),
                End::Stopping => self.cut_off(slot),
            }
            self.tables.rearm_both(slot);
        }
        self.ending_at = (end < slots).then_some(end);
    }

    /// What a drain does with a connection.
    fn release(&mut self, slot: u32, budget: &mut Budget) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Gateway(_, Gateway::Parked | Gateway::Quarantined), _) => self.tables.close(slot),
            (Role::Client(Client::Idle), Some(id)) => self.tables.abort(id, false),
            (Role::Client(Client::Idle | Client::Fresh), None) => self.tables.close(slot),
            (Role::Client(Client::Busy), Some(id))
                if self.tunnels_until.is_none() && self.tables.exchanges[id].phase == Phase::Tunnel =>
            {
                self.tables.abort(id, false);
            }
            // No gateway registers any more, so none will become free for them.
            (Role::Client(Client::Busy), Some(id)) if self.tables.exchanges[id].phase == Phase::Waiting => {
                self.tables.waited_in_vain(id, Some(Refusal::ShuttingDown), budget);
            }
            _ => {}
        }
    }

    /// What a stop does with a connection.
    fn cut_off(&mut self, slot: u32) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Free | Role::Closing, _) => {}
            (_, Some(id)) => self.tables.abort(id, true),
            (_, None) => self.tables.close(slot),
        }
    }
}
