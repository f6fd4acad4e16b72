//! Little room: at a gateway, in the pool, in memory.
use crate::{
    scene::*,
    support::{peers::*, *},
};
use ringback::{http::Refusal, relay::Config};
use std::{io::Write, time::Duration};

/// A client whose request's head, of which a gateway that reads nothing has taken a part, waits for room, with the
/// first bytes of its body behind it.
fn head_waits(server: &Server, domain: &str) -> (Peer, Peer) {
    let mut gateway = narrow(server.address());
    gateway.send(ptth_get(domain, ""));
    gateway.expect(PTTH_101);
    let mut client = server.connect();
    let head =
        format!("POST /{domain}/ HTTP/1.1\r\nHost: relay\r\nX: {}\r\nContent-Length: 20\r\n", "x".repeat(12_000));
    let seen = Dialect::Ptth.seen(&head, false).len() + 20;
    for round in 1.. {
        let before = server.count(|counters| counters.requests.value());
        client.send(format!("{head}\r\n{}", "y".repeat(20)));
        eventually("it is asked", || server.count(|counters| counters.requests.value()) > before);
        if under_way(&gateway) < round * seen {
            break;
        }
        assert!(round < 1000, "a gateway with endless room");
        gateway.send(ok("x"));
        client.expect(ok("x"));
    }
    (client, gateway)
}

/// A request's head waits for room at its gateway, the first of its body behind it, and buffers are short, so that all
/// that is kept outside the pool. Then the gateway resets: its client is told, and the relay goes on.
#[test]
fn a_gateway_resets_while_a_head_waits_for_room() {
    let server = Server::start(Config { buffers: 8, ..config() });
    let mut pairs: Vec<_> = (0..6).map(|n| head_waits(&server, &format!("dev{n}"))).collect();
    while let Some((mut client, gateway)) = pairs.pop() {
        gateway.reset();
        client.expect("HTTP/1.1 502 ");
    }
    let _polite = answering(server.ptth("polite"));
    let mut client = server.client(get("/polite/") + "\r\n");
    client.expect(ok("x"));
    drop(server);
}

/// Whatever posts to gateways that do not read, the bytes held for them stay below the limit, but for what a
/// connection may hold at once; who is refused for it is counted, and afterwards there is memory again.
#[test]
fn posts_to_gateways_that_do_not_read() {
    const LIMIT: usize = 1 << 20;
    const CLIENTS: usize = 100;
    let server = Server::start(Config { buffers: 16, max_memory: LIMIT as u64, splice_min: u64::MAX, ..config() });
    let mut most = 0;
    let mut refused = 0;
    let mut pairs = Vec::new();
    for n in 0..CLIENTS {
        let gateway = narrow(server.address());
        let mut stream = gateway.stream();
        stream.write_all(ptth_get(&format!("dev{n}"), "").as_bytes()).unwrap();
        eventually("it is registered", || server.count(|counters| counters.registered.value()) > n as u64);
        let client = server.connect();
        let head = format!("POST /dev{n}/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 10000000\r\n\r\n");
        client.stream().set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = client.stream().write_all(head.as_bytes());
        // As much as goes.
        let mut sent = 0;
        while sent < 400_000
            && let Ok(n) = client.stream().write(&BLOCK)
        {
            sent += n;
            most = most.max(server.held().held);
        }
        pairs.push((client, gateway));
        let now = server.count(|counters| counters.over_memory.value());
        refused = refused.max(now);
    }
    most = most.max(server.held().held);
    assert!(most <= LIMIT + CLIENTS * (16 << 10), "{most} bytes held");
    assert_eq!(refused, server.count(|counters| counters.refused(Refusal::MemoryFull).value()));
    drop(pairs);
    eventually("nothing is held any more", || server.held().held == 0);
    let _polite = answering(server.ptth("polite"));
    let mut client = server.client(get("/polite/") + "\r\n");
    client.expect(ok("x"));
    drop(server);
}

/// With hardly a buffer in the pool, and many streams that would each take all of it, small requests are served.
#[test]
fn small_requests_beside_streams_with_few_buffers() {
    let server = Server::start(Config { buffers: 8, pipes: 0, ..config() });
    let polite = answering(server.ptth("polite"));
    let pairs: Vec<_> = (0..16)
        .map(|n| {
            let (client, gateway) = tunnel(&server, &format!("dev{n}"));
            for peer in [&client, &gateway] {
                peer.stream().set_write_timeout(Some(Duration::from_millis(50))).unwrap();
                while peer.stream().write(&BLOCK).is_ok() {}
            }
            (client, gateway)
        })
        .collect();
    let mut client = server.connect();
    for _ in 0..200 {
        client.send(get("/polite/") + "\r\n");
        client.expect(ok("x"));
    }
    drop((pairs, server));
    polite.join().unwrap();
}
