//! Which shard has whom: the one thing that shards share.
//!
//! Written only when a shard gains its first or gives up its last connection of a domain, or when clients begin
//! or cease to wait for one; read only when a client's own shard has no gateway for it. It holds hashes, not
//! names: the shard it points to compares names itself, so that a collision costs a hand-over and no more.
use hashbrown::HashTable;
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A set of shards, by number.
pub type ShardSet = u64;

#[derive(Clone, Copy)]
struct Entry {
    hash: u64,
    holders: ShardSet,
}

/// Spreads the directory's lock so that a storm of registrations does not queue for one.
const PARTS: usize = 16;

/// The directory of a relay.
pub struct Directory {
    /// With one shard there is nobody to ask: nothing is kept, which saves a sixth of a parked gateway's memory.
    alone: bool,
    keys: RandomState,
    parts: [RwLock<HashTable<Entry>>; PARTS],
    waiting: RwLock<Vec<Entry>>,
    /// Domains with waiting clients, over all shards: 0 nearly always, so that parking need not look further.
    waiting_count: AtomicUsize,
}

impl Directory {
    /// The directory of so many shards.
    pub fn new(shards: usize) -> Directory {
        Directory {
            alone: shards == 1,
            keys: RandomState::new(),
            parts: std::array::from_fn(|_| RwLock::default()),
            waiting: RwLock::default(),
            waiting_count: AtomicUsize::new(0),
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

    /// The shards that have, or lately had, gateways of a domain.
    pub fn holders(&self, hash: u64) -> ShardSet {
        let part = self.part(hash).read().expect(POISON);
        part.find(hash, |entry| entry.hash == hash).map_or(0, |entry| entry.holders)
    }

    /// A shard has its first gateway of a domain.
    pub fn gain(&self, hash: u64, shard: usize) {
        if self.alone {
            return;
        }
        let mut part = self.part(hash).write().expect(POISON);
        part.entry(hash, |entry| entry.hash == hash, |entry| entry.hash)
            .or_insert(Entry { hash, holders: 0 })
            .into_mut()
            .holders |= 1 << shard;
    }

    /// A shard has given a domain up.
    pub fn lose(&self, hash: u64, shard: usize) {
        let mut part = self.part(hash).write().expect(POISON);
        if let Ok(mut entry) = part.find_entry(hash, |entry| entry.hash == hash) {
            entry.get_mut().holders &= !(1 << shard);
            if entry.get().holders == 0 {
                entry.remove();
            }
        }
    }

    /// Clients of a domain begin to wait at a shard.
    pub fn wait(&self, hash: u64, shard: usize) {
        if self.alone {
            return;
        }
        let mut waiting = self.waiting.write().expect(POISON);
        match waiting.iter_mut().find(|entry| entry.hash == hash) {
            Some(entry) => entry.holders |= 1 << shard,
            None => waiting.push(Entry { hash, holders: 1 << shard }),
        }
        self.waiting_count.store(waiting.len(), std::sync::atomic::Ordering::SeqCst);
    }

    /// No more clients of a domain wait at a shard.
    pub fn wait_no_more(&self, hash: u64, shard: usize) {
        if self.alone {
            return;
        }
        let mut waiting = self.waiting.write().expect(POISON);
        if let Some(at) = waiting.iter().position(|entry| entry.hash == hash) {
            waiting[at].holders &= !(1 << shard);
            if waiting[at].holders == 0 {
                waiting.swap_remove(at);
            }
        }
        self.waiting_count.store(waiting.len(), std::sync::atomic::Ordering::SeqCst);
    }

    /// The shards where clients of a domain wait.
    pub fn waiting(&self, hash: u64) -> ShardSet {
        if self.waiting_count.load(Relaxed) == 0 {
            return 0;
        }
        let waiting = self.waiting.read().expect(POISON);
        waiting.iter().find(|entry| entry.hash == hash).map_or(0, |entry| entry.holders)
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

#[cfg(test)]
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
    }
}
