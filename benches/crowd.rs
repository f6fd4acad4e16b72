//! A shard with up to ten million parked gateways, each of a domain of its own: what each costs in time and memory.
//!
//! The users' situation: an edge node in front of very many mostly idle gateways. They register; nothing happens for a
//! while; clients ask for one after the other, in no order; all lose their connections and come back; the relay drains.
//! The shard is the relay's own, on a back end in memory, since no kernel here could hold so many sockets: what is told
//! is the shard's share, with the back end's small constant one in it.
//!
//! `cargo bench --bench crowd -- SIZE…` prints a line of JSON for each size, measured in a process of its own. Times are
//! those of the shard's turns; bytes are the growth of the resident set.
use mimalloc::MiMalloc;
use ringback::{
    io::{
        Millis,
        crowd::{Crowd, FarEnds},
    },
    relay::{
        config::Config,
        counters::Counters,
        message::Message,
        shard::{Shard, Shared},
    },
};
use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

// What the relay itself uses.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What is measured if nothing else is asked for.
const SIZES: [usize; 3] = [1000, 18_000, 1_000_000];
/// Peers that do something at once.
const AT_ONCE: usize = 64;
/// Clients' requests, each for a domain somewhere.
const REQUESTS: usize = 200_000;
/// For how long nothing happens, by the shard's clock.
const IDLE_MILLIS: Millis = 600_000;
/// The first time by that clock.
const EPOCH: Millis = 60_000;

/// Time spent in the turns of a phase.
#[derive(Default)]
struct Spent {
    total: Duration,
    longest: Duration,
}

impl Spent {
    fn each(&self, count: usize) -> f64 {
        self.total.as_nanos() as f64 / count as f64
    }

    fn longest_micros(&self) -> f64 {
        self.longest.as_nanos() as f64 / 1000.0
    }
}

struct Bench {
    ends: FarEnds<Message>,
    shard: Shard<Crowd<Message>>,
    began: Instant,
    /// By how much the shard's clock is ahead.
    ahead: Millis,
}

fn registration(domain: usize) -> String {
    format!(
        "GET /gsiot-{domain:07x}-ttd5 HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"
    )
}

fn request(domain: usize) -> String {
    format!("GET /gsiot-{domain:07x}-ttd5/value HTTP/1.1\r\nHost: relay\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n20";

impl Bench {
    fn new(gateways: usize) -> Bench {
        let config = Config { max_registrations_per_second: 0, allow_any_gateway: true, ..Config::default() };
        config.validate().expect("a configuration that works");
        let ends = FarEnds::new(gateways + 2 * AT_ONCE);
        ends.set_now(EPOCH);
        let shared = Arc::new(Shared::new(&config, 1, 1));
        let shard = Shard::new(ends.engine(), Arc::new(config), 0, 1, shared, Arc::new(Counters::default()));
        Bench { ends, shard, began: Instant::now(), ahead: EPOCH }
    }

    fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as Millis + self.ahead
    }

    /// A turn. False once the shard has ended.
    fn turn(&mut self, spent: &mut Spent) -> bool {
        self.ends.set_now(self.now());
        let began = Instant::now();
        let goes_on = self.shard.turn().expect("a turn");
        let took = began.elapsed();
        spent.total += took;
        spent.longest = spent.longest.max(took);
        goes_on
    }

    fn has_work(&self) -> bool {
        self.ends.is_stirred() || self.shard.wait_until() == Some(0)
    }

    /// Turns until the shard has nothing to do.
    fn settle(&mut self, spent: &mut Spent) {
        while self.has_work() {
            self.turn(spent);
        }
    }

    /// Gateways of all domains register.
    fn register(&mut self, gateways: usize) -> Spent {
        let mut spent = Spent::default();
        for first in (0..gateways).step_by(AT_ONCE) {
            for domain in first..gateways.min(first + AT_ONCE) {
                self.ends.connect(registration(domain).as_bytes());
            }
            self.settle(&mut spent);
            self.ends.hear(|_, answer| assert!(answer.starts_with(b"HTTP/1.1 101 ")));
        }
        self.check(gateways);
        spent
    }

    /// Nothing happens for a while.
    fn idle(&mut self) -> Spent {
        let mut spent = Spent::default();
        let until = self.now() + IDLE_MILLIS;
        while let Some(next) = self.shard.wait_until().filter(|&next| next <= until) {
            self.ahead += next.saturating_sub(self.now());
            self.turn(&mut spent);
        }
        self.ahead += until.saturating_sub(self.now());
        spent
    }

    /// Clients ask for devices, in no order.
    fn ask(&mut self, gateways: usize) -> Spent {
        let mut spent = Spent::default();
        let mut domains = (0..).map(|n: usize| scatter(n) % gateways);
        let connect = |domain| self.ends.connect(request(domain).as_bytes());
        let mut clients: Vec<u32> = domains.by_ref().take(AT_ONCE).map(connect).collect();
        clients.sort_unstable();
        let mut answered = 0;
        loop {
            self.settle(&mut spent);
            let ends = self.ends.clone();
            ends.hear(|number, bytes| match clients.binary_search(&number) {
                Err(_) => ends.say(number, ANSWER),
                Ok(_) => {
                    assert!(bytes.starts_with(b"HTTP/1.1 200 ") && bytes.ends_with(b"20"));
                    answered += 1;
                }
            });
            if answered >= REQUESTS {
                break;
            }
            // A round of requests is followed by a round of answers.
            if answered % AT_ONCE == 0 && !self.ends.is_stirred() {
                clients
                    .iter()
                    .for_each(|&client| ends.say(client, request(domains.next().expect("endless")).as_bytes()));
            }
        }
        clients.iter().for_each(|&client| self.ends.finish(client));
        self.settle(&mut Spent::default());
        self.ends.count_closed();
        self.check(gateways);
        spent
    }

    /// All gateways lose their connections, and are back at once.
    fn blip(&mut self, gateways: usize) -> Spent {
        let mut spent = Spent::default();
        for first in (0..gateways).step_by(AT_ONCE) {
            let these = first..gateways.min(first + AT_ONCE);
            // The numbers of the first connections are those of their domains.
            these.clone().for_each(|number| self.ends.finish(number as u32));
            for domain in these {
                self.ends.connect(registration(domain).as_bytes());
            }
            self.settle(&mut spent);
            self.ends.hear(|_, answer| assert!(answer.starts_with(b"HTTP/1.1 101 ")));
            // The next portion comes by these numbers, and ends others.
            self.ends.count_closed();
        }
        self.check(gateways);
        spent
    }

    /// The relay drains.
    fn drain(&mut self) -> Spent {
        let mut spent = Spent::default();
        self.ends.post(Message::Drain);
        while self.turn(&mut spent) {
            self.ahead += Millis::from(!self.has_work());
        }
        assert_eq!(self.shard.snapshot().connections, 0);
        spent
    }

    fn check(&self, gateways: usize) {
        let held = self.shard.snapshot();
        assert_eq!((held.connections, held.parked, held.domains), (gateways, gateways, gateways), "{held:?}");
    }
}

/// Numbers in no order (the finalizer of SplitMix64).
fn scatter(n: usize) -> usize {
    let mut z = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 1) as usize
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * 4096
}

fn measure(gateways: usize) {
    // Everything that only the first few cost is there before.
    let mut bench = Bench::new(gateways);
    bench.settle(&mut Spent::default());
    let before = resident();
    let registered = bench.register(gateways);
    let bytes = (resident() - before) as f64 / gateways as f64;
    let idle = bench.idle();
    let asked = bench.ask(gateways);
    let back = bench.blip(gateways);
    let drained = bench.drain();
    println!(
        "{{\"gateways\": {gateways}, \"bytes\": {bytes:.1}, \
         \"register_ns\": {:.0}, \"register_longest_us\": {:.0}, \
         \"idle_us_per_s\": {:.2}, \"idle_longest_us\": {:.0}, \
         \"request_ns\": {:.0}, \"request_longest_us\": {:.0}, \
         \"back_ns\": {:.0}, \"back_longest_us\": {:.0}, \
         \"drain_ns\": {:.0}, \"drain_longest_us\": {:.0}}}",
        registered.each(gateways),
        registered.longest_micros(),
        idle.total.as_nanos() as f64 / IDLE_MILLIS as f64,
        idle.longest_micros(),
        asked.each(REQUESTS),
        asked.longest_micros(),
        back.each(gateways),
        back.longest_micros(),
        drained.each(gateways),
        drained.longest_micros(),
    );
}

fn main() {
    // Cargo says `--bench`.
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let size = |text: &String| text.parse().unwrap_or_else(|_| panic!("{text} is not a number of gateways"));
    match &given[..] {
        [one] => measure(size(one)),
        several => {
            let sizes: Vec<usize> = if several.is_empty() { SIZES.into() } else { several.iter().map(size).collect() };
            for size in sizes {
                let status = Command::new(std::env::current_exe().expect("a path")).arg(size.to_string()).status();
                assert!(status.is_ok_and(|status| status.success()), "{size} gateways could not be measured");
            }
        }
    }
}
