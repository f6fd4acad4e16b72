//! The run queue: whoever has something to do, and how much each may do before the others.
//!
//! An event only records a fact and puts its connection here; what follows from it happens when its turn comes. What
//! a peer sends can make a connection do more, but not more at a time: who has used a budget up, or moves bulk, waits
//! behind everybody who has just become ready.
use crate::io::Key;
use std::collections::VecDeque;

/// What may be done before somebody else's turn: bytes moved, and operations (requests, interim heads, refusals, sends,
/// splices).
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: usize,
    operations: u32,
}

impl Budget {
    /// So many bytes and operations.
    pub fn new(bytes: usize, operations: u32) -> Budget {
        Budget { bytes, operations }
    }

    /// Bytes left.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts an operation that moved so many bytes.
    pub fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.operations = self.operations.saturating_sub(1);
    }

    /// Nothing is left of either.
    pub fn is_spent(&self) -> bool {
        self.bytes == 0 || self.operations == 0
    }

    /// Counts what another budget, which began as `whole`, has used.
    pub fn charge(&mut self, whole: Budget, left: Budget) {
        self.bytes = self.bytes.saturating_sub(whole.bytes - left.bytes);
        self.operations = self.operations.saturating_sub(whole.operations - left.operations);
    }
}

/// Which lane of the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Something has just happened to it.
    Fresh,
    /// It moves bulk, or has used its budget up.
    Bulk,
}

/// The queue. It holds keys, so that a slot that was freed and used again is not mistaken for who was queued.
#[derive(Debug, Default)]
pub struct RunQueue {
    fresh: VecDeque<Key>,
    bulk: VecDeque<Key>,
}

impl RunQueue {
    /// Puts a connection at the end of a lane. It must not be in the queue.
    pub fn push(&mut self, key: Key, lane: Lane) {
        match lane {
            Lane::Fresh => self.fresh.push_back(key),
            Lane::Bulk => self.bulk.push_back(key),
        }
    }

    /// Takes the first connection of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<Key> {
        match lane {
            Lane::Fresh => self.fresh.pop_front(),
            Lane::Bulk => self.bulk.pop_front(),
        }
    }

    /// Connections in a lane.
    pub fn len(&self, lane: Lane) -> usize {
        match lane {
            Lane::Fresh => self.fresh.len(),
            Lane::Bulk => self.bulk.len(),
        }
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.bulk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget ends with whichever of its two parts is used up first, and is charged to the turn's.
    #[test]
    fn budgets_end_with_either_part() {
        let whole = Budget::new(100, 3);
        let mut left = whole;
        left.spend(99);
        assert!(!left.is_spent());
        left.spend(5);
        assert!(left.is_spent());
        let mut turn = Budget::new(1000, 2);
        turn.charge(whole, left);
        assert!(turn.is_spent() && turn.bytes() == 900);
    }
}
