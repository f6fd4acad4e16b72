//! Bytes that no client asked for: the gateway is closed for them, and nobody ever gets them.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

const STALE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale";

/// A gateway that speaks while parked is closed, and the next client waits in vain rather than get that.
#[test]
fn a_parked_gateway_must_be_silent() {
    let server = Server::start(Config { client_wait: Duration::from_millis(50), ..config() });
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        gateway.send(STALE);
        gateway.expect_gone();
        let mut client = server.client(get("/dev/") + "\r\n");
        client.expect(Refusal::GatewayAbsent.kept());
    }
    assert_eq!(server.count(|counters| counters.unsolicited.value()), 2);
}

/// A surplus behind a response closes the gateway; the same client's next request is answered by another one.
#[test]
fn a_surplus_closes_the_gateway() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut client = server.connect();
        for response in [ok("right"), "HTTP/1.1 204 No Content\r\n\r\n".to_string()] {
            let mut gateway = server.gateway(dialect, "dev");
            client.send(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.send(response.clone() + STALE);
            client.expect(&response);
            gateway.expect_gone();
        }
        client.expect_silence();
    }
}

/// The same for HEAD, whose answer has no body although it says so.
#[test]
fn the_body_of_an_answer_to_head_is_a_surplus() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client("HEAD /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        gateway.expect(dialect.seen("HEAD /dev/ HTTP/1.1\r\nHost: relay\r\n", true));
        gateway.send(ok("body"));
        client.expect("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
        gateway.expect_gone();
        client.expect_silence();
    }
}

/// A response that fills a receive buffer to the last byte, with a surplus behind it in the same packet: the client's
/// pipelined next request must not be answered by the surplus.
#[test]
fn a_surplus_behind_a_full_buffer_is_found() {
    let size = 4096;
    let config = Config { buffer_size: size as u32, max_head_bytes: size as u32, ..config() };
    let server = Server::start(Config { client_wait: Duration::from_millis(50), ..config });
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{0}\r\n{0}\r\n", get("/dev/")));
        gateway.expect(dialect.seen(&get("/dev/"), true));
        let response = filling(size);
        gateway.send(response.clone() + STALE);
        client.expect(&response);
        client.expect(Refusal::GatewayAbsent.kept());
    }
}

/// The same behind a response that is spliced, by length and chunked: a splice stops exactly at the response's end, so
/// that whatever is behind it is still in the socket.
#[test]
fn a_surplus_behind_a_spliced_response_is_found() {
    let server = Server::start(Config { client_wait: Duration::from_millis(50), ..config() });
    let body = "x".repeat(300_000);
    let responses = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n{0:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ),
    ];
    for dialect in BOTH {
        for response in &responses {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{0}\r\n{0}\r\n", get("/dev/")));
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.send(response.clone() + STALE);
            client.expect(response);
            client.expect(Refusal::GatewayAbsent.kept());
        }
    }
    assert!(server.count(|counters| counters.spliced.value()) > 0, "nothing was spliced");
}

/// The same with another client waiting for the busy gateway.
#[test]
fn a_surplus_behind_a_full_buffer_never_reaches_a_waiting_client() {
    let size = 4096;
    let config = Config { buffer_size: size as u32, max_head_bytes: size as u32, ..config() };
    let server = Server::start(Config { client_wait: Duration::from_millis(500), ..config });
    let mut gateway = server.ptth("dev");
    let mut first = server.client(get("/dev/1") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/1"), true));
    let mut second = server.client(get("/dev/2") + "\r\n");
    eventually("the second client waits", || server.held().sessions == 2);
    let response = filling(size);
    gateway.send(response.clone() + STALE);
    first.expect(&response);
    second.expect(Refusal::GatewayAbsent.kept());
}

/// A response of exactly `size` bytes.
fn filling(size: usize) -> String {
    let with = |body: usize| ok(&"x".repeat(body));
    let response = with(size - (with(size).len() - size));
    assert_eq!(response.len(), size);
    response
}

/// A gateway's response comes late, after the relay has told its client so: the next client does not get it.
#[test]
fn a_late_response_reaches_nobody() {
    let server = Server::start(Config { response_timeout: Duration::from_millis(100), ..config() });
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/1") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/1"), true));
        client.expect(Refusal::GatewayTimeout.closing());
        client.expect_end();
        gateway.try_send(STALE);
        let mut next = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/2") + "\r\n");
        next.expect(dialect.seen(&get("/dev/2"), true));
        next.send(ok("fresh"));
        client.expect(ok("fresh"));
    }
}
