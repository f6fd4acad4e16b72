//! Clients that wait, that go, and that are handed from shard to shard.
use crate::support::{peers::*, *};
use ringback::relay::Config;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// A client pipelines 64 KiB of requests for domains on both shards in turn: it is handed to and fro with all that it
/// has sent, and gets every answer, in order.
#[test]
fn much_pipelined_between_two_shards() {
    let server = Server::start(two_shards());
    let names: Vec<String> = (0..8).map(|n| format!("dev{n}")).collect();
    for name in &names {
        let (mut gateway, name) = (server.ptth(name), name.clone());
        thread::spawn(move || {
            while let Ok(head) = gateway.try_head() {
                assert!(head.starts_with(&format!("GET /{name}/ ")), "{name} got {head}");
                gateway.try_send(ok(&name));
            }
        });
    }
    let round: String = names.iter().map(|name| get(&format!("/{name}/")) + "\r\n").collect();
    let rounds = (64 << 10) / round.len();
    let mut client = server.client(round.repeat(rounds));
    for _ in 0..rounds {
        for name in &names {
            client.expect(ok(name));
        }
    }
    assert!(server.count(|counters| counters.handed_over.value()) > 0, "the kernel put all on one shard");
}

/// A crowd on three shards whose members go while they wait, or once they are served: whoever stays is served by the two
/// gateways, which come back when they lose their connection, wherever they land.
#[test]
fn a_crowd_of_which_many_go() {
    for _ in 0..10 {
        let server = Server::start(Config { cores: vec![0, 0, 0], client_wait: Duration::from_secs(3600), ..config() });
        let over = Arc::new(AtomicBool::new(false));
        let gateways = [0, 1].map(|_| {
            let (gateway, address, over) = (server.ptth("dev"), server.address(), Arc::clone(&over));
            thread::spawn(move || {
                let mut gateway = gateway;
                loop {
                    while gateway.try_head().is_ok() {
                        gateway.try_send(ok("x"));
                    }
                    if over.load(SeqCst) {
                        return;
                    }
                    gateway = Peer::connect(address);
                    gateway.try_send(ptth_get("dev", ""));
                    let _ = gateway.try_head();
                }
            })
        });
        let clients: Vec<_> = (0..60)
            .map(|n| {
                let mut client = server.connect();
                thread::spawn(move || {
                    if n % 3 == 0 {
                        client.send(get("/dev/") + "\r\n");
                        return client.reset();
                    }
                    for _ in 0..5 {
                        client.send(get("/dev/") + "\r\n");
                        client.expect(ok("x"));
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().expect("it is served");
        }
        server.await_parked(2);
        over.store(true, SeqCst);
        drop(server);
        for gateway in gateways {
            gateway.join().unwrap();
        }
    }
}

/// A client waits longer for a gateway that has gone, or may be on its way to a fresh relay, than for one that is busy.
#[test]
fn absent_gateways_are_waited_for_longer() {
    for dialect in BOTH {
        let server = Server::start(Config {
            client_wait: Duration::from_millis(1),
            absent_wait: PATIENCE,
            start_grace: PATIENCE,
            ..config()
        });
        drop(server.gateway(dialect, "gone"));
        server.await_parked(0);
        let mut waiting = [server.client(get("/gone/") + "\r\n"), server.client(get("/new/") + "\r\n")];
        // Long enough for one that waits for a busy gateway to give up.
        let mut busy = server.gateway(dialect, "busy");
        let _served = server.client(get("/busy/") + "\r\n");
        if dialect == Dialect::Classic {
            busy.expect(CLASSIC_101);
        }
        busy.head();
        let head = server.client(get("/busy/") + "\r\n").head();
        assert!(head.contains("gateway-busy"), "{dialect:?}: {head}");
        for (domain, client) in ["gone", "new"].into_iter().zip(&mut waiting) {
            let mut gateway = server.gateway(dialect, domain);
            if dialect == Dialect::Classic {
                gateway.expect(CLASSIC_101);
            }
            gateway.head();
            gateway.send(ok("back"));
            client.expect(ok("back"));
        }
    }
}
