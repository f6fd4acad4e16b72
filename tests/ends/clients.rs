//! Clients that die.
use crate::{
    scene::{DEATHS, alone, happens},
    support::{peers::*, *},
};
use ringback::{http::Refusal, relay::Config};
use std::{thread, time::Duration};

/// In the middle of a head, or before it: no gateway hears of it.
#[test]
fn mid_head() {
    for death in DEATHS {
        for part in ["", "G", "GET /dev/ HTTP/1.1\r\nHost: rel"] {
            happens(&config(), |server, dialect| {
                let mut gateway = server.gateway(dialect, "dev");
                death.takes(server.client(part));
                let mut client = server.client(get("/dev/") + "\r\n");
                gateway.expect(dialect.seen(&get("/dev/"), true));
                gateway.send(ok("x"));
                client.expect(ok("x"));
            });
        }
    }
}

/// In the middle of a body, whatever its framing: the gateway's connection ends, so that it does not take what it has
/// for the whole, and is not given to anybody else.
#[test]
fn mid_body() {
    for death in DEATHS {
        for (framing, part) in [
            ("Content-Length: 10\r\n", "hello"),
            ("Transfer-Encoding: chunked\r\n", "a\r\nhello"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        ] {
            happens(&config(), |server, dialect| {
                let head = format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\n{framing}");
                let mut gateway = server.gateway(dialect, "dev");
                let client = server.client(format!("{head}\r\n{part}"));
                gateway.expect(dialect.seen(&head, true));
                gateway.expect(part);
                death.takes(client);
                gateway.expect_gone();
            });
        }
    }
}

/// Between request and response. A reset is noticed at once; an end alone may be a half-close, so the gateway is heard.
#[test]
fn awaiting_the_response() {
    for death in DEATHS {
        happens(&config(), |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let client = server.client(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            death.takes(client);
            gateway.try_send(ok("x"));
        });
    }
}

/// Awaiting the response to its last request: though nothing more can come from it, its reset is noticed and the gateway
/// ends its work.
#[test]
fn awaiting_the_last_response() {
    happens(&config(), |server, dialect| {
        let mut gateway = server.gateway(dialect, "dev");
        let client = server.client(get("/dev/") + "Connection: close\r\n\r\n");
        gateway.head();
        client.reset();
        gateway.until_gone();
    });
}

/// With the response to its last request it gets all of it and then the end, though it has sent since what nobody asked for.
#[test]
fn surplus_behind_the_last_request() {
    for surplus in ["", "\r\n", "GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n"] {
        happens(&config(), |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "Connection: close\r\n\r\n");
            gateway.head();
            client.send(surplus);
            gateway.send(ok("x"));
            let answer = client.rest();
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\nx"), "{}", show(&answer));
        });
    }
}

/// Behind the response to its last request its place is free at once: its own end is not waited for.
#[test]
fn after_the_last_response() {
    let _alone = alone();
    let server = Server::start(Config { linger: Duration::from_secs(3600), ..config() });
    let mut gateway = server.ptth("dev");
    let mut client = server.client(get("/dev/") + "Connection: close\r\n\r\n");
    gateway.head();
    gateway.send(ok("x"));
    assert!(client.rest().ends_with(b"\r\n\r\nx"));
    eventually("its place is free", || server.held().connections == 1);
}

/// A client that was answered early and goes on sending for longer than the linger time is not reset: that would take away
/// the response that it has not read yet. One that falls silent is let go.
#[test]
fn still_sending_behind_the_last_response() {
    let linger = Duration::from_millis(500);
    let _alone = alone();
    let server = Server::start(Config { linger, ..config() });
    let mut client = server.client("PUT /nobody/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 1000\r\n\r\n");
    for _ in 0..6 {
        client.send("x");
        thread::park_timeout(linger / 2);
    }
    client.expect(Refusal::NoGateway.closing());
    client.expect_end();
    eventually("its place is free", || server.held().connections == 0);
}

/// In the middle of a response that is larger than everything in between.
#[test]
fn mid_response() {
    const LEN: usize = 64 << 20;
    let chunk = format!("{LEN:x}\r\n");
    for death in DEATHS {
        for head in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        ] {
            happens(&config(), |server, dialect| {
                let mut gateway = server.gateway(dialect, "dev");
                let mut client = server.client(get("/dev/") + "\r\n");
                gateway.expect(dialect.seen(&get("/dev/"), true));
                let mut sender = gateway.split();
                let sent = head.clone();
                let sending = thread::spawn(move || {
                    sender.send(sent);
                    sender.try_send(vec![b'x'; LEN]);
                });
                client.expect(&head);
                client.take(1 << 20);
                death.takes(client);
                sending.join().unwrap();
                gateway.expect_gone();
            });
        }
    }
}

/// A client that waits for a gateway: its place is given up, or the gateway's answer goes nowhere, and either way the
/// gateway's next client gets its own answer.
#[test]
fn waiting() {
    for death in DEATHS {
        happens(&Config { client_wait: Duration::from_secs(60), ..config() }, |server, dialect| {
            drop(server.gateway(dialect, "dev"));
            let sessions = server.held().sessions;
            let client = server.client(get("/dev/dead") + "\r\n");
            eventually("it waits", || server.held().sessions > sessions.min(1));
            death.takes(client);
            let mut alive = server.client(get("/dev/alive") + "\r\n");
            loop {
                let mut gateway = server.connect();
                gateway.send(match dialect {
                    Dialect::Classic => classic_post("dev"),
                    Dialect::Ptth => ptth_get("dev", ""),
                });
                // The 101; then the request.
                gateway.head();
                let head = gateway.head();
                gateway.try_send(ok(if head.contains("alive") { "alive" } else { "dead" }));
                if head.contains("alive") {
                    break;
                }
            }
            alive.expect(ok("alive"));
        });
    }
}

/// A tunnel's near end.
#[test]
fn mid_tunnel() {
    for death in DEATHS {
        happens(&config(), |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let head = "CONNECT /dev HTTP/1.1\r\nHost: relay\r\n";
            let mut client = server.client(format!("{head}\r\n"));
            gateway.head();
            if dialect == Dialect::Classic {
                gateway.expect(format!("{head}\r\n"));
            }
            gateway.send("HTTP/1.1 200 OK\r\n\r\n");
            client.expect("HTTP/1.1 200 OK\r\n\r\n");
            client.send("hello");
            gateway.expect("hello");
            death.takes(client);
            gateway.expect_gone();
        });
    }
}
