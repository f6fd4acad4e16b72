//! Which shards have gateways, or waiting clients, of which domain. Shared by all shards.
//!
//! Written only when a shard gains its first or gives up its last connection of a domain, or when clients begin
//! or cease to wait for one; read only when a client's own shard has no gateway for it. It holds hashes, not
//! names: the shard it points to compares names itself, so that a collision costs one hand-off and no more.
use crate::sync::{AtomicUsize, Ordering::SeqCst, RwLock};
use hashbrown::HashTable;
use std::{collections::hash_map::RandomState, hash::BuildHasher};

/// A set of shards, by number.
pub type ShardSet = u64;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    holders: ShardSet,
    /// Where clients wait for it.
    waiting: ShardSet,
    /// Gateways' connections on all shards.
    gateways: u32,
    /// Which set of names they registered it in; 0 for it alone.
    set: u32,
}

const _: () = assert!(size_of::<Entry>() <= 32, "a domain's entry must stay within its budget");

/// Number of locks, so that a storm of registrations does not queue for a single one.
const PARTS: usize = 16;

/// The directory of a relay.
pub struct Directory {
    /// With one shard there are no others to ask: nothing is kept, which saves a sixth of a parked gateway's memory.
    alone: bool,
    keys: RandomState,
    parts: [RwLock<HashTable<Entry>>; PARTS],
    /// Pairs of a domain and a shard where clients wait for it. Nearly always 0, and then parking need not look
    /// further.
    waits: AtomicUsize,
}

impl Directory {
    /// The directory of so many shards.
    pub fn new(shards: usize) -> Directory {
        Directory {
            alone: shards == 1,
            keys: RandomState::new(),
            parts: std::array::from_fn(|_| RwLock::new(HashTable::new())),
            waits: AtomicUsize::new(0),
        }
    }
}

const POISON: &str = "nobody panics while holding the directory";

impl Directory {
    /// The hash of a lower-case name, under this process's own key.
    pub fn hash(&self, name: &[u8]) -> u64 {
        self.keys.hash_one(name)
    }

    fn part(&self, hash: u64) -> &RwLock<HashTable<Entry>> {
        // The table inside uses the low bits and the top seven.
        &self.parts[(hash >> 40) as usize % PARTS]
    }

    /// The shards that have, or recently had, gateways of a domain.
    pub fn holders(&self, hash: u64) -> ShardSet {
        let part = self.part(hash).read().expect(POISON);
        part.find(hash, |entry| entry.hash == hash).map_or(0, |entry| entry.holders)
    }

    /// A shard has its first gateway of a domain.
    pub fn gain(&self, hash: u64, shard: usize) {
        self.change(hash, |entry| entry.holders |= 1 << shard);
    }

    /// A shard has given up a domain.
    pub fn lose(&self, hash: u64, shard: usize) {
        self.change(hash, |entry| entry.holders &= !(1 << shard));
    }

    /// The number of a set of names that are registered together, by its names in one order.
    pub fn set_number<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> u32 {
        let names: Vec<&[u8]> = names.collect();
        // Two sets get the same number once in four billion; both then have gateways of the names that they share, on
        // different shards. 0 is not for sets.
        (self.keys.hash_one(names) as u32).max(1)
    }

    /// Counts in a gateway's connection, which has registered a name in a set, or alone with `set` 0. False, without
    /// effect, while others are there that registered it in another set.
    pub fn enlist(&self, hash: u64, set: u32) -> bool {
        let mut fits = true;
        self.change(hash, |entry| {
            fits = entry.gateways == 0 || entry.set == set;
            if fits {
                entry.set = set;
                entry.gateways += 1;
            }
        });
        fits
    }

    /// Counts out a gateway's connection that was enlisted.
    pub fn discharge(&self, hash: u64) {
        self.change(hash, |entry| entry.gateways = entry.gateways.saturating_sub(1));
    }

    /// Connections of a domain's gateways on all shards; `None` if there is only one shard, which counts them itself.
    pub fn gateways(&self, hash: u64) -> Option<u32> {
        if self.alone {
            return None;
        }
        let part = self.part(hash).read().expect(POISON);
        Some(part.find(hash, |entry| entry.hash == hash).map_or(0, |entry| entry.gateways))
    }

    /// A shard has its first client that waits for a domain.
    pub fn wait(&self, hash: u64, shard: usize) {
        self.change(hash, |entry| {
            // Counted before it can be found, and under the lock, so that a shard that could find it does not miss it.
            if entry.waiting & (1 << shard) == 0 {
                self.waits.fetch_add(1, SeqCst);
            }
            entry.waiting |= 1 << shard;
        });
    }

    /// A shard has no more clients that wait for a domain.
    pub fn wait_no_more(&self, hash: u64, shard: usize) {
        self.change(hash, |entry| {
            if entry.waiting & (1 << shard) != 0 {
                self.waits.fetch_sub(1, SeqCst);
            }
            entry.waiting &= !(1 << shard);
        });
    }

    /// The shards where clients of a domain wait.
    pub fn waiting(&self, hash: u64) -> ShardSet {
        if self.waits.load(SeqCst) == 0 {
            return 0;
        }
        let part = self.part(hash).read().expect(POISON);
        part.find(hash, |entry| entry.hash == hash).map_or(0, |entry| entry.waiting)
    }

    /// Changes a domain's entry, made if there is none, removed if nothing is left in it.
    fn change(&self, hash: u64, change: impl FnOnce(&mut Entry)) {
        if self.alone {
            return;
        }
        let mut part = self.part(hash).write().expect(POISON);
        let entry = part.entry(hash, |entry| entry.hash == hash, |entry| entry.hash);
        let mut entry = entry.or_insert(Entry { hash, holders: 0, waiting: 0, gateways: 0, set: 0 });
        change(entry.get_mut());
        if entry.get().holders == 0 && entry.get().waiting == 0 && entry.get().gateways == 0 {
            entry.remove();
        }
    }
}

/// The numbers in a set of shards.
pub fn members(mut set: ShardSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let shard = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(shard)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Holders come and go one by one, and an entry without any is gone.
    #[test]
    fn holders_come_and_go() {
        let directory = Directory::new(4);
        let hash = directory.hash(b"gsiot-ffmq-ttd5");
        directory.gain(hash, 3);
        directory.gain(hash, 0);
        assert_eq!(members(directory.holders(hash)).collect::<Vec<_>>(), [0, 3]);
        directory.lose(hash, 3);
        directory.lose(hash, 0);
        assert_eq!(directory.holders(hash), 0);
        assert!(directory.parts.iter().all(|part| part.read().unwrap().is_empty()));
    }

    /// While a name has gateways, it belongs to the set that they registered, on whichever shards.
    #[test]
    fn a_name_is_in_one_set_at_a_time() {
        let directory = Directory::new(2);
        let set = directory.set_number([&b"a"[..], b"b"].into_iter());
        assert_ne!(set, directory.set_number([&b"ab"[..]].into_iter()));
        assert!(directory.enlist(7, set) && directory.enlist(7, set));
        assert!(!directory.enlist(7, 0) && !directory.enlist(7, set + 1));
        directory.discharge(7);
        assert!(!directory.enlist(7, 0));
        directory.discharge(7);
        assert!(directory.enlist(7, 0));
        assert_eq!(directory.gateways(7), Some(1));
        directory.discharge(7);
        assert!(directory.parts.iter().all(|part| part.read().unwrap().is_empty()));
    }

    /// Waiting is seen while it lasts, for that domain only.
    #[test]
    fn waiting_is_seen() {
        let directory = Directory::new(4);
        directory.wait(7, 1);
        directory.wait(7, 2);
        assert_eq!((directory.waiting(7), directory.waiting(8)), (0b110, 0));
        directory.wait_no_more(7, 1);
        directory.wait_no_more(7, 2);
        assert_eq!(directory.waiting(7), 0);
        assert!(directory.parts.iter().all(|part| part.read().unwrap().is_empty()));
    }
}
