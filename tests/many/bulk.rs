//! Many MiB up and down through a relay of its own process, while others are served, in memory that does not grow.
use crate::{
    from_environment,
    stream::{Hash, Stream},
    support::{
        peers::*,
        process::{Process, Watchdog},
        *,
    },
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

/// Clients that do small requests meanwhile.
const CLIENTS: usize = 64;
/// Gateway connections that serve them.
const CONNECTIONS: usize = 16;
const MIB: usize = 1 << 20;
/// Bytes written at once.
const BLOCK: usize = 256 << 10;
/// How much more memory the relay may have in use than before.
const GROWTH_MAX: usize = 32 * MIB;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

impl Framing {
    fn header(self, bytes: usize) -> String {
        match self {
            Framing::Length => format!("Content-Length: {bytes}\r\n"),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_string(),
        }
    }
}

/// Sends a body of the stream with this seed.
fn send_body(mut to: &TcpStream, seed: u64, bytes: usize, framing: Framing) -> Hash {
    let mut stream = Stream::new(seed);
    let mut block = vec![0; BLOCK];
    for start in (0..bytes).step_by(BLOCK) {
        let block = &mut block[..BLOCK.min(bytes - start)];
        stream.fill(block);
        if framing == Framing::Chunked {
            write!(to, "{:x}\r\n", block.len()).expect("the relay takes it");
        }
        to.write_all(block).expect("the relay takes it");
        if framing == Framing::Chunked {
            to.write_all(b"\r\n").expect("the relay takes it");
        }
    }
    if framing == Framing::Chunked {
        to.write_all(b"0\r\n\r\n").expect("the relay takes it");
    }
    stream.hash()
}

/// Receives a body of so many bytes.
fn receive_body(from: &mut BufReader<TcpStream>, bytes: usize, framing: Framing) -> Hash {
    let mut hash = Hash::new();
    let mut block = vec![0; BLOCK];
    let mut exactly = |from: &mut BufReader<TcpStream>, mut rest: usize| {
        while rest > 0 {
            let n = from.read(&mut block[..BLOCK.min(rest)]).expect("the body goes on");
            assert!(n > 0, "the body ends {rest} bytes too soon");
            hash.update(&block[..n]);
            rest -= n;
        }
    };
    if framing == Framing::Length {
        exactly(from, bytes);
        return hash;
    }
    loop {
        let line = line(from);
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("{line:?} is no chunk size"));
        exactly(from, size);
        assert_eq!(self::line(from), "");
        if size == 0 {
            return hash;
        }
    }
}

fn line(from: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim_end_matches("\r\n").to_string()
}

fn skip_head(from: &mut BufReader<TcpStream>) -> String {
    let first = line(from);
    while !line(from).is_empty() {}
    first
}

fn registration(dialect: Dialect, domain: &str) -> String {
    match dialect {
        Dialect::Classic => classic_post(domain),
        Dialect::Ptth => ptth_get(domain, ""),
    }
}

/// One upload and one download at a time, through one gateway connection.
fn transfer(relay: &Process, dialect: Dialect, framing: Framing, bytes: usize) {
    let mut gateway = relay.connect();
    gateway.send(registration(dialect, "bulk"));
    let mut heard = BufReader::new(gateway.stream().try_clone().expect("a descriptor"));
    let serving = thread::spawn(move || {
        assert!(skip_head(&mut heard).starts_with("HTTP/1.1 101 "));
        assert_eq!(skip_head(&mut heard), "PUT /bulk/ HTTP/1.1");
        let up = receive_body(&mut heard, bytes, framing);
        gateway.send(ok("stored"));
        assert_eq!(skip_head(&mut heard), "GET /bulk/ HTTP/1.1");
        gateway.send(format!("HTTP/1.1 200 OK\r\n{}\r\n", framing.header(bytes)));
        (up, send_body(gateway.stream(), 2, bytes, framing))
    });
    let mut client = relay.connect();
    client.send(format!("PUT /bulk/ HTTP/1.1\r\nHost: relay\r\n{}\r\n", framing.header(bytes)));
    let up = send_body(client.stream(), 1, bytes, framing);
    client.expect(ok("stored"));
    client.send(get("/bulk/") + "\r\n");
    let mut answer = BufReader::new(client.stream().try_clone().expect("a descriptor"));
    assert_eq!(skip_head(&mut answer), "HTTP/1.1 200 OK");
    let down = receive_body(&mut answer, bytes, framing);
    assert_eq!(serving.join().expect("the gateway is served"), (up, down), "{dialect:?}, {framing:?}");
}

/// Clients that ask and ask meanwhile; not one request may fail.
struct Small {
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Small {
    fn start(relay: &Process) -> Small {
        for _ in 0..CONNECTIONS {
            let mut gateway = relay.connect();
            gateway.send(registration(Dialect::Ptth, "small"));
            gateway.expect(PTTH_101);
            thread::spawn(move || {
                while gateway.try_head().is_ok() {
                    gateway.try_send(ok("small"));
                }
            });
        }
        let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (over, served) = (Arc::clone(&over), Arc::clone(&served));
            let mut client = relay.connect();
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    client.send(get("/small/") + "\r\n");
                    client.expect(ok("small"));
                    served.fetch_add(1, Relaxed);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        let small = Small { over, served, clients };
        small.go_on(10 * CLIENTS);
        small
    }

    /// Waits until so many more requests have been served.
    fn go_on(&self, more: usize) {
        let before = self.served.load(Relaxed);
        eventually("small requests are served", || self.served.load(Relaxed) >= before + more);
    }

    fn end(self) {
        self.over.store(true, Relaxed);
        for client in self.clients {
            client.join().expect("no small request fails");
        }
    }
}

/// All of it: equal hashes, no failed request, no growth.
#[test]
fn up_and_down() {
    let _watchdog = Watchdog::watch();
    let bytes = from_environment("RINGBACK_BULK_MIB", 64) * MIB;
    let relay = Process::relay(&["--client-wait", "60s"]);
    let small = Small::start(&relay);
    // Whatever a transfer needs once is there after a first one.
    transfer(&relay, Dialect::Ptth, Framing::Length, MIB);
    let before = relay.resident();
    for dialect in BOTH {
        for framing in [Framing::Length, Framing::Chunked] {
            transfer(&relay, dialect, framing, bytes);
            small.go_on(CLIENTS);
            let now = relay.resident();
            assert!(now < before + GROWTH_MAX, "{dialect:?}, {framing:?}: {} KiB, before {before}", now >> 10);
        }
    }
    small.end();
}
