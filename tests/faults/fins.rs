//! A client's FIN behind its whole request, while its gateway thinks: whether it means that the client is gone is the
//! operator's choice.
use crate::support::{peers::*, *};
use ringback::relay::{Config, config::GoneClients};

/// A client that has sent its whole request, which its gateway has, and its FIN.
fn asks_and_finishes(server: &Server, dialect: Dialect, more: &str) -> (Peer, Peer) {
    let mut gateway = server.gateway(dialect, "dev");
    let mut client = server.client(get("/dev/") + more + "\r\n");
    if dialect == Dialect::Classic {
        gateway.expect(CLASSIC_101);
    }
    gateway.head();
    client.finish();
    (client, gateway)
}

#[track_caller]
fn is_freed(server: &Server, dialect: Dialect, more: &str) {
    let (mut client, mut gateway) = asks_and_finishes(server, dialect, more);
    gateway.expect_gone();
    client.until_gone();
    eventually("nothing is left", || server.held().connections == 0);
}

#[track_caller]
fn is_answered(server: &Server, dialect: Dialect, more: &str) {
    let (mut client, mut gateway) = asks_and_finishes(server, dialect, more);
    // Its FIN has arrived, for what comes behind it on another connection has been dealt with.
    server.client(get("/nobody/") + "\r\n").head();
    gateway.send(ok("x"));
    let answer = client.rest();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\nx"), "{}", show(&answer));
    drop(gateway);
    eventually("nothing is left", || server.held().connections == 0);
}

fn with(gone_clients: GoneClients) -> Server {
    Server::start(Config { gone_clients, ..config() })
}

/// By default a client that asked for its connection to be closed counts as gone, and its gateway ends its work at once.
#[test]
fn by_default_closing_clients_are_gone() {
    let server = Server::start(config());
    for dialect in BOTH {
        is_freed(&server, dialect, "Connection: close\r\n");
    }
    assert_eq!(server.count(|counters| counters.gone.value()), 2);
    for dialect in BOTH {
        is_answered(&server, dialect, "");
    }
    assert_eq!(server.count(|counters| counters.gone.value()), 2);
}

/// Never: all get their answers.
#[test]
fn never_gone() {
    let server = with(GoneClients::Never);
    for dialect in BOTH {
        is_answered(&server, dialect, "");
        is_answered(&server, dialect, "Connection: close\r\n");
    }
}

/// Always: all are gone; but HTTP/1.0 has half-closes for an end of its request, and gets its answer.
#[test]
fn always_gone() {
    let server = with(GoneClients::Always);
    for dialect in BOTH {
        is_freed(&server, dialect, "");
        is_freed(&server, dialect, "Connection: close\r\n");
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client("GET /dev/ HTTP/1.0\r\nHost: relay\r\n\r\n");
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        client.finish();
        server.client(get("/nobody/") + "\r\n").head();
        gateway.send(ok("x"));
        assert!(client.rest().ends_with(b"\r\n\r\nx"));
        drop(gateway);
        eventually("nothing is left", || server.held().connections == 0);
    }
}

/// Where another client waits for a gateway, the one that holds it and has finished is gone by default, whether the other
/// came before its FIN or after; not where the relay is told otherwise.
#[test]
fn gone_where_others_wait() {
    for before in [true, false] {
        for (dialect, policy, gone) in [
            (Dialect::Classic, GoneClients::Closing, true),
            (Dialect::Classic, GoneClients::Never, false),
            (Dialect::Ptth, GoneClients::Closing, true),
            (Dialect::Ptth, GoneClients::Never, false),
        ] {
            let server = Server::start(Config {
                gone_clients: policy,
                client_wait: std::time::Duration::from_secs(3600),
                ..config()
            });
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "\r\n");
            if dialect == Dialect::Classic {
                gateway.expect(CLASSIC_101);
            }
            gateway.head();
            if !before {
                client.finish();
            }
            let mut other = server.client(get("/dev/other") + "\r\n");
            eventually("another one waits", || {
                server.held().sessions == 2 || server.count(|counters| counters.gone.value()) == 1
            });
            if before {
                client.finish();
            }
            if gone {
                gateway.expect_gone();
                gateway = server.gateway(dialect, "dev");
            } else {
                server.client(get("/nobody/") + "\r\n").head();
                gateway.send(ok("first"));
                assert!(client.rest().ends_with(b"first"));
                if dialect == Dialect::Classic {
                    gateway = server.gateway(dialect, "dev");
                }
            }
            if dialect == Dialect::Classic {
                gateway.expect(CLASSIC_101);
            }
            assert!(gateway.head().starts_with("GET /dev/other "));
            gateway.send(ok("second"));
            other.expect(ok("second"));
        }
    }
}
