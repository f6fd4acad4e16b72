//! Further names of relay domains: all that a gateway registers on one connection are names of one domain.
//!
//! Only domains with several names are in here. Those with one, nearly all of them, pay nothing for it: the table is
//! looked at when a name is not found otherwise, and not even then while it is empty.
use super::message::DomainName;
use hashbrown::HashTable;
use std::collections::HashMap;

/// One further name.
struct Alias {
    hash: u64,
    /// Its domain's record.
    domain: u32,
    /// Its place among the further names.
    at: u32,
}

/// The further names of all domains of a shard.
#[derive(Default)]
pub struct Aliases {
    by_name: HashTable<Alias>,
    by_domain: HashMap<u32, Box<[DomainName]>>,
}

impl Aliases {
    /// Whether no domain has further names.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_domain.is_empty()
    }

    /// Further names on record.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The domain that has a further name.
    #[inline]
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let found = self.by_name.find(hash, |alias| alias.hash == hash && &*self.name(alias).name == name);
        found.map(|alias| alias.domain)
    }

    fn name(&self, alias: &Alias) -> &DomainName {
        &self.by_domain[&alias.domain][alias.at as usize]
    }

    /// Gives a domain its further names, none of which any domain has.
    pub fn insert(&mut self, domain: u32, names: &[DomainName]) {
        if names.is_empty() {
            return;
        }
        self.by_domain.insert(domain, names.into());
        for (at, name) in (0..).zip(names) {
            let alias = Alias { hash: name.hash, domain, at };
            self.by_name.insert_unique(name.hash, alias, |alias| alias.hash);
        }
    }

    /// The further names of a domain.
    #[inline]
    pub fn of(&self, domain: u32) -> &[DomainName] {
        if self.is_empty() {
            return &[];
        }
        self.by_domain.get(&domain).map_or(&[], |names| &**names)
    }

    /// Forgets the further names of a domain.
    pub fn remove(&mut self, domain: u32) {
        if self.is_empty() {
            return;
        }
        let Some(names) = self.by_domain.remove(&domain) else { return };
        for (at, name) in (0..).zip(&names) {
            if let Ok(entry) = self.by_name.find_entry(name.hash, |alias| alias.domain == domain && alias.at == at) {
                entry.remove();
            }
        }
    }

    /// What is wrong with it, if anything: its invariants. `strange` says whether a domain cannot have a further name.
    pub fn fault(&self, strange: impl Fn(u32, &DomainName) -> bool) -> Option<&'static str> {
        let named: usize = self.by_domain.values().map(|names| names.len()).sum();
        if named != self.by_name.len() {
            return Some("a further name is on record without its domain, or twice");
        }
        for (&domain, names) in &self.by_domain {
            for name in names {
                if self.find(name.hash, &name.name) != Some(domain) {
                    return Some("a further name leads to another domain");
                }
                if strange(domain, name) {
                    return Some("a further name is of no domain, or the first of another one");
                }
            }
        }
        None
    }
}
