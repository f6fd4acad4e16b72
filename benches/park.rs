//! What it costs to find a gateway for a client, and to park it again.
//!
//! The users' situation: a request for a device whose gateway waits on the same shard, at a relay with a handful of
//! devices and at one that is full: 18,000 domains, asked for in no order, so that neither names nor slots are in the
//! processor's caches as they would be if one device were asked over and over.
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ringback::relay::{
    conn::Conns,
    directory::Directory,
    park::{List, Park},
};
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

const SIZES: [usize; 2] = [10, 18_000];

/// Gateways that take part in a list's turns.
const PARKED: usize = 1000;

/// Names as devices have them, in an order unlike that of their arrival.
fn names(count: usize) -> Vec<Vec<u8>> {
    // A prime above every count: all remainders come, far apart.
    let places = (0..count).map(|n| n * 7919 % count);
    places.map(|place| format!("gsiot-{place:04x}-ttd5").into_bytes()).collect()
}

fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("find a domain");
    for count in SIZES {
        let directory = Directory::new(2);
        let mut park = Park::default();
        let names = names(count);
        for place in 0..count {
            let name = format!("gsiot-{place:04x}-ttd5").into_bytes();
            park.find_or_insert(directory.hash(&name), &name);
        }
        assert_eq!(park.len(), count);
        let known: Vec<(u64, &[u8])> = names.iter().map(|name| (directory.hash(name), &name[..])).collect();
        assert!(known.iter().all(|(hash, name)| park.find(*hash, name).is_some()));
        let mut next = known.iter().cycle();
        group.bench_function(BenchmarkId::new("known", count), |b| {
            b.iter(|| {
                let (hash, name) = next.next().expect("a cycle");
                park.find(black_box(*hash), black_box(name))
            });
        });
        let strangers: Vec<Vec<u8>> = names.iter().map(|name| [&name[..], b"-gone"].concat()).collect();
        let hashes: Vec<u64> = strangers.iter().map(|name| directory.hash(name)).collect();
        let mut next = hashes.iter().zip(&strangers).cycle();
        group.bench_function(BenchmarkId::new("unknown", count), |b| {
            b.iter(|| {
                let (hash, name) = next.next().expect("a cycle");
                park.find(black_box(*hash), black_box(name))
            });
        });
    }
}

/// Connections, and the numbers of their slots.
fn connections(count: usize) -> (Conns, Vec<u32>) {
    let mut conns = Conns::default();
    let slots = (0..count).map(|_| conns.insert(None, IpAddr::V4(Ipv4Addr::LOCALHOST), 1)).collect();
    (conns, slots)
}

fn park_and_take(c: &mut Criterion) {
    let mut group = c.benchmark_group("park and take");
    let (mut conns, slots) = connections(PARKED);
    let mut list = List::default();
    for &slot in &slots {
        list.push_back(&mut conns, slot);
    }
    group.bench_function("oldest first", |b| {
        b.iter(|| {
            let slot = list.first().expect("somebody is parked");
            list.unlink(&mut conns, slot);
            list.push_back(&mut conns, black_box(slot));
        });
    });
    group.bench_function("latest first", |b| {
        b.iter(|| {
            let slot = list.first().expect("somebody is parked");
            list.unlink(&mut conns, slot);
            list.push_front(&mut conns, black_box(slot));
        });
    });
    // Gateways whose connections end while they wait leave from anywhere.
    let mut next = slots.iter().rev().step_by(7).cycle();
    group.bench_function("from the middle", |b| {
        b.iter(|| {
            let slot = *next.next().expect("a cycle");
            list.unlink(&mut conns, slot);
            list.push_back(&mut conns, black_box(slot));
        });
    });
}

fn storm(c: &mut Criterion) {
    let mut group = c.benchmark_group("storm");
    let directory = Directory::new(2);
    let names = names(18_000);
    // All gateways of a relay that was restarted come back at once.
    group.bench_function("18000 gateways register", |b| {
        b.iter_batched(
            || (Park::default(), Conns::default()),
            |(mut park, mut conns)| {
                for name in &names {
                    let slot = conns.insert(None, IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
                    let id = park.find_or_insert(directory.hash(name), name);
                    conns[slot].domain = id;
                    park[id].parked.push_back(&mut conns, slot);
                }
                (park, conns)
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, find, park_and_take, storm);
criterion_main!(benches);
