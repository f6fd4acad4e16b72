//! Several origins in one registration: all of them reach its connection, on one shard and on two.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// Rounds of a test with two shards, on which a connection may land as the kernel likes.
const ROUNDS: usize = 12;

/// Where a gateway registers these hosts.
fn list(hosts: &[&str]) -> String {
    let origins: Vec<_> = hosts.iter().map(|host| format!("https%3A%2F%2F{host}")).collect();
    format!(".well-known/ptth/{}/", origins.join(","))
}

/// A relay with a name of its own, where clients have time.
fn relays() -> [Config; 2] {
    let patient =
        |config| Config { hostnames: vec!["relay.example".into()], client_wait: Duration::from_secs(60), ..config };
    [patient(config()), patient(two_shards())]
}

/// The head of a request up to its blank line.
fn to(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n")
}

/// What a gateway receives for it.
fn seen(dialect: Dialect, head: &str, host: &str, first: bool) -> String {
    let seen = String::from_utf8(dialect.seen(head, first)).expect("text");
    seen.replace("-Host: relay\r", &format!("-Host: {host}\r"))
}

/// A `ptth` gateway gets a client's request and answers it.
#[track_caller]
fn serve(gateway: &mut Peer, client: &mut Peer, target: &str, host: &str) {
    gateway.expect(seen(Dialect::Ptth, &to(target, host), host, true));
    gateway.send(ok(host));
    client.expect(ok(host));
}

/// A client that waits for a gateway.
fn waiting(server: &Server, target: &str, host: &str) -> Peer {
    let before = server.held().sessions;
    let client = server.client(to(target, host) + "\r\n");
    eventually("the client waits", || server.held().sessions == before + 1);
    client
}

/// Every name of a list reaches its connection, whether a client names it by host or by path, and whichever shard the
/// client has come to; a name that is not in it does not.
#[test]
fn every_name_reaches_the_connection() {
    let hosts = ["one.relay.example", "Two.relay.example", "backend.example.com%3A8443"];
    let requests = [
        ("/", "one.relay.example"),
        ("/x?y", "two.RELAY.example:80"),
        ("/", "backend.example.com:8443"),
        ("/one/x", "relay"),
        ("/two/", "relay"),
    ];
    for config in relays() {
        let server = Server::start(config);
        for dialect in BOTH {
            for _ in 0..ROUNDS {
                let mut gateway = server.gateway(dialect, &list(&hosts));
                let mut client = server.connect();
                for (n, (target, host)) in requests.into_iter().enumerate() {
                    client.send(to(target, host) + "\r\n");
                    gateway.expect(seen(dialect, &to(target, host), host, n == 0));
                    gateway.send(ok(target));
                    client.expect(ok(target));
                }
                let mut stranger = server.client(to("/", "three.relay.example") + "\r\n");
                stranger.expect(Refusal::NoGateway.kept());
                drop((client, gateway));
                server.await_parked(0);
            }
        }
    }
}

/// A client that waits for one of the names, since before any gateway had registered the list, is served by the
/// connection that does; wherever either has come to.
#[test]
fn a_client_that_waited_for_a_name_is_served() {
    for config in relays() {
        let server = Server::start(config);
        for round in 0..ROUNDS {
            let (first, second) = (format!("a{round}.relay.example"), format!("b{round}.relay.example"));
            drop(server.ptth(&list(&[&second])));
            server.await_parked(0);
            let mut client = waiting(&server, "/", &second);
            let mut gateway = server.ptth(&list(&[&first, &second]));
            serve(&mut gateway, &mut client, "/", &second);
            let mut client = server.client(to("/", &first) + "\r\n");
            serve(&mut gateway, &mut client, "/", &first);
            drop((client, gateway));
            server.await_parked(0);
        }
    }
}

/// Clients that wait for a name keep their order when a list takes the name over, also if they are too many for one turn.
#[test]
fn waiting_clients_keep_their_order() {
    let [config, _] = relays();
    let server = Server::start(config);
    drop(server.ptth("one"));
    server.await_parked(0);
    let mut clients: Vec<Peer> = (0..40).map(|n| waiting(&server, &format!("/one/{n}"), "relay")).collect();
    let mut gateway = server.ptth(&list(&["two.relay.example", "one.relay.example"]));
    for (n, client) in clients.iter_mut().enumerate() {
        serve(&mut gateway, client, &format!("/one/{n}"), "relay");
    }
}

/// While a list stands, a registration of one of its names, or of another list with one of them, is refused by name,
/// on whichever shard; the same list in another order is not, and both connections serve it.
#[test]
fn overlaps_are_refused() {
    for config in relays() {
        let server = Server::start(config);
        let (one, two, three) = ("one.relay.example", "two.relay.example", "three.relay.example");
        let mut gateways = vec![server.ptth(&list(&[one, two]))];
        for _ in 0..ROUNDS {
            for place in ["one".to_owned(), "two".into(), list(&[two]), list(&[three, two]), list(&[one, two, three])] {
                let mut refused = server.client(ptth_get(&place, ""));
                refused.expect(Refusal::OriginsOverlap.closing());
                refused.expect_end();
            }
            let other = server.ptth("three");
            let mut refused = server.client(classic_post(&list(&[three, "four.relay.example"])));
            refused.expect(Refusal::OriginsOverlap.closing());
            let mut client = server.client(to("/", "four.relay.example") + "\r\n");
            client.expect(Refusal::NoGateway.kept());
            drop(other);
            server.await_parked(1);
        }
        gateways.push(server.ptth(&list(&[two, one])));
        server.await_parked(2);
        let mut clients: Vec<Peer> = [one, two].iter().map(|host| server.client(to("/", host) + "\r\n")).collect();
        let heads: Vec<String> = gateways.iter_mut().map(Peer::head).collect();
        assert!([one, two].iter().all(|host| heads.iter().any(|head| head.contains(&format!("Host: {host}\r\n")))));
        gateways.iter_mut().for_each(|gateway| gateway.send(ok("x")));
        clients.iter_mut().for_each(|client| client.expect(ok("x")));
    }
}

/// When the last connection of a list has gone, its names are free again: a registration of one of them takes that one
/// and leaves the others as they were, and each client goes on waiting for its own.
#[test]
fn a_list_without_connections_gives_its_names_away() {
    for config in relays() {
        let server = Server::start(config);
        let (one, two, three) = ("one.relay.example", "two.relay.example", "three.relay.example");
        for _ in 0..ROUNDS {
            drop(server.ptth(&list(&[one, two, three])));
            server.await_parked(0);
            let mut for_two = waiting(&server, "/", two);
            let mut for_one = waiting(&server, "/", one);
            let mut alone = server.ptth("one");
            serve(&mut alone, &mut for_one, "/", one);
            alone.expect_silence();
            let mut rest = server.ptth(&list(&[three, two]));
            serve(&mut rest, &mut for_two, "/", two);
            drop((alone, rest));
            server.await_parked(0);
        }
    }
}

/// When the last connection of a list has gone and the grace has passed, all its names are forgotten.
#[test]
fn all_names_are_forgotten() {
    for config in relays() {
        let server = Server::start(Config { domain_grace: Duration::from_millis(100), ..config });
        let hosts: Vec<String> = (0..16).map(|n| format!("{n}.relay.example")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let (first, second) = (server.ptth(&list(&hosts)), server.ptth(&list(&hosts)));
        eventually("all names are on record", || [16, 32].contains(&server.held().domains));
        drop(first);
        server.await_parked(1);
        let mut client = server.connect();
        let mut second = second;
        client.send(to("/", hosts[15]) + "\r\n");
        serve(&mut second, &mut client, "/", hosts[15]);
        drop(second);
        eventually("they are forgotten", || server.held().domains == 0);
        for host in hosts {
            client.send(to("/", host) + "\r\n");
            client.expect(Refusal::NoGateway.kept());
        }
        let _alone = server.ptth("7");
    }
}
