//! What it costs to pass bytes between two sockets: the ring as the relay uses it, epoll, monoio and tokio-uring.
//!
//! The users' situation: sixteen devices at once, each joined with a client, over real TCP sockets. Messages of 64
//! bytes go to and fro, as between a page and a sensor; or 64 MiB go one way, as firmware does. The same pipe is built
//! on each of the four, nothing is parsed, and one thread moves the bytes. For bulk, ours and epoll splice; the two
//! runtimes copy through a buffer, as their users do.
mod epoll;
mod ours;
mod runtimes;
mod spliced;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 16;
const MESSAGE_BYTES: usize = 64;
const BULK_BYTES: usize = 64 << 20;
/// What the ends of a bulk transfer write and read at a time.
const PIECE_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = 16 << 10;

/// The relay's two sockets of a pair: to the client, to the backend.
type Pair = [TcpStream; 2];

/// A relay: passes bytes between each pair's sockets until all have ended.
type Engine = fn(Vec<Pair>);

/// The far ends of the pairs, and the relay between them.
struct Bench {
    clients: Vec<TcpStream>,
    backends: Vec<TcpStream>,
    relay: thread::JoinHandle<()>,
}

impl Bench {
    fn start(engine: Engine) -> Bench {
        let (clients, near): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| connection()).unzip();
        let (backends, far): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| connection()).unzip();
        let pairs = near.into_iter().zip(far).map(|(client, backend)| [client, backend]).collect();
        Bench { clients, backends, relay: thread::spawn(move || engine(pairs)) }
    }

    /// So many round trips, all pairs in step; the time that they took.
    fn ping_pong(&self, count: u64) -> Duration {
        let rounds = count.div_ceil(CONNECTIONS as u64);
        let mut message = [7; MESSAGE_BYTES];
        let start = Instant::now();
        for _ in 0..rounds {
            for mut client in &self.clients {
                client.write_all(&message).unwrap();
            }
            for mut backend in &self.backends {
                backend.read_exact(&mut message).unwrap();
                backend.write_all(&message).unwrap();
            }
            for mut client in &self.clients {
                client.read_exact(&mut message).unwrap();
            }
        }
        start.elapsed().mul_f64(count as f64 / (rounds * CONNECTIONS as u64) as f64)
    }

    /// So many transfers, each spread over all pairs.
    fn bulk(&self, count: u64) -> Duration {
        let turns = count as usize * BULK_BYTES / PIECE_BYTES / CONNECTIONS;
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let piece = vec![7; PIECE_BYTES];
                for mut client in (0..turns).flat_map(|_| &self.clients) {
                    client.write_all(&piece).unwrap();
                }
            });
            let mut piece = vec![0; PIECE_BYTES];
            for mut backend in (0..turns).flat_map(|_| &self.backends) {
                backend.read_exact(&mut piece).unwrap();
            }
        });
        start.elapsed()
    }

    fn stop(self) {
        drop((self.clients, self.backends));
        self.relay.join().unwrap();
    }
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    for socket in [&far, &near] {
        socket.set_nodelay(true).unwrap();
    }
    (far, near)
}

fn non_blocking(pairs: &[Pair]) {
    pairs.iter().flatten().for_each(|socket| socket.set_nonblocking(true).unwrap());
}

fn round_trips(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    let engines: [(&str, Engine); 4] = [
        ("ours", ours::messages),
        ("epoll", epoll::messages),
        ("monoio", runtimes::monoio),
        ("tokio-uring", runtimes::tokio_uring),
    ];
    for (name, engine) in engines {
        let bench = Bench::start(engine);
        group.bench_function(name, |b| b.iter_custom(|count| bench.ping_pong(count)));
        bench.stop();
    }
}

fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 MiB");
    group.sample_size(10).throughput(Throughput::Bytes(BULK_BYTES as u64));
    let engines: [(&str, Engine); 4] = [
        ("ours", ours::bulk),
        ("epoll", epoll::bulk),
        ("monoio", runtimes::monoio),
        ("tokio-uring", runtimes::tokio_uring),
    ];
    for (name, engine) in engines {
        let bench = Bench::start(engine);
        group.bench_function(name, |b| b.iter_custom(|count| bench.bulk(count)));
        bench.stop();
    }
}

criterion_group!(benches, round_trips, bulk);
criterion_main!(benches);
