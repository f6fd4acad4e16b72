//! Who is in a domain's lists: its gateways, parked or resting, and the clients that wait for one. The directory is told
//! of every change that other shards must know.
use super::Tables;
use crate::{
    io::Engine,
    relay::{
        conn::{Flags, Gateway, NONE, Role},
        directory::Directory,
        exchange::{ExchangeId, Phase, Traits},
        gateway::Dialect,
        message::{DomainName, Message, others},
        ready::Lane,
        routing,
        timers::{after, is_due},
    },
};

/// Domains that are forgotten in one turn.
const FORGOTTEN_PER_TURN: usize = 256;

/// Clients that may have gone that are looked at for one that waits.
const DOUBTFUL_PER_WAIT: usize = 32;

impl<E: Engine<Mail = Message>> Tables<E> {
    /// Tells the directory something of each of a domain's names.
    #[inline]
    pub fn tell(&self, domain: u32, tell: impl Fn(&Directory, u64)) {
        let directory = &self.shared.directory;
        tell(directory, self.park[domain].hash);
        self.park.further(domain).iter().for_each(|name| tell(directory, name.hash));
    }

    /// A gateway's connection, which the directory has enlisted under all names of its domain, joins it.
    pub fn join(&mut self, gateway: u32, domain: u32) {
        self.conns[gateway].domain = domain;
        if self.park[domain].gain() {
            self.tell(domain, |directory, hash| directory.gain(hash, self.number));
        }
    }

    /// A gateway's connection leaves its domain. The domain is remembered for a while: the gateway may come back.
    pub fn leave(&mut self, gateway: u32) {
        self.rouse(gateway);
        let domain = std::mem::replace(&mut self.conns[gateway].domain, NONE);
        if domain == NONE {
            return;
        }
        if matches!(self.conns[gateway].role, Role::Gateway(_, Gateway::Parked)) {
            self.park[domain].parked.unlink(&mut self.conns, gateway);
        }
        self.tell(domain, Directory::discharge);
        if self.park[domain].lose(self.tick) {
            self.lost_domains.push_back((self.tick, domain));
        }
    }

    /// Takes a gateway out of its domain's list of resting ones, if it is there.
    pub fn rouse(&mut self, gateway: u32) {
        let conn = &mut self.conns[gateway];
        if conn.is(Flags::RESTING) {
            conn.flags.remove(Flags::RESTING);
            let domain = conn.domain;
            self.park[domain].resting.unlink(&mut self.conns, gateway);
        }
    }

    /// Parks a gateway's connection, which has joined its domain.
    pub fn park_gateway(&mut self, gateway: u32, dialect: Dialect) {
        let traits = dialect.traits();
        let deadline = if traits.poll_again.is_some() { self.in_ticks(self.times.poll_interval) } else { 0 };
        let conn = &mut self.conns[gateway];
        conn.role = Role::Gateway(dialect, Gateway::Parked);
        conn.exchange = ExchangeId::NONE;
        conn.deadline = deadline;
        if conn.is(Flags::PATIENT) {
            // Parked, it has the kernel's short limit again.
            conn.flags.remove(Flags::PATIENT);
            conn.transport().set_patience(self.engine.calls(), self.config.tcp_user_timeout);
        }
        let domain = conn.domain;
        let parked = &mut self.park[domain].parked;
        match traits.latest_first {
            true => parked.push_front(&mut self.conns, gateway),
            false => parked.push_back(&mut self.conns, gateway),
        }
    }

    /// Takes the domain's next parked gateway out of its list.
    pub fn take_parked(&mut self, domain: u32) {
        let Some(gateway) = self.park[domain].parked.first() else { return };
        self.park[domain].parked.unlink(&mut self.conns, gateway);
        if let Role::Gateway(dialect, _) = self.conns[gateway].role {
            self.conns[gateway].role = Role::Gateway(dialect, Gateway::Joined);
        }
    }

    /// Puts a client first or last into the list of those that wait for a gateway of a domain, and tells the directory.
    /// Whether it is the only one.
    pub fn start_waiting(&mut self, slot: u32, domain: u32, first: bool) -> bool {
        self.conns[slot].domain = domain;
        let alone = self.park[domain].waiting.is_empty();
        match first {
            true => self.park[domain].waiting.push_front(&mut self.conns, slot),
            false => self.park[domain].waiting.push_back(&mut self.conns, slot),
        }
        if alone {
            self.tell(domain, |directory, hash| directory.wait(hash, self.number));
        }
        alone
    }

    /// Takes a waiting client out of its domain's list.
    pub fn stop_waiting(&mut self, slot: u32) {
        let domain = std::mem::replace(&mut self.conns[slot].domain, NONE);
        self.park[domain].waiting.unlink(&mut self.conns, slot);
        if self.park[domain].waiting.is_empty() {
            if !self.park.is_dissolved(domain) {
                self.tell(domain, |directory, hash| directory.wait_no_more(hash, self.number));
            }
            self.empty_domains.push(domain);
        }
    }

    /// Notes a client that may have gone, or is too slow, so that others who need its gateway can find it.
    pub fn doubt(&mut self, slot: u32, id: ExchangeId) {
        let x = &mut self.exchanges[id];
        if x.is(Traits::DOUBTFUL) {
            return;
        }
        x.traits.insert(Traits::DOUBTFUL);
        let gateway = x.gateway;
        self.doubtful.push_back(self.conns.key(slot));
        if gateway != NONE && self.is_wanted(self.conns[gateway].domain) {
            self.enqueue(slot, Lane::Fresh);
        }
        // With each that comes two are looked at, so that those that are over do not pile up.
        for _ in 0..2 {
            self.next_doubtful();
        }
    }

    /// A client waits for a domain: clients that may have gone, or are too slow, and hold a gateway of it, are looked at
    /// again.
    pub fn recall_doubtful(&mut self, domain: u32) {
        for _ in 0..self.doubtful.len().min(DOUBTFUL_PER_WAIT) {
            let Some((slot, gateway)) = self.next_doubtful() else { continue };
            if self.conns[gateway].domain == domain {
                self.enqueue(slot, Lane::Fresh);
            }
        }
    }

    /// Moves the first of those behind the others, and returns it with its gateway; or forgets it, if
    /// its exchange has gone on.
    fn next_doubtful(&mut self) -> Option<(u32, u32)> {
        let key = self.doubtful.pop_front()?;
        let slot = self.conns.find(key)?;
        let x = &self.exchanges[self.conns[slot].exchange.some()?];
        if !x.is(Traits::DOUBTFUL) || !matches!(x.phase, Phase::Asked | Phase::Answering) || x.gateway == NONE {
            return None;
        }
        let gateway = x.gateway;
        self.doubtful.push_back(key);
        Some((slot, gateway))
    }

    /// Notes a domain that may be empty, since the client for which it was looked up did not wait for it after all.
    pub fn may_be_empty(&mut self, domain: u32) {
        self.empty_domains.push(domain);
    }

    /// Remembers a domain without gateways, as one that had some until now.
    pub fn remember(&mut self, domain: u32) {
        if !self.park[domain].is_listed() {
            self.tell(domain, |directory, hash| directory.gain(hash, self.number));
        }
        self.park[domain].remember_from(self.tick);
        self.lost_domains.push_back((self.tick, domain));
    }

    /// A domain's first name and its hash, for another shard.
    pub fn name_of(&self, domain: u32) -> DomainName {
        let domain = &self.park[domain];
        DomainName { hash: domain.hash, name: domain.name().into() }
    }

    /// A shard where clients wait for a domain, and by which of its names; shards and names take turns.
    pub fn wanted_elsewhere(&mut self, domain: u32) -> Option<(usize, DomainName)> {
        let names = 1 + self.park.further(domain).len();
        let first = self.choices as usize;
        (0..names).find_map(|turn| {
            let nth = if names == 1 { 0 } else { (first + turn) % names };
            let hash = match nth.checked_sub(1) {
                None => self.park[domain].hash,
                Some(nth) => self.park.further(domain)[nth].hash,
            };
            let shard = self.waits_elsewhere(hash, 0)?;
            let name = match nth.checked_sub(1) {
                None => self.name_of(domain),
                Some(nth) => self.park.further(domain)[nth].clone(),
            };
            Some((shard, name))
        })
    }

    /// A shard, other than those that have `passed`, where clients wait for a domain; they take turns.
    pub fn waits_elsewhere(&mut self, hash: u64, passed: u64) -> Option<usize> {
        let elsewhere = others(self.shared.directory.waiting(hash), self.number) & !passed;
        if elsewhere == 0 {
            return None;
        }
        self.choices = self.choices.wrapping_add(1);
        routing::pick(elsewhere, self.choices)
    }

    /// Forgets domains that have been without a gateway for `domain_grace`, some in each turn.
    pub fn forget_domains(&mut self) {
        for _ in 0..FORGOTTEN_PER_TURN {
            let Some(&(lost, domain)) = self.lost_domains.front() else { return };
            if !is_due(after(lost, self.times.domain_grace), self.tick) {
                return;
            }
            self.lost_domains.pop_front();
            if !self.park.contains(domain) || self.park[domain].gone_since() != Some(lost) {
                continue;
            }
            if self.park[domain].waiting.is_empty() {
                self.tell(domain, |directory, hash| directory.lose(hash, self.number));
                self.park.remove(domain);
            } else {
                self.remember(domain);
            }
        }
    }
}
