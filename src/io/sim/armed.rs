//! What a shard has armed, and the rules for arming.
use super::super::{Armed, Interest, Key, Millis};

/// One armed operation.
pub(super) struct Operation {
    pub(super) key: Key,
    /// The socket's number.
    pub(super) fd: i32,
    /// Index of the connection.
    pub(super) conn: usize,
    pub(super) armed: Armed,
    /// Asked to end.
    pub(super) cancelled: bool,
    /// Its last event was brought by this turn. The shard may not have come to it yet, so a cancel is no fault.
    pub(super) ended: bool,
    /// It completes no sooner.
    pub(super) not_before: Millis,
    /// When it completes without cause, if it does (polls for input only).
    pub(super) spurious_at: Option<Millis>,
}

/// Everything that one shard has armed.
#[derive(Default)]
pub(super) struct Table {
    pub(super) operations: Vec<Operation>,
    /// The latest generation seen, by slot.
    generations: Vec<Option<u16>>,
}

impl Table {
    /// Checks what the shard alone can be blamed for, then arms.
    pub(super) fn arm(&mut self, operation: Operation) -> Result<(), String> {
        let Key { slot, generation } = operation.key;
        let slot = slot as usize;
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, None);
        }
        if let Some(latest) = self.generations[slot]
            && (generation.wrapping_sub(latest) as i16) < 0
        {
            return Err(format!("{:?} is stale: the slot is at generation {latest}", operation.key));
        }
        self.generations[slot] = Some(generation);
        let same_slot = |other: &&Operation| other.key.slot == operation.key.slot && !other.ended;
        for other in self.operations.iter().filter(same_slot) {
            if other.key != operation.key {
                return Err(format!("slot {slot} was used again while {:?} of {:?} is armed", other.armed, other.key));
            }
            if other.fd != operation.fd {
                return Err(format!("{:?} armed for {} and {}", operation.key, other.fd, operation.fd));
            }
            if other.armed == operation.armed || clash(other.armed, operation.armed) {
                return Err(format!("{:?} for {:?} while {:?} is armed", operation.armed, operation.key, other.armed));
            }
        }
        self.operations.push(operation);
        Ok(())
    }

    /// Asks an operation to end. Says of which connection.
    pub(super) fn cancel(&mut self, key: Key, armed: Armed) -> Result<usize, String> {
        // The latest: one that ended this turn may have been armed again.
        let found = self.operations.iter_mut().rev().find(|o| o.key == key && o.armed == armed);
        match found {
            Some(operation) => {
                operation.cancelled = true;
                Ok(operation.conn)
            }
            None => Err(format!("cancel of {armed:?} for {key:?}, which is not armed")),
        }
    }

    /// Forgets the operations that ended in the turn before.
    pub(super) fn sweep(&mut self) {
        self.operations.retain(|operation| !operation.ended);
    }

    /// The first thing armed for a descriptor.
    pub(super) fn on(&self, fd: i32) -> Option<&Operation> {
        self.operations.iter().find(|o| o.fd == fd && !o.ended)
    }
}

fn clash(one: Armed, other: Armed) -> bool {
    const IN: Armed = Armed::Watch(Interest::Readable);
    matches!((one, other), (IN, Armed::Stream) | (Armed::Stream, IN))
}
