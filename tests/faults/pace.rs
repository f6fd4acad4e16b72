//! The minimum rate: slow clients lose their gateway to those that wait for one, and to nobody else.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// A client that moves nothing for a twentieth of a second is too slow, and nothing else ends it.
fn with(config: Config, min_rate: u32) -> Server {
    with_grace(config, min_rate, Duration::from_millis(50))
}

fn with_grace(config: Config, min_rate: u32, min_rate_after: Duration) -> Server {
    let forever = Duration::from_secs(3600);
    Server::start(Config {
        min_rate,
        min_rate_after,
        client_wait: forever,
        session_idle: forever,
        response_timeout: forever,
        ..config
    })
}

fn too_slow(server: &Server) -> u64 {
    server.count(|counters| counters.too_slow.value())
}

/// A client that has sent the head of a request and half of its body to its gateway.
fn sends_half(server: &Server, dialect: Dialect, domain: &str) -> (Peer, Peer) {
    let mut gateway = server.gateway(dialect, domain);
    let client = server.client(format!("POST /{domain}/ HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nhello"));
    if dialect == Dialect::Classic {
        gateway.expect(CLASSIC_101);
    }
    gateway.head();
    gateway.expect("hello");
    (client, gateway)
}

/// A slow client has lost its gateway, and another client that waits gets the device's next connection.
#[track_caller]
fn yields(server: &Server, dialect: Dialect, mut slow: Peer, mut gateway: Peer) {
    let mut other = server.client(get("/dev/other") + "\r\n");
    slow.expect(Refusal::RequestTooSlow.closing());
    gateway.expect_gone();
    let mut gateway = server.gateway(dialect, "dev");
    if dialect == Dialect::Classic {
        gateway.expect(CLASSIC_101);
    }
    assert!(gateway.head().starts_with("GET /dev/other "));
    gateway.send(ok("second"));
    other.expect(ok("second"));
}

/// So much time passes that a client which has moved nothing since before this is too slow.
fn be_too_slow_for(server: &Server) {
    static USES: AtomicU32 = AtomicU32::new(0);
    let (before, domain) = (too_slow(server), format!("clock-{}", USES.fetch_add(1, Relaxed)));
    let (mut slow, _gateway) = sends_half(server, Dialect::Ptth, &domain);
    let _other = server.client(get(&format!("/{domain}/")) + "\r\n");
    slow.expect(Refusal::RequestTooSlow.closing());
    assert!(too_slow(server) > before);
}

/// Whether another client comes before the first one is too slow, or after.
#[test]
fn slow_bodies_yield_to_those_that_wait() {
    for dialect in BOTH {
        for late in [false, true] {
            let server = with(config(), 500);
            let (slow, gateway) = sends_half(&server, dialect, "dev");
            if late {
                be_too_slow_for(&server);
            }
            yields(&server, dialect, slow, gateway);
        }
    }
}

/// The same where shards differ: the one who waits and the slow one need not meet on one.
#[test]
fn slow_bodies_yield_across_shards() {
    let server = with(two_shards(), 500);
    for _ in 0..16 {
        let (slow, gateway) = sends_half(&server, Dialect::Ptth, "dev");
        yields(&server, Dialect::Ptth, slow, gateway);
        eventually("nothing is parked", || server.held().parked == 0);
    }
}

/// One client that waits takes one gateway from slow clients, not all that they have; and not one that is another domain's,
/// however many slow clients that has.
#[test]
fn one_yields_to_one() {
    const SLOW: usize = 10;
    for dialect in BOTH {
        let server = with(config(), 500);
        let _elsewhere: Vec<_> = (0..100).map(|_| sends_half(&server, dialect, "elsewhere")).collect();
        let mut slow: Vec<_> = (0..SLOW).map(|_| sends_half(&server, dialect, "dev")).collect();
        be_too_slow_for(&server);
        let before = too_slow(&server);
        let mut other = server.client(get("/dev/other") + "\r\n");
        eventually("one yields", || too_slow(&server) > before);
        let mut gateway = server.gateway(dialect, "dev");
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        gateway.send(ok("second"));
        other.expect(ok("second"));
        be_too_slow_for(&server);
        assert_eq!(too_slow(&server), before + 2, "and the clock's one");
        let mut whole = 0;
        for (client, gateway) in &mut slow {
            if gateway.is_over() {
                continue;
            }
            client.send("world");
            gateway.expect("world");
            gateway.send(ok("whole"));
            assert!(client.head().starts_with("HTTP/1.1 200 "));
            whole += 1;
        }
        assert_eq!(whole, SLOW - 1);
    }
}

/// A client that waits for a 100 before it sends its body is not slow, but it may be behind that; a client whose response
/// has begun is, if its gateway still waits for its body.
#[test]
fn who_holds_up_whom() {
    for dialect in BOTH {
        let server = with(config(), 500);
        let mut gateway = server.gateway(dialect, "dev");
        let head = "POST /dev/ HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
        let mut client = server.client(head);
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        let _waits = server.client(get("/dev/other") + "\r\n");
        be_too_slow_for(&server);
        gateway.send("HTTP/1.1 100 Continue\r\n\r\n");
        client.expect("HTTP/1.1 100 Continue\r\n\r\n");
        client.expect(Refusal::RequestTooSlow.closing());

        let server = with(config(), 500);
        let (mut client, mut gateway) = sends_half(&server, dialect, "dev");
        gateway.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        client.expect("hello");
        let _waits = server.client(get("/dev/other") + "\r\n");
        let (_, reset) = client.until_gone();
        assert!(reset);
        gateway.expect_gone();
    }
}

/// A client that takes nothing of its response is reset, so that it does not take what it has for the whole.
#[test]
fn slow_readers_yield_to_those_that_wait() {
    for dialect in BOTH {
        let server = with(config(), 500);
        let mut gateway = server.gateway(dialect, "dev");
        let mut slow = server.client(get("/dev/") + "\r\n");
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        gateway.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        slow.head();
        let mut flood = gateway.split();
        let flooding = std::thread::spawn(move || {
            // As much as there is room for, until the connection is closed.
            flood.try_send(vec![b'x'; 100_000_000]);
        });
        let _other = server.client(get("/dev/other") + "\r\n");
        flooding.join().unwrap();
        assert_eq!(too_slow(&server), 1);
        let (_, reset) = slow.until_gone();
        assert!(reset);
    }
}

/// A client that takes its response in portions, too small for the kernel to say that there is room for more, is not slow.
#[test]
fn readers_in_portions_are_not_slow() {
    let server = with_grace(config(), 500, Duration::from_secs(1));
    takes_portions(&server);
}

/// Nor is it idle where there is no minimum rate.
#[test]
fn readers_in_portions_are_not_idle() {
    let session_idle = Duration::from_secs(1);
    let server = Server::start(Config { min_rate: 0, session_idle, ..config() });
    takes_portions(&server);
}

/// A client takes little at a time of a long response, for longer than a second altogether.
fn takes_portions(server: &Server) {
    const BODY: usize = 30_000_000;
    let clock = with(config(), 500);
    let mut gateway = server.gateway(Dialect::Ptth, "dev");
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.head();
    let mut sends = gateway.split();
    let sending = std::thread::spawn(move || {
        sends.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
        sends.send(vec![b'x'; BODY]);
    });
    client.head();
    let _waits = server.client(get("/dev/other") + "\r\n");
    let mut taken = 0;
    // Many times as long as the clock takes for one portion.
    for _ in 0..30 {
        be_too_slow_for(&clock);
        taken += client.take(64 << 10).len();
    }
    assert!(client.take(BODY - taken).iter().all(|&byte| byte == b'x'));
    sending.join().unwrap();
    gateway.head();
}

/// A slow client that nobody needs to yield to is left alone, and so is a fast one whose gateway is slow.
#[test]
fn others_are_left_alone() {
    for dialect in BOTH {
        let server = with(config(), 500);
        let (mut slow, mut gateway) = sends_half(&server, dialect, "dev");
        be_too_slow_for(&server);
        slow.send("world");
        gateway.expect("world");
        gateway.send(ok("whole"));
        assert!(slow.head().starts_with("HTTP/1.1 200 "));
        slow.expect("whole");

        let mut thinks = server.gateway(dialect, "thinks");
        let mut asks = server.client("POST /thinks/ HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello");
        if dialect == Dialect::Classic {
            thinks.expect(CLASSIC_101);
        }
        thinks.head();
        thinks.expect("hello");
        let _waits = server.client(get("/thinks/") + "\r\n");
        be_too_slow_for(&server);
        thinks.send(ok("thought"));
        assert!(asks.head().starts_with("HTTP/1.1 200 "));
        asks.expect("thought");
    }
}

/// A gateway that takes nothing of a body is not its client's fault.
#[test]
fn slow_gateways_are_not_their_clients_fault() {
    let server = with(config(), 500);
    let mut gateway = server.gateway(Dialect::Ptth, "dev");
    let mut client = server.client("POST /dev/ HTTP/1.1\r\nHost: r\r\nContent-Length: 50000000\r\n\r\n");
    gateway.head();
    let mut sends = client.split();
    let sending = std::thread::spawn(move || sends.send(vec![b'x'; 50_000_000]));
    let _waits = server.client(get("/dev/") + "\r\n");
    eventually("it is under way", || server.count(|counters| counters.spliced.value()) > 0);
    be_too_slow_for(&server);
    be_too_slow_for(&server);
    assert!(gateway.take(50_000_000).iter().all(|&byte| byte == b'x'));
    sending.join().unwrap();
    gateway.send(ok("all"));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

/// Without a minimum rate nobody yields.
#[test]
fn no_rate_no_yielding() {
    let (clock, server) = (with(config(), 500), with(config(), 0));
    let (mut slow, mut gateway) = sends_half(&server, Dialect::Ptth, "dev");
    let _waits = server.client(get("/dev/") + "\r\n");
    be_too_slow_for(&clock);
    slow.send("world");
    gateway.expect("world");
    gateway.send(ok("whole"));
    assert!(slow.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(too_slow(&server), 0);
}
