//! Admission: how many connections, and how fast.
use super::{config::Config, timers::TICK_MILLIS};
use std::collections::HashMap;

/// So many a second, with a second's worth saved up at most.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Events a second; 0 for no limit.
    per_second: u32,
    /// Saved up, in thousandths of an event.
    saved: u64,
    /// When that was so.
    tick: u32,
}

impl Rate {
    /// A rate with a second's worth saved up.
    pub fn new(per_second: u32, tick: u32) -> Rate {
        Rate { per_second, saved: u64::from(per_second) * 1000, tick }
    }

    /// Whether one more is allowed now; if so, it counts.
    pub fn allow(&mut self, tick: u32) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let per_second = u64::from(self.per_second);
        let earned = u64::from(tick.saturating_sub(self.tick)) * TICK_MILLIS * per_second;
        self.saved = (self.saved + earned).min(per_second * 1000);
        self.tick = tick;
        if self.saved < 1000 {
            return false;
        }
        self.saved -= 1000;
        true
    }
}

/// What one source address has.
struct Source {
    connections: u32,
    rate: Rate,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Too many from its address, or too fast.
    Address,
    /// Too many at all, too fast.
    Rate,
}

/// A shard's admission.
pub struct Limits {
    accepts: Rate,
    /// Registrations.
    pub registrations: Rate,
    per_address: u32,
    per_address_second: u32,
    /// Empty unless an address limit is set.
    sources: HashMap<[u8; 16], Source>,
}

impl Limits {
    /// As configured.
    pub fn new(config: &Config, tick: u32) -> Limits {
        Limits {
            accepts: Rate::new(config.accepts_per_second, tick),
            registrations: Rate::new(config.registrations_per_second, tick),
            per_address: config.connections_per_address,
            per_address_second: config.accepts_per_address,
            sources: HashMap::new(),
        }
    }

    fn by_address(&self) -> bool {
        self.per_address != 0 || self.per_address_second != 0
    }

    /// Counts a new connection in.
    ///
    /// # Errors
    /// It is one too many, and was not counted.
    pub fn admit(&mut self, address: &[u8; 16], tick: u32) -> Result<(), Denied> {
        if !self.accepts.allow(tick) {
            return Err(Denied::Rate);
        }
        if !self.by_address() {
            return Ok(());
        }
        let rate = Rate::new(self.per_address_second, tick);
        let source = self.sources.entry(*address).or_insert(Source { connections: 0, rate });
        if (self.per_address != 0 && source.connections >= self.per_address) || !source.rate.allow(tick) {
            return Err(Denied::Address);
        }
        source.connections += 1;
        Ok(())
    }

    /// Counts a connection in that was accepted by another shard: against the number, not against the rate.
    ///
    /// # Errors
    /// It is one too many, and was not counted.
    pub fn take_over(&mut self, address: &[u8; 16], tick: u32) -> Result<(), Denied> {
        if !self.by_address() {
            return Ok(());
        }
        let rate = Rate::new(self.per_address_second, tick);
        let source = self.sources.entry(*address).or_insert(Source { connections: 0, rate });
        if self.per_address != 0 && source.connections >= self.per_address {
            return Err(Denied::Address);
        }
        source.connections += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub fn release(&mut self, address: &[u8; 16]) {
        if !self.by_address() {
            return;
        }
        if let Some(source) = self.sources.get_mut(address) {
            source.connections = source.connections.saturating_sub(1);
            // One that still has a rate to keep is swept later.
            if source.connections == 0 && self.per_address_second == 0 {
                self.sources.remove(address);
            }
        }
    }

    /// Forgets addresses without connections whose rate has recovered. Called every few seconds.
    pub fn sweep(&mut self, tick: u32) {
        let second = (1000 / TICK_MILLIS) as u32 + 1;
        self.sources.retain(|_, source| source.connections > 0 || tick.saturating_sub(source.rate.tick) < second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rate allows its second's worth at once, then what time brings, and never saves more.
    #[test]
    fn rates_recover_with_time() {
        let second = (1000 / TICK_MILLIS) as u32 + 1;
        let mut rate = Rate::new(5, 1);
        assert_eq!((0..20).filter(|_| rate.allow(1)).count(), 5);
        assert!(!rate.allow(2));
        assert_eq!((0..20).filter(|_| rate.allow(1 + 10 * second)).count(), 5);
        let mut unlimited = Rate::new(0, 1);
        assert!((0..1000).all(|_| unlimited.allow(1)));
    }

    /// An address gets its number of connections, gets one back when one goes, and disturbs no other.
    #[test]
    fn addresses_are_limited_one_by_one() {
        let config = Config { connections_per_address: 2, ..Config::default() };
        let mut limits = Limits::new(&config, 1);
        let (a, b) = ([1; 16], [2; 16]);
        assert_eq!(limits.admit(&a, 1), Ok(()));
        assert_eq!(limits.admit(&a, 1), Ok(()));
        assert_eq!(limits.admit(&a, 1), Err(Denied::Address));
        assert_eq!(limits.admit(&b, 1), Ok(()));
        limits.release(&a);
        assert_eq!(limits.admit(&a, 1), Ok(()));
        limits.release(&a);
        limits.release(&a);
        limits.release(&b);
        assert!(limits.sources.is_empty());
    }
}
