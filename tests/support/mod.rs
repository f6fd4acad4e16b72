//! What the black-box tests share: a relay in this process, and peers driven by hand over real sockets.
//!
//! Nothing here sleeps to let something happen: a test reads what it expects, with a time limit that only a
//! broken relay reaches, or polls a counter until it says so.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use ringback::relay::{Config, Relay, Snapshot, counters::Counters};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

pub mod peers;
pub mod process;
pub mod tls;

/// What a broken relay may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a whole test may take with one relay. Not reached even by the long ones.
const WATCHDOG: Duration = Duration::from_secs(900);

/// A relay on a free port of 127.0.0.1 with one shard, and little memory.
pub fn config() -> Config {
    Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        cores: vec![0],
        buffers: 256,
        pipes: 16,
        linger: Duration::from_millis(500),
        start_grace: Duration::ZERO,
        // Some peers come as from elsewhere.
        allow_any_gateway: true,
        // As long as for a busy one.
        absent_wait: Duration::ZERO,
        ..Config::default()
    }
}

/// Like [`config`], with two shards; both on one CPU where there is no second.
pub fn two_shards() -> Config {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Config { cores: vec![0, usize::from(cpus > 1)], ..config() }
}

/// A relay that is stopped when the test is over.
pub struct Server {
    relay: Relay,
    _watchdog: process::Watchdog,
}

impl Server {
    /// Starts a relay, and a watchdog that ends the whole test binary should this test hang.
    pub fn start(config: Config) -> Server {
        let relay = Relay::start(config).unwrap_or_else(|error| panic!("the relay does not start: {error}"));
        Server { relay, _watchdog: process::Watchdog::watch() }
    }

    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    pub fn address(&self) -> SocketAddr {
        self.relay.addresses()[0]
    }

    pub fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// A connection that the relay may refuse with a reset, perhaps before the kernel has said here that it is open.
    pub fn try_connect(&self) -> Option<Peer> {
        match TcpStream::connect(self.address()) {
            Ok(stream) => Some(Peer::new(stream)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the relay accepts: {error}"),
        }
    }

    /// A counter's sum over the shards.
    pub fn count(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.relay.counters().iter().map(|counters| counter(counters)).sum()
    }

    /// What all shards hold together.
    pub fn held(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        for shard in self.relay.snapshots().into_iter().flatten() {
            sum.connections += shard.connections;
            sum.parked += shard.parked;
            sum.domains += shard.domains;
            sum.sessions += shard.sessions;
            sum.buffers += shard.buffers;
            sum.pipes += shard.pipes;
            sum.streaming += shard.streaming;
            sum.held += shard.held;
        }
        sum
    }

    /// TLS handshakes in progress.
    pub fn held_handshakes(&self) -> usize {
        self.relay.snapshots().into_iter().flatten().map(|shard| shard.handshakes).sum()
    }

    /// Waits until so many gateways are parked.
    pub fn await_parked(&self, parked: usize) {
        eventually(&format!("{parked} gateways are parked"), || self.held().parked == parked);
    }

    /// Waits until the relay holds what it held before.
    pub fn await_held(&self, before: Snapshot) {
        let what = |held: &Snapshot| (held.connections, held.parked, held.sessions, held.buffers, held.pipes);
        let give_up = Instant::now() + PATIENCE;
        while what(&self.held()) != what(&before) {
            assert!(Instant::now() < give_up, "the relay holds {:?}, before it held {before:?}", self.held());
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.relay.stop();
        let ended = self.relay.join();
        if !thread::panicking() {
            ended.unwrap_or_else(|error| panic!("the relay did not end well: {error}"));
        }
    }
}

/// Polls until something is so, with a deadline that only a broken relay reaches.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "in vain: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// One end of a connection, driven by hand: blocking, with a time limit on everything.
pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).expect("the relay accepts");
        Peer::new(stream)
    }

    pub fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Peer { stream }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn split(&self) -> Peer {
        Peer { stream: self.stream.try_clone().expect("a descriptor") }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.stream.write_all(bytes.as_ref()) {
            panic!("cannot send {}: {error}", show(bytes.as_ref()));
        }
    }

    /// Sends, although the other end may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// No more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// Receives exactly these bytes.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut bytes = vec![0; expected.len()];
        let mut got = 0;
        while got < bytes.len() {
            match self.stream.read(&mut bytes[got..]) {
                Ok(n) if n > 0 => got += n,
                end => panic!("{end:?} after {}, expected {}", show(&bytes[..got]), show(expected)),
            }
            // Shows a difference at once, not after the time limit.
            if bytes[..got] != expected[..got] {
                panic!("received {}, expected {}", show(&bytes[..got]), show(expected));
            }
        }
    }

    /// Receives exactly `n` bytes.
    #[track_caller]
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        if let Err(error) = self.stream.read_exact(&mut bytes) {
            panic!("cannot receive {n} bytes: {error}");
        }
        bytes
    }

    /// Receives `n` bytes, unless the end comes before.
    pub fn try_take(&mut self, n: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// The other end has ended, and nothing is left to be read.
    pub fn is_over(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket option");
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket option");
        match seen {
            Ok(n) => n == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Receives a head, blank line included.
    #[track_caller]
    pub fn head(&mut self) -> String {
        self.try_head().unwrap_or_else(|got| panic!("no whole head: {got}"))
    }

    /// Receives a head, or says what came instead.
    pub fn try_head(&mut self) -> Result<String, String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                end => return Err(format!("{end:?} after {}", show(&head))),
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// The other end has finished in order, and sent nothing more before.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(0) => {}
            end => panic!("{end:?} with {} instead of the end", show(&rest)),
        }
    }

    /// All that comes until the other end has finished in order.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            panic!("{error} after {}", show(&rest));
        }
        rest
    }

    /// The connection is over, in order or by a reset; nothing came before.
    #[track_caller]
    pub fn expect_gone(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?} {} instead of the end", show(&byte)),
        }
    }

    /// What comes until the connection is over, and whether it ended by a reset.
    #[track_caller]
    pub fn until_gone(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => (rest, false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (rest, true),
            Err(error) => panic!("{error} after {}", show(&rest)),
        }
    }

    /// Nothing has come so far.
    #[track_caller]
    pub fn expect_silence(&mut self) {
        self.stream.set_nonblocking(true).expect("a socket option");
        let mut bytes = [0; 256];
        let got = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false).expect("a socket option");
        match got {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?} {} instead of silence", show(&bytes)),
        }
    }
}

/// Bytes as a person reads them, not too many.
pub fn show(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(1000)];
    format!("\"{}\" ({} bytes)", shown.escape_ascii(), bytes.len())
}
