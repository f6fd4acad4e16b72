//! Who waits under which name, in one shard: gateways for clients, or clients for gateways.
use super::{
    chunked::Chunked,
    conn::{Conns, NONE},
};
use hashbrown::HashTable;

/// A relay domain in one shard.
#[derive(Debug)]
pub struct Domain {
    /// Its name, lower case: kept once, however many gateways it has.
    pub name: Box<[u8]>,
    /// Its hash in the directory.
    pub hash: u64,
    /// Parked gateways, the next to be used first.
    pub parked: List,
    /// Waiting clients, the longest waiting first.
    pub waiting: List,
    /// Classic gateways between two requests of the client that they are joined with, the longest resting first.
    pub resting: List,
    /// Gateway connections, parked and busy.
    pub gateways: u32,
    /// Whether the directory says that this shard has it.
    pub listed: bool,
    /// The tick at which its last gateway went; meaningful while `gateways` is 0.
    pub lost: u32,
}

const _: () = assert!(size_of::<Option<Domain>>() <= 64, "a domain's record must stay within its budget");

/// A list of connections, linked through their slots.
#[derive(Debug)]
pub struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        List { first: NONE, last: NONE }
    }
}

impl List {
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Its first connection.
    pub fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts a connection last.
    pub fn push_back(&mut self, conns: &mut Conns, slot: u32) {
        conns[slot].prev = self.last;
        conns[slot].next = NONE;
        match self.last {
            NONE => self.first = slot,
            last => conns[last].next = slot,
        }
        self.last = slot;
    }

    /// Puts a connection first.
    pub fn push_front(&mut self, conns: &mut Conns, slot: u32) {
        conns[slot].prev = NONE;
        conns[slot].next = self.first;
        match self.first {
            NONE => self.last = slot,
            first => conns[first].prev = slot,
        }
        self.first = slot;
    }

    /// Takes a connection out, wherever it is.
    pub fn unlink(&mut self, conns: &mut Conns, slot: u32) {
        let (prev, next) = (conns[slot].prev, conns[slot].next);
        match prev {
            NONE => self.first = next,
            prev => conns[prev].next = next,
        }
        match next {
            NONE => self.last = prev,
            next => conns[next].prev = prev,
        }
        conns[slot].prev = NONE;
        conns[slot].next = NONE;
    }
}

/// The domains of a shard.
#[derive(Default)]
pub struct Park {
    domains: Chunked<Option<Domain>>,
    vacant: Vec<u32>,
    by_name: HashTable<u32>,
}

impl Park {
    /// A domain's record, by lower-case name.
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        self.by_name.find(hash, |&id| *self[id].name == *name).copied()
    }

    /// A domain's record, made if there is none.
    pub fn find_or_insert(&mut self, hash: u64, name: &[u8]) -> u32 {
        if let Some(id) = self.find(hash, name) {
            return id;
        }
        let domain = Domain {
            name: name.into(),
            hash,
            parked: List::default(),
            waiting: List::default(),
            resting: List::default(),
            gateways: 0,
            listed: false,
            lost: 0,
        };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.domains[id] = Some(domain);
                id
            }
            None => self.domains.push(Some(domain)),
        };
        let domains = &self.domains;
        self.by_name.insert_unique(hash, id, |&id| domains[id].as_ref().map_or(0, |domain| domain.hash));
        id
    }

    /// Forgets a domain that has neither gateways nor waiting clients.
    pub fn remove(&mut self, id: u32) {
        let Some(domain) = self.domains[id].take() else { return };
        debug_assert!(domain.gateways == 0 && domain.waiting.is_empty() && domain.parked.is_empty());
        if let Ok(entry) = self.by_name.find_entry(domain.hash, |&other| other == id) {
            entry.remove();
        }
        self.vacant.push(id);
    }

    /// Whether a number is a domain's now.
    pub fn contains(&self, id: u32) -> bool {
        self.domains.get(id).is_some_and(Option::is_some)
    }

    /// Domains on record.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether no domain is on record.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl std::ops::Index<u32> for Park {
    type Output = Domain;

    fn index(&self, id: u32) -> &Domain {
        self.domains[id].as_ref().expect("a domain's number is used only while it is on record")
    }
}

impl std::ops::IndexMut<u32> for Park {
    fn index_mut(&mut self, id: u32) -> &mut Domain {
        self.domains[id].as_mut().expect("a domain's number is used only while it is on record")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Fd;
    use std::net::{IpAddr, Ipv4Addr};

    /// Lists keep their order under pushes at both ends and removals from anywhere.
    #[test]
    fn lists_keep_order() {
        let mut conns = Conns::default();
        let mut list = List::default();
        let slots: Vec<u32> = (0..5).map(|n| conns.insert(Fd(n), IpAddr::V4(Ipv4Addr::LOCALHOST), 1)).collect();
        list.push_back(&mut conns, slots[0]);
        list.push_back(&mut conns, slots[1]);
        list.push_front(&mut conns, slots[2]);
        list.push_back(&mut conns, slots[3]);
        list.unlink(&mut conns, slots[0]);
        list.unlink(&mut conns, slots[3]);
        list.push_back(&mut conns, slots[4]);
        let mut order = Vec::new();
        while let Some(slot) = list.first() {
            list.unlink(&mut conns, slot);
            order.push(slot);
        }
        assert_eq!(order, [slots[2], slots[1], slots[4]]);
        assert!(list.is_empty());
    }

    /// Names are found by their bytes, not by their hash alone, and numbers are used again.
    #[test]
    fn domains_are_found_by_name() {
        let mut park = Park::default();
        let a = park.find_or_insert(1, b"a");
        let b = park.find_or_insert(1, b"b");
        assert_ne!(a, b);
        assert_eq!((park.find(1, b"a"), park.find(1, b"c")), (Some(a), None));
        park.remove(a);
        assert_eq!((park.find(1, b"a"), park.find(1, b"b"), park.len()), (None, Some(b), 1));
        assert_eq!(park.find_or_insert(2, b"c"), a);
    }
}
