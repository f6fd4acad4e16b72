//! All exchanges of a shard.
use super::{
    id::{ExchangeId, GENERATION_MASK, INDEX_BITS, INDEX_MASK},
    record::{Exchange, Phase},
};
use crate::relay::{arena::Arena, conn::NONE, memory::Account};

/// All exchanges of a shard.
#[derive(Default)]
pub struct Exchanges {
    records: Arena<Exchange>,
    free: Vec<u32>,
    /// Records that have ended in this turn, to be used again from the next one on.
    ended: Vec<u32>,
}

/// Number of free records that keep their vectors' memory for the next exchanges.
const WARM: usize = 512;

impl Exchanges {
    /// A record for a client. `None` if all numbers are in use.
    pub fn insert(&mut self, client: u32) -> Option<ExchangeId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.records.count() >= INDEX_MASK as usize => return None,
            None => {
                let index = self.records.push(Exchange::new());
                // Room to give every record back without allocating then.
                self.free.reserve(self.records.count());
                self.ended.reserve(self.records.count());
                index
            }
        };
        let x = &mut self.records[index];
        x.client = client;
        x.phase = Phase::Reading;
        Some(ExchangeId(u32::from(x.generation) << INDEX_BITS | index))
    }

    /// Ends an exchange. Its pipes must have been given back. The record is used again only from the next turn on.
    pub fn end(&mut self, id: ExchangeId, account: &mut Account) {
        let spare = self.free.len() + self.ended.len() >= WARM;
        let x = &mut self[id];
        assert!(x.phase != Phase::Free && x.up.pipe.is_none() && x.down.pipe.is_none());
        x.reset(account);
        if spare {
            // A burst must not leave its memory behind.
            for bytes in [&mut x.head, &mut x.reply, &mut x.up.out, &mut x.down.out] {
                bytes.clear(account, 0);
            }
        }
        x.phase = Phase::Free;
        x.client = NONE;
        self.ended.push(id.index());
    }

    /// Frees the records that have ended. Called between two turns.
    pub fn reap(&mut self) {
        while let Some(index) = self.ended.pop() {
            let x = &mut self.records[index];
            // The last generation of the last number would equal `NONE`.
            x.generation = (x.generation + 1) & GENERATION_MASK;
            self.free.push(index);
        }
    }

    /// Exchanges in progress.
    pub fn used(&self) -> usize {
        self.records.count() - self.free.len() - self.ended.len()
    }

    /// All records, used or not.
    pub fn records(&self) -> impl Iterator<Item = &Exchange> {
        (0..self.records.count() as u32).map(|index| &self.records[index])
    }
}

impl std::ops::Index<ExchangeId> for Exchanges {
    type Output = Exchange;

    #[inline]
    fn index(&self, id: ExchangeId) -> &Exchange {
        let x = &self.records[id.index()];
        assert!(x.generation == id.generation(), "an exchange that is over");
        x
    }
}

impl std::ops::IndexMut<ExchangeId> for Exchanges {
    #[inline]
    fn index_mut(&mut self, id: ExchangeId) -> &mut Exchange {
        let x = &mut self.records[id.index()];
        assert!(x.generation == id.generation(), "an exchange that is over");
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record is not used again in the turn in which it ended, and then under another name.
    #[test]
    fn names_are_not_used_twice() {
        let (mut exchanges, mut account) = (Exchanges::default(), Account::new(0));
        let first = exchanges.insert(7).unwrap();
        exchanges.end(first, &mut account);
        assert_eq!(exchanges[first].phase, Phase::Free);
        let other = exchanges.insert(8).unwrap();
        assert_ne!(first.index(), other.index());
        exchanges.reap();
        let again = exchanges.insert(9).unwrap();
        assert_eq!((again.index(), exchanges.used()), (first.index(), 2));
        assert_ne!(again, first);
        assert!(std::panic::catch_unwind(|| exchanges[first].client).is_err());
    }
}
