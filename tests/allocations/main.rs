//! No allocation per request: warm connections are served without one on the shards' threads.
//!
//! The allocator of this test binary counts. Tests run one after the other, each with a relay of its own.
#![allow(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

use ringback::relay::Config;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};
use support::{peers::*, *};

struct Counting;

/// Whether allocations are being counted.
static COUNTS: AtomicBool = AtomicBool::new(false);
/// Calls that gave out memory, on shards' threads, while they were counted.
static ON_SHARDS: AtomicU64 = AtomicU64::new(0);
/// The same on all other threads: shows that counting works.
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether the thread is known to be a shard's. Without a destructor and initialised at compile time, so that a
    /// look at it never allocates.
    static IS_SHARD: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is a shard's, by the name that the kernel has for it. Allocates nothing.
fn is_shard() -> bool {
    if !IS_SHARD.get() {
        let mut name = [0_u8; 16];
        // SAFETY: PR_GET_NAME writes at most 16 bytes, a NUL at their end included.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        IS_SHARD.set(name.starts_with(b"shard-"));
    }
    IS_SHARD.get()
}

fn count() {
    if COUNTS.load(Relaxed) {
        let counter = if is_shard() { &ON_SHARDS } else { &ELSEWHERE };
        counter.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations are counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Requests that are counted.
const REQUESTS: usize = 10_000;
/// Connections that they come by.
const PAIRS: usize = 20;

/// A client and the only gateway of its domain.
struct Pair {
    client: Peer,
    gateway: Peer,
    dialect: Dialect,
    domain: String,
    fresh: bool,
}

impl Pair {
    fn new(server: &Server, dialect: Dialect, number: usize) -> Pair {
        let domain = format!("dev-{number}");
        let gateway = server.gateway(dialect, &domain);
        Pair { client: server.connect(), gateway, dialect, domain, fresh: true }
    }

    /// One exchange. Its head comes in two pieces if that is said.
    fn exchange(&mut self, method: &str, body: &str, in_pieces: bool) {
        let head = format!(
            "{method} /{}/some/path?and=query HTTP/1.1\r\nHost: relay\r\nUser-Agent: a test\r\nAccept: */*\r\n\
             Cookie: {}\r\nContent-Length: {}\r\n",
            self.domain,
            "c".repeat(200),
            body.len()
        );
        let (first, second) = head.split_at(if in_pieces { head.len() / 2 } else { 0 });
        self.client.send(first);
        self.client.send(format!("{second}\r\n{body}"));
        self.gateway.expect(self.dialect.seen(&head, std::mem::take(&mut self.fresh)));
        self.gateway.expect(body);
        let response = match method {
            "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_string(),
            _ => ok("a response's body"),
        };
        self.gateway.send(&response);
        self.client.expect(&response);
    }
}

/// Serves requests of every kind over the same connections, first without and then with a count.
fn no_allocations(config: Config, dialect: Dialect, in_pieces: bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shards = config.cores.len();
    let server = Server::start(config);
    let mut pairs: Vec<_> = (0..PAIRS).map(|number| Pair::new(&server, dialect, number)).collect();
    let kinds = [("GET", ""), ("POST", "a request's body"), ("HEAD", ""), ("PUT", "another")];
    let mut serve = |rounds: usize| {
        for round in 0..rounds {
            let (method, body) = kinds[round % kinds.len()];
            for pair in &mut pairs {
                pair.exchange(method, body, in_pieces && round % 3 == 0);
            }
        }
    };
    serve(50);
    let busy = server.relay().counters().iter().filter(|counters| counters.requests.value() > 0).count();
    assert_eq!(busy, shards, "not every shard has a client");
    ON_SHARDS.store(0, Relaxed);
    ELSEWHERE.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    serve(REQUESTS / PAIRS);
    COUNTS.store(false, Relaxed);
    assert!(ELSEWHERE.load(Relaxed) > 0, "nothing is counted");
    assert_eq!(ON_SHARDS.load(Relaxed), 0, "allocations on shards' threads in {REQUESTS} requests");
}

/// Heads that come in one piece.
#[test]
fn none_for_requests() {
    for dialect in BOTH {
        no_allocations(config(), dialect, false);
        no_allocations(two_shards(), dialect, false);
    }
}

/// Heads that come in pieces are collected in memory that their session has kept from the request before.
#[test]
fn none_for_heads_in_pieces() {
    for dialect in BOTH {
        no_allocations(config(), dialect, true);
        no_allocations(two_shards(), dialect, true);
    }
}

/// The count sees what a shard allocates: connections that are new cost something.
#[test]
fn new_connections_are_seen() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(config());
    ON_SHARDS.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let mut pair = Pair::new(&server, Dialect::Ptth, 0);
    pair.exchange("GET", "", false);
    COUNTS.store(false, Relaxed);
    assert!(ON_SHARDS.load(Relaxed) > 0);
    // What is not a shard is not taken for one.
    assert!(!thread::spawn(is_shard).join().unwrap());
}
