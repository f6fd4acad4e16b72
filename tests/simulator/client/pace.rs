//! How far a client may go in what it sends.
use super::Live;
use crate::simulator::net::Net;
use crate::simulator::plan::{Exchange, Ledger};
use ringback::io::sim::Random;

impl Live {
    pub(super) fn in_tunnel(&self, ledger: &Ledger) -> bool {
        let exchange = self.script.requests.get(self.at).map(|&id| &ledger.exchanges[id]);
        self.raw.is_some() && exchange.is_some_and(Exchange::is_tunnel)
    }

    /// How far into `out` may be sent now.
    pub(super) fn limit<M>(&mut self, world: &Net<M>, ledger: &Ledger, random: &mut Random) -> usize {
        for at in self.at..self.places.len() {
            let id = self.script.requests.get(at);
            let exchange = id.map(|&id| &ledger.exchanges[id]);
            let tunnel = exchange.is_some_and(Exchange::is_tunnel);
            let place = &self.places[at];
            if at >= self.at + self.script.depth || (tunnel && at > self.at) {
                return place.start;
            }
            if tunnel && self.raw.is_none() {
                return place.head_end;
            }
            if !place.released {
                // Without a word for a while, the body is sent anyway (RFC 9110 §10.1.1).
                if at == self.at && self.sent >= place.head_end {
                    let until = *self.continue_at.get_or_insert(world.now() + random.pick(&[10, 500, 3000]));
                    world.wake_at(until);
                    if until > world.now() {
                        return place.head_end;
                    }
                    self.places[at].released = true;
                    self.continue_at = None;
                    continue;
                }
                return place.head_end;
            }
        }
        self.out.len()
    }
}
