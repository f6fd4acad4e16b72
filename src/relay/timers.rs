//! A timer wheel in user space: linked through the connection slots, without allocation.
//!
//! Deadlines move later far more often than they pass. So a connection stays in the bucket it was put in, and is
//! looked at when that bucket comes round: if its deadline has moved by then, it is put into a later bucket.
use super::conn::{Conns, NONE};
use crate::io::Millis;
use std::time::Duration;

/// Milliseconds per tick. 32 bits of ticks wrap after 397 days, so ticks are compared by [`is_later`] only, and
/// no span of them is longer than [`SPAN_MAX`].
pub const TICK_MILLIS: u64 = 8;
const BUCKETS: u32 = 4096;
const _: () = assert!(BUCKETS == 64 * 64, "two levels of 64 bits");

/// Maximum span in ticks, 99 days. Longer configured times are cut to this.
pub const SPAN_MAX: u32 = 1 << 30;

/// The tick that a time is in. Tick 0 is never used: it means "none".
pub fn tick(now: Millis) -> u32 {
    ((now / TICK_MILLIS) as u32).max(1)
}

/// The tick `span` ticks after another.
pub fn after(tick: u32, span: u32) -> u32 {
    tick.wrapping_add(span).max(1)
}

/// Whether a tick comes after another, at most half of all ticks away.
pub fn is_later(tick: u32, than: u32) -> bool {
    (tick.wrapping_sub(than) as i32) > 0
}

/// Whether a tick has come by `now`.
pub fn is_due(tick: u32, now: u32) -> bool {
    !is_later(tick, now)
}

/// The earlier of two ticks.
pub fn earlier(one: u32, other: u32) -> u32 {
    if is_later(one, other) { other } else { one }
}

/// Ticks of a duration, rounded up.
pub fn ticks(duration: Duration) -> u32 {
    let whole = duration.as_millis().div_ceil(u128::from(TICK_MILLIS));
    u32::try_from(whole).unwrap_or(SPAN_MAX).min(SPAN_MAX)
}

/// The time at which a tick begins, seen from `now`, which is in tick `current`.
pub fn begins(tick: u32, current: u32, now: Millis) -> Millis {
    let ahead = i64::from(tick.wrapping_sub(current) as i32);
    let start = (now / TICK_MILLIS) as i64;
    (start + ahead).max(0) as u64 * TICK_MILLIS
}

/// The wheel.
pub struct Wheel {
    heads: Box<[u32]>,
    /// One bit per bucket, set if it is not empty.
    occupied: [u64; BUCKETS as usize / 64],
    /// One bit per word of `occupied`, set if it is not zero.
    summary: u64,
    /// The last tick whose bucket was emptied.
    done: u32,
}

impl Wheel {
    /// A wheel that starts at tick `now`.
    pub fn new(now: u32) -> Wheel {
        Wheel {
            heads: vec![NONE; BUCKETS as usize].into(),
            occupied: [0; BUCKETS as usize / 64],
            summary: 0,
            done: now,
        }
    }

    /// Makes sure that the connection comes out by tick `due`.
    pub fn set(&mut self, conns: &mut Conns, slot: u32, due: u32) {
        let at = conns[slot].timer_at;
        if at != 0 && !is_later(at, due) {
            return;
        }
        if at != 0 {
            self.unlink(conns, slot);
        }
        let ahead = (due.wrapping_sub(self.done) as i32).clamp(1, BUCKETS as i32 - 2);
        let at = after(self.done, ahead as u32);
        let bucket = at % BUCKETS;
        let next = self.heads[bucket as usize];
        let conn = &mut conns[slot];
        conn.timer_at = at;
        conn.timer_prev = NONE;
        conn.timer_next = next;
        if next != NONE {
            conns[next].timer_prev = slot;
        }
        self.heads[bucket as usize] = slot;
        self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
        self.summary |= 1 << (bucket / 64);
    }

    /// Takes a connection out.
    pub fn unlink(&mut self, conns: &mut Conns, slot: u32) {
        let conn = &mut conns[slot];
        if conn.timer_at == 0 {
            return;
        }
        let bucket = conn.timer_at % BUCKETS;
        let (prev, next) = (conn.timer_prev, conn.timer_next);
        conn.timer_at = 0;
        if next != NONE {
            conns[next].timer_prev = prev;
        }
        if prev != NONE {
            conns[prev].timer_next = next;
        } else {
            self.heads[bucket as usize] = next;
            if next == NONE {
                let word = &mut self.occupied[bucket as usize / 64];
                *word &= !(1 << (bucket % 64));
                if *word == 0 {
                    self.summary &= !(1 << (bucket / 64));
                }
            }
        }
    }

    /// Takes out one connection whose bucket is due at tick `now`, if there is one.
    pub fn pop(&mut self, conns: &mut Conns, now: u32) -> Option<u32> {
        loop {
            let next = self.next();
            match next {
                Some(next) if is_due(next, now) => {
                    self.done = next.wrapping_sub(1);
                    let slot = self.heads[(next % BUCKETS) as usize];
                    if slot != NONE {
                        self.unlink(conns, slot);
                        return Some(slot);
                    }
                }
                _ => {
                    // Nothing is due until then; skip what is empty, but stay behind the present.
                    let limit = next.map_or(now, |next| earlier(now, next.wrapping_sub(1)));
                    if is_later(limit, self.done) {
                        self.done = limit;
                    }
                    return None;
                }
            }
        }
    }

    /// The next tick whose bucket is not empty.
    pub fn next(&self) -> Option<u32> {
        if self.summary == 0 {
            return None;
        }
        let first = self.done.wrapping_add(1);
        let start = first % BUCKETS;
        let (word, bit) = (start / 64, start % 64);
        let rest = self.occupied[word as usize] & (u64::MAX << bit);
        let bucket = match rest {
            // The next word that is not empty, which after all others is this one again.
            0 => {
                let from = (word + 1) % 64;
                let word = (from + self.summary.rotate_right(from).trailing_zeros()) % 64;
                word * 64 + self.occupied[word as usize].trailing_zeros()
            }
            _ => word * 64 + rest.trailing_zeros(),
        };
        Some(first.wrapping_add((bucket + BUCKETS - start) % BUCKETS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn wheel_with(start: u32, dues: &[u32]) -> (Wheel, Conns) {
        let mut conns = Conns::default();
        let mut wheel = Wheel::new(start);
        for &due in dues {
            let slot = conns.insert(None, IpAddr::V4(Ipv4Addr::LOCALHOST), start);
            conns[slot].deadline = due;
            wheel.set(&mut conns, slot, due);
        }
        (wheel, conns)
    }

    /// Whatever the order of setting, connections come out by their tick and not before it.
    #[test]
    fn due_connections_come_out_in_time() {
        let (mut wheel, mut conns) = wheel_with(1, &[700, 5, 64, 65, 4000]);
        let mut out = Vec::new();
        for now in 1..=4000 {
            while let Some(slot) = wheel.pop(&mut conns, now) {
                out.push((now, conns[slot].deadline));
            }
        }
        assert_eq!(out, [(5, 5), (64, 64), (65, 65), (700, 700), (4000, 4000)]);
        assert_eq!(wheel.next(), None);
    }

    /// The same where ticks come round: nothing is early, nothing is late, nothing is lost.
    #[test]
    fn ticks_come_round() {
        for start in [u32::MAX - 100, (1 << 31) - 100] {
            let due = |ahead: u32| after(start, ahead);
            let (mut wheel, mut conns) = wheel_with(start, &[due(700), due(5), due(101), due(102), due(3900)]);
            let mut out = Vec::new();
            for ahead in 1..=3900 {
                while wheel.pop(&mut conns, due(ahead)).is_some() {
                    out.push(ahead);
                }
            }
            // A tick of 0 is none, so that what is due then comes with tick 1.
            assert!(out == [5, 101, 102, 700, 3900] || out == [5, 101, 101, 700, 3900], "{start}: {out:?}");
            assert_eq!(wheel.next(), None);
        }
    }

    /// Spans are compared across the wrap, and none is so long that it would seem to lie behind.
    #[test]
    fn spans_are_compared_across_the_wrap() {
        assert!(is_later(5, u32::MAX - 5) && !is_later(u32::MAX - 5, 5));
        let forever = ticks(Duration::from_secs(10 * 365 * 86_400));
        assert!(is_later(after(7, forever), 7) && is_later(after(u32::MAX - 7, forever), u32::MAX - 7));
        let now = 199 * 86_400_000;
        assert_eq!(begins(tick(now) + 10, tick(now), now), (now / TICK_MILLIS + 10) * TICK_MILLIS);
    }

    /// A deadline beyond the horizon comes out at the horizon, to be put on again; a jump in time loses nothing.
    #[test]
    fn far_deadlines_and_jumps() {
        let (mut wheel, mut conns) = wheel_with(1, &[1_000_000, 10]);
        assert_eq!(wheel.pop(&mut conns, 3_000), Some(1));
        assert_eq!(wheel.pop(&mut conns, 3_000), None);
        assert_eq!(wheel.pop(&mut conns, 1_000_000), Some(0));
    }

    /// The next tick is the earliest of all, wherever in the wheel it and the present are.
    #[test]
    fn the_next_tick_is_the_earliest() {
        for start in [1, 63, 64, 4000, 4095, 4097, 8191] {
            for gap in [1, 2, 63, 64, 65, 100, 1000, 4032, 4094] {
                let dues: Vec<u32> = (0..5).map(|step| start + (gap + step * 800).min(4094)).collect();
                let (mut wheel, mut conns) = wheel_with(start, &dues);
                for (slot, &due) in dues.iter().enumerate() {
                    assert_eq!(wheel.next(), Some(due), "start {start}, gap {gap}");
                    wheel.unlink(&mut conns, slot as u32);
                }
                assert_eq!(wheel.next(), None);
            }
        }
    }

    /// An earlier deadline moves a connection forward, a later one leaves it where it is.
    #[test]
    fn moving_deadlines() {
        let (mut wheel, mut conns) = wheel_with(1, &[100]);
        wheel.set(&mut conns, 0, 200);
        assert_eq!(wheel.next(), Some(100));
        wheel.set(&mut conns, 0, 50);
        assert_eq!(wheel.next(), Some(50));
        wheel.unlink(&mut conns, 0);
        assert_eq!(wheel.next(), None);
    }
}
