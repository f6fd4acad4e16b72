//! The run queue: connections that have something to do, and the budget of each.
//!
//! An event only notes a fact and puts its connection here; what follows from it is done when the connection's turn
//! comes. A peer can give its connection more to do, but not more at a time: a connection that has used up its budget,
//! or moves bulk, waits behind those that have just become ready.
use crate::io::Key;
use std::collections::VecDeque;

/// What a connection may do before others get their turn: bytes moved, and operations (requests, interim heads,
/// refusals, sends, splices).
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: usize,
    operations: u32,
}

impl Budget {
    /// A budget of so many bytes and operations.
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

    /// Whether either is used up.
    pub fn is_spent(&self) -> bool {
        self.bytes == 0 || self.operations == 0
    }

    /// Charges to this budget what another one, which began as `whole`, has used.
    pub fn charge(&mut self, whole: Budget, left: Budget) {
        self.bytes = self.bytes.saturating_sub(whole.bytes - left.bytes);
        self.operations = self.operations.saturating_sub(whole.operations - left.operations);
    }
}

/// A lane of the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Something has just happened to it.
    Fresh,
    /// It comes or goes: it is new, or has ended while it was parked. Thousands may do so at once.
    Turnover,
    /// It moves bulk, or has used its budget up.
    Bulk,
}

/// The queue. It holds keys, so that a slot that was freed and used again is not mistaken for the one that was queued.
#[derive(Debug)]
pub struct RunQueue {
    fresh: VecDeque<Key>,
    turnover: VecDeque<Key>,
    bulk: VecDeque<Key>,
}

/// Connections that fit a lane before it has to grow.
const ROOM: usize = 256;
/// Connections that come or go in one turn. Each costs far more than a request, and whoever is being served must not wait
/// behind thousands.
const TURNOVER: usize = 16;

impl Default for RunQueue {
    fn default() -> Self {
        let lane = || VecDeque::with_capacity(ROOM);
        RunQueue { fresh: lane(), turnover: lane(), bulk: lane() }
    }
}

impl RunQueue {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Key> {
        match lane {
            Lane::Fresh => &mut self.fresh,
            Lane::Turnover => &mut self.turnover,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// Puts a connection at the end of a lane. It must not be in the queue.
    pub fn push(&mut self, key: Key, lane: Lane) {
        self.lane(lane).push_back(key);
    }

    /// Takes the first connection of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<Key> {
        self.lane(lane).pop_front()
    }

    /// How many connections of a lane run in one turn, unless the turn's budget ends before.
    pub fn portion(&self, lane: Lane) -> usize {
        match lane {
            Lane::Fresh => self.fresh.len(),
            Lane::Turnover => self.turnover.len().min(TURNOVER),
            Lane::Bulk => self.bulk.len(),
        }
    }

    /// Whether all lanes are empty.
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.turnover.is_empty() && self.bulk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget is spent when either of its two parts is used up, and is charged to the turn's.
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
