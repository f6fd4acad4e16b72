//! Invariants, checked at the end of every turn in debug builds and in the simulator.
use super::Tables;
use crate::{
    io::Engine,
    relay::{
        conn::{Client, Flags, Gateway, NONE, Role},
        exchange::{ExchangeId, Phase},
        message::Message,
    },
};

impl<E: Engine<Mail = Message>> Tables<E> {
    /// The first broken invariant of the owners, if any.
    pub fn fault(&self) -> Option<String> {
        let mut held = self.inboxes.spilled_bytes();
        for x in self.exchanges.records() {
            held += x.head.len() + x.reply.len() + x.up.out.len() + x.down.out.len();
            let wrong = [&x.up, &x.down].into_iter().find_map(|flow| flow.fault());
            if let Some(wrong) = wrong.filter(|_| x.phase != Phase::Free) {
                return Some(format!("an exchange of slot {} in {:?}: {wrong}", x.client, x.phase));
            }
        }
        if held != self.inboxes.account.held() {
            return Some(format!("{held} bytes are held, {} on the account", self.inboxes.account.held()));
        }
        if let Some(wrong) = self.park.fault() {
            return Some(wrong.to_owned());
        }
        self.conns.numbers().find_map(|slot| {
            let conn = &self.conns[slot];
            let wrong = self.inboxes.fault(&conn.inbox).or_else(|| self.forgotten(slot));
            wrong.map(|wrong| format!("slot {slot}, {:?}: {wrong}", conn.role))
        })
    }

    /// Whether nothing but a deadline would come back to a connection: nothing is armed, and it is in no list. That
    /// must not happen, except to a client that waits for a gateway, or whose gateway is not forgotten.
    fn forgotten(&self, slot: u32) -> Option<&'static str> {
        let kept = |slot: u32| {
            let conn = &self.conns[slot];
            let unwatched = conn.is(Flags::LAST) && conn.timer_at != 0;
            conn.is_armed() || conn.flags.intersects(Flags::IN_LINE | Flags::QUEUED) || unwatched
        };
        let conn = &self.conns[slot];
        let joined = |id: ExchangeId| {
            let x = &self.exchanges[id];
            let other = x.gateway != NONE && kept(x.gateway);
            other || (x.phase == Phase::Waiting && conn.timer_at != 0)
        };
        let fine = match conn.role {
            Role::Free | Role::Gateway(_, Gateway::Joined) => true,
            Role::Client(Client::Busy) => kept(slot) || conn.exchange.some().is_some_and(joined),
            Role::Closing => kept(slot) || self.doomed.contains(&slot),
            _ => kept(slot),
        };
        (!fine).then_some("forgotten")
    }
}
