//! Who is not let in costs the relay next to nothing.
use crate::support::{peers::*, *};
use ringback::relay::Config;
use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr},
    thread,
};

/// Of a burst of a thousand connections, when ten a second are let in, hardly any is open in the relay at any time: the
/// others wait in the backlog. With two shards no more are.
#[test]
fn a_burst_beyond_the_rate() {
    const RATE: u32 = 10;
    const BURST: usize = 1000;
    for config in [config(), two_shards()] {
        let server = Server::start(Config { max_accepts_per_second: RATE, ..config });
        let mut most = 0;
        let mut burst = Vec::new();
        for _ in 0..BURST {
            burst.push(server.try_connect());
            most = most.max(server.relay().connections());
        }
        let accepted = || server.count(|counters| counters.accepted.value());
        // A second's worth at once, and some of the next two seconds.
        while accepted() < u64::from(RATE) * 2 + 5 {
            most = most.max(server.relay().connections());
            thread::yield_now();
        }
        assert!(most <= 10 * RATE as usize, "{most} connections at a time");
    }
}

/// The limit of a source is its IPv6 network's: addresses of one machine's loopback are one source, whichever shard.
#[test]
fn connections_of_an_ipv6_network() {
    let any = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    match std::net::TcpListener::bind(any) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return eprintln!("no IPv6 here"),
        _ => {}
    }
    let server = Server::start(Config { listen: vec![any], max_connections_per_address: 4, ..two_shards() });
    let mut clients: Vec<Peer> = (0..40).filter_map(|_| server.try_connect()).collect();
    let mut admitted = 0;
    for client in &mut clients {
        client.try_send(get("/nobody/") + "\r\n");
        admitted += usize::from(client.try_head().is_ok_and(|head| head.starts_with("HTTP/1.1 504")));
    }
    assert_eq!(admitted, 4);
}

/// More streams than the kernel has buffers for at first: it is given more, and after that hardly one of them finds none.
#[test]
fn more_streams_than_buffers_in_the_ring() {
    use crate::{scene::connect, support::process::Process};
    const TUNNELS: usize = 600;
    const ROUNDS: usize = 12;
    let relay = Process::relay(&["--buffers", "4096"]);
    let mut tunnels: Vec<(Peer, Peer)> = (0..TUNNELS)
        .map(|n| {
            let mut gateway = relay.connect();
            gateway.send(ptth_get(&format!("dev{n}"), ""));
            gateway.expect(PTTH_101);
            let mut client = relay.connect();
            client.send(connect(&format!("dev{n}")));
            gateway.head();
            gateway.send("HTTP/1.1 200 OK\r\n\r\n");
            client.expect("HTTP/1.1 200 OK\r\n\r\n");
            for _ in 0..20 {
                client.send("warm");
                gateway.expect("warm");
            }
            (client, gateway)
        })
        .collect();
    for _ in 0..ROUNDS {
        relay.signal(rustix::process::Signal::STOP);
        for (client, _) in &mut tunnels {
            client.send("all at once");
        }
        relay.signal(rustix::process::Signal::CONT);
        for (_, gateway) in &mut tunnels {
            gateway.expect("all at once");
        }
    }
    relay.signal(rustix::process::Signal::USR1);
    relay.await_complaint(" starved=");
    relay.await_complaint(" spliced=");
    let report = relay.complaints();
    let starved: usize = number(&report, " starved=");
    let streaming: usize = number(&report, " streaming=");
    eprintln!("{streaming} stream, {starved} found no buffer");
    assert!(starved <= 2 * TUNNELS, "{starved} of {} receives found no buffer", TUNNELS * ROUNDS);
}

fn number(report: &str, name: &str) -> usize {
    let (_, rest) = report.split_once(name).expect("it is reported");
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Limits that refuse nobody in words are counted, too: silence, long response heads, missing pipes, pauses.
#[test]
fn silent_limits_are_counted() {
    let soon = std::time::Duration::from_millis(50);
    let server = Server::start(Config {
        head_timeout: soon,
        max_response_head_bytes: 1000,
        max_response_headers: 10,
        pipes: 0,
        max_accepts_per_second: 20,
        ..config()
    });
    let counted = |counter: fn(&ringback::relay::counters::Counters) -> u64| server.count(counter);
    server.connect().expect_end();
    assert_eq!(counted(|counters| counters.idle.value()), 1);
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "A: b\r\n".repeat(10));
    for (answer, nth) in [(long, 1), (many, 2)] {
        let mut gateway = server.ptth("dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.head();
        gateway.send(answer);
        assert!(client.head().starts_with("HTTP/1.1 502 "));
        assert_eq!(counted(|counters| counters.over_response_head.value()), nth);
    }
    let mut gateway = server.ptth("dev");
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.head();
    let (mut sends, body) = (gateway.split(), vec![b'x'; 1 << 20]);
    let expected = body.clone();
    let sending = thread::spawn(move || {
        sends.send("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
        sends.send(body);
    });
    client.head();
    client.expect(expected);
    sending.join().unwrap();
    assert!(counted(|counters| counters.no_pipe.value()) > 0);
    let _burst: Vec<_> = (0..50).map(|_| server.try_connect()).collect();
    eventually("accepting pauses", || counted(|counters| counters.accept_paused.value()) > 0);
}

/// A response head beyond what any may have is counted like one beyond the limits, in both dialects.
#[test]
fn endless_response_heads_are_counted() {
    let server = Server::start(config());
    for (dialect, nth) in [(Dialect::Ptth, 1), (Dialect::Classic, 2)] {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        gateway.try_send(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(70_000)));
        assert!(client.head().starts_with("HTTP/1.1 502 "));
        assert_eq!(server.count(|counters| counters.over_response_head.value()), nth);
    }
}
