//! Numbers of domains by the hashes of their names.
//!
//! A hash table grows by moving all of its entries, and nobody is served meanwhile: 119 ms with a million domains. So
//! there are many small tables, each of which grows for itself.
use hashbrown::HashTable;

/// Number of tables: a million domains are 4,000 in each, which move in less than half a millisecond.
const TABLES: usize = 256;

/// Numbers of domains by the hashes of their names.
pub struct Names {
    tables: Box<[HashTable<u32>]>,
    len: usize,
}

impl Default for Names {
    fn default() -> Self {
        Names { tables: (0..TABLES).map(|_| HashTable::new()).collect(), len: 0 }
    }
}

impl Names {
    /// Which table a hash is in: by other bits than those that tables (the lowest and the seven highest) and the
    /// directory use.
    fn at(hash: u64) -> usize {
        (hash >> 48) as usize % TABLES
    }

    /// The number with that hash which `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.tables[Names::at(hash)].find(hash, |&id| is_it(id)).copied()
    }

    /// Adds a number; `hash_of` says the hash of any number on record.
    pub fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        self.tables[Names::at(hash)].insert_unique(hash, id, |&id| hash_of(id));
        self.len += 1;
    }

    /// Takes a number out, if it is on record.
    pub fn remove(&mut self, hash: u64, id: u32) {
        if let Ok(entry) = self.tables[Names::at(hash)].find_entry(hash, |&other| other == id) {
            entry.remove();
            self.len -= 1;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::directory::Directory;

    /// Numbers are found by hash and by what else is asked, until they are removed; those with one hash are told apart.
    #[test]
    fn numbers_come_and_go() {
        let hash = |id: u32| u64::from(id / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut names = Names::default();
        (0..10_000).for_each(|id| names.insert(hash(id), id, hash));
        assert_eq!(names.len(), 10_000);
        assert!((0..10_000).all(|id| names.find(hash(id), |other| other == id) == Some(id)));
        assert_eq!(names.find(hash(7), |_| false), None);
        (0..10_000).step_by(2).for_each(|id| names.remove(hash(id), id));
        names.remove(hash(0), 0);
        assert_eq!(names.len(), 5000);
        assert!((0..10_000).all(|id| names.find(hash(id), |other| other == id).is_some() == (id % 2 == 1)));
    }

    /// Names' hashes spread over all tables, so that none grows for the others, too.
    #[test]
    fn all_tables_are_used() {
        let directory = Directory::new(2);
        let hash = |id: u32| directory.hash(&id.to_le_bytes());
        let mut names = Names::default();
        (0..25_600).for_each(|id| names.insert(hash(id), id, hash));
        let fullest = names.tables.iter().map(HashTable::len).max();
        assert!(fullest.is_some_and(|fullest| fullest < 200), "{fullest:?} of 100 on average");
    }
}
