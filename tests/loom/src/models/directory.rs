//! A client that begins to wait and a gateway that parks, on two shards: one of them sees the other.
use super::explore;
use crate::relay::directory::Directory;
use loom::{sync::Arc, thread};

const DOMAIN: u64 = 7 << 40;
/// In another part of the directory.
const OTHER: u64 = 8 << 40;

/// What a shard does for a client that begins to wait. The shards that it asks for a gateway.
fn wait(directory: &Directory, shard: usize) -> u64 {
    directory.wait(DOMAIN, shard);
    directory.holders(DOMAIN)
}

/// What a shard does for the first gateway of a domain. The shards that it offers it to.
fn park(directory: &Directory, shard: usize) -> u64 {
    directory.gain(DOMAIN, shard);
    directory.enlist(DOMAIN, 0);
    directory.waiting(DOMAIN)
}

/// One client, one gateway.
#[test]
fn a_client_and_a_gateway_meet() {
    explore(4, || {
        let directory = Arc::new(Directory::new(2));
        let gateway = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || park(&directory, 1))
        };
        let asked = wait(&directory, 0);
        let offered = gateway.join().unwrap();
        assert!(asked == 0b10 || offered == 0b01, "asked {asked:b}, offered to {offered:b}");
    });
}

/// Clients on two shards, a gateway on a third: each client sees it or is seen.
#[test]
fn two_clients_and_a_gateway_meet() {
    explore(3, || {
        let directory = Arc::new(Directory::new(3));
        let clients = [0, 2].map(|shard| {
            let directory = Arc::clone(&directory);
            (shard, thread::spawn(move || wait(&directory, shard)))
        });
        let offered = park(&directory, 1);
        for (shard, client) in clients {
            let asked = client.join().unwrap();
            assert!(asked == 0b10 || offered & 1 << shard != 0, "shard {shard} asked {asked:b}, offered {offered:b}");
        }
    });
}

/// Gateways on two shards: both see the client, or are seen by it.
#[test]
fn a_client_and_two_gateways_meet() {
    explore(3, || {
        let directory = Arc::new(Directory::new(3));
        let gateways = [1, 2].map(|shard| {
            let directory = Arc::clone(&directory);
            (shard, thread::spawn(move || park(&directory, shard)))
        });
        let asked = wait(&directory, 0);
        for (shard, gateway) in gateways {
            let offered = gateway.join().unwrap();
            assert!(asked & 1 << shard != 0 || offered == 1, "asked {asked:b}, shard {shard} offered {offered:b}");
        }
    });
}

/// The count of all waits comes and goes with another domain's clients meanwhile: nobody is overlooked for it.
#[test]
fn other_domains_do_not_hide_a_client() {
    explore(3, || {
        let directory = Arc::new(Directory::new(3));
        let other = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || {
                directory.wait(OTHER, 2);
                directory.wait_no_more(OTHER, 2);
            })
        };
        let gateway = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || park(&directory, 1))
        };
        let asked = wait(&directory, 0);
        let offered = gateway.join().unwrap();
        assert!(asked == 0b10 || offered == 0b01, "asked {asked:b}, offered to {offered:b}");
        other.join().unwrap();
        directory.wait_no_more(DOMAIN, 0);
        assert_eq!((directory.waiting(DOMAIN), directory.waiting(OTHER)), (0, 0));
    });
}

/// A client that gives up and one that begins to wait on the same shard's behalf leave the right sum.
#[test]
fn waits_are_counted_right() {
    explore(3, || {
        let directory = Arc::new(Directory::new(2));
        directory.wait(DOMAIN, 0);
        let other = {
            let directory = Arc::clone(&directory);
            thread::spawn(move || directory.wait(DOMAIN, 1))
        };
        directory.wait_no_more(DOMAIN, 0);
        other.join().unwrap();
        assert_eq!(directory.waiting(DOMAIN), 0b10);
    });
}
