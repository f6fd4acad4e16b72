//! A timer wheel in user space: linked through the connection slots, so that it allocates nothing.
//!
//! Deadlines move later far more often than they pass. So a connection stays in the bucket it was put in, and is
//! looked at when that bucket comes round: if its deadline is later by then, it is put on.
use super::conn::{Conns, NONE};
use crate::io::Millis;
use std::time::Duration;

/// Milliseconds of a tick. 32 bits of ticks last for two years.
pub const TICK_MILLIS: u64 = 16;
const BUCKETS: u32 = 4096;

/// The tick that a time lies in. Tick 0 is never used: it means "none".
pub fn tick(now: Millis) -> u32 {
    (now / TICK_MILLIS) as u32 + 1
}

/// Ticks of a duration, rounded up.
pub fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(u128::from(TICK_MILLIS))).unwrap_or(u32::MAX / 2).min(u32::MAX / 2)
}

/// The wheel.
pub struct Wheel {
    heads: Box<[u32]>,
    /// One bit a bucket that is not empty.
    occupied: [u64; BUCKETS as usize / 64],
    /// The last tick whose bucket was emptied.
    done: u32,
}

impl Wheel {
    /// A wheel that starts at tick `now`.
    pub fn new(now: u32) -> Wheel {
        Wheel { heads: vec![NONE; BUCKETS as usize].into(), occupied: [0; BUCKETS as usize / 64], done: now }
    }

    /// Makes sure that the connection is looked at by tick `due`.
    pub fn set(&mut self, conns: &mut Conns, slot: u32, due: u32) {
        let at = conns[slot].timer_at;
        if at != 0 && at <= due {
            return;
        }
        if at != 0 {
            self.unlink(conns, slot);
        }
        let at = due.clamp(self.done + 1, self.done + BUCKETS - 1);
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
                self.occupied[bucket as usize / 64] &= !(1 << (bucket % 64));
            }
        }
    }

    /// Takes out one connection whose bucket is due at tick `now`, if there is one.
    pub fn pop(&mut self, conns: &mut Conns, now: u32) -> Option<u32> {
        loop {
            let Some(next) = self.next() else {
                self.done = self.done.max(now);
                return None;
            };
            if next > now {
                // Nothing is due until then; skip what is empty, but stay behind the present.
                self.done = self.done.max(now.min(next - 1));
                return None;
            }
            self.done = next - 1;
            let slot = self.heads[(next % BUCKETS) as usize];
            if slot != NONE {
                self.unlink(conns, slot);
                return Some(slot);
            }
        }
    }

    /// The next tick whose bucket is not empty.
    pub fn next(&self) -> Option<u32> {
        let first = self.done + 1;
        let start = first % BUCKETS;
        let words = self.occupied.len() as u32;
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word as usize];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let bucket = word * 64 + bits.trailing_zeros();
                return Some(first + (bucket + BUCKETS - start) % BUCKETS);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Fd;
    use std::net::{IpAddr, Ipv4Addr};

    fn wheel_with(dues: &[u32]) -> (Wheel, Conns) {
        let mut conns = Conns::default();
        let mut wheel = Wheel::new(1);
        for &due in dues {
            let slot = conns.insert(Fd(0), IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
            conns[slot].deadline = due;
            wheel.set(&mut conns, slot, due);
        }
        (wheel, conns)
    }

    /// Whatever the order of setting, connections come out by their tick and not before it.
    #[test]
    fn due_connections_come_out_in_time() {
        let (mut wheel, mut conns) = wheel_with(&[700, 5, 64, 65, 4000]);
        let mut out = Vec::new();
        for now in 1..=4000 {
            while let Some(slot) = wheel.pop(&mut conns, now) {
                out.push((now, conns[slot].deadline));
            }
        }
        assert_eq!(out, [(5, 5), (64, 64), (65, 65), (700, 700), (4000, 4000)]);
        assert_eq!(wheel.next(), None);
    }

    /// A deadline beyond the horizon comes out at the horizon, to be put on again; a jump in time loses nothing.
    #[test]
    fn far_deadlines_and_jumps() {
        let (mut wheel, mut conns) = wheel_with(&[1_000_000, 10]);
        assert_eq!(wheel.pop(&mut conns, 3_000), Some(1));
        assert_eq!(wheel.pop(&mut conns, 3_000), None);
        assert_eq!(wheel.pop(&mut conns, 1_000_000), Some(0));
    }

    /// An earlier deadline moves a connection forward, a later one leaves it where it is.
    #[test]
    fn moving_deadlines() {
        let (mut wheel, mut conns) = wheel_with(&[100]);
        wheel.set(&mut conns, 0, 200);
        assert_eq!(wheel.next(), Some(100));
        wheel.set(&mut conns, 0, 50);
        assert_eq!(wheel.next(), Some(50));
        wheel.unlink(&mut conns, 0);
        assert_eq!(wheel.next(), None);
    }
}
