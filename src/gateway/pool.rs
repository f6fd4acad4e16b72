//! How many relay connections to keep, and when to open or close one: decisions only, no sockets.
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, share};

/// Connections that are opened at the same time. A gateway with thousands of them should not greet a relay that has
/// just started with thousands of handshakes.
const OPENING_MAX: usize = 16;

/// A connection that lived this long was no flap: the next failure counts as the first.
const STEADY: Duration = Duration::from_secs(10);

/// Longest wait after a 401: only a person can change that, but the gateway should come back when it is changed.
const UNAUTHORIZED_WAIT: Duration = Duration::from_secs(60);

/// Longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Stands for a time that the clock cannot hold.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Where one connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connecting or registering.
    Opening,
    /// Registered, waiting for a client.
    Parked,
    /// Serving a client.
    Busy,
}

/// How one connection ended, as far as it decides about the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should: a session was over, or the connection was surplus.
    Finished,
    /// Could not be opened, or broke while nobody used it; how long it had been registered.
    Lost(Duration),
    /// 429: not before this long from now.
    TooMany(Duration),
    /// 401: the key is missing or wrong.
    Unauthorized,
}

/// What the pool aims at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections to keep parked.
    pub spare: usize,
    /// Connections open at most.
    pub max: usize,
    /// How long a parked connection above `spare` must have been unneeded before it is closed.
    pub surplus_after: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
}

/// Counts the connections by stage and decides about the next.
#[derive(Debug)]
pub(super) struct Pool {
    limits: Limits,
    opening: usize,
    parked: usize,
    busy: usize,
    /// Failures in a row; sets the next wait.
    failures: u32,
    /// After a failure, one connection goes ahead alone until it is registered.
    probing: bool,
    /// Nothing is opened before this.
    not_before: Option<Instant>,
    /// Set while more than `spare` are parked.
    surplus: Option<Surplus>,
    /// What [`Pool::wake_at`] has said last.
    wakes_at: Option<Instant>,
}

/// The fewest connections that were parked at any time until `until`. Counting so, and not by each connection's own
/// idle time, finds surplus also when the relay takes connections in turn and each is used now and then.
#[derive(Debug)]
struct Surplus {
    fewest: usize,
    until: Instant,
}

impl Pool {
    pub fn new(limits: Limits) -> Pool {
        assert!(limits.spare >= 1 && limits.max >= limits.spare, "checked by Config");
        Pool {
            limits,
            opening: 0,
            parked: 0,
            busy: 0,
            failures: 0,
            probing: false,
            not_before: None,
            surplus: None,
            wakes_at: None,
        }
    }

    /// How many connections to open now; they count as opening from here on.
    pub fn open(&mut self, now: Instant) -> usize {
        if self.not_before.is_some_and(|at| at > now) {
            return 0;
        }
        self.not_before = None;
        let together = if self.probing { 1 } else { OPENING_MAX };
        let more = self.missing().min(together.saturating_sub(self.opening));
        self.opening += more;
        debug_assert!(self.total() <= self.limits.max);
        more
    }

    /// When to ask again although nothing has changed.
    pub fn wake_at(&mut self) -> Option<Instant> {
        self.wakes_at = self.due();
        self.wakes_at
    }

    fn due(&self) -> Option<Instant> {
        let open_at = self.not_before.filter(|_| self.missing() > 0);
        [open_at, self.surplus.as_ref().map(|s| s.until)].into_iter().flatten().min()
    }

    /// Whether [`Pool::wake_at`] has said a later time than it would now.
    fn is_due_earlier(&self) -> bool {
        self.due().is_some_and(|due| self.wakes_at.is_none_or(|at| due < at))
    }

    /// How many parked connections to close because they were not needed for a while.
    pub fn close_surplus(&mut self, now: Instant) -> usize {
        let Some(surplus) = self.surplus.take_if(|s| s.until <= now) else {
            return 0;
        };
        self.watch_surplus(now);
        surplus.fewest.saturating_sub(self.limits.spare)
    }

    /// Whether a parked connection that was asked to close still should.
    pub fn has_surplus(&self) -> bool {
        self.parked > self.limits.spare
    }

    /// Whether all connections that may be open are in use: further clients have to wait.
    pub fn is_full(&self) -> bool {
        self.busy == self.limits.max
    }

    /// How many connections are being opened, parked and busy.
    pub fn stages(&self) -> (usize, usize, usize) {
        (self.opening, self.parked, self.busy)
    }

    /// Whether any connection is registered, parked or in use.
    pub fn is_connected(&self) -> bool {
        self.parked + self.busy > 0
    }

    /// A connection went from one stage to another. True when [`Pool::open`] may now say something new, or
    /// [`Pool::wake_at`] an earlier time.
    pub fn moved(&mut self, from: Stage, to: Stage, now: Instant) -> bool {
        *self.count(from) -= 1;
        *self.count(to) += 1;
        if to != Stage::Opening {
            self.probing = false;
        }
        if to == Stage::Busy {
            self.failures = 0;
        }
        self.watch_surplus(now);
        from == Stage::Opening || self.missing() > 0 || self.is_due_earlier()
    }

    /// A connection is gone. Returns how long no new one will be opened, if this end decided that; `random` is
    /// evenly spread over all values.
    pub fn closed(&mut self, from: Stage, end: End, now: Instant, random: u64) -> Option<Duration> {
        *self.count(from) -= 1;
        self.watch_surplus(now);
        let waiting = self.not_before.is_some_and(|at| at > now);
        let wait = match end {
            End::Finished => return None,
            End::Lost(_) if waiting => return None,
            End::Lost(lived) => {
                if lived >= STEADY {
                    self.failures = 0;
                }
                self.limits.backoff.wait(self.failures, random)
            }
            End::TooMany(after) => after.min(RETRY_AFTER_MAX) + self.limits.backoff.wait(self.failures, random),
            End::Unauthorized => UNAUTHORIZED_WAIT / 2 + share(UNAUTHORIZED_WAIT / 2, random),
        };
        self.probing = true;
        if !waiting {
            self.failures = self.failures.saturating_add(1);
        }
        let until = now + wait;
        if self.not_before.is_some_and(|at| at >= until) {
            return None;
        }
        self.not_before = Some(until);
        Some(wait)
    }

    /// Connections to open to have enough spare ones, within what may be open at all.
    fn missing(&self) -> usize {
        let spare = self.limits.spare.saturating_sub(self.parked + self.opening);
        spare.min(self.limits.max.saturating_sub(self.total()))
    }

    fn total(&self) -> usize {
        self.opening + self.parked + self.busy
    }

    fn count(&mut self, stage: Stage) -> &mut usize {
        match stage {
            Stage::Opening => &mut self.opening,
            Stage::Parked => &mut self.parked,
            Stage::Busy => &mut self.busy,
        }
    }

    fn watch_surplus(&mut self, now: Instant) {
        if !self.has_surplus() {
            self.surplus = None;
            return;
        }
        let until = now.checked_add(self.limits.surplus_after).unwrap_or_else(|| now + FAR);
        let parked = self.parked;
        let surplus = self.surplus.get_or_insert(Surplus { fewest: parked, until });
        surplus.fewest = surplus.fewest.min(parked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stage::{Busy, Opening, Parked};

    const SECOND: Duration = Duration::from_secs(1);

    fn pool(spare: usize, max: usize) -> (Pool, Instant) {
        let limits = Limits { spare, max, surplus_after: 30 * SECOND, backoff: Backoff::default() };
        (Pool::new(limits), Instant::now())
    }

    /// Opens what is missing and registers it.
    fn fill(pool: &mut Pool, now: Instant) -> usize {
        let opened = pool.open(now);
        for _ in 0..opened {
            pool.moved(Opening, Parked, now);
        }
        opened
    }

    #[test]
    fn a_taken_connection_is_replaced_until_the_maximum() {
        let (mut pool, now) = pool(2, 4);
        assert_eq!(fill(&mut pool, now), 2);
        for expected in [1, 1, 0, 0] {
            assert_eq!(pool.moved(Parked, Busy, now), expected > 0);
            assert_eq!(fill(&mut pool, now), expected);
        }
        assert_eq!((pool.parked, pool.busy), (0, 4));
        pool.closed(Busy, End::Finished, now, 0);
        assert_eq!(fill(&mut pool, now), 1);
    }

    #[test]
    fn only_so_many_are_opened_together() {
        let (mut pool, now) = pool(100, 200);
        assert_eq!(pool.open(now), OPENING_MAX);
        assert_eq!(pool.open(now), 0);
        pool.moved(Opening, Parked, now);
        assert_eq!(pool.open(now), 1);
    }

    #[test]
    fn after_a_failure_one_goes_ahead_until_it_is_registered() {
        let (mut pool, now) = pool(3, 3);
        assert_eq!(pool.open(now), 3);
        let wait = pool.closed(Opening, End::Lost(Duration::ZERO), now, u64::MAX).unwrap();
        assert_eq!(pool.closed(Opening, End::Lost(Duration::ZERO), now, u64::MAX), None);
        assert_eq!(pool.closed(Opening, End::Lost(Duration::ZERO), now, u64::MAX), None);
        assert_eq!(pool.failures, 1);
        assert_eq!((pool.open(now), pool.wake_at()), (0, Some(now + wait)));
        assert_eq!(pool.open(now + wait), 1);
        assert!(pool.moved(Opening, Parked, now + wait));
        assert_eq!(pool.open(now + wait), 2);
    }

    #[test]
    fn a_probe_that_is_taken_at_once_counts_as_registered() {
        let (mut pool, now) = pool(3, 9);
        pool.open(now);
        pool.closed(Opening, End::Lost(Duration::ZERO), now, 0);
        pool.moved(Opening, Busy, now);
        pool.moved(Opening, Busy, now);
        assert_eq!(pool.open(now), 3);
    }

    #[test]
    fn waits_grow_while_connections_flap_and_start_over_after_a_steady_one() {
        let (mut pool, mut now) = pool(1, 1);
        let half = 1 << 63;
        for millis in [100, 200, 400] {
            fill(&mut pool, now);
            let wait = pool.closed(Parked, End::Lost(SECOND), now, half).unwrap();
            assert_eq!(wait, Duration::from_millis(millis));
            now += wait;
        }
        fill(&mut pool, now);
        assert_eq!(pool.closed(Parked, End::Lost(STEADY), now, half), Some(Duration::from_millis(100)));
    }

    #[test]
    fn retry_after_is_a_lower_bound_and_has_one_itself() {
        let (mut pool, now) = pool(2, 2);
        assert_eq!(pool.open(now), 2);
        assert_eq!(pool.closed(Opening, End::TooMany(7 * SECOND), now, 0), Some(7 * SECOND));
        assert_eq!(pool.closed(Opening, End::Lost(Duration::ZERO), now, 0), None);
        assert_eq!(pool.open(now + 7 * SECOND - Duration::from_millis(1)), 0);
        assert_eq!(pool.open(now + 7 * SECOND), 1);
        let capped = pool.closed(Opening, End::TooMany(Duration::MAX), now + 7 * SECOND, 0);
        assert_eq!(capped, Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn a_401_waits_long() {
        let (mut pool, now) = pool(1, 1);
        pool.open(now);
        let wait = pool.closed(Opening, End::Unauthorized, now, 0).unwrap();
        assert_eq!(wait, UNAUTHORIZED_WAIT / 2);
    }

    #[test]
    fn what_was_not_needed_for_the_whole_time_is_closed() {
        let (mut pool, now) = pool(1, 10);
        for _ in 0..3 {
            fill(&mut pool, now);
            pool.moved(Parked, Busy, now);
        }
        fill(&mut pool, now);
        for _ in 0..3 {
            pool.moved(Busy, Parked, now);
        }
        assert_eq!(pool.parked, 4);
        // Two were parked when the time began: only one was not needed for the whole of it.
        assert_eq!(pool.close_surplus(now + 29 * SECOND), 0);
        assert_eq!(pool.wake_at(), Some(now + 30 * SECOND));
        assert_eq!(pool.close_surplus(now + 30 * SECOND), 1);
        pool.closed(Parked, End::Finished, now, 0);
        // In the next a client comes and goes: of the two surplus ones, one was not needed.
        pool.moved(Parked, Busy, now);
        pool.moved(Busy, Parked, now);
        assert_eq!(pool.close_surplus(now + 60 * SECOND), 1);
        pool.closed(Parked, End::Finished, now, 0);
        // No client comes then: the last surplus connection is closed, too, and the spare one stays.
        assert_eq!(pool.close_surplus(now + 90 * SECOND), 1);
        pool.closed(Parked, End::Finished, now, 0);
        assert!(!pool.has_surplus());
        assert_eq!(pool.wake_at(), None);
    }
}
