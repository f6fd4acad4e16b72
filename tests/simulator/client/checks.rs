//! What a client asks, and what it checks of the answers.
use super::{Live, Script};
use crate::simulator::draw;
use crate::simulator::gateway::has_body;
use crate::simulator::net::Net;
use crate::simulator::payload::{answer_key, astray, payload};
use crate::simulator::plan::{Exchange, Framed, Kind, Ledger};
use crate::simulator::wire::Head;
use ringback::io::Millis;
use ringback::io::sim::{Peer, Random};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// News that a gateway sent unasked may be taken for an answer only by a request sent within this time: longer
/// than anything the simulated network and kernel hold back.
const NEWS_MAX: Millis = 300;

pub(super) fn check_head<M>(world: &Net<M>, who: &str, live: &Live, ledger: &Ledger, id: usize, head: &Head) {
    let exchange = &ledger.exchanges[id];
    let fault = |wrong: &str| world.fault(&format!("{who}: {wrong}: {:?}", String::from_utf8_lossy(&head.raw)));
    if let Some(reason) = head.header("x-relay-error") {
        let unserved = exchange.domain >= ledger.domains;
        let failed = head.status() == 502 && ledger.hasty.contains(&exchange.domain);
        let waited = ledger.hurried && matches!(head.status(), 503 | 504);
        let excused = match unserved && !ledger.ending && !ledger.limited {
            true => head.status() == 504,
            false => !ledger.must_succeed(exchange) || failed || waited,
        };
        let beyond_limit = ledger.limited && head.status() == 429;
        let too_slow = ledger.rated && exchange.kind == Kind::Post && reason == "request-too-slow";
        if !excused || !(beyond_limit || too_slow || matches!(head.status(), 502..=504)) {
            fault(&format!("request {id} was refused without need: {}", exchange.describe()));
        }
        // Who was slow to read cannot tell when it was refused.
        let prompt = live.wait_until < live.since[live.at];
        let free = ledger.free_too_long(exchange.domain, world.now());
        let for_want = matches!(reason, "no-gateway" | "gateway-absent" | "gateway-busy");
        if let Some(gateway) = free.filter(|_| prompt && !ledger.ending && for_want) {
            fault(&format!("request {id} was refused although gateway {gateway} was free: {}", exchange.describe()));
        }
        return;
    }
    if let Some(domain) = head.number("x-hasty") {
        if domain != exchange.domain {
            fault("an answer from another domain");
        }
        return;
    }
    if let Some(at) = head.number("x-news") {
        if live.since[live.at] > at as Millis + NEWS_MAX {
            fault("stale bytes of a waiting gateway");
        }
        return;
    }
    if head.number("x-id") != Some(id) {
        fault(&format!("not the answer to request {id}"));
    }
    if head.number("x-domain") != Some(exchange.domain) {
        fault("an answer from another domain");
    }
    if exchange.reached.is_empty() {
        fault("an answer that no gateway gave");
    }
}

pub(super) fn check_body<M>(world: &Net<M>, who: &str, exchange: &Exchange, id: usize, got: &[u8], complete: bool) {
    let expected = has_body(exchange) || exchange.is_tunnel() || exchange.answer.opaque && !complete;
    let len = if expected { exchange.answer.len } else { 0 };
    let want = payload(answer_key(id), len);
    if let Some(wrong) = astray(got, &want) {
        world.fault(&format!("{who}: answer {id} {wrong}"));
    }
    if complete && got.len() != want.len() && exchange.answer.framed != Framed::UntilClose && !exchange.answer.opaque {
        world.fault(&format!("{who}: answer {id} has {} bytes of {}", got.len(), want.len()));
    }
}

/// A connection from one of a few addresses, of either family.
pub(super) fn connect<M>(world: &Net<M>, shards: usize, random: &mut Random, ledger: &Ledger) -> Peer {
    let listener = random.below(world.listeners());
    let shard = random.below(shards);
    let few = if ledger.limited { 3 } else { 100 };
    let address = match random.below(few) as u16 {
        n if ledger.ipv6 && n % 3 == 0 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, n, 0, 0, 0, n)),
        n => IpAddr::V4(Ipv4Addr::new(192, 0, 2, n as u8)),
    };
    world.connect_from(shard, listener, address)
}

pub(super) fn draw_script(random: &mut Random, ledger: &mut Ledger) -> Script {
    let (domains, calm) = (ledger.domains, ledger.calm);
    let mut requests = Vec::new();
    let one_domain = random.chance(500).then(|| random.below(domains));
    for _ in 0..random.between(1, 5) {
        let mut exchange = draw::exchange(random, domains, calm, true);
        if ledger.crowded {
            (exchange.kind, exchange.len, exchange.expect) = (Kind::Get, 0, false);
            exchange.answer.len = exchange.answer.len.min(2000);
        }
        if let Some(domain) = one_domain.filter(|_| exchange.domain < domains) {
            exchange.domain = domain;
        }
        let last = exchange.is_tunnel() || exchange.close;
        requests.push(ledger.enter(exchange, random));
        if last {
            break;
        }
    }
    let last = &ledger.exchanges[*requests.last().expect("one")];
    let open_end = !last.is_tunnel() && !last.close;
    let quits = !calm && random.chance(150);
    if quits {
        for &id in &requests {
            ledger.exchanges[id].client_quits = true;
        }
    }
    let garbage = open_end && random.chance(80);
    Script {
        depth: if random.chance(600) { 1 } else { random.between(2, 5) },
        half_close: open_end && !garbage && random.chance(150),
        quits: quits.then(|| (random.below(3000), random.chance(500))),
        garbage,
        idles: open_end && random.chance(50),
        requests,
    }
}
