//! What a parked gateway costs: a slot and one armed poll. No buffer, no session, no stream.
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use support::{peers::*, *};

const GATEWAYS: usize = 100;

/// Operation numbers of the kernel's `io_uring.h`.
const OP_POLL_ADD: u32 = 6;

/// How many operations with this number wait in this process's rings, as the kernel tells it. `None` where it does not
/// tell: the list is there since Linux 5.19, and missing while a ring's lock is taken.
fn armed(operation: u32) -> Option<usize> {
    let mut armed = None;
    for entry in fs::read_dir("/proc/self/fd").ok()? {
        let entry = entry.ok()?;
        // Sockets come and go meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if target.to_string_lossy() != "anon_inode:[io_uring]" {
            continue;
        }
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", entry.file_name().to_string_lossy())).ok()?;
        let (_, polls) = info.split_once("PollList:\n")?;
        let is_it = |line: &&str| line.trim().starts_with(&format!("op={operation},"));
        *armed.get_or_insert(0) += polls.lines().filter(is_it).count();
    }
    armed
}

/// Waits until all gateways are parked and quiet, and looks at what they hold.
fn costs_nothing_else(server: &Server, polls_before: Option<usize>, parked: usize) {
    server.await_parked(parked);
    // A connection that was busy keeps its stream until it has been quiet for a while.
    eventually("all streams are stopped", || server.held().streaming == 0);
    let held = server.held();
    assert_eq!((held.connections, held.parked), (parked, parked));
    assert_eq!((held.sessions, held.buffers, held.pipes), (0, 0, 0));
    match (polls_before, armed(OP_POLL_ADD)) {
        (Some(before), Some(_)) => {
            eventually("there is one poll a gateway", || armed(OP_POLL_ADD) == Some(before + parked));
        }
        _ => eprintln!("skipped: this kernel's /proc/self/fdinfo does not list a ring's polls"),
    }
}

/// The test is alone in its process's rings.
#[test]
fn a_parked_gateway_holds_one_poll() {
    for config in [config(), two_shards()] {
        let server = Server::start(config);
        // Once each shard has answered, its own poll for mail is armed.
        assert_eq!(server.held().connections, 0);
        let before = armed(OP_POLL_ADD);
        let mut gateways: Vec<(Dialect, Peer)> = Vec::new();
        for number in 0..GATEWAYS {
            for dialect in BOTH {
                gateways.push((dialect, server.gateway(dialect, &format!("dev-{number}-{dialect:?}"))));
            }
        }
        costs_nothing_else(&server, before, gateways.len());
        let stay = serve(&server, gateways);
        costs_nothing_else(&server, before, stay.len());
    }
}

/// Each gateway serves a client. Those that are parked again afterwards come back.
fn serve(server: &Server, gateways: Vec<(Dialect, Peer)>) -> Vec<Peer> {
    let mut stay = Vec::new();
    for (number, (dialect, mut gateway)) in gateways.into_iter().enumerate() {
        let path = format!("/dev-{}-{dialect:?}/", number / BOTH.len());
        let mut client = server.connect();
        for n in 0..20 {
            client.send(get(&path) + "\r\n");
            gateway.expect(dialect.seen(&get(&path), n == 0));
            gateway.send(ok("x"));
            client.expect(ok("x"));
        }
        if dialect == Dialect::Ptth {
            stay.push(gateway);
        }
    }
    stay
}
