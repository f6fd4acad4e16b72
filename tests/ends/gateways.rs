//! Gateways that die.
use crate::{
    scene::{DEATHS, SOON, happens},
    support::{peers::*, *},
};
use ringback::{http::Refusal, relay::Config};
use std::thread;

const POST: &str = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n";

fn patient() -> Config {
    Config { client_wait: SOON, ..config() }
}

/// A gateway and a client whose POST it has been given.
fn asked(server: &Server, dialect: Dialect) -> (Peer, Peer) {
    let mut gateway = server.gateway(dialect, "dev");
    let client = server.client(format!("{POST}\r\nhello"));
    gateway.expect(dialect.seen(POST, true));
    gateway.expect("hello");
    (gateway, client)
}

/// Nobody is given a gateway that died parked: the next client waits for another one.
#[test]
fn parked() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let doomed = death.awaits(server.gateway(dialect, "dev"));
            let parked = server.held().parked;
            doomed.dies();
            server.await_parked(parked - 1);
            let mut client = server.client(get("/dev/") + "\r\n");
            client.expect(Refusal::GatewayAbsent.kept());
        });
    }
}

/// A client that comes at the very moment is served by another gateway of the domain, whichever it was given first.
#[test]
fn parked_while_clients_come() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let doomed: Vec<_> = (0..5).map(|_| death.awaits(server.gateway(dialect, "dev"))).collect();
            let dying = thread::spawn(move || doomed.into_iter().for_each(crate::scene::Doomed::dies));
            let mut client = server.client(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.send(ok("x"));
            client.expect(ok("x"));
            dying.join().unwrap();
        });
    }
}

/// A gateway that was asked and has said nothing: 502, since a POST may have had its effect.
#[test]
fn asked_and_silent() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let (gateway, mut client) = asked(server, dialect);
            death.takes(gateway);
            client.expect(Refusal::GatewayFailed.closing());
            client.expect_end();
        });
    }
}

/// A safe request goes to the domain's other gateway.
#[test]
fn asked_what_is_safe() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let mut first = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "\r\n");
            first.expect(dialect.seen(&get("/dev/"), true));
            let mut second = server.gateway(dialect, "dev");
            death.takes(first);
            second.expect(dialect.seen(&get("/dev/"), true));
            second.send(ok("x"));
            client.expect(ok("x"));
        });
    }
}

/// In the middle of a response's head: none of it has reached the client, which gets a 502.
#[test]
fn mid_head() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let (mut gateway, mut client) = asked(server, dialect);
            gateway.send("HTTP/1.1 200 OK\r\nContent-Le");
            death.takes(gateway);
            client.expect(Refusal::GatewayBadResponse.closing());
            client.expect_end();
        });
    }
}

/// In the middle of a body, whatever its framing: the client's connection is reset, so that it does not take what it
/// has for the whole.
#[test]
fn mid_body() {
    for death in DEATHS {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            happens(&patient(), |server, dialect| {
                let (mut gateway, mut client) = asked(server, dialect);
                gateway.send(response);
                client.expect(response);
                death.takes(gateway);
                let (more, reset) = client.until_gone();
                assert!(more.is_empty() && reset, "{} more, reset: {reset}", show(&more));
            });
        }
    }
}

/// In the middle of a body that is spliced, in either direction.
#[test]
fn mid_bulk() {
    const LEN: usize = 64 << 20;
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let (mut gateway, mut client) = asked(server, dialect);
            let before = server.count(|counters| counters.spliced.value());
            let mut sender = gateway.split();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
            gateway.send(&head);
            client.expect(&head);
            let sending = thread::spawn(move || sender.send(vec![b'x'; LEN / 8]));
            client.expect(vec![b'x'; LEN / 8]);
            sending.join().unwrap();
            assert!(server.count(|counters| counters.spliced.value()) > before, "not spliced");
            death.takes(gateway);
            let (more, reset) = client.until_gone();
            assert!(more.is_empty() && reset, "{} more, reset: {reset}", show(&more));
        });
        happens(&patient(), |server, dialect| {
            let head = format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: {LEN}\r\n");
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\n"));
            gateway.expect(dialect.seen(&head, true));
            let mut sender = client.split();
            let sending = thread::spawn(move || sender.try_send(vec![b'x'; LEN]));
            gateway.take(LEN / 8);
            death.takes(gateway);
            client.expect(Refusal::GatewayFailed.closing());
            client.expect_end();
            drop(client);
            sending.join().unwrap();
        });
    }
}

/// A tunnel's far end: the client's connection ends, and is not left half open.
#[test]
fn mid_tunnel() {
    for death in DEATHS {
        happens(&patient(), |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let head = "CONNECT /dev HTTP/1.1\r\nHost: relay\r\n";
            let mut client = server.client(format!("{head}\r\n"));
            gateway.head();
            if dialect == Dialect::Classic {
                gateway.expect(format!("{head}\r\n"));
            }
            gateway.send("HTTP/1.1 200 OK\r\n\r\nhello");
            client.expect("HTTP/1.1 200 OK\r\n\r\nhello");
            client.send("hello");
            gateway.expect("hello");
            death.takes(gateway);
            client.expect_gone();
        });
    }
}

/// A connection that ends right behind its registration, all of it sent behind a request and received while that is
/// being answered: nobody is given it, and it is closed.
#[test]
fn registered_and_ended() {
    happens(&patient(), |server, dialect| {
        let registration = match dialect {
            Dialect::Classic => classic_post("late"),
            Dialect::Ptth => ptth_get("late", ""),
        };
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.connect();
        // So many in quick succession that the relay receives ahead, and last the one with more behind it.
        for (n, behind) in ["", "", "", "", "", &registration].into_iter().enumerate() {
            client.send(get("/dev/") + "\r\n" + behind);
            if !behind.is_empty() {
                client.finish();
            }
            gateway.expect(dialect.seen(&get("/dev/"), n == 0));
            gateway.send(ok("x"));
            client.expect(ok("x"));
        }
        // A relay that had not looked as far ahead has welcomed it first.
        client.until_gone();
        let mut late = server.client(get("/late/") + "\r\n");
        assert!(late.head().starts_with("HTTP/1.1 "), "an answer of the relay's own");
    });
}
