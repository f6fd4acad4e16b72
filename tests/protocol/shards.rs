//! Two shards: which one a connection lands on is the kernel's choice, and nobody may notice it.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::time::Duration;

/// On which shards the gateways of a relay are parked.
fn parked(server: &Server) -> Vec<usize> {
    server.relay().snapshots().iter().flatten().map(|snapshot| snapshot.parked).collect()
}

/// Opens connections until some clients have landed on their gateway's shard and some on the other.
#[test]
fn clients_reach_gateways_on_either_shard() {
    let server = Server::start(two_shards());
    for dialect in BOTH {
        let (mut same, mut moved) = (0, 0);
        while same < 5 || moved < 5 {
            let mut gateway = server.gateway(dialect, "dev");
            let before = server.count(|counters| counters.handed_over.value());
            let mut client = server.connect();
            for n in 0..3 {
                let head = format!("POST /dev/{n} HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n");
                client.send(format!("{head}\r\nhello"));
                gateway.expect(dialect.seen(&head, n == 0));
                gateway.expect("hello");
                gateway.send(ok("x"));
                client.expect(ok("x"));
            }
            match server.count(|counters| counters.handed_over.value()) - before {
                0 => same += 1,
                1 => moved += 1,
                n => panic!("{n} hand-offs for one client connection"),
            }
            drop((gateway, client));
            server.await_parked(0);
            assert!(same + moved < 1000, "the kernel spreads connections oddly: {same} and {moved}");
        }
    }
}

/// All gateways of one shard are busy: a client that landed there is served by the other shard's gateway.
#[test]
fn a_busy_shard_uses_the_others_gateways() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..two_shards() });
    // One gateway on each shard.
    let mut gateways: Vec<Peer> = Vec::new();
    while gateways.len() < 2 {
        let gateway = server.ptth("dev");
        eventually("it is parked", || parked(&server).iter().sum::<usize>() == gateways.len() + 1);
        if parked(&server).iter().all(|&parked| parked < 2) {
            gateways.push(gateway);
        } else {
            let before = gateways.len();
            drop(gateway);
            server.await_parked(before);
        }
    }
    for _ in 0..20 {
        let mut clients = [server.client(get("/dev/") + "\r\n"), server.client(get("/dev/") + "\r\n")];
        for gateway in &mut gateways {
            gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        }
        for gateway in &mut gateways {
            gateway.send(ok("x"));
        }
        for client in &mut clients {
            client.expect(ok("x"));
        }
        drop(clients);
        server.await_parked(2);
    }
}

/// A client waits on one shard for a gateway that comes back on any.
#[test]
fn a_returning_gateway_is_found_wherever_it_lands() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..two_shards() });
    for n in 0..30 {
        drop(server.ptth("dev"));
        server.await_parked(0);
        let mut client = server.client(get("/dev/") + "\r\n");
        eventually("the client waits", || server.held().sessions == 1);
        let mut gateway = server.ptth("dev");
        gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
        gateway.send(ok(&n.to_string()));
        client.expect(ok(&n.to_string()));
    }
}

/// More clients than gateways, on both shards: each is served as soon as any gateway is free, none is forgotten.
#[test]
fn clients_queue_over_both_shards() {
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..two_shards() });
    let mut gateway = server.ptth("dev");
    let serving = std::thread::spawn(move || {
        for _ in 0..200 {
            gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
            gateway.send(ok("x"));
        }
    });
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.connect();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    client.send(get("/dev/") + "\r\n");
                    client.expect(ok("x"));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    serving.join().unwrap();
}

/// One client asks for domains on both shards in turn, pipelined; each answer comes from the right gateway.
#[test]
fn a_client_alternates_between_shards() {
    let server = Server::start(two_shards());
    let names: Vec<String> = (0..8).map(|n| format!("dev{n}")).collect();
    let gateways: Vec<_> = names
        .iter()
        .map(|name| {
            let mut gateway = server.ptth(name);
            let name = name.clone();
            std::thread::spawn(move || {
                while let Ok(head) = gateway.try_head() {
                    assert!(head.starts_with(&format!("GET /{name}/ ")), "{name} got {head}");
                    gateway.send(ok(&name));
                }
            })
        })
        .collect();
    let mut client = server.connect();
    for _ in 0..20 {
        client.send(names.iter().map(|name| get(&format!("/{name}/")) + "\r\n").collect::<String>());
        for name in &names {
            client.expect(ok(name));
        }
    }
    drop(client);
    drop(server);
    for gateway in gateways {
        gateway.join().unwrap();
    }
}

/// A domain that no shard knows is refused at once on both.
#[test]
fn unknown_domains_are_unknown_everywhere() {
    let server = Server::start(Config { client_wait: Duration::from_secs(3600), ..two_shards() });
    let _other = server.ptth("other");
    for _ in 0..20 {
        let mut client = server.client(get("/nobody/") + "\r\n");
        client.expect(Refusal::NoGateway.kept());
    }
}

/// Limits of a source address are the whole relay's, and a connection that was handed off still counts.
#[test]
fn handed_over_connections_count_for_their_address() {
    let server = Server::start(Config { max_connections_per_address: 4, ..two_shards() });
    let mut gateway = server.ptth("dev");
    let serving = std::thread::spawn(move || {
        while gateway.try_head().is_ok() {
            gateway.send(ok("x"));
        }
    });
    let mut clients = Vec::new();
    for _ in 0..40 {
        let Some(mut client) = server.try_connect() else { continue };
        client.try_send(get("/dev/") + "\r\n");
        // Some are refused with an answer, the others with a reset.
        match client.try_head() {
            Ok(head) if head.starts_with("HTTP/1.1 200") => clients.push(client),
            _ => {}
        }
    }
    // At most four, and one of them is the gateway.
    assert_eq!(clients.len(), 3, "clients of one address");
    drop((clients, server));
    serving.join().unwrap();
}
