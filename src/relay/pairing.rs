//! Clients and gateways of a domain find each other.
use super::{
    conn::{NONE, State, flag},
    directory::members,
    heads::{At, Request},
    letter::{DomainName, Letter, others},
    session::Phase,
    shard::Shard,
};
use crate::io::Io;

/// The way a request goes.
pub(super) enum Route {
    /// A gateway of this domain is parked here.
    Here(u32),
    /// None is free here; one may come.
    Wait(u32),
    /// Another shard has the domain.
    Move(usize),
    /// No shard has it, or lately had it.
    Nobody,
}

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Where a request for a domain goes.
    pub(super) fn route(&mut self, slot: u32, hash: u64, name: &[u8]) -> Route {
        let here = self.park.find(hash, name);
        if let Some(domain) = here
            && !self.park[domain].parked.is_empty()
        {
            return Route::Here(domain);
        }
        let elsewhere = others(self.shared.directory.holders(hash), self.number);
        let was_moved = self.conns[slot].is(flag::HANDED_OVER);
        let move_on = elsewhere != 0 && !was_moved;
        match here {
            // Busy here: wait, and let the other shards know.
            Some(domain) if self.park[domain].gateways() > 0 || !move_on => Route::Wait(domain),
            _ if move_on => Route::Move(self.pick(elsewhere)),
            None if elsewhere != 0 => Route::Wait(self.park.find_or_insert(hash, name)),
            _ => Route::Nobody,
        }
    }

    /// One of several shards; which one does not matter, but not always the same.
    fn pick(&self, set: u64) -> usize {
        let nth = self.tick % set.count_ones();
        members(set).nth(nth as usize).unwrap_or(self.number)
    }

    /// Gives a request to the domain's next parked gateway that takes it. False if none did.
    pub(super) fn ask(&mut self, s: u32, domain: u32, request: &Request) -> bool {
        while let Some(gateway) = self.park[domain].parked.first() {
            self.park[domain].parked.unlink(&mut self.conns, gateway);
            let conn = &mut self.conns[gateway];
            conn.state = State::Gateway;
            conn.session = s;
            conn.deadline = 0;
            self.sessions[s].gateway = gateway;
            let asked = self.send_request(s, request, true);
            if !asked {
                self.drop_gateway(s);
            }
            self.settle(gateway);
            if asked {
                return true;
            }
        }
        false
    }

    /// Gives a request to the classic gateway that its client is still joined with, if the domain is the same.
    pub(super) fn ask_resting(&mut self, slot: u32, request: &Request, hash: u64, name: &[u8]) -> bool {
        let s = self.conns[slot].session;
        if s == NONE || self.sessions[s].gateway == NONE {
            return false;
        }
        let gateway = self.sessions[s].gateway;
        let conn = &self.conns[gateway];
        let alive = !conn.has_input() && conn.flags & (flag::EOF | flag::FAILED) == 0;
        let same = self.park.find(hash, name) == Some(conn.domain);
        self.rouse(gateway);
        if alive && same {
            self.conns[slot].state = State::Client;
            if self.send_request(s, request, false) {
                self.settle(gateway);
                return true;
            }
        }
        self.drop_gateway(s);
        self.settle(gateway);
        false
    }

    /// A resting gateway is not at rest any more.
    fn rouse(&mut self, gateway: u32) {
        let conn = &mut self.conns[gateway];
        if conn.is(flag::RESTING) {
            conn.flags &= !flag::RESTING;
            let domain = conn.domain;
            self.park[domain].resting.unlink(&mut self.conns, gateway);
        }
    }

    /// Somebody waits for a domain: the gateway that has rested longest is taken from its silent client, so that the
    /// device comes back for the one that waits. A client that only keeps its connection must not lock others out.
    fn end_a_rest(&mut self, domain: u32) {
        let Some(gateway) = self.park[domain].resting.first() else { return };
        let s = self.conns[gateway].session;
        let client = self.sessions[s].client;
        if self.phase(s) == Phase::Resting {
            self.conns[client].session = NONE;
            self.release_session(s);
        } else {
            self.drop_gateway(s);
        }
        self.settle(gateway);
    }

    /// Takes the gateway out of a session and closes it.
    pub(super) fn drop_gateway(&mut self, s: u32) {
        let gateway = std::mem::replace(&mut self.sessions[s].gateway, NONE);
        if gateway != NONE {
            self.conns[gateway].session = NONE;
            self.close(gateway);
        }
    }

    /// A gateway's connection waits for a client from now on.
    pub(super) fn park_gateway(&mut self, gateway: u32) {
        let classic = self.conns[gateway].is(flag::CLASSIC);
        let conn = &mut self.conns[gateway];
        conn.state = State::Parked;
        conn.session = NONE;
        conn.deadline = if classic { self.tick + self.times.park_time } else { 0 };
        let domain = conn.domain;
        let parked = &mut self.park[domain].parked;
        if classic {
            // The oldest is used first, before it must be asked again.
            parked.push_back(&mut self.conns, gateway);
        } else {
            // The latest used is the likeliest to be alive and warm, and the surplus of a pool gets to idle.
            parked.push_front(&mut self.conns, gateway);
        }
        if !self.park[domain].waiting.is_empty() {
            return self.serve_waiting(domain);
        }
        let hash = self.park[domain].hash;
        let elsewhere = others(self.shared.directory.waiting(hash), self.number);
        if let Some(shard) = members(elsewhere).next() {
            let free = Letter::Free { from: self.number, domain: self.name_of(domain) };
            self.io.mail(shard, free);
        }
    }

    /// Gives waiting clients to parked gateways, as long as there are both.
    fn serve_waiting(&mut self, domain: u32) {
        while !self.park[domain].parked.is_empty() {
            let Some(slot) = self.park[domain].waiting.first() else { return };
            let s = self.conns[slot].session;
            // The first of its body is looked at before a byte of it is sent.
            let _ = self.front(slot);
            let request = self.request_again(s);
            // With a gateway parked the record stays, even when nobody waits any more.
            self.stop_waiting(slot);
            match request {
                Ok(request) if !self.ask(s, domain, &request) => return self.wait(slot, domain, &request),
                Ok(_) => {}
                Err(refusal) => self.decline(slot, &self.kept_head(s), At::Kept, refusal),
            }
            self.settle(slot);
        }
    }

    fn name_of(&self, domain: u32) -> DomainName {
        let domain = &self.park[domain];
        DomainName { hash: domain.hash, name: domain.name().into() }
    }

    /// A client waits for a gateway of a domain: its head is kept outside the pool, its body stays unread.
    pub(super) fn wait(&mut self, slot: u32, domain: u32, request: &Request) {
        let s = self.session_of(slot);
        if request.at == At::Front {
            self.keep_head(s, request);
            self.consume(slot, usize::from(request.head.len));
        }
        self.sessions[s].phase = Phase::Waiting;
        let give_up = self.tick + self.times.park_wait;
        let conn = &mut self.conns[slot];
        let begun = conn.is(flag::HANDED_OVER) && conn.deadline != 0;
        conn.deadline = if begun { conn.deadline } else { give_up };
        conn.domain = domain;
        let first = self.park[domain].waiting.is_empty();
        self.park[domain].waiting.push_back(&mut self.conns, slot);
        self.end_a_rest(domain);
        if first {
            let hash = self.park[domain].hash;
            self.shared.directory.wait(hash, self.number);
            let elsewhere = others(self.shared.directory.holders(hash), self.number);
            for shard in members(elsewhere) {
                let wanted = Letter::Wanted { from: self.number, domain: self.name_of(domain) };
                self.io.mail(shard, wanted);
            }
        }
    }

    /// Copies a request's head into its session: for waiting, and for sending it again.
    pub(super) fn keep_head(&mut self, s: u32, request: &Request) {
        let slot = self.sessions[s].client;
        let mut head = std::mem::take(&mut self.sessions[s].head);
        head.clear();
        head.extend_from_slice(&self.head_at(slot, At::Front)[..usize::from(request.head.len)]);
        self.sessions[s].head = head;
    }

    /// Takes a waiting client out of its domain's list.
    pub(super) fn stop_waiting(&mut self, slot: u32) {
        let domain = std::mem::replace(&mut self.conns[slot].domain, NONE);
        self.park[domain].waiting.unlink(&mut self.conns, slot);
        if self.park[domain].waiting.is_empty() {
            self.shared.directory.wait_no_more(self.park[domain].hash, self.number);
            if !self.park[domain].is_listed() {
                self.park.remove(domain);
            }
        }
    }

    /// Another shard's clients wait for a domain.
    pub(super) fn wanted(&mut self, from: usize, domain: DomainName) {
        let here = self.park.find(domain.hash, &domain.name);
        if here.is_some_and(|here| !self.park[here].parked.is_empty()) {
            self.io.mail(from, Letter::Free { from: self.number, domain });
        }
    }

    /// Another shard has a free gateway: the longest waiting client goes there.
    pub(super) fn offered(&mut self, from: usize, name: &DomainName) {
        let Some(domain) = self.park.find(name.hash, &name.name) else { return };
        let Some(slot) = self.park[domain].waiting.first() else { return };
        self.stop_waiting(slot);
        let give_up = self.conns[slot].deadline;
        self.hand_over(slot, from);
        self.conns[slot].deadline = give_up;
        self.settle(slot);
        let more = self.park.find(name.hash, &name.name).is_some_and(|domain| !self.park[domain].waiting.is_empty());
        if more {
            self.io.mail(from, Letter::Wanted { from: self.number, domain: name.clone() });
        }
    }

    /// A gateway's connection joins its domain.
    pub(super) fn join(&mut self, gateway: u32, domain: u32) {
        let record = &mut self.park[domain];
        self.conns[gateway].domain = domain;
        if record.gain() {
            self.shared.directory.gain(record.hash, self.number);
        }
    }

    /// A gateway's connection leaves its domain. The domain is remembered for a while: the gateway may come back.
    pub(super) fn leave(&mut self, gateway: u32) {
        self.rouse(gateway);
        let domain = std::mem::replace(&mut self.conns[gateway].domain, NONE);
        if self.conns[gateway].state == State::Parked {
            self.park[domain].parked.unlink(&mut self.conns, gateway);
        }
        if self.park[domain].lose(self.tick) {
            self.lost_domains.push_back((self.tick, domain));
        }
    }

    /// Gives up domains that have been without a gateway for long enough.
    pub(super) fn forget_domains(&mut self) {
        while let Some(&(lost, domain)) = self.lost_domains.front() {
            if lost + self.times.domain_memory > self.tick {
                return;
            }
            self.lost_domains.pop_front();
            if !self.park.contains(domain) {
                continue;
            }
            let record = &mut self.park[domain];
            if record.gone_since() != Some(lost) {
                continue;
            }
            if record.waiting.is_empty() {
                self.shared.directory.lose(record.hash, self.number);
                self.park.remove(domain);
            } else {
                record.remember_from(self.tick);
                self.lost_domains.push_back((self.tick, domain));
            }
        }
    }
}
