//! How gateways register, and what they are told.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// The 101 is 57 bytes, comes when a client does and not before, and the client's bytes follow it at once.
#[test]
fn a_classic_gateway_gets_101_and_the_clients_bytes() {
    let server = Server::start(config());
    let mut gateway = server.classic("dev");
    gateway.expect_silence();
    let request = "GET /dev/led?on=1 HTTP/1.1\r\nHost: relay\r\n\r\n";
    let mut client = server.client(request);
    gateway.expect(b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n");
    gateway.expect(request);
    gateway.send(ok("lit"));
    client.expect(ok("lit"));
}

/// The name is compared without regard to case, and what old libraries send along does not matter.
#[test]
fn classic_registrations_vary() {
    let server = Server::start(config());
    for registration in [
        "POST /Dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay:80\r\nContent-Length: 0\r\n\r\n",
        "POST /dev HTTP/1.1\r\nHost: relay\r\nX-Relay-Protocol: PTTH/1.0\r\nX-Relay-Security: transport/pass-through\r\n\r\n",
        "GET /DEV HTTP/1.0\r\nUpgrade: PTTH/1.0\r\nUser-Agent: sketch\r\nAuthorization: Bearer k\r\n\r\n",
        "POST /dev/ HTTP/1.1\r\nhost: relay\r\nupgrade: PTTH/1.0\r\n\r\n",
    ] {
        let mut gateway = server.client(registration);
        server.await_parked(1);
        let mut client = server.client("GET /dEv/ HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
        gateway.expect(CLASSIC_101);
        gateway.expect("GET /dEv/ HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
        gateway.send(ok("x"));
        client.expect(ok("x"));
        client.expect_end();
        gateway.expect_end();
    }
}

/// `ptth/1.0` is neither dialect: the sender is a client, and its request finds nobody.
#[test]
fn the_classic_token_is_case_sensitive() {
    let server = Server::start(config());
    let mut client = server.client("POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade: ptth/1.0\r\n\r\n");
    client.expect(Refusal::NoGateway.kept());
}

/// Having waited for a while, a classic gateway gets the 17 bytes of a 204 and nothing more, asks again on the same
/// connection, and then gets its client.
#[test]
fn a_classic_gateway_is_told_to_ask_again() {
    let server = Server::start(Config { classic_poll_interval: Duration::from_secs(1), ..config() });
    let mut gateway = server.classic("dev");
    for _ in 0..2 {
        gateway.expect(b"HTTP/1.1 204 \r\n\r\n");
        server.post(&mut gateway, "dev");
    }
    let mut client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.expect(CLASSIC_101);
    gateway.expect("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.send(ok("x"));
    client.expect(ok("x"));
}

/// A classic gateway that does not ask again in time is closed.
#[test]
fn a_gateway_that_does_not_ask_again_is_closed() {
    let config = Config {
        classic_poll_interval: Duration::from_secs(1),
        repost_timeout: Duration::from_millis(200),
        ..config()
    };
    let server = Server::start(config);
    let mut gateway = server.classic("dev");
    gateway.expect(CLASSIC_204);
    gateway.expect_end();
}

/// A classic gateway between its 204 and its next POST gets no request: a client waits for that POST.
#[test]
fn between_204_and_the_next_post_clients_wait() {
    let server = Server::start(Config {
        classic_poll_interval: Duration::from_secs(1),
        client_wait: Duration::from_secs(60),
        ..config()
    });
    let mut gateway = server.classic("dev");
    gateway.expect(CLASSIC_204);
    let mut client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    eventually("the client waits", || server.held().sessions == 1);
    gateway.expect_silence();
    gateway.send(classic_post("dev"));
    gateway.expect(CLASSIC_101);
    gateway.expect("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.send(ok("x"));
    client.expect(ok("x"));
}

/// With `early_204` the first POST of a connection is answered at once, the next ones are not.
#[test]
fn early_204_answers_the_first_post_only() {
    let server = Server::start(Config { early_204: true, ..config() });
    let mut gateway = server.connect();
    gateway.send(classic_post("dev"));
    gateway.expect(CLASSIC_204);
    server.post(&mut gateway, "dev");
    server.await_parked(1);
    gateway.expect_silence();
    let _client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.expect(CLASSIC_101);
}

/// Reserved and empty names get 401, byte for byte, then the end.
#[test]
fn reserved_domains_are_unauthorized() {
    let server = Server::start(config());
    for name in ["", "relay_domain", "Relay_Domain", "relay_domain/x", ".well-known", ".well-known/x/"] {
        let mut gateway = server.client(classic_post(name));
        gateway.expect(b"HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n");
        gateway.expect_end();
        let mut gateway = server.client(ptth_get(name, ""));
        gateway.expect(Refusal::ReservedDomain.closing());
        gateway.expect_end();
    }
}

/// One gateway too many for a domain gets 429, byte for byte, then the end; other domains are not concerned, and
/// there is room again when one has gone.
#[test]
fn too_many_gateways_get_429() {
    let server = Server::start(Config { max_gateways_per_domain: 2, ..config() });
    for dialect in BOTH {
        let first = server.gateway(dialect, "dev");
        let _second = server.gateway(dialect, "dev");
        for registration in [classic_post("dev"), ptth_get("dev", "")] {
            let mut third = server.client(registration);
            third.expect(b"HTTP/1.1 429 \r\nRetry-After: 30\r\nX-Relay-Error: gateways-of-domain\r\n\r\n");
            third.expect_end();
        }
        let _other = server.gateway(dialect, "other");
        let before = server.held().parked;
        drop(first);
        server.await_parked(before - 1);
        let _again = server.gateway(dialect, "dev");
        server.await_parked(3);
        drop((_second, _other, _again));
        server.await_parked(0);
    }
}

/// Registrations beyond the rate get 429 with a second to wait.
#[test]
fn too_fast_registrations_get_429() {
    let server = Server::start(Config { max_registrations_per_second: 1, ..config() });
    let _first = server.ptth("a");
    let refused = (0..10).any(|_| {
        let mut gateway = server.client(ptth_get("a", ""));
        let head = gateway.head();
        let refused = head.starts_with("HTTP/1.1 429");
        if refused {
            assert_eq!(head, "HTTP/1.1 429 \r\nRetry-After: 1\r\nX-Relay-Error: registration-rate\r\n\r\n");
            gateway.expect_end();
        }
        refused
    });
    assert!(refused, "ten registrations in a row took ten seconds, or the rate is not kept");
}

/// The answer to `Upgrade: ptth` comes at once, byte for byte; case and order of the header do not matter.
#[test]
fn a_ptth_gateway_gets_101_at_once() {
    let server = Server::start(config());
    let head = "GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: ";
    let odd =
        "POST /dev HTTP/1.1\r\nALPN: HTTP%2f1.1, http%2f1.1\r\nupgrade: PTTH\r\nCONNECTION: Upgrade\r\nHost: relay";
    // A relay that asks for no key says so to who sends one.
    for (registration, more) in [
        (format!("{head}h2, http%2F1.1\r\n\r\n"), ""),
        (format!("{odd}\r\n\r\n"), ""),
        (format!("{head}http/1.1\r\nAuthorization: Basic x\r\n\r\n"), "X-Relay-Key: unchecked\r\n"),
    ] {
        let mut gateway = server.client(registration);
        gateway.expect(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n{more}\r\n"
        ));
        gateway.expect_silence();
    }
}

/// Without an offer of HTTP/1.1 there is nothing to speak.
#[test]
fn ptth_without_alpn_is_refused() {
    let server = Server::start(config());
    for alpn in ["", "ALPN: h2\r\n", "ALPN: http%2F1.10\r\n"] {
        let mut gateway = server
            .client(format!("GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\n{alpn}\r\n"));
        gateway.expect(Refusal::AlpnMissing.closing());
        gateway.expect_end();
    }
    assert_eq!(server.held().parked, 0);
}

/// A registration may arrive in pieces, and behind a request on the same connection.
#[test]
fn registrations_arrive_as_they_like() {
    let server = Server::start(config());
    let mut gateway = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    gateway.expect(Refusal::NoGateway.kept());
    let registration = ptth_get("dev", "");
    let (start, rest) = registration.split_at(40);
    gateway.send(start);
    eventually("the first piece is there", || server.held().sessions == 1);
    gateway.send(rest);
    gateway.expect(PTTH_101);
    server.await_parked(1);
    assert_eq!(server.held().sessions, 0);
}

/// The body of a classic registration is skipped, in one piece with the head or not, and empty lines while waiting are
/// overlooked, as the original relay did; anything else that is not asked for ends the connection.
#[test]
fn bodies_of_classic_registrations_are_skipped() {
    let server = Server::start(config());
    let head = "POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade: PTTH/1.0\r\nContent-Length: 5\r\n\r\n";
    for pieces in [&["hello"][..], &["", "hel", "lo"], &["hello\r\n", "\r\n"]] {
        let (first, rest) = pieces.split_first().unwrap();
        let mut gateway = server.client(format!("{head}{first}"));
        server.await_parked(1);
        for piece in rest {
            gateway.send(*piece);
        }
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(Dialect::Classic.seen(&get("/dev/"), true));
        gateway.send(ok("x"));
        client.expect(ok("x"));
        drop((gateway, client));
        server.await_parked(0);
    }
    let mut gateway =
        server.client(head.replace("PTTH/1.0", "ptth\r\nConnection: upgrade\r\nALPN: http%2F1.1") + "hello");
    gateway.expect(Refusal::BadLength.closing());
    gateway.expect_end();
    // Bytes right behind a registration belong to no request.
    for registration in [classic_post("dev"), ptth_get("dev", "")] {
        let mut gateway = server.client(registration + "HTTP/1.1 200 OK\r\n\r\n");
        gateway.expect_gone();
    }
    assert_eq!(server.held().parked, 0);
}

/// Existing devices break the rules of HTTP in many ways, and have always been served: they still are.
#[test]
fn sloppy_registrations_are_served() {
    let server = Server::start(config());
    for registration in [
        "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n\r\n",
        "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost:\r\n\r\n",
        "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: relay\r\nHost: relay\r\n\r\n",
        "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: http://relay/\r\n\r\n",
        "POST /dev HTTP/1.1\nUpgrade: PTTH/1.0\nHost: relay\n\n",
        "POST http://relay/dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n\r\n",
        "POST /dev\r\nUpgrade: PTTH/1.0\r\n\r\n",
        "POST /dev HTTP/1.1\r\nUpgrade:\r\n PTTH/1.0\r\n\r\n",
        "POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade : PTTH/1.0\r\n\r\n",
        "POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade: a PTTH/1.0\r\n\r\n",
    ] {
        for pieces in [1, registration.len()] {
            let mut gateway = server.connect();
            for piece in registration.as_bytes().chunks(registration.len() / pieces) {
                gateway.send(piece);
            }
            server.await_parked(1);
            let request = get("/dev/") + "\r\n";
            let mut client = server.client(&request);
            gateway.expect(CLASSIC_101);
            gateway.expect(&request);
            gateway.send(ok("x"));
            client.expect(ok("x"));
            drop((client, gateway));
            server.await_parked(0);
        }
    }
}

/// An origin that lies below none of the relay's own names is found by its whole host, once somebody has registered it;
/// what the path names goes before it, and nobody else's requests come to it.
#[test]
fn an_origin_is_found_by_its_whole_host() {
    for config in [config(), two_shards()] {
        let server = Server::start(config);
        let mut path = server.ptth("dev");
        let mut origin = server.ptth(".well-known/ptth/https%3A%2F%2FBackend.example.com%3A8443/");
        let exchange = |gateway: &mut Peer, target: &str, host: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
            let mut client = server.client(format!("{head}\r\n"));
            let seen = String::from_utf8(Dialect::Ptth.seen(&head, true)).expect("text");
            gateway.expect(seen.replace("-Host: relay", &format!("-Host: {host}")));
            gateway.send(ok("x"));
            client.expect(ok("x"));
        };
        exchange(&mut origin, "/", "backend.example.com:8443");
        exchange(&mut origin, "/some/where?q", "BACKEND.example.com.");
        exchange(&mut path, "/dev/", "backend.example.com");
        let mut stranger = server.client("GET /some/where HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
        stranger.expect(Refusal::NoGateway.kept());
    }
}

/// A gateway that registers an origin serves the domain that the origin's host names, and no other one.
#[test]
fn an_origin_is_registered_under_its_host() {
    let server = Server::start(Config { hostnames: vec!["relay.example".into()], ..config() });
    let mut one = server.ptth(".well-known/ptth/https%3A%2F%2FOne.relay.example/");
    let mut two = server.ptth(".well-known/ptth/https%3A%2F%2Ftwo.relay.example,http%3A%2F%2Ftwo.relay.example/");
    for (domain, gateway) in [("one", &mut one), ("two", &mut two)] {
        let head = format!("GET / HTTP/1.1\r\nHost: {domain}.relay.example\r\n");
        let mut client = server.client(format!("{head}\r\n"));
        let seen = String::from_utf8(Dialect::Ptth.seen(&head, true)).expect("text");
        gateway.expect(seen.replace("-Host: relay", &format!("-Host: {domain}.relay.example")));
        gateway.send(ok(domain));
        client.expect(ok(domain));
    }
    let mut client = server.client("GET /.well-known/ HTTP/1.1\r\nHost: relay.example\r\n\r\n");
    client.expect(Refusal::NoDomain.kept());
}
