//! Registrations: a connection joins a domain as one of its gateways.
use super::{
    access::KeyId,
    claim::Names,
    conn::{Client, Flags, Gateway, Role},
    exchange::request::{At, bytes},
    gateway::Dialect,
    message::Message,
    ready::Budget,
    tables::Tables,
};
use crate::{
    http::{
        Refusal, Registration, RequestHead,
        canned::{PutOff, UNAUTHORIZED_401, too_many_429},
        domain::{self, Domain},
    },
    io::Engine,
};
use std::io::IoSlice;

/// `Retry-After` for a gateway beyond the rate, in seconds: the rate allows more within the next second.
const RETRY_RATE_SECONDS: u32 = 1;
/// `Retry-After` for a gateway beyond its domain's limit, in seconds: one of the others must leave first.
const RETRY_DOMAIN_SECONDS: u32 = 30;

impl<E: Engine<Mail = Message>> Tables<E> {
    /// Makes the sender of a registration a parked gateway.
    pub fn register(&mut self, slot: u32, head: &RequestHead, at: At, budget: &mut Budget) {
        let Some(registration) = head.registration else { return };
        let names = match self.admit(slot, head, at, &registration, budget) {
            Ok(names) => names,
            Err(refusal) => return self.refuse_gateway(slot, registration.dialect, refusal, budget),
        };
        let key = match self.permit_gateway(slot, head, at, &names) {
            Ok(key) => key,
            Err(refusal) => {
                let guessed = refusal == Refusal::Unauthorized && head.credentials.is_some();
                if self.keep_out(slot, names.first.as_bytes(), refusal, guessed) {
                    self.refuse_gateway(slot, registration.dialect, refusal, budget);
                }
                return;
            }
        };
        if !self.shared.admission.registers(self.tick) {
            self.counters.over_registration_rate.bump();
            return self.put_off(slot, PutOff::RegistrationRate, RETRY_RATE_SECONDS, budget);
        }
        let name = &names.first;
        let known = self.park.find(name.hash, name.as_bytes());
        let here = known.map_or(0, |domain| self.park[domain].gateways());
        let count = self.shared.directory.gateways(name.hash).unwrap_or(here);
        let most = self.config.max_gateways_per_domain;
        if most != 0 && count >= most {
            self.counters.over_domain.bump();
            return self.put_off(slot, PutOff::DomainConnections, RETRY_DOMAIN_SECONDS, budget);
        }
        if at == At::Front {
            self.with_conn(slot, budget, |_, conn, desk| desk.consume(conn, usize::from(head.len)));
        }
        self.drop_rest(slot);
        let sloppy = registration.dialect.traits().sloppy;
        let Some(rest) = self.skip_body(slot, registration.body, sloppy, budget) else {
            return self.answer(slot, Refusal::BadLength, false, false, budget);
        };
        if !self.conns[slot].inbox.is_empty() {
            self.counters.unsolicited.bump();
            return self.close(slot);
        }
        if self.conns[slot].has_ended() {
            // The end behind its registration was seen already.
            return self.close(slot);
        }
        let domain = match self.claim(&names) {
            Ok(domain) => domain,
            Err(refusal) => return self.answer(slot, refusal, false, false, budget),
        };
        self.counters.registered.bump();
        self.registered.registers(slot, self.conns[slot].generation, key);
        let unchecked = head.credentials.is_some() && key.is_none();
        self.welcome(slot, domain, &registration, unchecked, budget);
        self.conns[slot].tries = rest;
    }

    /// Drops as much of a registration's body as is there, and empty lines behind it if its dialect is sloppy. How much
    /// is still to come; `None` if that is too much.
    fn skip_body(&mut self, slot: u32, mut body: u64, sloppy: bool, budget: &mut Budget) -> Option<u8> {
        self.with_conn(slot, budget, |_, conn, desk| {
            while body > 0 && !conn.inbox.is_empty() {
                let n = desk.peek(conn).len().min(usize::try_from(body).unwrap_or(usize::MAX));
                desk.consume(conn, n);
                body -= n as u64;
            }
            while sloppy && body == 0 && desk.peek(conn).first().is_some_and(|&b| b == b'\r' || b == b'\n') {
                desk.consume(conn, 1);
            }
        });
        u8::try_from(body).ok()
    }

    /// Whether the sender of a registration may register these names; with which key, if it takes one.
    fn permit_gateway(&self, slot: u32, head: &RequestHead, at: At, names: &Names) -> Result<Option<KeyId>, Refusal> {
        let local = self.is_local(slot);
        match &self.rules {
            Some(rules) => {
                let bytes = self.head_of(slot, at).unwrap_or_default();
                rules.listen(names.each_name(), local, head.credentials.map(|credentials| credentials.of(bytes)))
            }
            None if local || self.config.allow_any_gateway => Ok(None),
            None => Err(Refusal::GatewaysClosed),
        }
    }

    /// Makes the sender of a registration a gateway of its domain; `unchecked` if it has sent a key that was not needed.
    fn welcome(&mut self, slot: u32, domain: u32, registration: &Registration, unchecked: bool, budget: &mut Budget) {
        let dialect = registration.dialect;
        self.join(slot, domain);
        let conn = &mut self.conns[slot];
        let first = !conn.is(Flags::REGISTERED);
        conn.flags.insert(Flags::REGISTERED);
        conn.flags.remove(Flags::HANDED_OVER);
        conn.flags.set(Flags::STRIP, registration.strip_prefix);
        conn.tries = 0;
        // From here on it is a gateway, whatever happens.
        conn.role = Role::Gateway(dialect, Gateway::Joined);
        let traits = dialect.traits();
        let welcome = match unchecked {
            true => {
                self.counters.keys_unchecked.bump();
                traits.welcome_unchecked
            }
            false => traits.welcome,
        };
        if !self.say(slot, welcome, budget) {
            return self.close(slot);
        }
        if first && self.config.early_204 && traits.poll_again.is_some() {
            return self.ask_again(slot, dialect, budget);
        }
        self.release_gateway(slot, dialect, budget);
    }

    /// Checks a registration. The names of its domain, or what is wrong with it.
    fn admit(
        &mut self,
        slot: u32,
        head: &RequestHead,
        at: At,
        registration: &Registration,
        budget: &mut Budget,
    ) -> Result<Names, Refusal> {
        if !registration.http11_offered {
            return Err(Refusal::AlpnMissing);
        }
        let sloppy = registration.dialect.traits().sloppy;
        let skipped = sloppy && registration.body > 0;
        if !(head.body.is_done() || skipped) {
            return Err(Refusal::BadLength);
        }
        if !self.config.listen_gateways.is_empty() && !self.conns[slot].is(Flags::AMONG_GATEWAYS) {
            return Err(Refusal::GatewaysElsewhere);
        }
        if self.is_ending() {
            return Err(Refusal::ShuttingDown);
        }
        let (first, further, by_origin) = self.with_conn(slot, budget, |x, conn, desk| {
            let head_bytes = match (at, x) {
                (At::Kept, Some(x)) => bytes(At::Kept, x, conn, desk),
                _ => desk.peek(conn),
            };
            let mut names = domain::registered(head_bytes, head, &desk.config.hostnames)?;
            let first = names.next().ok_or(Refusal::ReservedDomain)?;
            let by_origin = head.path.of(head_bytes).starts_with(b"/.well-known/");
            Ok::<(Domain, Vec<Domain>, bool), Refusal>((first, names.collect(), by_origin))
        })?;
        if by_origin {
            self.shared.note_origin();
        }
        let further = further.iter().map(|name| self.name(name.as_bytes())).collect();
        Ok(self.names(self.name(first.as_bytes()), further))
    }

    fn refuse_gateway(&mut self, slot: u32, dialect: Dialect, refusal: Refusal, budget: &mut Budget) {
        if dialect == Dialect::Classic && refusal.status() == 401 {
            self.counters.refused(refusal).bump();
            self.drop_rest(slot);
            self.say(slot, UNAUTHORIZED_401, budget);
            return self.linger(slot);
        }
        self.answer(slot, refusal, false, false, budget);
    }

    fn put_off(&mut self, slot: u32, why: PutOff, seconds: u32, budget: &mut Budget) {
        self.drop_rest(slot);
        self.say(slot, too_many_429(why, seconds).as_bytes(), budget);
        self.linger(slot);
    }

    /// A registration ends the exchange that its sender, a client between two requests until now, may be resting in.
    fn drop_rest(&mut self, slot: u32) {
        if let Some(id) = self.conns[slot].exchange.some() {
            self.end_exchange(id);
        }
    }

    /// Sends a few bytes that must fit, since nothing else is in flight to a gateway.
    fn say(&mut self, slot: u32, bytes: &[u8], budget: &mut Budget) -> bool {
        if bytes.is_empty() {
            return true;
        }
        budget.spend(bytes.len());
        let conn = &mut self.conns[slot];
        let sent = conn.transport().send(self.engine.calls(), &self.sessions, &[IoSlice::new(bytes)], false);
        sent.is_ok_and(|n| n == bytes.len())
    }

    /// A gateway of a polling dialect has waited for the poll interval: it is told to register again. Until it has, it
    /// is a client between two requests.
    pub fn ask_again(&mut self, gateway: u32, dialect: Dialect, budget: &mut Budget) {
        self.counters.asked_again.bump();
        let Some(answer) = dialect.traits().poll_again else { return };
        if !self.say(gateway, answer, budget) {
            return self.close(gateway);
        }
        self.leave(gateway);
        let deadline = self.in_ticks(self.times.repost);
        let conn = &mut self.conns[gateway];
        conn.role = Role::Client(Client::Idle);
        conn.deadline = deadline;
    }
}
