//! Admission: limits on connections and registrations, and on their rates, over all shards of a relay.
use super::{config::Config, timers::TICK_MILLIS};
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering::SeqCst, PoisonError};
use std::collections::HashMap;

/// How far a shard's ticks may be behind those of another.
const BEHIND_TICKS: u32 = (60_000 / TICK_MILLIS) as u32;

/// A rate limit: a token bucket that holds at most one second's worth.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Events per second; 0 for no limit.
    per_second: u32,
    /// Tokens, in thousandths of an event.
    saved: u64,
    /// The tick at which they were counted.
    tick: u32,
}

impl Rate {
    /// A full bucket.
    pub fn new(per_second: u32, tick: u32) -> Rate {
        Rate { per_second, saved: u64::from(per_second) * 1000, tick }
    }

    fn earn(&mut self, tick: u32) {
        let per_second = u64::from(self.per_second);
        // Shards take turns at it, and one may be a little behind another. Anything else is time that has passed, even
        // if it is half of all ticks.
        let behind = self.tick.wrapping_sub(tick) <= BEHIND_TICKS;
        if !behind {
            let passed = u64::from(tick.wrapping_sub(self.tick));
            self.saved = (self.saved + passed * TICK_MILLIS * per_second).min(per_second * 1000);
            self.tick = tick;
        }
    }

    /// Whether one more event is allowed now. If so, it is counted.
    pub fn allow(&mut self, tick: u32) -> bool {
        if self.per_second == 0 {
            return true;
        }
        self.earn(tick);
        let allowed = self.saved >= 1000;
        self.saved -= if allowed { 1000 } else { 0 };
        allowed
    }

    /// Ticks until one more is allowed; 0 for now.
    pub fn wait(&mut self, tick: u32) -> u32 {
        if self.per_second == 0 {
            return 0;
        }
        self.earn(tick);
        let missing = 1000u64.saturating_sub(self.saved);
        missing.div_ceil(TICK_MILLIS * u64::from(self.per_second)) as u32
    }
}

/// What is known about one source: an IPv4 address, or an IPv6 /64 network, all of whose addresses one user has.
struct Source {
    connections: u32,
    rate: Rate,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Too many connections from its source, or too fast.
    Source,
    /// Too fast, over all sources.
    Rate,
    /// Too many, over all sources.
    Total,
}

/// Number of tables of sources, each with a lock of its own.
const PARTS: usize = 16;
/// Maximum sources in one table. Further sources are not limited while it is full.
const SOURCES_MAX: usize = 1 << 14;
/// Refused connections per second that get an answer before they are closed. The others are reset: an answer costs a
/// descriptor until it has been read.
const ANSWERS_PER_SECOND: u32 = 10;
/// Wrong keys per second and source that get an answer: a program that has an old one tries seldom, and whoever guesses
/// shall not keep the shards busy.
const GUESSES_PER_SECOND: u32 = 10;

/// A relay's admission, shared by its shards.
pub struct Admission {
    connections: AtomicUsize,
    connections_max: usize,
    /// None without a limit: then no accept takes a lock that all shards share.
    accepts: Option<Mutex<Rate>>,
    registrations: Mutex<Rate>,
    answers: Mutex<Rate>,
    per_source: u32,
    per_source_second: u32,
    /// Empty unless a limit by source is set.
    sources: [Mutex<HashMap<[u8; 16], Source>>; PARTS],
    /// Sources that lately came with a wrong key.
    guesses: [Mutex<HashMap<[u8; 16], Rate>>; PARTS],
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a source's table.
fn part_of(source: &[u8; 16]) -> usize {
    source.iter().fold(0usize, |sum, &b| sum.wrapping_mul(31).wrapping_add(usize::from(b))) % PARTS
}

/// The source that an address, IPv4 mapped, belongs to.
fn source_of(address: &[u8; 16]) -> [u8; 16] {
    let mut source = *address;
    let is_v4 = address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    if !is_v4 {
        source[8..].fill(0);
    }
    source
}

impl Admission {
    /// As configured.
    pub fn new(config: &Config, tick: u32) -> Admission {
        let rate = |per_second| Mutex::new(Rate::new(per_second, tick));
        Admission {
            connections: AtomicUsize::new(0),
            connections_max: config.max_connections,
            accepts: (config.max_accepts_per_second != 0).then(|| rate(config.max_accepts_per_second)),
            registrations: rate(config.max_registrations_per_second),
            answers: rate(ANSWERS_PER_SECOND),
            per_source: config.max_connections_per_address,
            per_source_second: config.max_accepts_per_address,
            sources: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            guesses: std::array::from_fn(|_| Mutex::new(HashMap::new())),
        }
    }

    fn by_source(&self) -> bool {
        self.per_source != 0 || self.per_source_second != 0
    }

    fn part(&self, source: &[u8; 16]) -> &Mutex<HashMap<[u8; 16], Source>> {
        &self.sources[part_of(source)]
    }

    /// Counts in a new connection from an address, IPv4 mapped; a trusted proxy's is not limited by source. Even if it
    /// is denied it counts towards the total, until [`Admission::release`].
    ///
    /// # Errors
    /// It exceeds a limit, and was not counted for its source.
    pub fn admit(&self, address: &[u8; 16], is_proxy: bool, tick: u32) -> Result<(), Denied> {
        let total = self.connections.fetch_add(1, SeqCst) + 1;
        if self.connections_max != 0 && total > self.connections_max {
            return Err(Denied::Total);
        }
        if self.accepts.as_ref().is_some_and(|accepts| !locked(accepts).allow(tick)) {
            return Err(Denied::Rate);
        }
        if is_proxy || !self.by_source() {
            return Ok(());
        }
        let source = source_of(address);
        let mut sources = locked(self.part(&source));
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            self.sweep(&mut sources, tick);
            if sources.len() >= SOURCES_MAX {
                return Ok(());
            }
        }
        let rate = Rate::new(self.per_source_second, tick);
        let source = sources.entry(source).or_insert(Source { connections: 0, rate });
        if (self.per_source != 0 && source.connections >= self.per_source) || !source.rate.allow(tick) {
            return Err(Denied::Source);
        }
        source.connections += 1;
        Ok(())
    }

    /// Counts out a connection; `counted` says whether it was counted for its source.
    pub fn release(&self, address: &[u8; 16], counted: bool) {
        self.connections.fetch_sub(1, SeqCst);
        if !counted || !self.by_source() {
            return;
        }
        let source = source_of(address);
        let mut sources = locked(self.part(&source));
        if let Some(found) = sources.get_mut(&source) {
            found.connections = found.connections.saturating_sub(1);
            // One that still has a rate to keep is swept later.
            if found.connections == 0 && self.per_source_second == 0 {
                sources.remove(&source);
            }
        }
    }

    /// Forgets sources without connections whose rate has recovered.
    fn sweep(&self, sources: &mut HashMap<[u8; 16], Source>, tick: u32) {
        let second = (1000 / TICK_MILLIS) as u32 + 1;
        sources.retain(|_, source| source.connections > 0 || tick.wrapping_sub(source.rate.tick) < second);
    }

    /// Sweeps one of the tables, another one each time. Called regularly.
    pub fn sweep_some(&self, turn: u32, tick: u32) {
        if self.by_source() {
            self.sweep(&mut locked(&self.sources[turn as usize % PARTS]), tick);
        }
    }

    /// Connections of all shards, including those in transit between two.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Ticks for which accepting should pause, so that new connections stay in the backlog; `None` if it should not.
    pub fn pause(&self, tick: u32) -> Option<u32> {
        if self.connections_max != 0 && self.connections() >= self.connections_max {
            // A few are accepted and told that the relay is full; for the others waiting is better than a reset.
            let wait = locked(&self.answers).wait(tick);
            return (wait > 0).then_some(wait);
        }
        let wait = locked(self.accepts.as_ref()?).wait(tick);
        (wait > 0).then_some(wait)
    }

    /// Whether a gateway may register now.
    pub fn registers(&self, tick: u32) -> bool {
        locked(&self.registrations).allow(tick)
    }

    /// Whether the sender of a wrong key may get an answer. Not while too many sources come with one.
    pub fn answers_guess(&self, address: &[u8; 16], tick: u32) -> bool {
        let source = source_of(address);
        let mut guesses = locked(&self.guesses[part_of(&source)]);
        if guesses.len() >= SOURCES_MAX && !guesses.contains_key(&source) {
            let second = (1000 / TICK_MILLIS) as u32 + 1;
            guesses.retain(|_, rate| tick.wrapping_sub(rate.tick) < second);
            if guesses.len() >= SOURCES_MAX {
                return false;
            }
        }
        guesses.entry(source).or_insert(Rate::new(GUESSES_PER_SECOND, tick)).allow(tick)
    }

    /// Whether a connection that is refused may get an answer.
    pub fn answers(&self, tick: u32) -> bool {
        locked(&self.answers).allow(tick)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: u32 = (1000 / TICK_MILLIS) as u32 + 1;

    /// A rate allows its second's worth at once, then what time brings, and never saves more; also where ticks come
    /// round.
    #[test]
    fn rates_recover_with_time() {
        for start in [1, u32::MAX - 3] {
            let mut rate = Rate::new(5, start);
            assert_eq!((0..20).filter(|_| rate.allow(start)).count(), 5);
            assert!(!rate.allow(start.wrapping_add(2)));
            let wait = rate.wait(start.wrapping_add(2));
            assert!((1..=SECOND / 4).contains(&wait), "{wait}");
            assert!(rate.allow(start.wrapping_add(2 + wait)));
            assert_eq!((0..20).filter(|_| rate.allow(start.wrapping_add(10 * SECOND))).count(), 5);
        }
        // However long it was not used.
        for idle in [1 << 30, 1 << 31, (1 << 31) + 5000, u32::MAX - 10_000] {
            let mut rate = Rate::new(5, 7);
            while rate.allow(7) {}
            assert!(rate.wait(7u32.wrapping_add(idle)) == 0 && rate.allow(7u32.wrapping_add(idle)), "{idle}");
        }
        let mut unlimited = Rate::new(0, 1);
        assert!((0..1000).all(|_| unlimited.allow(1)) && unlimited.wait(1) == 0);
    }

    /// An address gets its number of connections, gets one back when one goes, and disturbs no other.
    #[test]
    fn sources_are_limited_one_by_one() {
        let config = Config { max_connections_per_address: 2, ..Config::default() };
        let admission = Admission::new(&config, 1);
        let v4 = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        assert_eq!(admission.admit(&v4(1), false, 1), Ok(()));
        assert_eq!(admission.admit(&v4(1), false, 1), Ok(()));
        assert_eq!(admission.admit(&v4(1), false, 1), Err(Denied::Source));
        assert_eq!(admission.admit(&v4(2), false, 1), Ok(()));
        admission.release(&v4(1), false);
        admission.release(&v4(1), true);
        assert_eq!(admission.admit(&v4(1), false, 1), Ok(()));
        for (address, times) in [(v4(1), 2), (v4(2), 1)] {
            (0..times).for_each(|_| admission.release(&address, true));
        }
        assert_eq!(admission.connections(), 0);
        assert!(admission.sources.iter().all(|part| part.lock().unwrap().is_empty()));
    }

    /// All addresses of an IPv6 network of 64 bits are one source.
    #[test]
    fn a_v6_network_is_one_source() {
        let config = Config { max_connections_per_address: 1, ..Config::default() };
        let admission = Admission::new(&config, 1);
        let v6 = |network, host| [0x20, 1, 0xd, 0xb8, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, host];
        assert_eq!(admission.admit(&v6(1, 1), false, 1), Ok(()));
        assert_eq!(admission.admit(&v6(1, 2), false, 1), Err(Denied::Source));
        assert_eq!(admission.admit(&v6(2, 1), false, 1), Ok(()));
    }

    /// However many sources come, the tables are bounded, and nobody is denied because they are full.
    #[test]
    fn the_table_is_bounded() {
        let config = Config { max_accepts_per_address: 1, ..Config::default() };
        let admission = Admission::new(&config, 1);
        for n in 0..(PARTS * SOURCES_MAX * 2) as u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let address = [0x20, 1, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 1];
            assert_eq!(admission.admit(&address, false, 1), Ok(()));
            admission.release(&address, true);
        }
        assert!(admission.sources.iter().all(|part| part.lock().unwrap().len() <= SOURCES_MAX));
    }

    /// A source has so many answers to wrong keys a second, whoever else guesses; also when the tables are full.
    #[test]
    fn guesses_are_answered_at_a_rate() {
        let admission = Admission::new(&Config::default(), 1);
        let address = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            [0x20, 1, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 1]
        };
        assert_eq!((0..100).filter(|_| admission.answers_guess(&address(1), 1)).count(), GUESSES_PER_SECOND as usize);
        assert!(admission.answers_guess(&address(2), 1));
        (0..(PARTS * SOURCES_MAX * 2) as u32).for_each(|n| {
            admission.answers_guess(&address(n), 1);
        });
        assert!(admission.guesses.iter().all(|part| part.lock().unwrap().len() <= SOURCES_MAX));
        assert!(admission.answers_guess(&address(u32::MAX), 2 * SECOND));
    }

    /// A full relay, or one whose rate is used up, leaves newcomers in the backlog; else not.
    #[test]
    fn newcomers_wait_in_the_backlog() {
        let config = Config { max_connections: 1, max_accepts_per_second: 2, ..Config::default() };
        let admission = Admission::new(&config, 1);
        assert_eq!(admission.pause(1), None);
        assert_eq!(admission.admit(&[0; 16], false, 1), Ok(()));
        assert_eq!((0..20).filter(|_| admission.answers(1)).count(), ANSWERS_PER_SECOND as usize);
        assert!(admission.pause(1).is_some());
        assert_eq!(admission.admit(&[0; 16], false, 1), Err(Denied::Total));
        admission.release(&[0; 16], false);
        admission.release(&[0; 16], true);
        assert_eq!(admission.pause(1), None);
        assert_eq!(admission.admit(&[0; 16], false, 1), Ok(()));
        admission.release(&[0; 16], true);
        assert!(admission.pause(1).is_some_and(|wait| (1..=SECOND).contains(&wait)));
    }
}
