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

/// A domain without gateways whose names go to another one, all or some of them.
struct Heirloom {
    /// Clients that wait for a name that is claimed, the longest waiting first.
    claimed: Vec<u32>,
    /// Those that wait for another one.
    left: Vec<u32>,
    /// The other names.
    names: Vec<DomainName>,
    /// Whether it had gateways.
    had_gateways: bool,
}

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

    /// Makes all names of a registration those of one domain, for a gateway that is to join it. What is known of them
    /// without a gateway goes over to it, waiting clients too.
    ///
    /// # Errors
    /// Gateways are there, on whichever shard, that registered some of them without the others, or with more.
    pub fn claim(&mut self, names: &Names, budget: &mut Budget) -> Result<u32, Refusal> {
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
        let heirlooms: Vec<Heirloom> = others.iter().map(|&domain| self.dissolve(domain, names, budget)).collect();
        let domain = self.park.insert_set(names.first.hash, names.first.as_bytes(), &names.further);
        for heirloom in &heirlooms {
            self.wait_again(&heirloom.claimed, domain);
        }
        for heirloom in heirlooms {
            self.keep_rest(heirloom);
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

    /// Takes a domain without gateways apart.
    fn dissolve(&mut self, domain: u32, names: &Names, budget: &mut Budget) -> Heirloom {
        let all = std::iter::once(self.name_of(domain)).chain(self.park.further(domain).iter().cloned());
        let left_names: Vec<DomainName> = all.filter(|name| !names.has(name)).collect();
        let (mut claimed, mut left) = (Vec::new(), Vec::new());
        while let Some(slot) = self.park[domain].waiting.first() {
            let stays = !left_names.is_empty() && self.waits_for(slot, &left_names, budget);
            self.stop_waiting(slot);
            if stays { &mut left } else { &mut claimed }.push(slot);
        }
        // The directory goes on listing the names: each of them is at once one of another domain here, and a client on
        // another shard must not find it unknown meanwhile.
        let had_gateways = self.park[domain].is_listed();
        self.park.remove(domain);
        Heirloom { claimed, left, names: left_names, had_gateways }
    }

    /// Whether a waiting client's request is for one of these names.
    fn waits_for(&mut self, slot: u32, names: &[DomainName], budget: &mut Budget) -> bool {
        // One whose body has turned out to be broken is refused when its turn comes, wherever it waits.
        let Ok(request) = self.request_again(slot, budget) else { return false };
        let name = self.name_in(slot, &request);
        names.iter().any(|other| other.hash == name.hash && &*other.name == name.as_bytes())
    }

    /// What of a domain was not claimed is a domain as it was.
    fn keep_rest(&mut self, heirloom: Heirloom) {
        let Heirloom { left, names, had_gateways, .. } = heirloom;
        let Some((first, further)) = names.split_first().filter(|_| had_gateways || !left.is_empty()) else { return };
        let domain = self.park.insert_set(first.hash, &first.name, further);
        if had_gateways {
            self.remember(domain);
        }
        self.wait_again(&left, domain);
    }

    /// Clients wait for another domain, in their order. They have lost sight of other shards meanwhile, so those are
    /// asked.
    fn wait_again(&mut self, slots: &[u32], domain: u32) {
        for &slot in slots {
            if self.start_waiting(slot, domain, false) {
                self.ask_elsewhere(domain);
            }
        }
    }
}
