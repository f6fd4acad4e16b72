//! Whether further events are likely to come at once, so that waiting for them pays.
use super::Millis;

/// For how long events are counted before the rate is judged, in milliseconds.
const SPAN: Millis = 8;

/// The rate of a ring's events, and the time that a turn may wait for more of them.
#[derive(Debug, Default)]
pub(super) struct Company {
    micros: u32,
    events: u64,
    since: Millis,
    likely: bool,
}

impl Company {
    /// For a wait of so many microseconds; 0 for none.
    pub(super) fn new(micros: u32) -> Company {
        Company { micros, ..Company::default() }
    }

    /// The time to wait, in microseconds.
    pub(super) fn micros(&self) -> u32 {
        self.micros
    }

    /// Whether half an event or more is to be expected within the time to wait: that is company for the one that ends a wait.
    pub(super) fn is_likely(&self) -> bool {
        self.likely
    }

    /// Counts the events of a turn.
    pub(super) fn came(&mut self, events: usize, now: Millis) {
        self.events += events as u64;
        let passed = now - self.since;
        if self.micros > 0 && passed >= SPAN {
            self.likely = 2 * self.events * u64::from(self.micros) >= passed * 1000;
            (self.events, self.since) = (0, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 10,000 events a second, company is likely within 50 microseconds, and not within 40; after a pause it is not.
    #[test]
    fn company_follows_the_rate() {
        for (micros, likely) in [(0, false), (40, false), (50, true), (200, true)] {
            let mut company = Company::new(micros);
            (1..=100).for_each(|now| company.came(10, now));
            assert_eq!(company.is_likely(), likely, "{micros}");
            company.came(1, 200);
            assert!(!company.is_likely());
        }
    }
}
