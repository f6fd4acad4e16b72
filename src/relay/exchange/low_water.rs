//! The low-water mark of a direction's source (`SO_RCVLOWAT`): how many bytes must have arrived before the shard hears of
//! them. What the internet delivers packet by packet then costs one wake-up for many packets.
//!
//! The mark follows the rate: about what arrives within `--bulk-delay`. When less has come in that time, the timer wheel
//! lowers it to one byte, and the source is heard at once. It is never above what is known to be left of a body or chunk,
//! so that nothing waits for bytes that do not come.
use crate::{http::Body, relay::timers::TICK_MILLIS};

/// Marks are powers of two, from level 1, 4 KiB, the smallest that is worth a system call, to level 6, 128 KiB: sources
/// whose receive buffer is small must still be able to send. Level 0 is none.
const MOST: u8 = 6;
/// The level that stands for a mark of just what is left.
const EXACT: u8 = 7;
/// What fits into one packet arrives at once anyway.
const PACKET: u64 = 1448;
/// Receives in a row, each less than half of `--bulk-delay` after the one before, after which more is waited for.
const QUICK_MAX: u8 = 2;
/// Receives within the tick of the one before, at the highest mark, after which a mark is of no use: so much comes in large
/// pieces anyway, and to sleep in between would cost more than to go on.
const FLOOD: u8 = 3;
/// A large piece, in bytes: small ones are worth a mark at any rate.
const PIECE: u32 = 32 << 10;
/// What is no pause yet in what comes without a mark, in ticks.
const PAUSE: u8 = (16 / TICK_MILLIS) as u8;
/// Ticks without a pause after which a stream of unknown length is bulk.
const STEADY: u8 = (128 / TICK_MILLIS) as u8;

/// Ticks without a byte the other way after which what a stream of unknown length brings is no answer to anything.
pub const ONE_WAY_TICKS: u32 = STEADY as u32;

/// Number of quick receives at the highest mark, after one more.
fn flooded(quick: u8, pause: u8, moved: u32) -> u8 {
    match pause {
        0 | 1 if moved < PIECE => 0,
        0 => (quick + 1).min(FLOOD),
        1 => quick,
        _ => 0,
    }
}

/// The mark of a level, in bytes.
fn bytes_of(level: u8) -> u32 {
    2048 << level
}

/// The highest level whose mark is at most so many bytes.
fn level_of(bytes: u32) -> u8 {
    (bytes / 2048).checked_ilog2().map_or(0, |level| level as u8).min(MOST)
}

/// How a direction's source delivers, and the mark that its socket has.
// Three bytes are left in a direction's record.
#[derive(Clone, Copy, Debug, Default)]
pub struct LowWater {
    /// From the lowest bits: the level that fits the rate (3 bits); the level that was set last, which counts while the
    /// source has a mark (3); quick receives in a row (2).
    levels: u8,
    /// Ticks since the last pause.
    steady: u8,
    /// The tick of the last receive, without its upper bits: one of whole multiples of two seconds may be taken for none.
    last: u8,
}

impl LowWater {
    fn goal(self) -> u8 {
        self.levels & 7
    }

    fn set(self) -> u8 {
        self.levels >> 3 & 7
    }

    fn quick(self) -> u8 {
        self.levels >> 6
    }

    fn put(&mut self, goal: u8, set: u8, quick: u8) {
        self.levels = goal | set << 3 | quick << 6;
    }

    /// Whether so little is left of a body, or of a chunk, that it comes at once.
    #[inline]
    pub fn is_near_end(body: &Body) -> bool {
        body.opaque() <= PACKET
    }

    /// Notes that so many bytes were received, and no more are there. `delay` is for how long they may wait, in ticks.
    pub fn note(&mut self, moved: u32, tick: u32, delay: u32) {
        let pause = (tick as u8).wrapping_sub(self.last);
        self.last = tick as u8;
        let late = u32::from(pause) >= delay;
        // If there was a mark, the timer may have lowered it.
        let went_on = match self.set() > 0 {
            // The timer fetched it, perhaps a tick late.
            true if late => u32::from(pause) <= delay + 1 && moved.saturating_mul(2) >= bytes_of(self.set().min(MOST)),
            true => true,
            false => pause <= PAUSE,
        };
        self.steady = if went_on { self.steady.saturating_add(pause) } else { 0 };
        let (goal, quick) = match self.quick() {
            // Half of the mark is near enough: to change it costs system calls, too.
            _ if late => (self.goal().min(level_of(moved.saturating_mul(2))), 0),
            _ if 2 * u32::from(pause) >= delay => (self.goal(), 0),
            quick if self.goal() == MOST => (MOST, flooded(quick, pause, moved)),
            // The next mark must fill up in time.
            QUICK_MAX.. if moved.saturating_mul(delay) >= bytes_of(self.goal() + 1) => (self.goal() + 1, 0),
            QUICK_MAX.. => (self.goal(), QUICK_MAX),
            quick => (self.goal(), quick + 1),
        };
        self.put(goal, self.set(), quick);
    }

    /// The mark that a source should get now, in bytes, unless it has that. `marked` if it has one of more than a byte;
    /// `one_way` if nothing came the other way lately.
    pub fn change(&mut self, body: &Body, marked: bool, one_way: bool) -> Option<u32> {
        let (level, bytes) = self.wanted(body, one_way);
        let same = if marked { level == self.set() && level != EXACT } else { level == 0 };
        self.put(self.goal(), level, self.quick());
        (!same).then_some(bytes)
    }

    /// The level of the mark that a source should have now, and the mark in bytes.
    fn wanted(self, body: &Body, one_way: bool) -> (u8, u32) {
        let left = body.opaque();
        let too_soon = *body == Body::UntilClose && (self.steady < STEADY || !one_way);
        let flood = self.goal() == MOST && self.quick() == FLOOD;
        if self.goal() == 0 || flood || Self::is_near_end(body) || too_soon {
            return (0, 1);
        }
        let mark = bytes_of(self.goal());
        if u64::from(mark) <= left { (self.goal(), mark) } else { (EXACT, left as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: u32 = 3;

    /// Bytes of the receives, a hundred of them, of a source that sends `per_tick` packets of so many bytes a tick. The last
    /// ones, when all has settled.
    fn receives(bytes: u32, per_tick: u32, body: &Body) -> Vec<u32> {
        let (mut low_water, mut marked, mut mark, mut there, mut heard) = (LowWater::default(), false, 1, 0, 0);
        let mut receives = Vec::new();
        for packet in 0.. {
            let tick = 1000 + packet / per_tick;
            there += bytes;
            if there >= mark || tick - heard >= DELAY {
                low_water.note(there, tick, DELAY);
                mark = low_water.change(body, marked, true).unwrap_or(mark);
                (marked, heard) = (mark > 1, tick);
                receives.push(std::mem::take(&mut there));
            }
            if receives.len() == 100 {
                break;
            }
        }
        receives.split_off(90)
    }

    /// What comes steadily is received in pieces that take more than half of the time that they may, at most up to the
    /// largest mark.
    #[test]
    fn marks_follow_the_rate() {
        let long = Body::Length(1 << 30);
        for per_tick in [2, 3, 4, 8, 20, 50] {
            let (least, most) = (per_tick * 1448 * DELAY / 2 - 1448, per_tick * 1448 * (DELAY + 1));
            let receives = receives(1448, per_tick, &long);
            assert!(receives.iter().all(|n| (least..=most).contains(n)), "{per_tick} packets a tick: {receives:?}");
        }
    }

    /// Packets that are small, or rare, are not waited for, nor more than is left of a body, nor a flood.
    #[test]
    fn marks_that_gain_nothing_are_not_set() {
        assert_eq!(receives(100, 1, &Body::Length(1 << 30)), [100; 10]);
        assert_eq!(receives(65_536, 20, &Body::Length(1 << 30)), [65_536; 10]);
        assert_eq!(receives(1448, 3, &Body::Length(1448)), [1448; 10]);
        assert_eq!(receives(1448, 3, &Body::CHUNKED), [1448; 10]);
        assert!(receives(1448, 20, &Body::Length(5000)).iter().all(|&n| n < 5000 + 1448));
    }

    /// A pause brings the mark down to at most twice what came in it.
    #[test]
    fn marks_come_down() {
        let mut low_water = LowWater::default();
        let body = Body::Length(1 << 30);
        (0..60).for_each(|n| low_water.note(128 << 10, n, DELAY));
        assert_eq!(low_water.wanted(&body, true).1, 128 << 10);
        low_water.note(20_000, 70, DELAY);
        assert_eq!(low_water.wanted(&body, true).1, 32 << 10);
        low_water.note(2047, 80, DELAY);
        assert_eq!(low_water.wanted(&body, true).1, 1);
    }

    /// A stream of unknown length is waited for only when it has not paused for a while, and nothing goes the other way.
    #[test]
    fn streams_must_be_steady() {
        let mut low_water = LowWater::default();
        let stream = Body::UntilClose;
        let first = (0..100).find(|&tick| {
            low_water.note(8 << 10, tick, DELAY);
            low_water.wanted(&stream, true).0 > 0
        });
        assert_eq!(first, Some(u32::from(STEADY)));
        assert_eq!(low_water.wanted(&stream, false).1, 1);
        low_water.note(8 << 10, 19, DELAY);
        assert_eq!(low_water.wanted(&stream, true).1, 1);
    }

    /// Frames with a pause behind each are passed on at once, however they are spread, and a mark ends with the first pause.
    #[test]
    fn frames_are_no_bulk() {
        let stream = Body::UntilClose;
        for (spread, period) in [(0, 4), (1, 4), (2, 5), (3, 6)] {
            let mut low_water = LowWater::default();
            for frame in 0..100 {
                for packet in 0..20 {
                    let tick = 1000 + frame * period + packet * spread / 20;
                    low_water.note(1448, tick, DELAY);
                    assert_eq!(low_water.change(&stream, false, true), None, "{spread} of {period} ticks");
                }
            }
        }
        let mut low_water = LowWater::default();
        (0..100).for_each(|tick| low_water.note(8 << 10, tick, DELAY));
        let mark = low_water.change(&stream, false, true).expect("bulk");
        low_water.note(mark / 2 - 1, 99 + DELAY, DELAY);
        assert_eq!(low_water.change(&stream, true, true), Some(1));
    }
}
