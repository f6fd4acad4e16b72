//! Where a request names its domain, and what a gateway gets to see of its head.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};

fn with_hostnames() -> Config {
    Config { hostnames: vec!["relay.example".into(), "example".into()], ..config() }
}

/// Classic gateways get the client's bytes as they are, whichever way the domain was named by path and `Host`.
#[test]
fn classic_gateways_get_every_byte() {
    let server = Server::start(with_hostnames());
    for request in [
        "GET /dev/a/b?c=d HTTP/1.1\r\nHost: relay\r\n\r\n",
        "GET /DEV HTTP/1.1\r\nhost:relay\r\nCONNECTION:  keep-alive , x-mine\r\nX-Mine:\t1 \r\n\r\n",
        "GET /x/y HTTP/1.1\r\nHost: dev.relay.example:8080\r\n\r\n",
        "GET /x/y HTTP/1.1\r\nHost: DEV.Example.\r\nTE: trailers\r\nProxy-Authorization: x\r\n\r\n",
        "GET /dev/ HTTP/1.1\r\nHost: relay\r\nX-Forwarded-For: 10.0.0.1\r\nKeep-Alive: 5\r\n\r\n",
        "GET /dev?a HTTP/1.0\r\n\r\n",
        "BREW /dev/pot HTTP/1.1\r\nHost: relay\r\nContent-Length: 3\r\n\r\ntea",
    ] {
        let mut gateway = server.classic("dev");
        let mut client = server.client(request);
        gateway.expect(CLASSIC_101);
        gateway.expect(request);
        gateway.send("HTTP/1.1 200 OK\r\nConnection: keep-alive, x\r\nX: y\r\nContent-Length: 0\r\n\r\n");
        client.expect("HTTP/1.1 200 OK\r\nConnection: keep-alive, x\r\nX: y\r\nContent-Length: 0\r\n\r\n");
        drop((client, gateway));
        server.await_parked(0);
    }
}

/// `ptth` gateways get the head without what is meant for one hop, with what they cannot see.
#[test]
fn ptth_gateways_get_an_edited_head() {
    let server = Server::start(with_hostnames());
    let mut gateway = server.ptth("dev");
    for (sent, seen, host) in [
        ("GET /dev/a?b HTTP/1.1\r\nHost: relay:80\r\n", "GET /dev/a?b HTTP/1.1\r\nHost: relay:80\r\n", "relay:80"),
        (
            "GET /dev HTTP/1.1\r\nConnection: x-mine, keep-alive\r\nHost: relay\r\nX-Mine: 1\r\nAccept: */*\r\nKeep-Alive: 5\r\n",
            "GET /dev HTTP/1.1\r\nHost: relay\r\nAccept: */*\r\n",
            "relay",
        ),
        (
            "GET / HTTP/1.1\r\nTE: trailers\r\nHost: dev.relay.example\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=x\r\n",
            "GET / HTTP/1.1\r\nHost: dev.relay.example\r\n",
            "dev.relay.example",
        ),
        (
            "GET http://dev.relay.example/x HTTP/1.1\r\nAccept: */*\r\nHost: other\r\n",
            "GET /x HTTP/1.1\r\nHost: dev.relay.example\r\nAccept: */*\r\n",
            "dev.relay.example",
        ),
        (
            "GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: host, content-length, authorization\r\nAuthorization: x\r\n",
            "GET /dev HTTP/1.1\r\nHost: relay\r\nAuthorization: x\r\n",
            "relay",
        ),
        ("\r\n\r\nGET /dev HTTP/1.1\r\nHost: relay\r\n", "GET /dev HTTP/1.1\r\nHost: relay\r\n", "relay"),
    ] {
        let mut client = server.client(format!("{sent}\r\n"));
        gateway.expect(format!(
            "{seen}X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\n\r\n"
        ));
        gateway.send(
            "HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nX: y\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n",
        );
        client.expect("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n");
        server.await_parked(1);
    }
}

/// A gateway that asked for it gets paths without its domain; the host form has nothing to strip.
#[test]
fn the_prefix_is_stripped_on_request() {
    let server = Server::start(with_hostnames());
    for dialect in BOTH {
        for (target, host, seen) in [
            ("GET /dev/a/b?c", "relay", "/a/b?c"),
            ("POST /Dev", "relay", "/"),
            ("GET /dev/", "relay", "/"),
            ("POST /dev?q", "relay", "/?q"),
            ("GET http://relay/dev/a", "relay", "/a"),
            ("GET /dev//a", "relay", "/a"),
            ("GET /dev///", "relay", "/"),
            ("GET /dev/a", "dev.example", "/dev/a"),
        ] {
            let mut gateway = strips(&server, dialect);
            let (method, path) = target.split_once(' ').unwrap();
            let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
            let mut client = server.client(format!("{target} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n"));
            let seen = dialect.seen(&format!("{method} {seen} HTTP/1.1\r\nHost: {host}\r\n{length}"), true);
            let seen = String::from_utf8(seen).unwrap();
            let prefix = match host {
                "relay" if path.starts_with("/Dev") => "X-Forwarded-Prefix: /Dev\r\n",
                "relay" => "X-Forwarded-Prefix: /dev\r\n",
                _ => "",
            };
            let claims = format!("X-Forwarded-Host: {host}\r\n{prefix}");
            gateway.expect(seen.replace("X-Forwarded-Host: relay\r\n", &claims));
            gateway.send(ok("x"));
            client.expect(ok("x"));
            drop((gateway, client));
            server.await_parked(0);
        }
    }
}

/// A gateway of `dev` that wants paths without it.
fn strips(server: &Server, dialect: Dialect) -> Peer {
    let mut gateway = server.connect();
    match dialect {
        Dialect::Ptth => {
            gateway.send(ptth_get("dev", "X-Relay-Strip-Prefix: 1\r\n"));
            gateway.expect(PTTH_101);
        }
        Dialect::Classic => {
            let post = classic_post("dev");
            gateway.send(post.replace("Host: relay\r\n", "Host: relay\r\nX-Relay-Strip-Prefix: 1\r\n"));
            server.await_parked(1);
        }
    }
    gateway
}

/// A browser that asks such a gateway for its name alone is sent to the path below it, or its relative links would
/// lead beside it. The gateway hears nothing of that, and the connection is kept.
#[test]
fn a_name_alone_gets_its_slash() {
    let server = Server::start(with_hostnames());
    let redirect = |location: &str, connection: &str| {
        format!(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n"
        )
    };
    for dialect in BOTH {
        let mut gateway = strips(&server, dialect);
        let mut client = server.connect();
        for (line, location) in
            [("GET /dev", "./dev/"), ("HEAD /dev?q=/x", "./dev/?q=/x"), ("GET http://relay/Dev?", "./Dev/?")]
        {
            client.send(format!("{line} HTTP/1.1\r\nHost: relay\r\n\r\n"));
            client.expect(redirect(location, "keep-alive"));
        }
        client.send("GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
        client.expect(redirect("./dev/", "close"));
        client.expect_end();
        let mut client = server.client("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        let seen = String::from_utf8(dialect.seen("GET / HTTP/1.1\r\nHost: relay\r\n", true)).unwrap();
        let host = "X-Forwarded-Host: relay\r\n";
        gateway.expect(seen.replace(host, &format!("{host}X-Forwarded-Prefix: /dev\r\n")));
        gateway.send(ok("x"));
        client.expect(ok("x"));
        drop((gateway, client));
        server.await_parked(0);
    }
}

/// The relay's own name is no domain, and requests that name none are told so.
#[test]
fn requests_without_a_domain_are_refused() {
    let server = Server::start(with_hostnames());
    let mut client = server.connect();
    for (target, host) in [("/", "relay.example"), ("/?dev", "relay"), ("//dev", "relay"), ("/", ".example")] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.expect(Refusal::NoDomain.kept());
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: relay.example\r\n\r\n");
    client.expect(Refusal::NoDomain.kept());
    let long = "x".repeat(256);
    client.send(format!("GET /{long}/ HTTP/1.1\r\nHost: relay\r\n\r\n"));
    client.expect(Refusal::DomainTooLong.kept());
    client.send("GET /a@b/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    client.expect(Refusal::BadDomain.kept());
}

/// A URL as the target becomes a path for classic gateways, too, and the `Host` they get is the URL's; empty lines in
/// front do not reach them.
#[test]
fn classic_gateways_get_paths() {
    let server = Server::start(with_hostnames());
    for (request, seen) in [
        (
            "GET http://dev.relay.example/x HTTP/1.1\r\nA: b\r\nHost: evil\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: dev.relay.example\r\nA: b\r\n\r\n",
        ),
        (
            "GET http://dev.relay.example HTTP/1.1\r\nHost: dev.relay.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: dev.relay.example\r\n\r\n",
        ),
        ("GET http://relay/dev/x HTTP/1.0\r\n\r\n", "GET /dev/x HTTP/1.0\r\nHost: relay\r\n\r\n"),
        ("\r\n\r\nGET /dev/ HTTP/1.0\r\n\r\n", "GET /dev/ HTTP/1.0\r\n\r\n"),
    ] {
        let mut gateway = server.classic("dev");
        let mut client = server.client(request);
        gateway.expect(CLASSIC_101);
        gateway.expect(seen);
        gateway.send(ok("x"));
        client.expect(ok("x"));
        drop((client, gateway));
        server.await_parked(0);
    }
}
