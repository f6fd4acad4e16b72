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

/// A gateway may decline to switch: then it is an ordinary exchange, but the client's last. What it has sent ahead of
/// the other protocol is no request, though it may look like one (RFC 9931 §8).
#[test]
fn what_was_sent_ahead_of_a_declined_upgrade_is_no_request() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(format!("{UPGRADE}\r\n{}\r\n", get("/dev/smuggled")));
        gateway.expect(upgrade_seen(dialect));
        gateway.send(ok("no"));
        let closing = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        client.expect(if dialect == Dialect::Ptth { closing.to_owned() } else { ok("no") });
        client.expect_end();
        if dialect == Dialect::Ptth {
            let mut next = server.client(get("/dev/next") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/next"), false));
            gateway.send(ok("yes"));
            next.expect(ok("yes"));
        } else {
            gateway.expect_gone();
        }
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

/// CONNECT as existing tunnel programs write it: with a length of zero, with a port behind the domain, without `Host`.
/// The port is for the gateway to look at.
#[test]
fn connect_as_existing_programs_write_it() {
    let server = Server::start(config());
    let before = server.held();
    for request in [
        "CONNECT /dev HTTP/1.1\r\nHost: relay\r\nContent-Length: 0\r\n\r\n",
        "CONNECT /dev:22 HTTP/1.0\r\n\r\n",
        "CONNECT /dev:22 HTTP/1.0\r\nUser-agent: x\r\nProxy-Connection: keep-alive\r\n\r\n",
        "CONNECT /dev:5900 HTTP/1.1\r\nHost: relay\r\n\r\n",
    ] {
        let mut gateway = server.classic("dev");
        let mut client = server.client(request);
        gateway.expect(CLASSIC_101);
        gateway.expect(request);
        gateway.send("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n");
        client.expect("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n");
        client.send("SSH-2.0-client\r\n");
        gateway.expect("SSH-2.0-client\r\n");
        drop((client, gateway));
        server.await_held(before);
    }
}

/// An `Upgrade` that `Connection` does not list asks for nothing, but classic devices switch all the same, as they
/// always could. `ptth` gateways do not get to see it.
#[test]
fn an_unlisted_upgrade_opens_a_tunnel_to_a_classic_gateway() {
    let server = Server::start(config());
    let head = "GET /dev/ws HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\n";
    let mut gateway = server.classic("dev");
    let mut client = server.client(format!("{head}\r\n"));
    gateway.expect(Dialect::Classic.seen(head, true));
    gateway.send(SWITCHED);
    client.expect(SWITCHED);
    client.send("ping\r\n\r\n");
    gateway.expect("ping\r\n\r\n");
    drop((client, gateway));
    server.await_parked(0);
    let mut gateway = server.ptth("dev");
    let mut client = server.client(format!("{head}\r\n"));
    gateway.expect(Dialect::Ptth.seen(&get("/dev/ws"), true));
    gateway.send(SWITCHED);
    client.expect(Refusal::GatewayBadResponse.closing());
}

/// What a client has sent ahead of a tunnel that it did not get is no request, though it may look like one; the gateway's
/// connection goes on.
#[test]
fn what_was_sent_ahead_of_a_declined_connect_is_no_request() {
    let server = Server::start(config());
    let mut gateway = server.ptth("dev");
    let mut other = server.ptth("other");
    let ahead = get("/other/smuggled");
    let mut client = server.client(format!("CONNECT /dev HTTP/1.1\r\nHost: relay\r\n\r\n{ahead}\r\n"));
    gateway.expect(Dialect::Ptth.seen("CONNECT /dev HTTP/1.1\r\nHost: relay\r\n", true));
    gateway.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    client.expect("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    client.expect_end();
    for (gateway, domain) in [(&mut gateway, "dev"), (&mut other, "other")] {
        let mut next = server.client(get(&format!("/{domain}/")) + "\r\n");
        gateway.expect(Dialect::Ptth.seen(&get(&format!("/{domain}/")), false));
        gateway.send(ok("yes"));
        next.expect(ok("yes"));
    }
}

/// From a classic gateway, what cannot be read as an answer even leniently is none: not a byte of it is passed on, also
/// behind a CONNECT or an upgrade.
#[test]
fn a_classic_gateway_must_speak_something_like_http() {
    let server = Server::start(config());
    let before = server.held();
    let connect = "CONNECT /dev HTTP/1.1\r\nHost: relay\r\n";
    let upgrade = "GET /dev/ HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: plainsocket\r\n";
    for request in [get("/dev/").as_str(), connect, upgrade] {
        for answer in
            ["SSH-2.0-device\r\n", "HTCPCP", "\0\x01", "\r\nhello", "HTTP/1.1 abc\r\n\r\n", "HTTP/2.0 101 X\r\n\r\n"]
        {
            let mut gateway = server.classic("dev");
            let mut client = server.client(format!("{request}\r\n"));
            gateway.expect(Dialect::Classic.seen(request, true));
            gateway.send(answer);
            client.expect(Refusal::GatewayBadResponse.closing());
            client.expect_end();
            gateway.expect_gone();
            drop(client);
            server.await_held(before);
        }
    }
}

/// From a `ptth` gateway, whatever is not strictly HTTP is no response.
#[test]
fn a_ptth_gateway_must_speak_http() {
    let server = Server::start(config());
    for answer in [
        "SSH-2.0-device\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let mut gateway = server.ptth("dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        gateway.send(answer);
        client.expect(Refusal::GatewayBadResponse.closing());
        client.expect_end();
        gateway.expect_gone();
    }
}
