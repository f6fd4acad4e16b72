//! New rules: gateways that have registered by the old ones and may not any more have to go, a portion per turn.
use super::Shard;
use crate::{
    io::Engine,
    relay::{
        access::Rules,
        conn::{Gateway, Role},
        exchange::Phase,
        message::Message,
    },
};
use std::sync::Arc;

/// Slots that are looked at in one turn. Those that are closed cost as much as in a drain.
const SLOTS_PER_TURN: u32 = 64;
/// Gateways that are closed in one turn.
const CLOSED_PER_TURN: u32 = 16;

impl<E: Engine<Mail = Message>> Shard<E> {
    /// These rules count from now on.
    pub(super) fn review(&mut self, rules: Arc<Rules>) {
        self.tables.rules = Some(rules);
        self.reviewing_at = Some(0);
    }

    /// Looks at the next portion of connections.
    pub(super) fn go_on_reviewing(&mut self) {
        let Some(start) = self.reviewing_at else { return };
        let slots = self.tables.conns.numbers().end;
        let mut closed = 0;
        let mut slot = start;
        while slot < slots && slot < start.saturating_add(SLOTS_PER_TURN) && closed < CLOSED_PER_TURN {
            if let Role::Gateway(_, state) = self.tables.conns[slot].role
                && !self.may_stay(slot)
            {
                self.revoke(slot, state);
                closed += 1;
            }
            slot += 1;
        }
        self.reviewing_at = (slot < slots).then_some(slot);
    }

    fn may_stay(&self, gateway: u32) -> bool {
        let tables = &self.tables;
        let Some(rules) = &tables.rules else { return true };
        let conn = &tables.conns[gateway];
        let further = tables.park.further(conn.domain).iter().map(|name| &*name.name);
        let names = std::iter::once(tables.park[conn.domain].name()).chain(further);
        rules.may_stay(names, tables.is_local(gateway), tables.registered.key(gateway, conn.generation))
    }

    /// Closes a gateway that waits; one that serves a client may finish that.
    fn revoke(&mut self, gateway: u32, state: Gateway) {
        let tables = &mut self.tables;
        let conn = &tables.conns[gateway];
        let serves = conn.exchange.some().filter(|_| state == Gateway::Joined);
        match serves {
            Some(id) if tables.exchanges[id].phase == Phase::Resting => tables.end_exchange(id),
            Some(_) => {
                let generation = conn.generation;
                return tables.registered.revoke(gateway, generation);
            }
            None => tables.close(gateway),
        }
        tables.counters.revoked.bump();
    }
}
