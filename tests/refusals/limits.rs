//! Connections and registrations that are one too many, or too fast.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[
    Refusal::TooManyConnections,
    Refusal::TooManyFromAddress,
    Refusal::MemoryFull,
    Refusal::LengthForClassic,
    Refusal::BadProxyHeader,
];

/// With as many bytes held for others as may be, nothing new begins, and what was begun goes on; when they are gone,
/// all is well again.
#[test]
fn bytes_held_for_others() {
    let server = Server::start(Config { max_memory: 1, ..config() });
    let mut gateway = server.ptth("dev");
    let mut slow = server.client("GET /dev/slow HT");
    eventually("its head is collected", || server.held().held > 0);
    let mut other = server.client(get("/dev/other") + "\r\n");
    other.expect(Refusal::MemoryFull.kept());
    let mut begun = server.client("GET /dev/begun HT");
    begun.expect(Refusal::MemoryFull.closing());
    begun.expect_end();
    assert_eq!(server.count(|counters| counters.over_memory.value()), 2);
    slow.send("TP/1.1\r\nHost: relay\r\n\r\n");
    slow.expect(Refusal::MemoryFull.kept());
    other.send(get("/dev/again") + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&get("/dev/again"), true));
    gateway.send(ok("x"));
    other.expect(ok("x"));
}

/// A classic gateway, which counts in 31 bits, is not sent a body that it could not count, unless that is wanted.
#[test]
fn lengths_for_classic_gateways() {
    for (wanted, length) in [(false, 1u64 << 31), (true, 1 << 31), (false, (1 << 31) - 1)] {
        let server = Server::start(Config { classic_long_lengths: wanted, ..config() });
        let mut gateway = server.classic("dev");
        let head = format!("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\n");
        let mut client = server.client(format!("{head}\r\n"));
        if wanted || length < 1 << 31 {
            gateway.expect(Dialect::Classic.seen(&head, true));
        } else {
            client.expect(Refusal::LengthForClassic.closing());
            client.expect_end();
            let mut next = server.client(get("/dev/") + "\r\n");
            gateway.expect(Dialect::Classic.seen(&get("/dev/"), true));
            gateway.send(ok("x"));
            next.expect(ok("x"));
        }
    }
}

/// Only from trusted peers is a PROXY header read: the client is whom it names, in pieces or not, in both versions, and
/// a malformed one is refused. Others' claims about the hops before them are replaced.
#[test]
fn proxy_headers() {
    let server = Server::start(Config { trusted_proxies: vec!["127.0.0.7".parse().unwrap()], ..config() });
    let mut gateway = server.ptth("dev");
    let request = "GET /dev/ HTTP/1.1\r\nHost: relay\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    let version_1 = b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 80\r\n".to_vec();
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc0\0\x02\x01\x13\x88\0\x50".to_vec();
    let cases = [
        (7, version_1, "192.0.2.9"),
        (7, version_2, "192.0.2.9"),
        (7, vec![], "1.2.3.4, 127.0.0.7"),
        (8, vec![], "127.0.0.8"),
    ];
    for (host, header, forwarded_for) in cases {
        for step in [1, 1000] {
            let mut client = from(&server, host);
            let bytes = [&header[..], request.as_bytes()].concat();
            for piece in bytes.chunks(step) {
                client.send(piece);
            }
            let seen = gateway.head();
            assert!(seen.contains(&format!("\r\nX-Forwarded-For: {forwarded_for}\r\n")), "{seen}");
            assert_eq!(seen.matches("X-Forwarded-For").count(), 1, "{seen}");
            gateway.send(ok("x"));
            client.expect(ok("x"));
        }
    }
    let mut client = from(&server, 7);
    client.send("PROXY TCP4 nonsense\r\n");
    client.expect(Refusal::BadProxyHeader.closing());
    let mut client = from(&server, 8);
    client.send("PROXY TCP4 192.0.2.9 192.0.2.1 5000 80\r\n\r\n");
    client.expect(Refusal::BadRequestLine.closing());
}

/// A client whose source is this address of the loopback network.
pub fn from(server: &Server, host: u8) -> Peer {
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
    let Some(refusal) = client.try_take(12) else {
        // Only a few of those that are refused are told so; the others are reset.
        return false;
    };
    match refusal.as_slice() {
        b"HTTP/1.1 504" => {
            client.expect(&Refusal::NoGateway.kept()[12..]);
            true
        }
        _ => {
            assert_eq!(show(&refusal), show(b"HTTP/1.1 429"));
            client.expect(&Refusal::TooManyFromAddress.closing()[12..]);
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
        let server = Server::start(Config { max_connections: 3, ..config });
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
    let server = Server::start(Config { max_connections: 1, ..config() });
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

/// An address gets so many connections, and one back when one goes; others do not notice.
#[test]
fn connections_of_one_address() {
    let server = Server::start(Config { max_connections_per_address: 2, ..config() });
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

/// An address gets so many new connections per second: sooner or later one is refused, meanwhile others are not, and
/// later it is welcome again.
#[test]
fn new_connections_of_one_address() {
    let server = Server::start(Config { max_accepts_per_address: 5, ..config() });
    eventually("the burst is used up", || !is_admitted(&mut from(&server, 2)));
    assert!(is_admitted(&mut from(&server, 3)));
    assert!(server.count(|counters| counters.over_address.value()) > 0);
    eventually("time brings another", || is_admitted(&mut from(&server, 2)));
}

/// The relay takes so many new connections per second, of all addresses together. The others wait in the backlog until
/// their time has come: none is refused.
#[test]
fn new_connections_of_all() {
    let server = Server::start(Config { max_accepts_per_second: 5, ..config() });
    let hosts = std::cell::Cell::new(2);
    let next = || {
        hosts.set(2 + hosts.get() % 250);
        is_admitted(&mut from(&server, hosts.get()))
    };
    for _ in 0..10 {
        assert!(next());
    }
    assert_eq!(server.count(|counters| counters.refused(Refusal::TooManyConnections).value()), 0);
}

/// The relay takes so many registrations per second, of all domains together; both dialects are told when to come back,
/// and their connection ends with that.
#[test]
fn registrations() {
    let server = Server::start(Config { max_registrations_per_second: 2, ..config() });
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
                gateway.expect("HTTP/1.1 429 \r\nRetry-After: 1\r\nX-Relay-Error: registration-rate\r\n\r\n");
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
