//! A registration claims its names: they become one domain, unless other gateways have some of them.
use super::{
    message::{DomainName, Message},
    pairing::Name,
    ready::Budget,
    tables::Tables,
};
use crate::{http::Refusal, io::Engine};

/// The names of a registration, each once, in order.
pub struct Names {
    /// The first.
    pub first: Name,
    /// The further ones, of which there are seldom any.
    further: Vec<DomainName>,
    /// The number of their set, 0 for one name.
    set: u32,
}

impl Names {
    fn has(&self, name: &DomainName) -> bool {
        let first = self.first.hash == name.hash && self.first.as_bytes() == &*name.name;
        first || self.further.iter().any(|other| other.hash == name.hash && other.name == name.name)
    }

    /// The hash of each.
    fn hashes(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first.hash).chain(self.further.iter().map(|name| name.hash))
    }
}

/// Clients of dissolved domains that find their new ones in one turn.
const REHOUSED_PER_TURN: usize = 8;

impl<E: Engine<Mail = Message>> Tables<E> {
    /// The names of a registration: the first, and the further ones.
    pub fn names(&self, first: Name, mut further: Vec<Name>) -> Names {
        if further.is_empty() {
            return Names { first, further: Vec::new(), set: 0 };
        }
        // In whatever order they are listed, they are the same set.
        further.push(first);
        further.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        let set = self.shared.directory.set_number(further.iter().map(Name::as_bytes));
        let first = further.remove(0);
        let further = further.iter().map(|name| DomainName { hash: name.hash, name: name.as_bytes().into() });
        Names { first, further: further.collect(), set }
    }

    /// Makes all names of a registration those of one domain, for a gateway that is to join it. Domains without gateways
    /// that have some of them are dissolved; their clients follow in later turns.
    ///
    /// # Errors
    /// Gateways are there, on whichever shard, that registered some of them without the others, or with more.
    pub fn claim(&mut self, names: &Names) -> Result<u32, Refusal> {
        let others = self.other_domains(names);
        if others.iter().any(|&domain| self.park[domain].gateways() > 0) || !self.enlist(names) {
            return Err(Refusal::OriginsOverlap);
        }
        if names.further.is_empty() && others.is_empty() {
            return Ok(self.park.find_or_insert(names.first.hash, names.first.as_bytes()));
        }
        if others.is_empty()
            && let Some(domain) = self.park.find(names.first.hash, names.first.as_bytes())
        {
            return Ok(domain);
        }
        let rests: Vec<Vec<DomainName>> = others.iter().map(|&domain| self.dissolve(domain, names)).collect();
        let domain = self.park.insert_set(names.first.hash, names.first.as_bytes(), &names.further);
        for rest in rests {
            if let Some((first, further)) = rest.split_first() {
                let rest = self.park.insert_set(first.hash, &first.name, further);
                self.remember(rest);
            }
        }
        Ok(domain)
    }

    /// The domains on record that have some of these names, except for the one that has just them.
    fn other_domains(&self, names: &Names) -> Vec<u32> {
        let mut found = Vec::new();
        if names.further.is_empty() && !self.park.has_sets() {
            return found;
        }
        let further = names.further.iter().map(|name| self.park.find(name.hash, &name.name));
        let first = self.park.find(names.first.hash, names.first.as_bytes());
        for domain in std::iter::once(first).chain(further).flatten() {
            let same = self.park[domain].name() == names.first.as_bytes()
                && self.park.further(domain).len() == names.further.len()
                && self.park.further(domain).iter().all(|name| names.has(name));
            if !same && !found.contains(&domain) {
                found.push(domain);
            }
        }
        found
    }

    /// Has the directory count in a gateway under each of its names, or under none.
    fn enlist(&self, names: &Names) -> bool {
        let directory = &self.shared.directory;
        let enlisted = names.hashes().take_while(|&hash| directory.enlist(hash, names.set)).count();
        let all = enlisted == 1 + names.further.len();
        if !all {
            names.hashes().take(enlisted).for_each(|hash| directory.discharge(hash));
        }
        all
    }

    /// Takes the names of a domain without gateways away. Those that are not claimed remain a domain, if it had gateways
    /// with them; they are returned.
    ///
    /// The directory goes on listing the names: each of them is at once one of another domain here, and a client on
    /// another shard must not find it unknown meanwhile.
    fn dissolve(&mut self, domain: u32, names: &Names) -> Vec<DomainName> {
        let all = std::iter::once(self.name_of(domain)).chain(self.park.further(domain).iter().cloned());
        let rest = all.filter(|name| self.park[domain].is_listed() && !names.has(name)).collect();
        if self.park[domain].waiting.is_empty() {
            self.park.remove(domain);
        } else {
            self.tell(domain, |directory, hash| directory.wait_no_more(hash, self.number));
            self.park.dissolve(domain);
            self.dissolved.push_back(domain);
        }
        rest
    }

    /// Clients of dissolved domains, the longest waiting first, go on waiting for the domain that has the name now: a
    /// few in each turn, however many they are.
    pub fn rehouse(&mut self, budget: &mut Budget) {
        let mut left = REHOUSED_PER_TURN;
        while let Some(&domain) = self.dissolved.front() {
            if !self.park.is_dissolved(domain) {
                self.dissolved.pop_front();
                continue;
            }
            let Some(slot) = self.park[domain].waiting.first().filter(|_| left > 0) else { return };
            left -= 1;
            self.wait_again(slot, budget);
        }
    }

    /// A client of a dissolved domain looks up its domain again. It has lost sight of the other shards meanwhile, so
    /// those are asked.
    fn wait_again(&mut self, slot: u32, budget: &mut Budget) {
        // Its body may have turned out to be broken.
        let request = match self.request_again(slot, budget) {
            Ok(request) => request,
            Err(refusal) => return self.refuse_waiting(slot, refusal, budget),
        };
        let name = self.name_in(slot, &request);
        self.stop_waiting(slot);
        let domain = self.park.find_or_insert(name.hash, name.as_bytes());
        if self.start_waiting(slot, domain, false) {
            self.ask_elsewhere(domain);
        }
        self.serve_waiting(domain, budget);
    }
}
