//! Connections that become raw: upgrades, CONNECT, and gateways that do not speak HTTP.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};

const UPGRADE: &str = "GET /dev/ws HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// What a gateway of each dialect sees of [`UPGRADE`].
fn upgrade_seen(dialect: Dialect) -> Vec<u8> {
    match dialect {
        Dialect::Classic => dialect.seen(UPGRADE, true),
        Dialect::Ptth => {
            format!("GET /dev/ws HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\n{ADDED}Connection: upgrade\r\n\r\n")
                .into_bytes()
        }
    }
}

/// A tunnel that is open on both ends.
fn open(server: &Server, dialect: Dialect) -> (Peer, Peer) {
    let mut gateway = server.gateway(dialect, "dev");
    let mut client = server.client(format!("{UPGRADE}\r\n"));
    gateway.expect(upgrade_seen(dialect));
    gateway.send(SWITCHED);
    client.expect(SWITCHED);
    (client, gateway)
}

/// After the gateway's 101 bytes pass both ways as they come, and the client finishes first.
#[test]
fn an_upgrade_opens_a_tunnel_and_the_client_ends_it() {
    let server = Server::start(config());
    let before = server.held();
    for dialect in BOTH {
        let (mut client, mut gateway) = open(&server, dialect);
        for n in 0..50 {
            client.send(format!("ping {n}\r\n\r\n"));
            gateway.expect(format!("ping {n}\r\n\r\n"));
            gateway.send(format!("pong {n}\0"));
            client.expect(format!("pong {n}\0"));
        }
        client.finish();
        gateway.expect_end();
        gateway.send("last words");
        client.expect("last words");
        gateway.finish();
        client.expect_end();
        server.await_held(before);
    }
}

/// The same with the gateway finishing first: what the client still says arrives, then its end.
#[test]
fn the_gateway_ends_a_tunnel_first() {
    let server = Server::start(config());
    let before = server.held();
    for dialect in BOTH {
        let (mut client, mut gateway) = open(&server, dialect);
        gateway.send("bye");
        gateway.finish();
        client.expect("bye");
        client.expect_end();
        client.send("still here");
        gateway.expect("still here");
        client.finish();
        gateway.expect_end();
        server.await_held(before);
    }
}

/// A gateway that closes a tunnel altogether, and a client that closes upon that, leave nothing behind.
#[test]
fn a_tunnel_closed_by_the_gateway_leaves_nothing() {
    let server = Server::start(config());
    let before = server.held();
    for dialect in BOTH {
        let (mut client, gateway) = open(&server, dialect);
        drop(gateway);
        client.expect_end();
        drop(client);
        server.await_held(before);
    }
}

/// Bytes that come together with either head are the tunnel's first.
#[test]
fn tunnel_bytes_behind_the_heads_are_kept() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{UPGRADE}\r\nearly bird"));
        gateway.expect(upgrade_seen(dialect));
        gateway.expect_silence();
        gateway.send(format!("{SWITCHED}welcome"));
        client.expect(format!("{SWITCHED}welcome"));
        gateway.expect("early bird");
    }
}

/// A gateway may decline to switch: then it is an ordinary exchange, and the next one follows.
#[test]
fn a_declined_upgrade_is_an_ordinary_exchange() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{UPGRADE}\r\n"));
        gateway.expect(upgrade_seen(dialect));
        gateway.send(ok("no"));
        client.expect(ok("no"));
        client.send(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), false));
        gateway.send(ok("yes"));
        client.expect(ok("yes"));
        drop((gateway, client));
        server.await_parked(0);
    }
}

/// A 101 that nobody asked for is refused.
#[test]
fn an_unasked_101_is_refused() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        gateway.send(SWITCHED);
        client.expect(Refusal::GatewayBadResponse.closing());
        client.expect_end();
        gateway.expect_gone();
    }
}

/// CONNECT, in both of its forms, is forwarded as it is and becomes a tunnel with the gateway's 200.
#[test]
fn connect_opens_a_tunnel() {
    let server = Server::start(Config { hostnames: vec!["relay.example".into()], ..config() });
    let before = server.held();
    for dialect in BOTH {
        for (target, host) in [("/dev", "relay"), ("dev.relay.example:22", "dev.relay.example:22")] {
            let mut gateway = server.gateway(dialect, "dev");
            let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n");
            let mut client = server.client(format!("{head}\r\nSSH-2.0-client\r\n"));
            let seen = String::from_utf8(dialect.seen(&head, true)).unwrap();
            gateway.expect(seen.replace("X-Forwarded-Host: relay\r\n", &format!("X-Forwarded-Host: {host}\r\n")));
            gateway.send("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n");
            client.expect("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n");
            gateway.expect("SSH-2.0-client\r\n");
            client.finish();
            gateway.expect_end();
            drop(gateway);
            client.expect_end();
            server.await_held(before);
        }
    }
}

/// A gateway that declines CONNECT leaves an ordinary connection.
#[test]
fn a_declined_connect_is_an_ordinary_exchange() {
    let server = Server::start(config());
    let mut gateway = server.ptth("dev");
    let mut client = server.client("CONNECT /dev HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.expect(Dialect::Ptth.seen("CONNECT /dev HTTP/1.1\r\nHost: relay\r\n", true));
    gateway.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    client.expect("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    client.send(get("/dev/") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/"), false));
}

/// A classic gateway whose answer is not HTTP is relayed as it comes until it closes, and the client's connection ends
/// with it. What the client sends behind its request stays where it is: it may be a request for somebody else.
#[test]
fn a_classic_gateway_may_speak_anything() {
    let server = Server::start(config());
    let before = server.held();
    for pieces in [vec!["SSH-2.0-device\r\n"], vec!["HT", "CPCP hello", " world"], vec!["\0\x01", "\x02"]] {
        let mut gateway = server.classic("dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(Dialect::Classic.seen(&get("/dev/"), true));
        for piece in &pieces {
            gateway.send(piece);
            if piece.len() > 2 {
                client.expect(if *piece == "CPCP hello" { "HTCPCP hello" } else { piece });
            }
        }
        if pieces[0].starts_with('\0') {
            client.expect("\0\x01\x02");
        }
        client.send(get("/other/") + "\r\n");
        gateway.send("more");
        client.expect("more");
        gateway.expect_silence();
        drop(gateway);
        client.expect_end();
        drop(client);
        server.await_held(before);
    }
}

/// From a `ptth` gateway, what is not HTTP is no response.
#[test]
fn a_ptth_gateway_must_speak_http() {
    let server = Server::start(config());
    for answer in ["SSH-2.0-device\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"] {
        let mut gateway = server.ptth("dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        gateway.send(answer);
        client.expect(Refusal::GatewayBadResponse.closing());
        client.expect_end();
        gateway.expect_gone();
    }
}
