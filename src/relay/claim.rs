//! A registration claims its names: they become one domain, unless other gateways have some of them.
use super::{
    message::{DomainName, Message, Offer},
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

    /// Each.
    pub fn each_name(&self) -> impl Iterator<Item = &[u8]> + Clone {
        std::iter::once(self.first.as_bytes()).chain(self.further.iter().map(|name| &*name.name))
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
        Ok(self.make_one(names, &others))
    }

    /// Another shard offers a free gateway: the client that has waited longest is handed off to it. If none waits here
    /// any more, the offer is passed on to a shard where some do.
    ///
    /// Where this shard remembers further names together with the offered one, and the gateway has others, the client
    /// might wait for a name that the gateway does not have, and come back. So clients are first sorted by their names.
    pub fn offered(&mut self, offer: Offer) {
        let name = &offer.domain;
        let domain = self.park.find(name.hash, &name.name);
        let waiting = domain.and_then(|domain| Some((domain, self.park[domain].waiting.first()?)));
        let Some((domain, slot)) = waiting else {
            let passed = offer.passed | 1 << self.number | 1 << offer.from;
            if let Some(next) = self.waits_elsewhere(name.hash, passed) {
                let _ = self.engine.mail(next, Message::Free(Offer { passed, ..offer }));
            }
            return;
        };
        if !self.park.further(domain).is_empty() && !self.has_names(domain, &offer) {
            return self.regroup(&offer);
        }
        self.stop_waiting(slot);
        let give_up = self.conns[slot].deadline;
        let Offer { from, domain: name, .. } = offer;
        self.hand_off(slot, from, give_up);
        if self.park.find(name.hash, &name.name).is_some_and(|domain| !self.park[domain].waiting.is_empty()) {
            let _ = self.engine.mail(from, Message::Wanted { from: self.number, domain: name });
        }
    }

    /// Whether a domain has just the names of an offered gateway.
    fn has_names(&self, domain: u32, offer: &Offer) -> bool {
        let further = self.park.further(domain);
        let known = |name: &DomainName| self.park.find(name.hash, &name.name) == Some(domain);
        further.len() == offer.others.len() && known(&offer.domain) && offer.others.iter().all(known)
    }

    /// Makes the names of a gateway on another shard those of one domain here, too, unless gateways here have some of
    /// them: then the offer comes from a time before these.
    fn regroup(&mut self, offer: &Offer) {
        let first = self.name(&offer.domain.name);
        let further = offer.others.iter().map(|name| self.name(&name.name)).collect();
        let names = self.names(first, further);
        let others = self.other_domains(&names);
        if others.iter().any(|&domain| self.park[domain].gateways() > 0) {
            return;
        }
        let listed = others.iter().any(|&domain| self.park[domain].is_listed());
        let domain = self.make_one(&names, &others);
        match listed {
            true => self.remember(domain),
            false => self.may_be_empty(domain),
        }
    }

    /// Makes one domain of names that are those of others, which have no gateways and are dissolved.
    fn make_one(&mut self, names: &Names, others: &[u32]) -> u32 {
        let rests: Vec<Vec<DomainName>> = others.iter().map(|&domain| self.dissolve(domain, names)).collect();
        let domain = self.park.insert_set(names.first.hash, names.first.as_bytes(), &names.further);
        for rest in rests {
            if let Some((first, further)) = rest.split_first() {
                let rest = self.park.insert_set(first.hash, &first.name, further);
                self.remember(rest);
            }
        }
        domain
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
