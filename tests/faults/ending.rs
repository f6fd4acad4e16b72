//! Drain and stop: nobody is left behind, and who is served meanwhile is served.
use crate::{
    scene::*,
    support::{peers::*, process::Process, *},
};
use rustix::process::Signal;
use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Instant,
};

/// While thousands of gateways are released, tunnels go on: bytes pass both ways after the first gateway's end and
/// before the last one's.
#[test]
fn a_tunnel_goes_on_during_a_large_drain() {
    const GATEWAYS: usize = 6000;
    let server = Server::start(config());
    let (mut client, mut gateway) = tunnel(&server, "tunnel");
    let gateways: Vec<Peer> = (0..GATEWAYS).map(|n| server.ptth(&format!("dev{}", n % 30))).collect();
    server.relay().drain();
    // They are released in the order of their slots, which is that in which they came.
    let (first, last) = (&gateways[0], &gateways[GATEWAYS - 1]);
    let give_up = Instant::now() + PATIENCE;
    while !first.is_over() {
        assert!(Instant::now() < give_up, "in vain: the drain begins");
    }
    let mut between = 0;
    while !last.is_over() {
        client.send("to");
        gateway.expect("to");
        gateway.send("fro");
        client.expect("fro");
        between += 1;
    }
    // The first of them may have been under way when the drain began.
    assert!(between > 1, "{between} round trips");
    for mut gateway in gateways {
        gateway.expect_gone();
    }
}

/// Clients that are handed from shard to shard while the relay drains or stops: each has its answer, a refusal or its
/// end, and none is left without.
#[test]
fn clients_in_transit_at_the_end() {
    for round in 0..20 {
        let server = Server::start(two_shards());
        let names: Vec<String> = (0..6).map(|n| format!("dev{n}")).collect();
        let gateways: Vec<_> = names.iter().map(|name| answering(server.ptth(name))).collect();
        let begun = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (mut client, names, begun) = (server.connect(), names.clone(), Arc::clone(&begun));
                thread::spawn(move || {
                    loop {
                        for name in &names {
                            client.try_send(get(&format!("/{name}/")) + "\r\n");
                            match client.try_head() {
                                Ok(head) if head.starts_with("HTTP/1.1 200") => drop(client.try_take(1)),
                                Ok(head) => {
                                    assert!(
                                        head.starts_with("HTTP/1.1 503") || head.starts_with("HTTP/1.1 50"),
                                        "{head}"
                                    );
                                    client.until_gone();
                                    return;
                                }
                                Err(end) => {
                                    assert!(!end.contains("WouldBlock"), "left without an answer: {end}");
                                    return;
                                }
                            }
                        }
                        begun.store(true, SeqCst);
                    }
                })
            })
            .collect();
        eventually("they are served", || begun.load(SeqCst));
        match round % 2 {
            0 => server.relay().drain(),
            _ => server.relay().stop(),
        }
        for client in clients {
            client.join().expect("it is not left");
        }
        drop(server);
        for gateway in gateways {
            gateway.join().unwrap();
        }
    }
}

/// A connection that comes right behind the signals to stop is not served; it is closed, or told so.
#[test]
fn a_connection_behind_a_stop() {
    for _ in 0..5 {
        let relay = Process::relay(&["--drain", "1h"]);
        let mut gateway = relay.connect();
        gateway.send(ptth_get("dev", ""));
        gateway.expect(PTTH_101);
        relay.signal(Signal::STOP);
        relay.signal(Signal::TERM);
        let late: Vec<_> = (0..50)
            .map(|_| {
                let mut client = Peer::new(TcpStream::connect(relay.address()).expect("the kernel accepts"));
                client.send(get("/dev/") + "\r\n");
                client
            })
            .collect();
        relay.signal(Signal::CONT);
        let serving = answering(gateway);
        for mut client in late {
            if let Err(end) = client.try_head() {
                assert!(!end.contains("WouldBlock"), "left without an answer: {end}");
            }
            client.finish();
        }
        let (status, _, complaints) = relay.ends();
        assert_eq!(status.code(), Some(0), "{complaints}");
        serving.join().unwrap();
    }
}
