//! Gateways come and wait.
use super::{
    conn::{NONE, State, flag},
    heads::{At, Lower},
    letter::Letter,
    shard::Shard,
};
use crate::{
    http::{
        Dialect, Refusal, Registration, RequestHead,
        canned::{CLASSIC_204, PTTH_101, UNAUTHORIZED_401, too_many_429},
        domain::{self, DOMAIN_BYTES_MAX},
    },
    io::{Io, SEND_PARTS_MAX},
};
use std::io::IoSlice;

/// What a gateway beyond the rate is told to wait, in seconds: its turn comes within the next second's worth.
const RETRY_RATE_SECONDS: u32 = 1;
/// What a gateway beyond its domain's limit is told to wait, in seconds: one of the others must go first.
const RETRY_DOMAIN_SECONDS: u32 = 30;

const _: () = assert!(SEND_PARTS_MAX >= 24, "a head with all its cuts and additions fits one send");

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Makes the sender of a registration a parked gateway.
    pub(super) fn register(&mut self, slot: u32, head: &RequestHead, at: At) {
        let Some(registration) = head.registration else { return };
        let classic = registration.dialect == Dialect::Classic;
        let (hash, name, lower) = match self.admit(slot, head, at, &registration) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse_gateway(slot, classic, refusal),
        };
        let name = &lower.0[..name];
        let known = self.park.find(hash, name);
        let most = self.config.gateways_per_domain;
        if !self.limits.registrations.allow(self.tick) {
            self.counters.over_registration_rate.bump();
            return self.put_off(slot, RETRY_RATE_SECONDS);
        }
        if most != 0 && known.is_some_and(|domain| self.park[domain].gateways() >= most) {
            self.counters.over_domain.bump();
            return self.put_off(slot, RETRY_DOMAIN_SECONDS);
        }
        if at == At::Front {
            self.consume(slot, usize::from(head.len));
        }
        self.drop_resting(slot);
        if self.conns[slot].has_input() {
            self.counters.unsolicited.bump();
            return self.close(slot);
        }
        if self.conns[slot].flags & (flag::EOF | flag::FAILED) != 0 {
            // It ended behind its registration, and that was seen first.
            return self.close(slot);
        }
        self.counters.registered.bump();
        let domain = self.park.find_or_insert(hash, name);
        self.welcome(slot, domain, &registration);
    }

    fn welcome(&mut self, slot: u32, domain: u32, registration: &Registration) {
        let classic = registration.dialect == Dialect::Classic;
        self.join(slot, domain);
        let conn = &mut self.conns[slot];
        let first = !conn.is(flag::REGISTERED);
        conn.flags &= !(flag::CLASSIC | flag::STRIP);
        conn.flags |= flag::REGISTERED;
        conn.flags |= if classic { flag::CLASSIC } else { 0 };
        conn.flags |= if registration.strip_prefix { flag::STRIP } else { 0 };
        // From here on it counts as a gateway, whatever happens.
        conn.state = State::Gateway;
        if !classic && !self.say(slot, PTTH_101) {
            return self.close(slot);
        }
        if classic && first && self.config.early_204 {
            return self.ask_again(slot);
        }
        self.park_gateway(slot);
    }

    /// Whether a registration is in order: its domain's hash and name, or what is wrong with it.
    fn admit(
        &self,
        slot: u32,
        head: &RequestHead,
        at: At,
        registration: &Registration,
    ) -> Result<(u64, usize, Lower), Refusal> {
        let bytes = self.head_at(slot, at);
        let name = domain::registered(bytes, head)?.of(bytes);
        if !registration.http11_offered {
            return Err(Refusal::AlpnMissing);
        }
        if !head.body.is_done() {
            return Err(Refusal::BadLength);
        }
        if self.is_ending() {
            return Err(Refusal::ShuttingDown);
        }
        let mut lower = Lower([0; DOMAIN_BYTES_MAX]);
        let name = domain::lower(name, &mut lower.0);
        Ok((self.shared.directory.hash(name), name.len(), lower))
    }

    fn refuse_gateway(&mut self, slot: u32, classic: bool, refusal: Refusal) {
        if classic && refusal == Refusal::ReservedDomain {
            self.counters.refused(refusal).bump();
            self.drop_resting(slot);
            self.say(slot, UNAUTHORIZED_401);
            return self.linger(slot);
        }
        self.refuse(slot, refusal, false);
    }

    fn put_off(&mut self, slot: u32, seconds: u32) {
        self.drop_resting(slot);
        self.say(slot, too_many_429(seconds).as_bytes());
        self.linger(slot);
    }

    /// A registration ends whatever session its sender was in, as a client between two requests.
    fn drop_resting(&mut self, slot: u32) {
        let session = std::mem::replace(&mut self.conns[slot].session, NONE);
        if session != NONE {
            self.release_session(session);
        }
    }

    /// Sends a few bytes that must fit: to a gateway nothing else is under way.
    fn say(&mut self, slot: u32, bytes: &[u8]) -> bool {
        let sent = self.io.send(self.conns[slot].fd, &[IoSlice::new(bytes)]);
        sent.is_ok_and(|n| n == bytes.len())
    }

    /// A classic gateway has waited for long enough: it is told to ask again, and until it has, it is nobody's.
    pub(super) fn ask_again(&mut self, gateway: u32) {
        self.counters.asked_again.bump();
        if !self.say(gateway, CLASSIC_204) {
            return self.close(gateway);
        }
        self.leave(gateway);
        let conn = &mut self.conns[gateway];
        conn.state = State::Idle;
        conn.deadline = self.tick + self.times.repost;
    }

    /// A parked gateway has sent something, or has ended. What it sent belongs to nobody.
    pub(super) fn parked_spoke(&mut self, gateway: u32) {
        let conn = &self.conns[gateway];
        if conn.has_input() {
            self.counters.unsolicited.bump();
            self.close(gateway);
        } else if conn.flags & (flag::EOF | flag::FAILED) != 0 {
            self.close(gateway);
        }
    }
}
