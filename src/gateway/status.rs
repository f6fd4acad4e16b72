//! What a gateway tells its user: how it stands, and what goes wrong, the latter without end only in numbers.
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// How often warnings that have come up again are summed up.
pub(super) const SUM_UP_EVERY: Duration = Duration::from_secs(60);

/// Different warnings that are remembered; anybody can make a gateway warn, so that further ones are not told apart.
const WARNINGS_MAX: usize = 32;

/// How a gateway stands.
#[derive(Debug, Default)]
pub struct Status {
    opening: AtomicUsize,
    parked: AtomicUsize,
    busy: AtomicUsize,
    requests: AtomicU64,
    refused: AtomicU64,
    warned: Mutex<Vec<Warned>>,
}

/// A warning that has been given since the last sum.
#[derive(Debug)]
struct Warned {
    text: String,
    /// How often it has come up since.
    more: u64,
}

impl Status {
    /// Its connections by stage.
    pub(super) fn has(&self, opening: usize, parked: usize, busy: usize) {
        self.opening.store(opening, Relaxed);
        self.parked.store(parked, Relaxed);
        self.busy.store(busy, Relaxed);
    }

    /// Connections in use, or tunnels.
    pub fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// The gateway has answered instead of the target, for this reason.
    pub(super) fn answered_instead(&self, reason: String) {
        self.refused.fetch_add(1, Relaxed);
        self.warn(reason);
    }

    /// Warns, once until the next sum.
    pub(super) fn warn(&self, mut text: String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() >= WARNINGS_MAX {
            "other warnings".clone_into(&mut text);
        }
        match warned.iter_mut().find(|warned| warned.text == text) {
            Some(warned) => warned.more += 1,
            None => {
                tracing::warn!("{text}");
                warned.push(Warned { text, more: 0 });
            }
        }
    }

    /// Says how often warnings have come up again, and starts over. Those that have not come up again are forgotten.
    pub(super) fn sum_up(&self) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain_mut(|Warned { text, more }| {
            let again = std::mem::take(more);
            if again > 0 {
                tracing::warn!("{again} times more within {} s: {text}", SUM_UP_EVERY.as_secs());
            }
            again > 0
        });
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = |count: &AtomicUsize| count.load(Relaxed);
        let (opening, parked, busy) = (load(&self.opening), load(&self.parked), load(&self.busy));
        let (requests, refused) = (self.requests.load(Relaxed), self.refused.load(Relaxed));
        write!(f, "opening={opening} parked={parked} busy={busy} requests={requests} answered-instead={refused}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn more(status: &Status) -> Vec<(String, u64)> {
        status.warned.lock().unwrap().iter().map(|warned| (warned.text.clone(), warned.more)).collect()
    }

    /// A warning that comes up again is only counted until the next sum, and forgotten after one without it.
    #[test]
    fn repeats_are_counted() {
        let status = Status::default();
        for _ in 0..500 {
            status.warn("a".to_owned());
        }
        status.warn("b".to_owned());
        assert_eq!(more(&status), [("a".to_owned(), 499), ("b".to_owned(), 0)]);
        status.sum_up();
        assert_eq!(more(&status), [("a".to_owned(), 0)]);
        status.sum_up();
        assert!(more(&status).is_empty());
    }

    /// However many different warnings there are, only so many are given and remembered.
    #[test]
    fn different_warnings_have_a_limit() {
        let status = Status::default();
        for n in 0..1000 {
            status.warn(n.to_string());
        }
        assert_eq!(more(&status).len(), WARNINGS_MAX + 1);
    }
}
