//! Who gets which gateway, and who waits.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// The classic gateway that has waited longest is used first.
#[test]
fn the_oldest_classic_gateway_is_used_first() {
    let server = Server::start(config());
    let mut gateways: Vec<Peer> = (0..5).map(|_| server.classic("dev")).collect();
    for (n, gateway) in gateways.iter_mut().enumerate() {
        let mut client = server.client(format!("GET /dev/{n} HTTP/1.1\r\nHost: relay\r\n\r\n"));
        gateway.expect(CLASSIC_101);
        gateway.expect(format!("GET /dev/{n} HTTP/1.1\r\nHost: relay\r\n\r\n"));
        gateway.send(ok("x"));
        client.expect(ok("x"));
    }
}

/// A domain that nobody ever served: 504 at once, and the connection is kept.
#[test]
fn unknown_domains_are_refused_at_once() {
    let server = Server::start(Config { client_wait: Duration::from_secs(3600), ..config() });
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /nobody/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        client.expect(Refusal::NoGateway.kept());
    }
    client.send("HEAD /nobody/ HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    client.expect(ringback::http::canned::without_body(Refusal::NoGateway.closing()));
    client.expect_end();
}

/// A client of a domain that was just served waits for the gateway to come back, and is served by it.
#[test]
fn a_client_waits_for_a_returning_gateway() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..config() });
    for dialect in BOTH {
        drop(server.gateway(dialect, "dev"));
        server.await_parked(0);
        let mut client = server.client("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\nhello");
        eventually("the client waits", || server.held().sessions == 1);
        let mut gateway = server.connect();
        match dialect {
            Dialect::Classic => gateway.send(classic_post("dev")),
            Dialect::Ptth => {
                gateway.send(ptth_get("dev", ""));
                gateway.expect(PTTH_101);
            }
        }
        gateway.expect(dialect.seen("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n", true));
        gateway.expect("hello");
        gateway.send(ok("back"));
        client.expect(ok("back"));
    }
}

/// If it does not come back, the client is told so and kept.
#[test]
fn a_client_does_not_wait_forever() {
    let server = Server::start(Config { client_wait: Duration::from_millis(300), ..config() });
    drop(server.ptth("dev"));
    server.await_parked(0);
    let mut client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    client.expect(Refusal::GatewayAbsent.kept());
    let mut gateway = server.ptth("dev");
    client.send("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), false));
    let mut other = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    other.expect(Refusal::GatewayBusy.kept());
    gateway.send(ok("x"));
    client.expect(ok("x"));
}

/// Once a domain is forgotten, nobody waits for it.
#[test]
fn domains_are_forgotten() {
    let config =
        Config { client_wait: Duration::from_secs(3600), domain_grace: Duration::from_millis(100), ..config() };
    let server = Server::start(config);
    drop(server.ptth("dev"));
    eventually("the domain is forgotten", || server.held().domains == 0);
    let mut client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    client.expect(Refusal::NoGateway.kept());
}

/// A client that waits does not make others wait for a domain that is forgotten; it is served all the same when a gateway
/// comes.
#[test]
fn nobody_waits_because_others_do() {
    let wait = Duration::from_secs(3600);
    let remembers = Config { client_wait: wait, domain_grace: Duration::from_millis(300), ..config() };
    let starts = Config { client_wait: wait, start_grace: Duration::from_secs(1), ..config() };
    for (config, seen) in [(remembers, true), (starts, false)] {
        let server = Server::start(config);
        if seen {
            drop(server.ptth("dev"));
            server.await_parked(0);
        }
        let mut first = server.client(get("/dev/1") + "\r\n");
        eventually("the first waits", || server.held().sessions == 1);
        let refused = || server.count(|counters| counters.refused(Refusal::NoGateway).value());
        let others = std::cell::RefCell::new(Vec::new());
        eventually("later ones are refused", || {
            others.borrow_mut().push(server.client(get("/dev/2") + "\r\n"));
            refused() > 0
        });
        let mut gateway = server.ptth("dev");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/1"), false));
        gateway.send(ok("x"));
        first.expect(ok("x"));
    }
}

/// Clients of a busy gateway are served one after the other, in the order they came.
#[test]
fn clients_of_a_busy_gateway_queue() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..config() });
    let mut gateway = server.ptth("dev");
    let mut clients = Vec::new();
    for n in 0..4 {
        clients.push(server.client(get(&format!("/dev/{n}")) + "\r\n"));
        eventually("the client waits", || server.held().sessions == n + 1);
    }
    for (n, client) in clients.iter_mut().enumerate() {
        gateway.expect(Dialect::Ptth.seen(&get(&format!("/dev/{n}")), false));
        gateway.send(ok(&n.to_string()));
        client.expect(ok(&n.to_string()));
    }
    server.await_parked(1);
}

/// What a waiting client sends of its body meanwhile is looked at only when a gateway takes the request, and bad
/// framing in it harms nobody else.
#[test]
fn a_waiting_client_breaks_its_framing() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..config() });
    drop(server.ptth("dev"));
    server.await_parked(0);
    let mut client = server.client("POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
    eventually("the client waits", || server.held().sessions == 1);
    client.send("this is no chunk\r\n");
    eventually("the relay has it", || server.held().buffers >= 1);
    let mut gateway = server.ptth("dev");
    client.expect(Refusal::BadChunkSize.closing());
    client.expect_end();
    let mut other = server.client(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), false));
    gateway.send(ok("fine"));
    other.expect(ok("fine"));
}

/// The same when the wait ends without a gateway.
#[test]
fn a_waiting_client_breaks_its_framing_and_waits_in_vain() {
    let server = Server::start(Config { client_wait: Duration::from_secs(1), ..config() });
    drop(server.ptth("dev"));
    server.await_parked(0);
    let mut client = server.client("POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
    eventually("the client waits", || server.held().sessions == 1);
    client.send("this is no chunk\r\n");
    let head = client.head();
    assert!(head.contains("Connection: close\r\n"), "{head}");
    let mut gateway = server.ptth("dev");
    let mut other = server.client(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), false));
    gateway.send(ok("fine"));
    other.expect(ok("fine"));
}

/// A relay that stops says so at once to clients that wait for a gateway: none will come any more.
#[test]
fn a_stopping_relay_keeps_nobody_waiting() {
    let server = Server::start(Config { client_wait: Duration::from_secs(3600), ..config() });
    drop(server.ptth("dev"));
    server.await_parked(0);
    let mut client = server.client(get("/dev/") + "\r\n");
    eventually("the client waits", || server.held().sessions == 1);
    server.relay().drain();
    client.expect(Refusal::ShuttingDown.closing());
    client.expect_end();
}

/// A client that keeps its connection, and with it a device's only one, does not lock others out: the device is sent
/// away, comes back, and serves the one that waits.
#[test]
fn a_silent_client_does_not_keep_a_device_for_itself() {
    let server = Server::start(config());
    let mut device = server.classic("dev");
    let mut first = server.client(get("/dev/1") + "\r\n");
    device.expect(Dialect::Classic.seen(&get("/dev/1"), true));
    device.send(ok("one"));
    first.expect(ok("one"));
    let mut second = server.client(get("/dev/2") + "\r\n");
    device.expect_gone();
    let mut device = server.classic("dev");
    device.expect(Dialect::Classic.seen(&get("/dev/2"), true));
    device.send(ok("two"));
    second.expect(ok("two"));
    // The first has lost nothing but its device: its next request waits for its turn.
    first.send(get("/dev/3") + "\r\n");
    device.expect_gone();
    let mut device = server.classic("dev");
    device.expect(Dialect::Classic.seen(&get("/dev/3"), true));
    device.send(ok("three"));
    first.expect(ok("three"));
}
