//! The relay domains of one shard: their parked gateways, or the clients that wait for one.
use super::{
    aliases::Aliases,
    arena::Arena,
    conn::{Conns, NONE},
    message::DomainName,
    names::Names,
};

/// Maximum length of a name that is stored in its domain's record and not in memory of its own.
const SHORT_BYTES_MAX: usize = 22;

/// A domain's name, lower case. Most are short, and finding a short one takes one memory access less, which in a relay
/// full of rarely used domains would be a cache miss.
#[derive(Clone, Debug)]
enum Name {
    Short { len: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Box<[u8]>),
}

impl Name {
    fn new(name: &[u8]) -> Name {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match bytes.get_mut(..name.len()) {
            Some(short) => {
                short.copy_from_slice(name);
                Name::Short { len: name.len() as u8, bytes }
            }
            None => Name::Long(name.into()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Short { len, bytes } => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }
}

/// Presence of a domain's gateways in a shard. The directory lists the shard from the first gateway until the domain is
/// forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// None, and none is expected but by clients that already wait.
    Never,
    /// Number of their connections, parked and busy.
    Here(u32),
    /// None since this tick.
    GoneSince(u32),
    /// None: its names are those of other domains now, and its waiting clients have yet to follow.
    Dissolved,
}

/// A relay domain in one shard.
// One cache line, and never parts of two.
#[repr(align(64))]
#[derive(Debug)]
pub struct Domain {
    name: Name,
    /// Its hash in the directory.
    pub hash: u64,
    /// Parked gateways, in the order in which they will be used.
    pub parked: List,
    /// Waiting clients, the longest waiting first.
    pub waiting: List,
    /// Gateways that may be taken back from the clients that they are joined with, if others wait: classic ones that rest
    /// between two requests, and those whose clients may have gone or are too slow. The longest first.
    pub in_doubt: List,
    presence: Presence,
}

const _: () = assert!(size_of::<Option<Domain>>() <= 64, "a domain's record must stay within its budget");

impl Domain {
    /// Its name, lower case.
    pub fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Number of gateway connections, parked and busy.
    pub fn gateways(&self) -> u32 {
        match self.presence {
            Presence::Here(count) => count,
            Presence::Never | Presence::GoneSince(_) | Presence::Dissolved => 0,
        }
    }

    /// Whether the directory lists this shard for it.
    pub fn is_listed(&self) -> bool {
        matches!(self.presence, Presence::Here(_) | Presence::GoneSince(_))
    }

    /// The tick since which it has been without gateways, if it ever had one.
    pub fn gone_since(&self) -> Option<u32> {
        match self.presence {
            Presence::GoneSince(tick) => Some(tick),
            Presence::Never | Presence::Here(_) | Presence::Dissolved => None,
        }
    }

    /// Counts in a gateway's connection. Whether the directory has to list this shard from now on.
    pub fn gain(&mut self) -> bool {
        let listed = self.is_listed();
        self.presence = Presence::Here(self.gateways() + 1);
        !listed
    }

    /// Counts out a gateway's connection, at this tick. Whether it was the last.
    pub fn lose(&mut self, tick: u32) -> bool {
        let left = self.gateways() - 1;
        self.presence = if left > 0 { Presence::Here(left) } else { Presence::GoneSince(tick) };
        left == 0
    }

    /// It is not expected to have gateways any more: the directory no longer lists this shard for it.
    pub fn unlist(&mut self) {
        debug_assert_eq!(self.gateways(), 0);
        self.presence = Presence::Never;
    }

    /// Restarts the time for which a domain without gateways is remembered.
    pub fn remember_from(&mut self, tick: u32) {
        debug_assert_eq!(self.gateways(), 0);
        self.presence = Presence::GoneSince(tick);
    }
}

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
    /// Whether it has no members.
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

    /// Whether it has more than `n` members.
    pub fn is_longer_than(&self, n: usize, conns: &Conns) -> bool {
        let behind = |&slot: &u32| (conns[slot].next != NONE).then_some(conns[slot].next);
        std::iter::successors(self.first(), behind).nth(n).is_some()
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
    domains: Arena<Option<Domain>>,
    vacant: Vec<u32>,
    by_name: Names,
    /// The further names of domains that have several.
    aliases: Aliases,
    /// Domains that have none any more.
    dissolved: usize,
}

impl Park {
    /// A domain's record, by lower-case name.
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<u32> {
        let found = self.by_name.find(hash, |id| self[id].name() == name);
        found.or_else(|| self.aliases.find(hash, name))
    }

    /// A domain's record, created if there is none; of that name alone, unless it is one of several.
    pub fn find_or_insert(&mut self, hash: u64, name: &[u8]) -> u32 {
        if let Some(id) = self.find(hash, name) {
            return id;
        }
        let domain = Domain {
            name: Name::new(name),
            hash,
            parked: List::default(),
            waiting: List::default(),
            in_doubt: List::default(),
            presence: Presence::Never,
        };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.domains[id] = Some(domain);
                id
            }
            None => self.domains.push(Some(domain)),
        };
        let domains = &self.domains;
        self.by_name.insert(hash, id, |id| domains[id].as_ref().map_or(0, |domain| domain.hash));
        id
    }

    /// The record of a domain with several names, none of which is on record: the first, and the further ones.
    pub fn insert_set(&mut self, hash: u64, name: &[u8], further: &[DomainName]) -> u32 {
        debug_assert!(further.iter().all(|name| self.find(name.hash, &name.name).is_none()));
        let id = self.find_or_insert(hash, name);
        self.aliases.insert(id, further);
        id
    }

    /// A domain's further names.
    #[inline]
    pub fn further(&self, id: u32) -> &[DomainName] {
        self.aliases.of(id)
    }

    /// Whether any domain has several names.
    #[inline]
    pub fn has_sets(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Takes its names away from a domain without gateways: they may be inserted again for others. Its waiting clients
    /// stay where they are.
    pub fn dissolve(&mut self, id: u32) {
        debug_assert!(self[id].gateways() == 0);
        self.forget_names(id);
        self[id].presence = Presence::Dissolved;
        self.dissolved += 1;
    }

    /// Whether a domain is on record and has lost its names.
    pub fn is_dissolved(&self, id: u32) -> bool {
        self.domains.get(id).and_then(Option::as_ref).is_some_and(|domain| domain.presence == Presence::Dissolved)
    }

    /// Forgets a domain that has neither gateways nor waiting clients.
    pub fn remove(&mut self, id: u32) {
        if self.is_dissolved(id) {
            self.dissolved -= 1;
        } else if self.contains(id) {
            self.forget_names(id);
        }
        let Some(domain) = self.domains[id].take() else { return };
        debug_assert!(domain.gateways() == 0 && domain.waiting.is_empty() && domain.parked.is_empty());
        self.vacant.push(id);
    }

    fn forget_names(&mut self, id: u32) {
        self.by_name.remove(self[id].hash, id);
        self.aliases.remove(id);
    }

    /// Whether a number is in use for a domain.
    pub fn contains(&self, id: u32) -> bool {
        self.domains.get(id).is_some_and(Option::is_some)
    }

    /// Whether clients wait for a domain; not for none.
    pub fn has_waiting(&self, id: u32) -> bool {
        self.domains.get(id).and_then(Option::as_ref).is_some_and(|domain| !domain.waiting.is_empty())
    }

    /// Names of domains on record.
    pub fn len(&self) -> usize {
        self.by_name.len() + self.aliases.len()
    }

    /// What is wrong with it, if anything: its invariants.
    pub fn fault(&self) -> Option<&'static str> {
        if self.domains.count() != self.by_name.len() + self.dissolved + self.vacant.len() {
            return Some("a domain is on record without its name, or a name without a domain");
        }
        let strange = |id: u32, name: &DomainName| {
            !self.contains(id) || self.by_name.find(name.hash, |other| self[other].name() == &*name.name).is_some()
        };
        self.aliases.fault(strange)
    }

    /// Whether no domain is on record.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.dissolved == 0
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
    use std::net::{IpAddr, Ipv4Addr};

    /// Lists keep their order under pushes at both ends and removals from anywhere.
    #[test]
    fn lists_keep_order() {
        let mut conns = Conns::default();
        let mut list = List::default();
        let slots: Vec<u32> = (0..5).map(|_| conns.insert(None, IpAddr::V4(Ipv4Addr::LOCALHOST), 1)).collect();
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

    /// Names on both sides of what a record has room for are found, and only whole.
    #[test]
    fn names_of_all_lengths() {
        let mut park = Park::default();
        let longest = [b'x'; 255];
        let names: Vec<&[u8]> = (1..=255).map(|len| &longest[..len]).collect();
        let ids: Vec<u32> = names.iter().map(|name| park.find_or_insert(7, name)).collect();
        for (name, id) in names.iter().zip(ids) {
            assert_eq!((park.find(7, name), park[id].name()), (Some(id), *name));
        }
        assert_eq!((park.len(), park.find(7, b"")), (255, None));
    }

    /// A domain with several names is found by each of them, counted with each, and forgotten with all of them.
    #[test]
    fn several_names_are_one_domain() {
        let mut park = Park::default();
        let further = [DomainName { hash: 1, name: (*b"b").into() }, DomainName { hash: 2, name: [b'c'; 40].into() }];
        let other = park.find_or_insert(1, b"x");
        assert!(!park.has_sets() && park.further(other).is_empty());
        let id = park.insert_set(1, b"a", &further);
        for (hash, name) in [(1, &b"a"[..]), (1, b"b"), (2, &[b'c'; 40])] {
            assert_eq!((park.find(hash, name), park.find_or_insert(hash, name)), (Some(id), id));
        }
        assert_eq!((park.find(2, b"b"), park.find(1, b"x"), park.len()), (None, Some(other), 4));
        assert_eq!((park.further(id).len(), park.further(other).len(), park.fault()), (2, 0, None));
        park.remove(id);
        assert_eq!((park.find(1, b"a"), park.find(1, b"b"), park.find(1, b"x")), (None, None, Some(other)));
        assert_eq!((park.has_sets(), park.len(), park.fault()), (false, 1, None));
        assert_eq!((park.find_or_insert(1, b"b"), park.further(id).len()), (id, 0));
    }

    /// A domain is listed with its first gateway, and remembers when its last one went.
    #[test]
    fn gateways_come_and_go() {
        let mut park = Park::default();
        let id = park.find_or_insert(1, b"a");
        let domain = &mut park[id];
        assert_eq!((domain.gateways(), domain.is_listed(), domain.gone_since()), (0, false, None));
        assert!(domain.gain());
        assert!(!domain.gain());
        assert!(!domain.lose(5));
        assert_eq!((domain.gateways(), domain.is_listed(), domain.gone_since()), (1, true, None));
        assert!(domain.lose(6));
        assert_eq!((domain.gateways(), domain.is_listed(), domain.gone_since()), (0, true, Some(6)));
        assert!(!domain.gain());
        assert_eq!((domain.gateways(), domain.gone_since()), (1, None));
    }
}
