//! Stopping it: the first signal lets sessions finish, the second does not.
use crate::support::{
    Peer, eventually,
    peers::*,
    process::{Process, Watchdog, ringback},
};
use rustix::process::Signal;

fn gateway(relay: &Process, dialect: Dialect, domain: &str) -> Peer {
    let mut gateway = relay.connect();
    match dialect {
        Dialect::Classic => gateway.send(classic_post(domain)),
        Dialect::Ptth => {
            gateway.send(ptth_get(domain, ""));
            gateway.expect(PTTH_101);
        }
    }
    gateway
}

/// The head of the request that a gateway gets, which a classic one is told of first.
fn request(gateway: &mut Peer, dialect: Dialect) -> String {
    if dialect == Dialect::Classic {
        gateway.expect(CLASSIC_101);
    }
    gateway.head()
}

/// A client in the middle of a response, and its gateway.
fn in_session(relay: &Process, dialect: Dialect) -> (Peer, Peer) {
    let mut gateway = gateway(relay, dialect, "dev");
    let mut client = relay.connect();
    client.send(get("/dev/") + "\r\n");
    gateway.expect(dialect.seen(&get("/dev/"), true));
    gateway.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    (client, gateway)
}

/// With nothing under way, a signal ends it at once and well.
#[test]
fn an_idle_relay_ends() {
    let _watchdog = Watchdog::watch();
    for signal in [Signal::TERM, Signal::INT] {
        let relay = Process::relay(&["--drain", "1h"]);
        let mut idle = relay.connect();
        let mut parked = gateway(&relay, Dialect::Ptth, "dev");
        relay.signal(signal);
        parked.expect_gone();
        idle.expect_gone();
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
        assert!(complaints.contains("once more stops at once"), "{complaints}");
    }
}

/// Parked gateways are released, nobody is accepted any more, and the session under way finishes: exit code 0.
#[test]
fn a_signal_drains() {
    let _watchdog = Watchdog::watch();
    for dialect in BOTH {
        let mut relay = Process::relay(&["--drain", "1h", "--client-wait", "1h"]);
        let (mut client, mut busy) = in_session(&relay, dialect);
        let mut parked = [gateway(&relay, dialect, "other"), gateway(&relay, dialect, "third")];
        relay.signal(Signal::TERM);
        for gateway in &mut parked {
            gateway.expect_gone();
        }
        assert!(std::net::TcpStream::connect(relay.address()).is_err(), "it still accepts");
        assert!(relay.runs(), "a session is under way");
        busy.send("world");
        client.expect("world");
        client.expect_end();
        busy.expect_gone();
        drop((client, busy));
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
    }
}

/// A session that does not finish is ended when its time is up: exit code 0, and its client is not told that it has
/// the whole.
#[test]
fn a_drain_has_an_end() {
    let _watchdog = Watchdog::watch();
    for dialect in BOTH {
        let relay = Process::relay(&["--drain", "200ms"]);
        let (mut client, mut gateway) = in_session(&relay, dialect);
        relay.signal(Signal::TERM);
        let (more, reset) = client.until_gone();
        assert!(more.is_empty() && reset);
        gateway.expect_gone();
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
    }
}

/// A drain gives tunnels and upgraded connections a time of their own: silent ones do not hold it up, while a request in
/// progress still finishes.
#[test]
fn a_drain_ends_tunnels_before() {
    let _watchdog = Watchdog::watch();
    for dialect in BOTH {
        let mut relay = Process::relay(&["--drain", "1h", "--drain-tunnels", "100ms"]);
        let mut far = gateway(&relay, dialect, "far");
        let mut tunnel = relay.connect();
        tunnel.send("CONNECT /far HTTP/1.1\r\nHost: relay\r\n\r\n");
        assert!(request(&mut far, dialect).starts_with("CONNECT "));
        far.send("HTTP/1.1 200 OK\r\n\r\nhello");
        tunnel.expect("HTTP/1.1 200 OK\r\n\r\nhello");
        let mut socket = gateway(&relay, dialect, "socket");
        let mut browser = relay.connect();
        browser.send(get("/socket/") + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(request(&mut socket, dialect).contains("websocket"));
        socket.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(browser.head().contains(" 101 "));
        let (mut client, mut busy) = in_session(&relay, dialect);
        relay.signal(Signal::TERM);
        for peer in [&mut tunnel, &mut far, &mut browser, &mut socket] {
            peer.expect_gone();
        }
        assert!(relay.runs(), "a request is under way");
        busy.send("world");
        client.expect("world");
        client.expect_end();
        drop((client, busy));
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
    }
}

/// Right after its start a relay has clients wait for domains that have not registered yet, as far as their patience goes.
#[test]
fn a_fresh_relay_has_clients_wait() {
    let _watchdog = Watchdog::watch();
    for shards in ["1", "2"] {
        let relay = ["relay", "--listen", "127.0.0.1:0", "--client-wait", "1h", "--cores", shards];
        let relay = Process::become_of(ringback(&relay));
        let mut client = relay.connect();
        client.send(get("/dev/") + "\r\n");
        relay.signal(Signal::USR1);
        eventually("the client waits", || {
            relay.signal(Signal::USR1);
            relay.complaints().contains("total: connections=1 parked=0 domains=1 sessions=1 ")
        });
        let mut gateway = gateway(&relay, Dialect::Ptth, "dev");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        gateway.send(ok("hi"));
        client.expect(ok("hi"));
    }
    // Nobody has come, or nobody is waited for: the refusal does not say that the gateway has been there.
    for options in [["--client-wait", "50ms", "--start-grace", "1h"], ["--client-wait", "1h", "--start-grace", "0s"]] {
        let relay = Process::relay(&options);
        let mut client = relay.connect();
        client.send(get("/dev/") + "\r\n");
        assert!(client.head().contains("X-Relay-Error: no-gateway"));
    }
}

/// A second signal, a second later or more, stops at once, whatever is under way: exit code 0.
#[test]
fn a_second_signal_stops_at_once() {
    let _watchdog = Watchdog::watch();
    for dialect in BOTH {
        let relay = Process::relay(&["--drain", "1h"]);
        let (mut client, mut gateway) = in_session(&relay, dialect);
        relay.signal(Signal::TERM);
        relay.await_complaint("once more stops at once");
        eventually("a later signal stops it", || {
            relay.signal(Signal::TERM);
            relay.complaints().contains("stopping at once")
        });
        let (more, reset) = client.until_gone();
        assert!(more.is_empty() && reset);
        gateway.expect_gone();
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
        assert!(complaints.contains("stopping at once"), "{complaints}");
    }
}

/// Two signals in a row, as from a supervisor that signals a process and its group, are one: what is under way goes on.
#[test]
fn a_doubled_signal_is_one() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&["--drain", "1h"]);
    let (mut client, mut gateway) = in_session(&relay, Dialect::Ptth);
    relay.signal(Signal::TERM);
    relay.signal(Signal::INT);
    relay.await_complaint("once more stops at once");
    gateway.send("world");
    client.expect("world");
    let (status, _, complaints) = relay.ends();
    assert_eq!(status.code(), Some(0), "{complaints}");
    assert!(!complaints.contains("stopping at once"), "{complaints}");
}

/// A relay that was stopped leaves its port to the next one, also when connections were open.
#[test]
fn a_successor_gets_the_port() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let address = relay.address().to_string();
    let _session = in_session(&relay, Dialect::Ptth);
    drop(relay);
    let next = Process::at(&address);
    assert_eq!(next.address().to_string(), address);
    drop(in_session(&next, Dialect::Classic));
}

/// SIGUSR1 has each shard say what it holds, and ends nothing.
#[test]
fn it_says_what_it_holds() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let (mut client, mut busy) = in_session(&relay, Dialect::Ptth);
    relay.signal(Signal::USR1);
    relay.await_complaint("shard 0: connections=2 parked=0 domains=1 sessions=1 ");
    relay.await_complaint(" registered=1 requests=1 ");
    relay.await_complaint("total: connections=2 parked=0 domains=1 sessions=1 ");
    assert!(relay.complaints().contains("ringback: report at 20") && relay.complaints().contains("Z, up 0h00m"));
    busy.send("world");
    client.expect("world");
}
