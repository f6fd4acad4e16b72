//! The end of a relay: shards end together, or one might send a client to another that has ended.
use super::admission::Admission;
use crate::sync::{AtomicUsize, Ordering::SeqCst};

/// How far a relay's shards have come with ending.
pub struct Ending {
    /// Shards that admit nobody any more.
    closed: AtomicUsize,
    shards: usize,
}

impl Ending {
    /// None of so many shards ends.
    pub fn new(shards: usize) -> Ending {
        Ending { closed: AtomicUsize::new(0), shards }
    }

    /// So many shards admit nobody from now on. To be called once for each, when the last event that could bring a
    /// connection has been dealt with: one that was admitted later could be sent to a shard that has ended meanwhile.
    pub fn close(&self, shards: usize) {
        self.closed.fetch_add(shards, SeqCst);
    }

    /// Whether no shard has a client, or will have one, and none is on its way: once it is so it remains so. A
    /// connection counts from its admission until it is closed, on whichever shard it is.
    pub fn is_quiet(&self, admission: &Admission) -> bool {
        // In this order: those that were admitted before the last shard closed are counted by then.
        self.closed.load(SeqCst) == self.shards && admission.connections() == 0
    }
}
