//! What every request is and how it is to be answered, known to both sides behind the relay's back.
use super::bounds::{FREE_TOO_LONG, WAITS_TOO_LONG};
use super::payload::{payload, request_key};
use super::wire::chunked;
use ringback::io::Millis;
use ringback::io::sim::Random;
use std::net::IpAddr;

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    Head,
    Post,
    Connect,
    Upgrade,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    Length,
    Chunked,
    UntilClose,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is given whole.
    Whole,
    /// The gateway's connection ends before its first byte.
    None,
    /// The gateway's connection ends within it.
    Cut,
    /// It never comes.
    Never,
}

/// How a gateway answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub status: u16,
    pub framed: Framed,
    pub len: usize,
    /// Interim responses before it.
    pub interim: usize,
    /// Given before the request's body is read.
    pub early: bool,
    /// Only nearly HTTP, and until close (from classic gateways).
    pub opaque: bool,
    /// `Connection: close`.
    pub close: bool,
    pub fate: Fate,
    /// Whether an unhappy fate comes as a reset.
    pub by_reset: bool,
}

/// A request and what is known of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub domain: usize,
    pub kind: Kind,
    pub len: usize,
    pub framed: Framed,
    pub expect: bool,
    pub http10: bool,
    pub close: bool,
    pub host_form: bool,
    pub answer: Answer,
    /// The head as the client sends it.
    pub head: Vec<u8>,
    /// Connections of gateways that it reached, in order.
    pub reached: Vec<usize>,
    /// Whether a gateway began to answer it.
    pub answered: bool,
    /// Whether the gateway that has it now met its end.
    pub disturbed: bool,
    /// Whether that was a reset, which the client must be able to see.
    pub reset: bool,
    /// Whether its client goes away before the end.
    pub client_quits: bool,
    /// Whether a gateway had it, unharmed, when the relay was told to end: then it must still be finished.
    pub under_way: bool,
    /// When the client had said everything, in a tunnel.
    pub finished_at: Option<u64>,
    /// What the client made of it.
    pub result: Option<&'static str>,
    /// Where its client is.
    pub address: Option<IpAddr>,
}

impl Exchange {
    /// In one line, without the head.
    pub fn describe(&self) -> String {
        let Exchange { domain, kind, len, framed, expect, http10, close, answer, .. } = self;
        format!(
            "{kind:?} to {domain}, {len} bytes {framed:?}, expect {expect}, 1.0 {http10}, close {close}, {answer:?}, \
             reached {:?}, answered {}, disturbed {}",
            self.reached, self.answered, self.disturbed
        )
    }

    /// Whether the relay may send it to a second gateway when the first dies unheard.
    pub fn repeatable(&self) -> bool {
        matches!(self.kind, Kind::Get | Kind::Head) && self.len == 0
    }

    /// Whether it asks for a tunnel.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Upgrade)
    }
}

/// The name of a domain, the first if it has several.
pub fn domain_name(domain: usize) -> String {
    format!("dev-{domain}")
}

/// One of the names of a domain.
fn nth_name(domain: usize, nth: usize) -> String {
    if nth == 0 { domain_name(domain) } else { format!("{nth}.dev-{domain}") }
}

/// Everything asked in one simulation.
#[derive(Default)]
pub struct Ledger {
    pub exchanges: Vec<Exchange>,
    /// Domains that have gateways.
    pub domains: usize,
    /// How many names each of them has.
    pub names: Vec<usize>,
    /// Domains whose gateways close without a word.
    pub hasty: Vec<usize>,
    /// Whether the relay is being ended.
    pub ending: bool,
    /// Connections that gateways have made.
    pub connections: usize,
    /// Whether nothing goes wrong but what the simulated kernel may do: then every request must succeed.
    pub calm: bool,
    /// Whether many clients want few gateways.
    pub crowded: bool,
    /// Whether they wait for so short a time that some are refused.
    pub hurried: bool,
    /// The shard that all gateways connect to, if it is one.
    pub gateways_at: Option<usize>,
    /// Whether the relay admits so few that anybody may be turned away.
    pub limited: bool,
    /// Whether clients that are slower than a minimum rate may lose their gateways.
    pub rated: bool,
    /// Whether some clients come by IPv6.
    pub ipv6: bool,
    /// When everything begins.
    pub epoch: Millis,
    /// Clients ask before their gateways have registered: the relay has just started and has them wait.
    pub early: bool,
    /// Since when each gateway has been free, by its number: its domain, and the time.
    pub free: Vec<Option<(usize, Millis)>>,
    /// How long clients wait, if the oracle on refusals counts.
    pub client_wait: Option<Millis>,
}

impl Ledger {
    /// Enters a request; writes its head.
    pub fn enter(&mut self, mut exchange: Exchange, random: &mut Random) -> usize {
        let id = self.exchanges.len();
        let names = self.names.get(exchange.domain).copied().unwrap_or(1);
        let nth = if names > 1 { random.below(names) } else { 0 };
        exchange.head = head(&exchange, id, nth_name(exchange.domain, nth), random);
        self.exchanges.push(exchange);
        id
    }

    /// Where a gateway of a domain registers: by name or, if it has several, by a list of origins, in any order.
    pub fn place(&self, domain: usize, random: &mut Random) -> String {
        let names = self.names[domain];
        if names == 1 {
            return domain_name(domain);
        }
        let first = random.below(names);
        let origins: Vec<_> = (first..first + names)
            .map(|nth| format!("https%3A%2F%2F{}.relay.test", nth_name(domain, nth % names)))
            .collect();
        format!(".well-known/ptth/{}/", origins.join(","))
    }

    /// The relay is told to end: notes what is under way.
    pub fn begin_ending(&mut self) {
        self.ending = true;
        for exchange in &mut self.exchanges {
            exchange.under_way = !exchange.reached.is_empty() && !exchange.disturbed && exchange.result.is_none();
        }
    }

    /// Whether a request must succeed, as far as the relay is concerned.
    pub fn must_succeed(&self, exchange: &Exchange) -> bool {
        self.calm && (!self.ending || exchange.under_way)
    }

    /// Says which gateway has been free, and for whom it should not have been: a client that has waited since `asked`,
    /// with a request that no gateway has seen.
    pub fn kept_waiting(&self, id: usize, asked: Millis, now: Millis) -> Option<usize> {
        let exchange = &self.exchanges[id];
        // Elsewhere a gateway that is about to go, or that speaks unasked, may have it and not look at it.
        let sound = self.calm && self.client_wait.is_some();
        let waits = sound && asked + WAITS_TOO_LONG < now && exchange.reached.is_empty();
        let of = |free: &Option<(usize, Millis)>| {
            free.is_some_and(|(of, since)| of == exchange.domain && since + WAITS_TOO_LONG < now)
        };
        if waits && !self.ending { self.free.iter().position(of) } else { None }
    }

    /// Says which gateway of a domain has been free for so long that nobody may be refused for want of one.
    pub fn free_too_long(&self, domain: usize, now: Millis) -> Option<usize> {
        self.client_wait.filter(|&wait| wait > FREE_TOO_LONG)?;
        self.free.iter().position(|free| free.is_some_and(|(of, since)| of == domain && since + FREE_TOO_LONG < now))
    }

    /// Enters the same request anew.
    pub fn again(&mut self, id: usize, random: &mut Random) -> usize {
        let mut exchange = self.exchanges[id].clone();
        exchange.reached.clear();
        (exchange.answered, exchange.disturbed, exchange.result) = (false, false, None);
        (exchange.client_quits, exchange.reset, exchange.finished_at) = (false, false, None);
        exchange.under_way = false;
        self.enter(exchange, random)
    }
}

fn head(exchange: &Exchange, id: usize, mut name: String, random: &mut Random) -> Vec<u8> {
    if random.chance(100) {
        name = name.to_uppercase();
    }
    let version = if exchange.http10 { "1.0" } else { "1.1" };
    let host = if exchange.host_form { format!("{name}.relay.test") } else { "relay.test".to_owned() };
    let path = if exchange.host_form { format!("/r/{id}") } else { format!("/{name}/r/{id}") };
    let mut head = match exchange.kind {
        Kind::Get | Kind::Upgrade => format!("GET {path} HTTP/{version}\r\n"),
        Kind::Head => format!("HEAD {path} HTTP/{version}\r\n"),
        Kind::Post => format!("POST {path} HTTP/{version}\r\n"),
        Kind::Connect if exchange.host_form => format!("CONNECT {host}:22 HTTP/1.1\r\n"),
        Kind::Connect => format!("CONNECT /{name} HTTP/1.1\r\n"),
    };
    head += &format!("Host: {host}\r\nX-Id: {id}\r\nX-Domain: {}\r\n", exchange.domain);
    if exchange.kind == Kind::Upgrade {
        head += "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    } else if exchange.close {
        head += "Connection: close\r\n";
    } else if exchange.http10 {
        head += "Connection: keep-alive\r\n";
    }
    if exchange.kind == Kind::Post {
        head += &match exchange.framed {
            Framed::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            _ => format!("Content-Length: {}\r\n", exchange.len),
        };
    }
    if exchange.expect {
        head += "Expect: 100-continue\r\n";
    }
    if random.chance(150) {
        head += &format!("X-Filler: {}\r\n", "f".repeat(random.below(500)));
    }
    (head + "\r\n").into_bytes()
}

/// The body of request `id` as it goes over the wire.
pub fn request_body(exchange: &Exchange, id: usize, random: &mut Random) -> Vec<u8> {
    if exchange.kind != Kind::Post {
        return Vec::new();
    }
    let bytes = payload(request_key(id), exchange.len);
    match exchange.framed {
        Framed::Chunked => {
            let largest = random.pick(&[20, 500, 100_000]);
            let trailer = random.chance(300).then_some("X-Trailer: up");
            // A chunk of a few bytes each would make long bodies slow without showing more.
            let largest = if bytes.len() > 5000 { largest.max(500) } else { largest };
            chunked(&bytes, trailer, |rest| random.between(1, rest.min(largest)))
        }
        _ => bytes,
    }
}
