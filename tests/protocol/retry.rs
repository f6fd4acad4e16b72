//! Gateways that die before they have answered.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// A safe request without a body is sent again to another parked gateway; the client sees nothing of it.
#[test]
fn a_safe_request_is_sent_again() {
    let server = Server::start(config());
    for dialect in BOTH {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let head = format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n");
            let mut gateways = [server.gateway(dialect, "dev"), server.gateway(dialect, "dev")];
            let mut client = server.client(format!("{head}\r\n"));
            // Classic: the oldest first; ptth: the latest first.
            if dialect == Dialect::Ptth {
                gateways.reverse();
            }
            let [mut first, mut second] = gateways;
            first.expect(dialect.seen(&head, true));
            second.expect_silence();
            drop(first);
            second.expect(dialect.seen(&head, true));
            second.send("HTTP/1.1 204 No Content\r\n\r\n");
            client.expect("HTTP/1.1 204 No Content\r\n\r\n");
            drop(second);
            drop(client);
            server.await_parked(0);
        }
    }
    assert_eq!(server.count(|counters| counters.retried.value()), 6);
}

/// A reset counts like an end, and so does one among many in a row.
#[test]
fn a_request_is_sent_again_and_again() {
    let server = Server::start(config());
    let mut gateways: Vec<Peer> = (0..5).map(|_| server.classic("dev")).collect();
    let mut client = server.client(get("/dev/") + "\r\n");
    let mut last = gateways.pop().unwrap();
    for mut gateway in gateways {
        gateway.expect(Dialect::Classic.seen(&get("/dev/"), true));
        gateway.reset();
    }
    last.expect(Dialect::Classic.seen(&get("/dev/"), true));
    last.send(ok("at last"));
    client.expect(ok("at last"));
}

/// Anything else is not: 502, and the other gateway never hears of it.
#[test]
fn an_unsafe_request_is_not_sent_again() {
    let server = Server::start(config());
    for dialect in BOTH {
        for (head, body) in [
            ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n", "hello"),
            ("POST /dev/ HTTP/1.1\r\nHost: relay\r\n", ""),
            ("DELETE /dev/ HTTP/1.1\r\nHost: relay\r\n", ""),
            ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n", "hello"),
        ] {
            let mut gateways = [server.gateway(dialect, "dev"), server.gateway(dialect, "dev")];
            if dialect == Dialect::Ptth {
                gateways.reverse();
            }
            let [mut first, mut second] = gateways;
            let mut client = server.client(format!("{head}\r\n{body}"));
            first.expect(dialect.seen(head, true));
            first.expect(body);
            drop(first);
            client.expect(Refusal::GatewayFailed.closing());
            client.expect_end();
            second.expect_silence();
            drop(second);
            server.await_parked(0);
        }
    }
}

/// Once a byte of the response has come, the request is not sent again either.
#[test]
fn a_request_that_was_heard_is_not_sent_again() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateways = [server.gateway(dialect, "dev"), server.gateway(dialect, "dev")];
        if dialect == Dialect::Ptth {
            gateways.reverse();
        }
        let [mut first, mut second] = gateways;
        let mut client = server.client(get("/dev/") + "\r\n");
        first.expect(dialect.seen(&get("/dev/"), true));
        first.send("HTTP/1.1 200 OK\r\nContent-");
        drop(first);
        client.expect(Refusal::GatewayBadResponse.closing());
        client.expect_end();
        second.expect_silence();
        drop(second);
        server.await_parked(0);
    }
}

/// An interim response counts as heard, too; it has been passed on.
#[test]
fn a_gateway_that_dies_after_100_has_failed() {
    let server = Server::start(config());
    let mut gateway = server.ptth("dev");
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    gateway.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    client.expect("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    drop(gateway);
    client.expect(Refusal::GatewayFailed.closing());
    client.expect_end();
}

/// With no other gateway parked, the client waits for one to come back.
#[test]
fn a_request_is_sent_again_to_a_returning_gateway() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..config() });
    let mut gateway = server.ptth("dev");
    // The second request is there already; it must not get lost, nor go first.
    let mut client = server.client(format!("{}\r\n{}\r\n", get("/dev/1"), get("/dev/2")));
    gateway.expect(Dialect::Ptth.seen(&get("/dev/1"), true));
    drop(gateway);
    server.await_parked(0);
    let mut gateway = server.ptth("dev");
    for n in 1..=2 {
        gateway.expect(Dialect::Ptth.seen(&get(&format!("/dev/{n}")), true));
        gateway.send(ok(&n.to_string()));
        client.expect(ok(&n.to_string()));
    }
}

/// A gateway that was reused dies at the same moment: the pipelined request goes to the next one.
#[test]
fn a_reused_gateway_dies_before_the_second_request() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut first = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/1") + "\r\n");
        first.expect(dialect.seen(&get("/dev/1"), true));
        first.send(ok("1"));
        client.expect(ok("1"));
        let mut second = server.gateway(dialect, "dev");
        drop(first);
        client.send(get("/dev/2") + "\r\n");
        second.expect(dialect.seen(&get("/dev/2"), true));
        second.send(ok("2"));
        client.expect(ok("2"));
        drop((second, client));
        server.await_parked(0);
    }
}
