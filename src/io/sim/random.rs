//! The source of every choice that a simulation makes.

/// A small deterministic generator (SplitMix64): one word of state, so a seed is all there is to know.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        // Two steps apart: neighbouring seeds must not look alike from their first draw.
        let mut random = Random(seed ^ 0x5851_f42d_4c95_7f2d);
        random.word();
        random
    }

    /// A generator of its own, so that one consumer's draws do not shift another's.
    pub fn fork(&mut self) -> Random {
        Random(self.word())
    }

    /// Sixty-four random bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        debug_assert!(low <= high);
        low + self.below(high - low + 1)
    }

    /// True `per_mille` times in a thousand. What never happens takes no draw.
    #[inline]
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < per_mille as usize
    }

    /// One of `from`.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Part of `whole`: all of it often, else a random amount, now and then a single one. Never 0 unless `whole`
    /// is.
    pub fn part(&mut self, whole: usize) -> usize {
        match (whole, self.below(8)) {
            (0 | 1, _) | (_, 0..4) => whole,
            (_, 4) => 1,
            _ => self.between(1, whole),
        }
    }
}
