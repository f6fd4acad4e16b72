//! The minimum rate: how far a client that its gateway waits for has fallen behind it.
//!
//! A client holds its gateway up while the gateway could take more of the request's body and none comes, or while the
//! client takes no more of the response. Only that time counts, and what moves meanwhile makes up for it.
use crate::{
    io::Millis,
    relay::timers::{SPAN_MAX, TICK_MILLIS},
};

/// How far a client has fallen behind the minimum rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes that should have moved and have not.
    behind: u32,
    /// While the client holds its gateway up, the tick up to which that was counted; otherwise 0.
    counted: u32,
    /// Bytes of the response that the client's kernel had not acknowledged when they were last looked at, or [`UNKNOWN`]
    /// if others were sent since.
    unsent: u32,
}

/// A [`Pace::unsent`] that has not been looked at.
const UNKNOWN: u32 = u32::MAX;

impl Default for Pace {
    fn default() -> Pace {
        Pace { behind: 0, counted: 0, unsent: UNKNOWN }
    }
}

impl Pace {
    /// Whether the client holds its gateway up.
    #[inline]
    pub fn is_held_up(self) -> bool {
        self.counted != 0
    }

    /// Notes whether the client holds its gateway up from here on.
    pub fn set_held_up(&mut self, held_up: bool, tick: u32) {
        self.counted = if held_up { tick } else { 0 };
    }

    /// Counts the time until now, at so many bytes per second, if the client has held its gateway up all along.
    #[inline]
    pub fn count_time(&mut self, tick: u32, rate: u32) {
        if self.is_held_up() {
            let due = Millis::from(tick.wrapping_sub(self.counted)) * TICK_MILLIS * Millis::from(rate) / 1000;
            self.behind = self.behind.saturating_add(u32::try_from(due).unwrap_or(u32::MAX));
            self.counted = tick;
        }
    }

    /// Counts bytes that have moved.
    #[inline]
    pub fn count_bytes(&mut self, moved: u32) {
        self.behind = self.behind.saturating_sub(moved);
        self.unsent = UNKNOWN;
    }

    /// Looks at how many bytes the client's kernel has not acknowledged: fewer than before have moved, too. Whether any
    /// have; the first look only tells where to count from, and gives a quarter of the time more.
    pub fn look(&mut self, unsent: u32, rate: u32, granted: u32) -> Option<bool> {
        match std::mem::replace(&mut self.unsent, unsent) {
            UNKNOWN => {
                let due = u64::from(rate) * TICK_MILLIS * u64::from(granted) / 1000;
                self.behind = self.behind.min(u32::try_from(due / 4 * 3).unwrap_or(u32::MAX));
                None
            }
            before => {
                let moved = before.saturating_sub(unsent);
                self.behind = self.behind.saturating_sub(moved);
                Some(moved > 0)
            }
        }
    }

    /// In how many ticks, if nothing moves, it will have fallen behind by what is due in `granted` ticks; 0 if it has.
    pub fn ticks_left(self, rate: u32, granted: u32) -> u32 {
        let per_tick = u64::from(rate) * TICK_MILLIS;
        let left = (per_tick * u64::from(granted)).saturating_sub(u64::from(self.behind) * 1000);
        u32::try_from(left.div_ceil(per_tick.max(1))).unwrap_or(SPAN_MAX).min(SPAN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::timers::ticks;
    use std::time::Duration;

    /// A client that sends nothing has its time; one at twice the rate never falls behind; one at half of it has twice
    /// the time; and what it has moved before it fell behind is not set off.
    #[test]
    fn half_the_rate_has_twice_the_time() {
        let granted = ticks(Duration::from_secs(20));
        let slow_after = |bytes_per_tick: u32| {
            let mut pace = Pace::default();
            pace.count_bytes(1_000_000);
            pace.set_held_up(true, 7);
            (1..10 * granted).find(|tick| {
                pace.count_time(7 + tick, 1000);
                pace.count_bytes(bytes_per_tick);
                pace.ticks_left(1000, granted) == 0
            })
        };
        assert_eq!(slow_after(0), Some(granted));
        let due = TICK_MILLIS as u32;
        assert_eq!(slow_after(due / 2), Some(2 * granted));
        assert_eq!(slow_after(2 * due), None);
    }

    /// A client whose kernel acknowledges bytes is not slow although there is no room for more yet; one whose kernel does
    /// not gets a quarter more time.
    #[test]
    fn what_is_acknowledged_has_moved() {
        let granted = ticks(Duration::from_secs(20));
        for (rate, slow) in [(2000, false), (1000, false), (100, true), (0, true)] {
            let (mut pace, mut unsent) = (Pace::default(), 10_000_000);
            pace.set_held_up(true, 1);
            let mut at = 1;
            let slow_at = (0..20).find_map(|_| {
                let wait = pace.ticks_left(1000, granted);
                at += wait;
                unsent -= u64::from(wait) * TICK_MILLIS * rate / 1000;
                pace.count_time(at, 1000);
                assert_eq!(pace.ticks_left(1000, granted), 0);
                pace.look(unsent as u32, 1000, granted);
                (pace.ticks_left(1000, granted) == 0).then_some(at - 1)
            });
            assert_eq!(slow_at.is_some(), slow, "{rate}");
            assert!(rate > 0 || slow_at == Some(granted + granted.div_ceil(4)), "{slow_at:?}");
        }
    }

    /// Time in which the gateway holds up its client is not counted.
    #[test]
    fn only_the_clients_time_counts() {
        let mut pace = Pace::default();
        pace.set_held_up(true, 100);
        pace.count_time(150, 1000);
        let left = pace.ticks_left(1000, 100);
        assert_eq!(left, 50);
        pace.set_held_up(false, 150);
        pace.count_time(10_000, 1000);
        assert_eq!(pace.ticks_left(1000, 100), left);
    }
}
