//! Connections and registrations that are one too many, or too fast.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[Refusal::TooManyConnections];

/// A client whose source is this address of the loopback network.
fn from(server: &Server, host: u8) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
    socket.bind(&source.into()).expect("every 127.x.x.x is ours");
    socket.connect(&server.address().into()).expect("the relay accepts");
    Peer::new(TcpStream::from(socket))
}

/// Whether a connection is admitted: asks for what nobody serves, and looks at who refuses that.
#[track_caller]
fn is_admitted(client: &mut Peer) -> bool {
    client.try_send(get("/nobody/") + "\r\n");
    let refusal = client.take(12);
    match refusal.as_slice() {
        b"HTTP/1.1 504" => {
            client.expect(&Refusal::NoGateway.kept()[12..]);
            true
        }
        _ => {
            assert_eq!(show(&refusal), show(b"HTTP/1.1 503"));
            client.expect(&Refusal::TooManyConnections.closing()[12..]);
            client.expect_end();
            false
        }
    }
}

/// The relay takes so many connections, gateways included, and another one when one has gone. Who is refused learns
/// it without having asked, and disturbs nobody.
#[test]
fn connections_in_total() {
    for config in [config(), two_shards()] {
        let server = Server::start(Config { connections_max: 3, ..config });
        let mut gateway = server.ptth("dev");
        let mut clients = [server.connect(), server.connect()];
        for client in &mut clients {
            assert!(is_admitted(client));
        }
        for n in 1..=5 {
            let mut refused = server.connect();
            refused.expect(Refusal::TooManyConnections.closing());
            refused.expect_end();
            drop(refused);
            eventually("the refused one has gone", || server.relay().connections() == 3);
            assert_eq!(server.count(|counters| counters.over_connections.value()), n);
            assert_eq!(server.count(|counters| counters.refused(Refusal::TooManyConnections).value()), n);
        }
        let [mut client, gone] = clients;
        client.send(get("/dev/") + "\r\n");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        gateway.send(ok("x"));
        client.expect(ok("x"));
        drop(gone);
        eventually("one has gone", || server.relay().connections() == 2);
        assert!(is_admitted(&mut server.connect()));
    }
}

/// A refused gateway gets the same answer, whatever its dialect.
#[test]
fn a_gateway_too_many() {
    let server = Server::start(Config { connections_max: 1, ..config() });
    let _client = server.connect();
    eventually("it is there", || server.relay().connections() == 1);
    for registration in [classic_post("dev"), ptth_get("dev", "")] {
        let mut gateway = server.connect();
        gateway.try_send(registration);
        gateway.expect(Refusal::TooManyConnections.closing());
        gateway.expect_end();
        drop(gateway);
        eventually("it has gone", || server.relay().connections() == 1);
    }
    assert_eq!(server.held().parked, 0);
}

/// An address gets so many connections on a shard, and one back when one goes; others do not notice.
#[test]
fn connections_of_one_address() {
    let server = Server::start(Config { connections_per_address: 2, ..config() });
    let mut clients = [from(&server, 2), from(&server, 2), from(&server, 3), from(&server, 3)];
    for client in &mut clients {
        assert!(is_admitted(client));
    }
    for host in [2, 3, 2, 3] {
        assert!(!is_admitted(&mut from(&server, host)));
    }
    assert!(is_admitted(&mut from(&server, 4)));
    assert_eq!(server.count(|counters| counters.over_address.value()), 4);
    let [first, ..] = clients;
    drop(first);
    eventually("one has gone", || server.relay().connections() == 3);
    assert!(is_admitted(&mut from(&server, 2)));
    assert!(!is_admitted(&mut from(&server, 3)));
}

/// An address gets so many new connections a second: sooner or later one is refused, meanwhile others are not, and
/// later it is welcome again.
#[test]
fn new_connections_of_one_address() {
    let server = Server::start(Config { accepts_per_address: 5, ..config() });
    eventually("the burst is used up", || !is_admitted(&mut from(&server, 2)));
    assert!(is_admitted(&mut from(&server, 3)));
    assert!(server.count(|counters| counters.over_address.value()) > 0);
    eventually("time brings another", || is_admitted(&mut from(&server, 2)));
}

/// A shard takes so many new connections a second, of all addresses together.
#[test]
fn new_connections_of_all() {
    let server = Server::start(Config { accepts_per_second: 5, ..config() });
    let hosts = std::cell::Cell::new(2);
    let next = || {
        hosts.set(2 + hosts.get() % 250);
        is_admitted(&mut from(&server, hosts.get()))
    };
    eventually("the burst is used up", || !next());
    assert!(server.count(|counters| counters.over_accept_rate.value()) > 0);
    eventually("time brings another", next);
}

/// A shard takes so many registrations a second, of all domains together; both dialects are told when to come back,
/// and their connection ends with that.
#[test]
fn registrations() {
    let server = Server::start(Config { registrations_per_second: 2, ..config() });
    for dialect in BOTH {
        let mut kept = Vec::new();
        loop {
            let refused = || server.count(|counters| counters.over_registration_rate.value());
            let (before, before_refused) = (server.held().parked, refused());
            let mut gateway = server.client(match dialect {
                Dialect::Classic => classic_post("dev"),
                Dialect::Ptth => ptth_get("dev", ""),
            });
            eventually("it is parked or put off", || {
                server.held().parked > before || refused() > before_refused || kept.len() > 200
            });
            if server.held().parked == before {
                gateway.expect("HTTP/1.1 429 \r\nRetry-After: 1\r\n\r\n");
                gateway.expect_end();
                break;
            }
            kept.push(gateway);
            assert!(kept.len() < 200, "no limit");
        }
        drop(kept);
        server.await_parked(0);
    }
}
