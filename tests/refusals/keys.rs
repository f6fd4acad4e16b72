//! Who may register gateways, and who may call them.
use crate::{
    limits,
    support::{peers::*, *},
};
use ringback::{
    http::Refusal,
    relay::{
        Config,
        access::{Call, Digest, Key, Listen, Pattern, Rights, Rule, Rules},
    },
};
use std::sync::Arc;

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[
    Refusal::Unauthorized,
    Refusal::CallUnauthorized,
    Refusal::KeyExpired,
    Refusal::GatewaysClosed,
    Refusal::KeyForOthers,
    Refusal::SourceForbidden,
    Refusal::MethodForbidden,
    Refusal::PathForbidden,
];

const CLASSIC_401: &[u8] = b"HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n";

const RULE: Rule =
    Rule { listen: Listen::Key, call: Call::Open, sources: Vec::new(), methods: Vec::new(), paths: Vec::new() };

fn key(text: &str, domain: &str, rights: Rights, expired: bool) -> Key {
    Key { digest: Digest::of(text.as_bytes()), domains: vec![Pattern::new(domain)], rights, expired }
}

/// Rules with a key for the domains that begin with `dev`, one for all of `door`, and an old one.
fn rules(call: Call) -> Rules {
    let mut rules = Rules::new(Rule { call, ..RULE });
    rules.add_key(key("k3y", "dev*", Rights::all(), false)).unwrap();
    rules.add_key(key("d00r", "door", Rights::all(), false)).unwrap();
    rules.add_key(key("0ld", "*", Rights::all(), true)).unwrap();
    rules
}

fn server(rules: Rules) -> Server {
    Server::start(Config { rules: Some(Arc::new(rules)), ..config() })
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// A gateway that has registered with a key.
fn gateway(server: &Server, domain: &str, key: &str) -> Peer {
    let mut gateway = server.client(ptth_get(domain, &bearer(key)));
    gateway.expect(PTTH_101);
    gateway
}

/// Without rules gateways register from the relay's own machine only, unless others are allowed.
#[test]
fn other_machines_need_leave() {
    for allow_any_gateway in [false, true] {
        let trusted_proxies = vec!["127.0.0.7".parse().unwrap()];
        let server = Server::start(Config { trusted_proxies, allow_any_gateway, ..config() });
        let mut near = server.ptth("near");
        let from = |registration: &str| {
            let mut peer = limits::from(&server, 7);
            peer.send("PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n");
            peer.send(registration);
            peer
        };
        let (mut far, mut classic) = (from(&ptth_get("far", "")), from(&classic_post("far")));
        if allow_any_gateway {
            far.expect(PTTH_101);
            eventually("all three are there", || server.held().parked == 3);
            continue;
        }
        far.expect(Refusal::GatewaysClosed.closing());
        far.expect_end();
        classic.expect(CLASSIC_401);
        classic.expect_end();
        // And what passes a proxy is not from this machine, whatever its address.
        let mut inner = limits::from(&server, 7);
        inner.send(ptth_get("inner", ""));
        inner.expect(Refusal::GatewaysClosed.closing());
        let mut client = server.client(get("/near/") + "\r\n");
        near.expect(Dialect::Ptth.seen(&get("/near/"), true));
        near.send(ok("x"));
        client.expect(ok("x"));
    }
}

/// A gateway registers with the key of its domain, in either way of saying it, and with no other.
#[test]
fn gateways_need_their_key() {
    let server = server(rules(Call::Open));
    let refused = |registration: String, answer: &[u8]| {
        let mut peer = server.client(registration);
        peer.expect(answer);
        peer.expect_end();
    };
    for (domain, more, refusal) in [
        ("dev", String::new(), Refusal::Unauthorized),
        ("dev", bearer("k3z"), Refusal::Unauthorized),
        ("dev", bearer("d00r"), Refusal::KeyForOthers),
        ("door", bearer("k3y"), Refusal::KeyForOthers),
        ("door", bearer("0ld"), Refusal::KeyExpired),
    ] {
        refused(ptth_get(domain, &more), refusal.closing());
    }
    refused(classic_post("dev"), CLASSIC_401);
    assert_eq!(server.held().parked, 0);
    let mut gateway = gateway(&server, "Dev-7", "k3y");
    // "user:k3y"
    let mut basic = server.client(ptth_get("dev-8", "X-Relay-Authorization: Basic dXNlcjprM3k=\r\n"));
    basic.expect(PTTH_101);
    let classic = classic_post("dev-9").replace("\r\n\r\n", &format!("\r\n{}\r\n", bearer("k3y")));
    let _classic = server.client(classic);
    eventually("all are there", || server.held().parked == 3);
    let mut client = server.client(get("/dev-7/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev-7/"), true));
    gateway.send(ok("x"));
    client.expect(ok("x"));
}

/// A client needs a key where calling takes one. The relay's own key goes no further: not in `X-Relay-Authorization`, nor
/// in an `Authorization` that was the key; one that was not passes.
#[test]
fn clients_need_their_key() {
    for dialect in BOTH {
        let server = server(rules(Call::Key));
        let registration = match dialect {
            Dialect::Ptth => ptth_get("dev", &bearer("k3y")),
            Dialect::Classic => classic_post("dev").replace("\r\n\r\n", &format!("\r\n{}\r\n", bearer("k3y"))),
        };
        let mut gateway = server.client(registration);
        if dialect == Dialect::Ptth {
            gateway.expect(PTTH_101);
        }
        server.await_parked(1);
        let mut client = server.connect();
        for (more, refusal) in [
            (String::new(), Refusal::CallUnauthorized),
            (bearer("wrong"), Refusal::CallUnauthorized),
            (bearer("d00r"), Refusal::KeyForOthers),
            (bearer("0ld"), Refusal::KeyExpired),
            (bearer("k3y") + "X-Relay-Authorization: Bearer wrong\r\n", Refusal::CallUnauthorized),
        ] {
            client.send(get("/dev/") + &more + "\r\n");
            client.expect(refusal.kept());
        }
        let relays = "x-relay-authorization:  Bearer k3y\r\n";
        for (first, more, passed) in [
            (true, bearer("k3y"), String::new()),
            (false, bearer("k3y") + "A: b\r\n" + &bearer("k3y"), "A: b\r\n".to_owned()),
            (
                false,
                format!("A: b\r\n{relays}{}", bearer("the device's")),
                format!("A: b\r\n{}", bearer("the device's")),
            ),
        ] {
            client.send(get("/dev/") + &more + "C: d\r\n\r\n");
            gateway.expect(dialect.seen(&(get("/dev/") + &passed + "C: d\r\n"), first));
            gateway.send(ok("x"));
            client.expect(ok("x"));
        }
    }
}

/// What is for the relay alone is not passed on where no key is needed, either; an `Authorization` that is no key is.
#[test]
fn keys_that_nobody_asked_for() {
    let server = server(rules(Call::Open));
    let mut gateway = gateway(&server, "dev", "k3y");
    let mut client = server.connect();
    for (more, passed) in [
        ("X-Relay-Authorization: Bearer k3y\r\n".to_owned() + &bearer("the device's"), bearer("the device's")),
        (bearer("the device's"), bearer("the device's")),
        (bearer("k3y"), String::new()),
    ] {
        client.send(get("/dev/") + &more + "\r\n");
        gateway.expect(Dialect::Ptth.seen(&(get("/dev/") + &passed), true));
        gateway.send(ok("x"));
        client.expect(ok("x"));
    }
}

/// A rule can narrow down from where, how and what is asked.
#[test]
fn rules_narrow_down() {
    let rule = |rule: Rule| {
        let server = Server::start(Config { rules: Some(Arc::new(Rules::new(rule))), ..config() });
        let mut gateway = server.ptth("dev");
        let mut client = server.connect();
        move |request: &str, refusal: Option<Refusal>| {
            let _running = &server;
            let head = format!("{request} HTTP/1.1\r\nHost: relay\r\n");
            client.send(head.clone() + "\r\n");
            match refusal {
                Some(refusal) => client.expect(refusal.kept()),
                None => {
                    gateway.expect(Dialect::Ptth.seen(&head, true));
                    gateway.send(ok("x"));
                    client.expect(ok("x"));
                }
            }
        }
    };
    let open = || Rule { listen: Listen::Open, ..RULE };
    let mut asks = rule(Rule { sources: vec!["10.0.0.0/8".parse().unwrap()], ..open() });
    asks("GET /dev/", Some(Refusal::SourceForbidden));
    let mut asks = rule(Rule { sources: vec!["127.0.0.0/8".parse().unwrap()], ..open() });
    asks("GET /dev/", None);
    let mut asks = rule(Rule { methods: vec![(*b"GET").into()], ..open() });
    asks("GET /dev/", None);
    asks("DELETE /dev/", Some(Refusal::MethodForbidden));
    let mut asks = rule(Rule { paths: vec![(*b"/status").into()], ..open() });
    asks("GET /dev/status?x", None);
    asks("GET /dev/status/7", None);
    asks("GET /dev", Some(Refusal::PathForbidden));
    asks("GET /dev/", Some(Refusal::PathForbidden));
    asks("GET /dev/status/../admin", Some(Refusal::PathForbidden));
    asks("GET /dev/status%2f..%2fadmin", Some(Refusal::PathForbidden));
    asks("OPTIONS http://relay/dev/admin", Some(Refusal::PathForbidden));
    asks("GET /dev//status", Some(Refusal::PathForbidden));
    let server = Server::start(Config {
        rules: Some(Arc::new(Rules::new(Rule { paths: vec![(*b"/dev").into(), (*b"/").into()], ..open() }))),
        ..config()
    });
    let _gateway = server.ptth("dev");
    // In a tunnel any path can be asked for.
    let mut tunnel = server.client("CONNECT /dev HTTP/1.1\r\nHost: relay\r\n\r\n");
    tunnel.expect(Refusal::PathForbidden.closing());
}

/// New rules count for what has registered before: a gateway whose key is gone or expired is closed, one that serves a
/// client when it has done so, and others stay.
#[test]
fn keys_can_be_revoked() {
    for expired in [false, true] {
        let server = server(rules(Call::Open));
        let mut waits = gateway(&server, "dev-1", "k3y");
        let mut serves = gateway(&server, "dev-2", "k3y");
        let mut stays = gateway(&server, "door", "d00r");
        let mut client = server.client(get("/dev-2/") + "\r\n");
        serves.expect(Dialect::Ptth.seen(&get("/dev-2/"), true));
        let mut after = Rules::new(RULE);
        after.add_key(key("d00r", "door", Rights::LISTEN, false)).unwrap();
        if expired {
            after.add_key(key("k3y", "*", Rights::all(), true)).unwrap();
        }
        server.relay().set_rules(&Arc::new(after));
        waits.expect_gone();
        serves.send(ok("x"));
        client.expect(ok("x"));
        serves.expect_gone();
        let mut again = server.client(ptth_get("dev-1", &bearer("k3y")));
        again.expect(if expired { Refusal::KeyExpired } else { Refusal::Unauthorized }.closing());
        client.send(get("/door/") + "\r\n");
        stays.expect(Dialect::Ptth.seen(&get("/door/"), true));
        stays.send(ok("y"));
        client.expect(ok("y"));
        assert_eq!(server.held().parked, 1);
    }
}

/// A request whose gateway dies is judged by the rules of that moment: refused with words, not cut off.
#[test]
fn a_retry_is_judged_by_the_new_rules() {
    let server = server(rules(Call::Key));
    let _first = gateway(&server, "dev", "k3y");
    let second = gateway(&server, "dev", "k3y");
    let mut client = server.client(get("/dev/") + &bearer("k3y") + "\r\n");
    let mut other = gateway(&server, "door", "d00r");
    // The latest one was asked.
    let mut after = Rules::new(Rule { call: Call::Key, ..RULE });
    after.add_key(key("d00r", "door", Rights::all(), false)).unwrap();
    after.add_key(key("k3y", "dev", Rights::LISTEN, false)).unwrap();
    eventually("it is asked", || server.count(|counters| counters.requests.value()) == 1);
    server.relay().set_rules(&Arc::new(after));
    // The rules are there when a request is judged by them.
    eventually("the rules count", || {
        let mut probe = server.client(get("/dev/") + &bearer("k3y") + "\r\n");
        probe.head().contains("key-for-others")
    });
    drop(second);
    client.expect(Refusal::KeyForOthers.kept());
    let mut served = server.client(get("/door/") + &bearer("d00r") + "\r\n");
    other.expect(Dialect::Ptth.seen(&get("/door/"), true));
    other.send(ok("x"));
    served.expect(ok("x"));
}

/// A classic gateway that rests with its client loses it with its key, and the client is told so by the next answer.
#[test]
fn a_resting_gateway_is_revoked() {
    let server = server(rules(Call::Open));
    let registration = classic_post("dev").replace("\r\n\r\n", &format!("\r\n{}\r\n", bearer("k3y")));
    let mut gateway = server.client(registration);
    server.await_parked(1);
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Classic.seen(&get("/dev/"), true));
    gateway.send(ok("x"));
    client.expect(ok("x"));
    server.relay().set_rules(&Arc::new(Rules::new(RULE)));
    gateway.expect_gone();
}

/// Wrong keys are answered at a rate, noted without the key, and disturb nobody: whoever has the right one is served, from
/// the same address, too.
#[test]
fn guessing_leads_nowhere() {
    let server = server(rules(Call::Key));
    let mut dev = gateway(&server, "dev", "k3y");
    let (mut told, mut reset) = (0, 0);
    for n in 0..200 {
        let mut guess = server.client(get("/dev/") + &bearer(&format!("guess-{n}")) + "\r\n");
        match guess.try_head() {
            Ok(head) => {
                assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
                told += 1;
            }
            Err(_) => reset += 1,
        }
    }
    assert!(told >= 10 && reset >= 1, "{told} told, {reset} reset");
    assert_eq!(server.count(|counters| counters.over_guesses.value()), reset);
    let (denials, further) = server.relay().take_denials();
    assert_eq!(denials.iter().map(|denial| denial.times).sum::<u64>() + further, 200);
    assert!(denials.iter().all(|denial| *denial.domain == *b"dev" && denial.refusal == Refusal::CallUnauthorized));
    let mut client = server.client(get("/dev/") + &bearer("k3y") + "\r\n");
    dev.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    dev.send(ok("x"));
    client.expect(ok("x"));
}
