//! Requests that are refused for what becomes of them.
use crate::support::{peers::*, *};
use Refusal::*;
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[
    RequestTooSlow,
    HeadTimeout,
    GatewayFailed,
    GatewayBadResponse,
    GatewayAbsent,
    GatewayBusy,
    GatewayTimeout,
    ShuttingDown,
];

const SOON: Duration = Duration::from_millis(100);

/// The same for GET and, without a body, for HEAD.
const METHODS: [&str; 2] = ["GET", "HEAD"];

#[track_caller]
fn expect_closing(client: &mut Peer, method: &str, refusal: Refusal) {
    match method {
        "HEAD" => client.expect(ringback::http::canned::without_body(refusal.closing())),
        _ => client.expect(refusal.closing()),
    }
    client.expect_end();
}

#[track_caller]
fn expect_kept(client: &mut Peer, method: &str, refusal: Refusal) {
    match method {
        "HEAD" => client.expect(ringback::http::canned::without_body(refusal.kept())),
        _ => client.expect(refusal.kept()),
    }
}

/// A head that does not end in time: a new connection's first one, whether it has begun or not, and a later one.
#[test]
fn a_head_takes_too_long() {
    let server = Server::start(Config { head_timeout: SOON, ..config() });
    let mut gateway = server.ptth("dev");
    let mut client = server.client("GET /dev/ HTT");
    client.expect(HeadTimeout.closing());
    client.expect_end();
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    gateway.send(ok("x"));
    client.expect(ok("x"));
    client.send("GET /dev/ HTTP/1.1\r\n");
    client.expect(HeadTimeout.closing());
    client.expect_end();
    // Who says nothing is told nothing.
    server.connect().expect_end();
    gateway.expect_silence();
}

/// A body that comes too slowly while another client waits.
#[test]
fn a_body_comes_too_slowly() {
    let server = Server::start(Config { min_rate: 1000, min_rate_after: SOON, client_wait: PATIENCE, ..config() });
    for dialect in BOTH {
        let head = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n";
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{head}\r\nhell"));
        gateway.expect(dialect.seen(head, true));
        gateway.expect("hell");
        let mut other = server.client(get("/dev/") + "\r\n");
        client.expect(RequestTooSlow.closing());
        client.expect_end();
        gateway.expect_gone();
        let mut gateway = server.gateway(dialect, "dev");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        gateway.send(ok("x"));
        other.expect(ok("x"));
    }
}

/// A gateway that dies before it has answered, asked what must not be asked twice.
#[test]
fn a_gateway_fails() {
    let server = Server::start(config());
    for dialect in BOTH {
        for by_reset in [false, true] {
            let head = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n";
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\nhello"));
            gateway.expect(dialect.seen(head, true));
            gateway.expect("hello");
            if by_reset {
                gateway.reset();
            } else {
                drop(gateway);
            }
            client.expect(GatewayFailed.closing());
            client.expect_end();
        }
    }
}

/// The last gateway that a safe request was given to dies too, and nobody else has the domain.
#[test]
fn a_gateway_fails_unheard_and_was_the_last() {
    let server = Server::start(Config { client_wait: SOON, ..config() });
    for dialect in BOTH {
        for method in METHODS {
            let head = format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n");
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\n"));
            gateway.expect(dialect.seen(&head, true));
            drop(gateway);
            // It was there lately, and may come back.
            expect_kept(&mut client, method, GatewayAbsent);
        }
    }
}

/// Responses that are not: for `ptth` gateways anything that is not strictly HTTP and has ambiguous framing; for
/// classic ones, whose answers are repaired, what cannot be.
#[test]
fn a_gateway_answers_badly() {
    let server = Server::start(config());
    let broken = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 twohundred\r\n\r\n",
        "hello\r\n\r\n",
    ];
    let sloppy = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
    ];
    for dialect in BOTH {
        let others = if dialect == Dialect::Ptth { &sloppy[..] } else { &[] };
        for response in broken.iter().chain(others) {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.send(response);
            eprintln!("{dialect:?} answers {response:?}");
            client.expect(GatewayBadResponse.closing());
            client.expect_end();
            gateway.expect_gone();
        }
    }
}

/// A response's head has limits of its own, and one that is cut off was bad.
#[test]
fn a_gateway_answers_too_much_or_too_little() {
    let server = Server::start(Config { max_headers: 20, ..config() });
    let too_large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(65_536));
    let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(513));
    for dialect in BOTH {
        for response in [too_large.as_str(), too_many.as_str(), "HTTP/1.1 200 OK\r\nConte"] {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.try_send(response);
            gateway.finish();
            client.expect(GatewayBadResponse.closing());
            client.expect_end();
        }
    }
}

/// A gateway that was here lately, and does not come back while its client waits.
#[test]
fn a_gateway_is_absent() {
    let server = Server::start(Config { client_wait: SOON, ..config() });
    for dialect in BOTH {
        for method in METHODS {
            drop(server.gateway(dialect, "dev"));
            server.await_parked(0);
            let mut client = server.client(format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n"));
            expect_kept(&mut client, method, GatewayAbsent);
            client.send(format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"));
            expect_closing(&mut client, method, GatewayAbsent);
            let mut client = server.client("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\n");
            expect_closing(&mut client, "PUT", GatewayAbsent);
        }
    }
}

/// A gateway that is with somebody else for as long as its client waits.
#[test]
fn a_gateway_is_busy() {
    let server = Server::start(Config { client_wait: SOON, ..config() });
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut busy = server.client(get("/dev/busy") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/busy"), true));
        for method in METHODS {
            let mut client = server.client(format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n"));
            expect_kept(&mut client, method, GatewayBusy);
        }
        gateway.expect_silence();
        gateway.send(ok("x"));
        busy.expect(ok("x"));
        drop((gateway, busy));
        server.await_parked(0);
    }
}

/// A gateway that takes a request and says nothing, or only interim things: its connection ends with that.
#[test]
fn a_gateway_says_nothing() {
    let server = Server::start(Config { response_timeout: SOON, ..config() });
    for dialect in BOTH {
        for method in METHODS {
            let head = format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n");
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\n"));
            gateway.expect(dialect.seen(&head, true));
            expect_closing(&mut client, method, GatewayTimeout);
            gateway.expect_gone();
        }
        let head = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n";
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{head}\r\nhello"));
        gateway.expect(dialect.seen(head, true));
        gateway.expect("hello");
        gateway.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nCont");
        client.expect("HTTP/1.1 102 Processing\r\n\r\n");
        client.expect(GatewayTimeout.closing());
        client.expect_end();
        gateway.expect_gone();
    }
}

/// A relay that stops lets the exchanges under way finish, and takes no gateways and no more requests.
#[test]
fn the_relay_shuts_down() {
    for dialect in BOTH {
        let server = Server::start(config());
        let mut gateway = server.gateway(dialect, "dev");
        let mut late = server.client("GET /late HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\n");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        eventually("both have a session", || server.held().sessions == 2);
        server.relay().drain();
        // Messages do not overtake each other.
        let _ = server.held();
        late.send("ALPN: http%2F1.1\r\n\r\n");
        late.expect(ShuttingDown.closing());
        late.expect_end();
        gateway.send(ok("last"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"), "{head}");
        client.expect("last");
        client.expect_end();
        gateway.expect_gone();
    }
}
