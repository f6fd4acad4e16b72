//! What a body costs on its way through a relay, by its size, received and sent or spliced.
//!
//! The users' situation: a device puts readings, pictures or firmware of one size after another to its gateway, on kept
//! connections, and asks for the next once the last has been answered. Both ends write and read with plain blocking
//! calls; what is timed is a whole exchange, so compare the two columns of one size and not the sizes with each other.
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringback::relay::{Config, Relay};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

const SIZES: [usize; 6] = [1 << 10, 8 << 10, 32 << 10, 64 << 10, 256 << 10, 4 << 20];
const REGISTRATION: &[u8] =
    b"GET /bench HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A head without its body: its lines, and the length it announces.
fn read_head(from: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[start..].trim_end().to_ascii_lowercase();
        match line.strip_prefix("content-length: ") {
            Some(value) => length = value.parse().ok()?,
            None if line.is_empty() => return Some((head, length)),
            None => {}
        }
    }
}

/// A gateway that swallows bodies and says so, until the relay goes.
fn gateway(relay: SocketAddr) -> thread::JoinHandle<()> {
    let mut to = TcpStream::connect(relay).unwrap();
    to.set_nodelay(true).unwrap();
    to.write_all(REGISTRATION).unwrap();
    let mut from = BufReader::with_capacity(64 << 10, to.try_clone().unwrap());
    let (welcome, _) = read_head(&mut from).unwrap();
    assert!(welcome.starts_with("HTTP/1.1 101 "), "{welcome}");
    thread::spawn(move || {
        let mut body = vec![0; 4 << 20];
        while let Some((_, length)) = read_head(&mut from) {
            if from.read_exact(&mut body[..length]).is_err() || to.write_all(ANSWER).is_err() {
                return;
            }
        }
    })
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("a body put");
    for (way, splice_min) in [("received and sent", u64::MAX), ("spliced", 16 << 10)] {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut relay = Relay::start(Config { listen, splice_min, ..Config::default() }).unwrap();
        let address = relay.addresses()[0];
        let swallows = gateway(address);
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        for size in SIZES {
            let mut request =
                format!("PUT /bench/x HTTP/1.1\r\nHost: relay\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            request.resize(request.len() + size, 7);
            let mut answer = [0; ANSWER.len()];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(way, size), |b| {
                b.iter(|| {
                    client.write_all(&request).unwrap();
                    client.read_exact(&mut answer).unwrap();
                });
            });
            assert_eq!(answer, ANSWER);
        }
        drop(client);
        relay.stop();
        swallows.join().unwrap();
        relay.join().unwrap();
    }
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
