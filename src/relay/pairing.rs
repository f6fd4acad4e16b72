//! Pairing: clients and gateways of a domain find each other, on one shard or across shards.
use super::{
    access::Asked,
    client,
    conn::{Client, Flags, NONE, Role},
    directory::members,
    exchange::{
        Exchange, ExchangeId, Phase,
        request::{self, At, Request},
    },
    gateway::{self, Dialect, Stirred},
    message::{DomainName, Message, Offer, others},
    ready::{Budget, Lane},
    routing::{self, Here, Route, View},
    tables::Tables,
    timers::is_due,
};
use crate::{
    http::{
        Method, Parse, Refusal, RequestHead, Span,
        canned::{HEALTHY_CLOSING, HEALTHY_KEPT},
        domain::{self, DOMAIN_BYTES_MAX, Named},
        forward,
    },
    io::Engine,
    transport::Transport,
};

/// A domain's name in lower case, and its hash in the directory.
pub struct Name {
    pub hash: u64,
    bytes: [u8; DOMAIN_BYTES_MAX],
    len: usize,
}

impl Name {
    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Gateways that may be taken back that are looked at for one client that waits.
const DOUBTS_PER_WAIT: usize = 8;

impl<E: Engine<Mail = Message>> Tables<E> {
    /// A name from a head, in lower case, with its hash.
    pub fn name(&self, text: &[u8]) -> Name {
        let mut bytes = [0; DOMAIN_BYTES_MAX];
        let len = domain::lower(text, &mut bytes).len();
        Name { hash: self.shared.directory.hash(&bytes[..len]), bytes, len }
    }

    /// Routes a client's request: to a gateway, to another shard, into waiting, or to a refusal.
    pub fn serve(&mut self, slot: u32, head: RequestHead, at: At, budget: &mut Budget) {
        let request = match self.examine(slot, head, at, budget) {
            Ok(_) if self.conns[slot].is(Flags::AMONG_GATEWAYS) => {
                return self.decline(slot, &head, at, Refusal::ClientsElsewhere, budget);
            }
            Ok(_) if self.inboxes.account.is_full() => {
                self.counters.over_memory.bump();
                return self.decline(slot, &head, at, Refusal::MemoryFull, budget);
            }
            Ok(request) => request,
            Err(refusal) => return self.decline(slot, &head, at, refusal, budget),
        };
        if self.is_ending() && self.conns[slot].is(Flags::HANDED_OVER) {
            return self.decline(slot, &head, at, Refusal::ShuttingDown, budget);
        }
        if self.head_of(slot, at).is_some_and(|bytes| domain::is_health_check(bytes, &head, &request.named)) {
            return self.is_well(slot, &head, at, budget);
        }
        let name = self.name_in(slot, &request);
        let request = match self.permit(slot, request, &name) {
            Ok(request) => request,
            Err(refusal) => {
                let keyless = refusal == Refusal::CallUnauthorized && head.credentials.is_none();
                let guessed = refusal == Refusal::CallUnauthorized && !keyless;
                // Whoever has no key yet is told that one is needed, and that is all.
                if keyless || self.keep_out(slot, name.as_bytes(), refusal, guessed) {
                    self.decline(slot, &head, at, refusal, budget);
                }
                return;
            }
        };
        if !self.ask_resting(slot, &request, &name, budget) {
            self.place(slot, &request, &name, Refusal::NoGateway, budget);
        }
    }

    /// Whether the rules let a request to a domain pass. If that took its `Authorization`, its gateway does not get it.
    fn permit(&self, slot: u32, request: Request, name: &Name) -> Result<Request, Refusal> {
        let Some(rules) = &self.rules else { return Ok(request) };
        let bytes = self.head_of(slot, request.at).unwrap_or_default();
        let head = &request.head;
        let strip = request.named.strip;
        // As the gateway sees it, where it gets the domain: with each slash behind that.
        let domain_end = usize::from(request.named.name.end);
        let behind = if strip.is_empty() { usize::from(head.path.start) } else { domain_end };
        let path = bytes.get(behind..usize::from(head.path.end));
        let asked = Asked {
            source: &self.conns[slot].address,
            method: head.method_in(bytes),
            path: path.filter(|_| head.method != Method::Connect),
            credentials: head.credentials.map(|credentials| credentials.of(bytes)),
        };
        let key_used = rules.call(name.as_bytes(), &asked)? && !head.relay_credentials;
        Ok(Request { key_used, ..request })
    }

    /// Notes that the rules keep somebody out. Whether they may be told: those that guess keys too fast are reset instead.
    pub fn keep_out(&mut self, slot: u32, domain: &[u8], refusal: Refusal, guessed: bool) -> bool {
        let conn = &self.conns[slot];
        self.shared.denials.note(conn.ip(), domain, refusal);
        if !guessed || self.shared.admission.answers_guess(&conn.address, self.tick) {
            return true;
        }
        self.counters.over_guesses.bump();
        self.conns[slot].flags.insert(Flags::RESET);
        if let Some(id) = self.conns[slot].exchange.some() {
            self.end_exchange(id);
        }
        self.close(slot);
        false
    }

    /// Whether a connection is from this machine, and does not carry others'.
    pub fn is_local(&self, slot: u32) -> bool {
        let conn = &self.conns[slot];
        conn.ip().is_loopback() && !conn.is(Flags::TRUSTED)
    }

    /// The name of a request's domain.
    pub fn name_in(&self, slot: u32, request: &Request) -> Name {
        let bytes = self.head_of(slot, request.at).unwrap_or_default();
        self.name(request.named.name.of(bytes))
    }

    /// The bytes of a client's head, with whatever lies behind it there.
    pub fn head_of(&self, slot: u32, at: At) -> Option<&[u8]> {
        let conn = &self.conns[slot];
        match at {
            At::Kept => conn.exchange.some().map(|id| &*self.exchanges[id].head),
            At::Front => Some(self.inboxes.peek(&conn.inbox, self.engine.calls_ref())),
        }
    }

    /// Finds a gateway for a request: on this shard or another, now or later.
    fn place(&mut self, slot: u32, request: &Request, name: &Name, nobody: Refusal, budget: &mut Budget) {
        loop {
            let (route, domain) = self.route(slot, name);
            match route {
                Route::Here => {
                    let Some(id) = self.exchange_of(slot) else {
                        return self.decline(slot, &request.head, request.at, Refusal::MemoryFull, budget);
                    };
                    if self.ask(id, domain, request, budget) {
                        return;
                    }
                }
                Route::Wait if self.is_ending() => {
                    return self.decline(slot, &request.head, request.at, Refusal::ShuttingDown, budget);
                }
                Route::Wait => return self.wait(slot, domain, request, budget),
                Route::Move(shards) => {
                    self.choices = self.choices.wrapping_add(1);
                    let shard = routing::pick(shards, self.choices).unwrap_or(self.number);
                    return self.hand_off(slot, shard, 0);
                }
                Route::Nobody => return self.decline(slot, &request.head, request.at, nobody, budget),
            }
        }
    }

    /// Where a request for a domain goes, and the domain's record if it stays here.
    fn route(&mut self, slot: u32, name: &Name) -> (Route, u32) {
        let found = self.park.find(name.hash, name.as_bytes());
        let here = match found.map(|domain| &self.park[domain]) {
            None => Here::Unknown,
            Some(domain) if !domain.parked.is_empty() => Here::Parked,
            Some(domain) if domain.gateways() > 0 => Here::Busy,
            Some(domain) if domain.is_listed() => Here::None,
            Some(_) => Here::Unknown,
        };
        let elsewhere = match here {
            Here::Parked => 0,
            _ => others(self.shared.directory.holders(name.hash), self.number),
        };
        let fresh = self.fresh_until.is_some_and(|until| !is_due(until, self.tick));
        let route = routing::route(View { here, elsewhere, moved: self.conns[slot].is(Flags::HANDED_OVER), fresh });
        let domain = match (route, found) {
            (_, Some(domain)) => domain,
            (Route::Wait, None) => self.park.find_or_insert(name.hash, name.as_bytes()),
            (_, None) => NONE,
        };
        (route, domain)
    }

    /// Gives a request to the domain's next parked gateway that takes it; refuses it if that gateway's dialect cannot.
    /// False if there was none.
    fn ask(&mut self, id: ExchangeId, domain: u32, request: &Request, budget: &mut Budget) -> bool {
        while let Some(gateway) = self.park[domain].parked.first() {
            let client = self.exchanges[id].client;
            if let Some(refusal) = self.unfit(client, gateway, request) {
                self.decline(client, &request.head, request.at, refusal, budget);
                return true;
            }
            if self.conns[gateway].is(Flags::STRIP)
                && let Some(location) = self.with_slash(id, request)
            {
                self.redirect(self.exchanges[id].client, request, &location, budget);
                return true;
            }
            self.take_parked(domain);
            // Bytes or an end that arrived while it was parked are not an answer.
            if self.with_conn(gateway, budget, |_, gateway, desk| gateway::look(gateway, desk)) != Stirred::Silent {
                self.counters.unsolicited.bump();
                self.close(gateway);
                continue;
            }
            let conn = &mut self.conns[gateway];
            conn.exchange = id;
            conn.deadline = 0;
            self.exchanges[id].gateway = gateway;
            let asked = self.with_exchange(id, budget, |x, client, gateway, desk| {
                request::begin(x, request, true, client, gateway, desk)
            });
            if asked {
                self.rearm(gateway);
                return true;
            }
            self.drop_gateway(id);
        }
        false
    }

    /// The refusal, if a gateway must not get a client's request: what the client has encrypted would leave the relay as it
    /// is, or its body is longer than the gateway's dialect can count.
    fn unfit(&self, client: u32, gateway: u32, request: &Request) -> Option<Refusal> {
        let secure = |slot: u32| self.conns[slot].transport.as_ref().is_some_and(Transport::is_secure);
        let near = || self.conns[gateway].ip().is_loopback();
        if secure(client) && !secure(gateway) && !near() && !self.config.allow_plain_gateways {
            return Some(Refusal::GatewayInsecure);
        }
        let dialect = self.conns[gateway].dialect().filter(|_| !self.config.classic_long_lengths)?;
        forward::check_length(&request.head, dialect).err()
    }

    /// Gives a request to the gateway that rests with its client, if the domain is the same.
    fn ask_resting(&mut self, slot: u32, request: &Request, name: &Name, budget: &mut Budget) -> bool {
        let Some(id) = self.conns[slot].exchange.some() else { return false };
        let gateway = self.exchanges[id].gateway;
        if gateway == NONE {
            return false;
        }
        let domain = self.conns[gateway].domain;
        let same =
            self.park.find(name.hash, name.as_bytes()) == Some(domain) && self.unfit(slot, gateway, request).is_none();
        self.rouse(gateway);
        let silent =
            self.with_conn(gateway, budget, |_, gateway, desk| gateway::look(gateway, desk)) == Stirred::Silent;
        if same && silent {
            self.conns[slot].role = Role::Client(Client::Busy);
            let asked = self.with_exchange(id, budget, |x, client, gateway, desk| {
                request::begin(x, request, false, client, gateway, desk)
            });
            if asked {
                self.rearm(gateway);
                return true;
            }
        }
        self.drop_gateway(id);
        self.exchanges[id].phase = Phase::Reading;
        false
    }

    /// A client waits for a domain. A classic gateway that rests is taken from its silent client, so that the device
    /// registers again for the one that waits: a client that only keeps its connection must not lock out others. Clients
    /// that may have gone, or are too slow, are looked at again.
    fn take_back(&mut self, domain: u32) {
        for _ in 0..DOUBTS_PER_WAIT {
            let Some(gateway) = self.park[domain].in_doubt.first() else { return };
            let Some(id) = self.conns[gateway].exchange.some() else { return };
            let Exchange { client, phase, .. } = self.exchanges[id];
            if phase.is_joined() {
                self.enqueue(client, Lane::Fresh);
                self.rouse(gateway);
                self.doubt(gateway);
                continue;
            }
            match phase {
                Phase::Resting => self.end_exchange(id),
                _ => self.drop_gateway(id),
            }
            return;
        }
    }

    /// Another shard's clients wait for a domain.
    pub fn wanted(&mut self, from: usize, domain: DomainName) {
        let Some(here) = self.park.find(domain.hash, &domain.name) else { return };
        if self.park[here].parked.is_empty() {
            // The device comes back, to whichever shard, and is offered from there.
            self.take_back(here);
        } else {
            self.offer(from, here, domain);
        }
    }

    /// Offers another shard a gateway of a domain, by one of its names.
    fn offer(&mut self, shard: usize, domain: u32, name: DomainName) {
        let others = match self.park.further(domain) {
            [] => Box::default(),
            further => {
                let all = std::iter::once(self.name_of(domain)).chain(further.iter().cloned());
                all.filter(|other| other.name != name.name).collect()
            }
        };
        let offer = Offer { from: self.number, domain: name, others, passed: 0 };
        let _ = self.engine.mail(shard, Message::Free(offer));
    }

    /// Parks a gateway that has joined its domain. A client that waits already gets it; else it is offered to another
    /// shard.
    pub fn release_gateway(&mut self, gateway: u32, dialect: Dialect, budget: &mut Budget) {
        self.park_gateway(gateway, dialect);
        let domain = self.conns[gateway].domain;
        self.has_come(domain);
        if self.park[domain].waiting.is_empty() {
            if let Some((shard, name)) = self.wanted_elsewhere(domain) {
                self.offer(shard, domain, name);
            }
        } else {
            self.serve_waiting(domain, budget);
        }
        self.rearm(gateway);
    }

    /// Pairs waiting clients with parked gateways, as long as there are both.
    pub fn serve_waiting(&mut self, domain: u32, budget: &mut Budget) {
        while !self.park[domain].parked.is_empty() {
            let Some(slot) = self.park[domain].waiting.first() else { return };
            let Some(id) = self.conns[slot].exchange.some() else { return };
            let request = self.request_again(slot, budget);
            self.stop_waiting(slot);
            self.exchanges[id].phase = Phase::Reading;
            match request {
                Ok(request) if self.ask(id, domain, &request, budget) => {}
                Ok(_) => {
                    // That gateway had died: the client keeps its place and its deadline.
                    self.exchanges[id].phase = Phase::Waiting;
                    self.start_waiting(slot, domain, true);
                    return;
                }
                Err(refusal) => self.refuse_waiting(slot, refusal, budget),
            }
            self.enqueue(slot, Lane::Fresh);
        }
    }

    /// Refuses a request that was waiting.
    pub fn refuse_waiting(&mut self, slot: u32, refusal: Refusal, budget: &mut Budget) {
        let head = self.kept_head(self.conns[slot].exchange);
        self.decline(slot, &head, At::Kept, refusal, budget);
        self.enqueue(slot, Lane::Fresh);
    }

    /// Makes a client wait for a gateway of a domain: its head is kept outside the pool, its body stays unread.
    fn wait(&mut self, slot: u32, domain: u32, request: &Request, budget: &mut Budget) {
        let Some(id) = self.exchange_of(slot) else {
            self.may_be_empty(domain);
            return self.decline(slot, &request.head, request.at, Refusal::MemoryFull, budget);
        };
        if request.at == At::Front {
            let len = usize::from(request.head.len);
            self.with_conn(slot, budget, |x, conn, desk| {
                if let Some(x) = x {
                    request::keep_head(x, len, conn, desk);
                    desk.consume(conn, len);
                }
            });
        }
        self.exchanges[id].phase = Phase::Waiting;
        // One that has gone is usually on its way back; one that is busy may be so for long.
        let absent = self.park[domain].gateways() == 0
            && self.shared.directory.gateways(self.park[domain].hash).unwrap_or(0) == 0;
        let give_up = self.in_ticks(if absent { self.times.absent_wait } else { self.times.client_wait });
        let conn = &mut self.conns[slot];
        // A client that has begun to wait, perhaps on another shard, keeps its deadline; one whose gateway failed goes
        // before those that have had none.
        let begun = conn.is(Flags::HANDED_OVER) && conn.deadline != 0;
        conn.deadline = if begun { conn.deadline } else { give_up };
        let before_others = conn.tries > 0;
        let alone = self.start_waiting(slot, domain, before_others);
        self.take_back(domain);
        if alone {
            self.ask_elsewhere(domain);
        }
    }

    /// Asks the other shards that have a domain, by any of its names, for a gateway.
    pub fn ask_elsewhere(&mut self, domain: u32) {
        self.ask_holders(self.park[domain].hash, |tables| tables.name_of(domain));
        for nth in 0..self.park.further(domain).len() {
            self.ask_holders(self.park.further(domain)[nth].hash, |tables| tables.park.further(domain)[nth].clone());
        }
    }

    fn ask_holders(&mut self, hash: u64, name: impl Fn(&Tables<E>) -> DomainName) {
        let elsewhere = others(self.shared.directory.holders(hash), self.number);
        for shard in members(elsewhere) {
            let wanted = Message::Wanted { from: self.number, domain: name(self) };
            let _ = self.engine.mail(shard, wanted);
        }
    }

    /// A client has waited until its deadline, or a drain ends its waiting.
    pub fn waited_in_vain(&mut self, id: ExchangeId, refusal: Option<Refusal>, budget: &mut Budget) {
        let client = self.exchanges[id].client;
        let domain = &self.park[self.conns[client].domain];
        let want = match () {
            _ if domain.gateways() > 0 => Refusal::GatewayBusy,
            _ if domain.is_listed() || self.shared.directory.holders(domain.hash) != 0 => Refusal::GatewayAbsent,
            _ => Refusal::NoGateway,
        };
        let refusal = refusal.unwrap_or(want);
        self.refuse_waiting(client, refusal, budget);
    }

    /// The request is safe and got no response: another gateway gets it.
    pub fn retry(&mut self, id: ExchangeId, budget: &mut Budget) {
        self.counters.retried.bump();
        let slot = self.exchanges[id].client;
        self.conns[slot].tries += 1;
        self.conns[slot].deadline = 0;
        self.drop_gateway(id);
        let x = &mut self.exchanges[id];
        for flow in [&mut x.up, &mut x.down] {
            flow.return_pipe(self.engine.calls());
        }
        x.restart(&mut self.inboxes.account);
        let request = match self.request_again(slot, budget) {
            Ok(request) => request,
            // It has no body, so nothing that has arrived since can be wrong with it; but the rules may have changed.
            Err(refusal) => {
                let head = self.kept_head(id);
                return self.decline(slot, &head, At::Kept, refusal, budget);
            }
        };
        let name = self.name_in(slot, &request);
        self.place(slot, &request, &name, Refusal::GatewayFailed, budget);
    }

    /// The head that is kept in an exchange, parsed again.
    fn kept_head(&self, id: ExchangeId) -> RequestHead {
        let parsed = crate::http::request::parse(&self.exchanges[id].head, self.config.max_headers);
        let Ok(Parse::Complete(head)) = parsed else { unreachable!("a kept head was whole when it was kept") };
        head
    }

    /// A request whose head is kept in its exchange, examined again: the head was good before, but what has arrived of
    /// its body since may not be.
    pub fn request_again(&mut self, slot: u32, budget: &mut Budget) -> Result<Request, Refusal> {
        let head = self.kept_head(self.conns[slot].exchange);
        let request = self.examine(slot, head, At::Kept, budget)?;
        let name = self.name_in(slot, &request);
        self.permit(slot, request, &name)
    }

    /// Names a request's domain, by path or by a host below one of the relay's own; or else, where gateways have
    /// registered whole hosts as their origins, by the host.
    fn examine(&mut self, slot: u32, head: RequestHead, at: At, budget: &mut Budget) -> Result<Request, Refusal> {
        let examined =
            self.with_conn(slot, budget, |x, conn, desk| request::examine(head, at, None, x.as_deref(), conn, desk));
        if !self.shared.has_origins() || examined.as_ref().is_ok_and(|request| self.is_known(slot, request)) {
            return examined;
        }
        let host = self.head_of(slot, at).and_then(|bytes| domain::full_host(bytes, &head));
        let named = host.map(|name| Named { name, strip: Span::default() });
        let by_host =
            self.with_conn(slot, budget, |x, conn, desk| request::examine(head, at, named, x.as_deref(), conn, desk));
        match by_host {
            Ok(request) if host.is_some() && self.is_known(slot, &request) => Ok(request),
            _ => examined,
        }
    }

    /// Whether some shard has the domain of a request, or lately had it.
    fn is_known(&self, slot: u32, request: &Request) -> bool {
        let name = self.name_in(slot, request);
        self.park.find(name.hash, name.as_bytes()).is_some() || self.shared.directory.holders(name.hash) != 0
    }

    /// Refuses a request. The connection is kept if nothing of the request is still to come.
    pub fn decline(&mut self, slot: u32, head: &RequestHead, at: At, refusal: Refusal, budget: &mut Budget) {
        let keep = self.conclude(slot, head, at, budget);
        self.answer(slot, refusal, keep, head.method == Method::Head, budget);
    }

    /// Answers a health check.
    fn is_well(&mut self, slot: u32, head: &RequestHead, at: At, budget: &mut Budget) {
        let keep = self.conclude(slot, head, at, budget);
        let answer = if keep { HEALTHY_KEPT } else { HEALTHY_CLOSING };
        self.answer_with(slot, answer, keep, head.method == Method::Head, budget);
    }

    /// Where a client must go first that asks a gateway that strips for no path at all.
    fn with_slash(&self, id: ExchangeId, request: &Request) -> Option<String> {
        let bytes = self.head_of(self.exchanges[id].client, request.at)?;
        domain::with_slash(bytes, &request.head, &request.named)
    }

    /// Sends a client elsewhere.
    fn redirect(&mut self, slot: u32, request: &Request, location: &str, budget: &mut Budget) {
        let keep = self.conclude(slot, &request.head, request.at, budget);
        let connection = if keep { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n"
        );
        self.answer_with(slot, answer.as_bytes(), keep, request.head.method == Method::Head, budget);
    }

    /// Drops the head of a request that no gateway gets. Whether the connection can be kept.
    fn conclude(&mut self, slot: u32, head: &RequestHead, at: At, budget: &mut Budget) -> bool {
        let complete = head.body.is_done() && !head.upgrade && head.method != Method::Connect;
        if at == At::Front {
            self.with_conn(slot, budget, |_, conn, desk| desk.consume(conn, usize::from(head.len)));
        }
        complete && head.keep_alive && !self.is_ending()
    }

    /// Reads a client's next head.
    pub fn next_head(&mut self, slot: u32, budget: &mut Budget) -> client::Next {
        self.with_conn(slot, budget, client::next)
    }
}
