//! Who is in a domain's lists: its gateways, parked or resting, and the clients that wait for one. The directory is told
//! of every change that other shards must know.
use super::Tables;
use crate::{
    io::Engine,
    relay::{
        conn::{Flags, Gateway, NONE, Role},
        directory::Directory,
        exchange::{Exchange, ExchangeId},
        gateway::Dialect,
        message::{DomainName, Message, others},
        ready::Lane,
        routing,
        timers::{SPAN_MAX, TICK_MILLIS, after, is_due},
    },
};

/// Domains that are forgotten in one turn.
const FORGOTTEN_PER_TURN: usize = 256;

/// For so long a gateway that was taken back for a client that waits counts as on its way to it.
const YIELD_TICKS: u32 = (1000 / TICK_MILLIS) as u32;
/// Gateways that are remembered as such. Beyond these none is taken back from a slow client.
const YIELDS_MAX: usize = 256;

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

    /// Takes a gateway out of its domain's list of those that may be taken back, if it is there.
    pub fn rouse(&mut self, gateway: u32) {
        let conn = &mut self.conns[gateway];
        if conn.is(Flags::IN_DOUBT) {
            conn.flags.remove(Flags::IN_DOUBT);
            let domain = conn.domain;
            self.park[domain].in_doubt.unlink(&mut self.conns, gateway);
        }
    }

    /// Puts a gateway, which may be taken back, into that list; last. Whether it was not there.
    pub fn doubt(&mut self, gateway: u32) -> bool {
        let conn = &mut self.conns[gateway];
        if conn.is(Flags::IN_DOUBT) {
            return false;
        }
        conn.flags.insert(Flags::IN_DOUBT);
        let domain = conn.domain;
        self.park[domain].in_doubt.push_back(&mut self.conns, gateway);
        true
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

    /// Notes an exchange whose client may have gone, or is too slow. It is looked at again if others wait for its gateway,
    /// now or later.
    pub fn doubt_client(&mut self, id: ExchangeId) {
        let Exchange { client, gateway, .. } = self.exchanges[id];
        if self.doubt(gateway) && self.is_wanted(self.conns[gateway].domain) {
            self.enqueue(client, Lane::Fresh);
        }
    }

    /// Whether a slow client has to give up its gateway: one for each client that waits, and within a while no second one
    /// for the same. If that may change, the number of ticks until it does.
    pub fn must_yield(&mut self, domain: u32) -> Result<(), u32> {
        while self.yields.front().is_some_and(|&(_, tick)| is_due(after(tick, YIELD_TICKS), self.tick)) {
            self.yields.pop_front();
        }
        let on_their_way = self.yields.iter().filter(|&&(yielded, _)| yielded == domain).count();
        let wanted = match on_their_way {
            0 => self.is_wanted(domain),
            n => self.park[domain].waiting.is_longer_than(n, &self.conns),
        };
        if !wanted || self.yields.len() == YIELDS_MAX {
            return Err(if self.is_wanted(domain) { YIELD_TICKS } else { SPAN_MAX });
        }
        self.yields.push_back((domain, self.tick));
        Ok(())
    }

    /// A gateway has come: it may be one that was taken back.
    pub fn has_come(&mut self, domain: u32) {
        if let Some(at) = self.yields.iter().position(|&(yielded, _)| yielded == domain) {
            self.yields.remove(at);
        }
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
            self.tell(domain, |directory, hash| directory.lose(hash, self.number));
            // Clients that wait do so until their time is up; no others join them.
            self.park[domain].unlist();
            self.may_be_empty(domain);
        }
    }
}
