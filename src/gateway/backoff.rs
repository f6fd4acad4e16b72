//! How long to wait before the relay is tried again.
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Exponential back-off with full jitter: a wait is drawn evenly from nothing up to a bound that doubles with every
/// failure. Full jitter spreads thousands of gateways that lost the same relay in the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the wait after the first failure.
    pub first: Duration,
    /// Bound of every wait.
    pub most: Duration,
}

impl Default for Backoff {
    /// 0.2 s to 10 s: a relay has clients wait for 15 s until a gateway is back.
    fn default() -> Self {
        Backoff { first: Duration::from_millis(200), most: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// Bound of the wait after `failures` earlier failures in a row.
    fn bound(self, failures: u32) -> Duration {
        self.first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.most)
    }

    /// The wait after `failures` earlier failures in a row; `random` is evenly spread over all values.
    pub fn wait(self, failures: u32, random: u64) -> Duration {
        share(self.bound(failures), random)
    }
}

/// An evenly spread part of `whole`: nothing for 0, just less than all of it for `u64::MAX`.
pub(super) fn share(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A number that differs between gateways started in the same instant. Not for secrets: the hash of nothing under
/// the standard library's per-process random keys, which saves a dependency.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_from_first_to_most() {
        let backoff = Backoff::default();
        let bounds: Vec<u128> = (0..10).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
        for failures in [31, 32, 33, u32::MAX] {
            assert_eq!(backoff.bound(failures), backoff.most);
        }
    }

    #[test]
    fn the_jitter_is_full_from_nothing_to_the_bound() {
        let backoff = Backoff::default();
        for failures in [0, 3, 8, 40] {
            assert_eq!(backoff.wait(failures, 0), Duration::ZERO);
            assert_eq!(backoff.wait(failures, 1 << 63), backoff.bound(failures) / 2);
            let longest = backoff.wait(failures, u64::MAX);
            assert!(longest <= backoff.bound(failures) && longest > backoff.bound(failures) * 99 / 100);
        }
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(random(), random());
    }
}
