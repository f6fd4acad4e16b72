//! One simulation: shards, gateways and clients in one world, until all is said, answered and given back.
use super::client::Client;
use super::gateway::Gateway;
use super::plan::Ledger;
use ringback::io::Millis;
use ringback::io::sim::{Random, Sim, Tuning, World};
use ringback::relay::config::Config;
use ringback::relay::counters::Counters;
use ringback::relay::letter::Letter;
use ringback::relay::shard::{Shard, Shared};
use std::sync::Arc;
use std::time::Duration;

/// Nothing that the actors do takes longer: a client that is not done by then hangs.
const CLIENTS_DONE_BY: Millis = 3600 * 1000;
/// How long the relay may take to give everything back once its peers have gone.
const AT_REST_WITHIN: Millis = 15 * 60 * 1000;
/// Passes without the clock going on: more means that a shard turns in circles.
const PASSES_MAX: usize = 300_000;
/// So many seeds in a thousand drain the relay while clients are busy.
const DRAINED: u32 = 60;
/// Longer than anything takes that is under way when a drain begins.
const DRAIN: Duration = Duration::from_secs(600);

struct Simulation {
    world: World<Letter>,
    random: Random,
    shards: Vec<Option<Shard<Sim<Letter>>>>,
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    ledger: Ledger,
    /// When the relay is told to drain, in the middle of everything.
    drains_at: Option<Millis>,
    passes: usize,
}

/// Prepares a seed's world and tells the caller of it, so that its trace outlives a panic; then runs it.
pub fn run(seed: u64, trace_lines: usize, tell: impl FnOnce(World<Letter>)) {
    let mut simulation = Simulation::draw(seed, trace_lines);
    tell(simulation.world.clone());
    simulation.serve();
    simulation.end();
}

fn config(random: &mut Random, tuning: &Tuning, calm: bool) -> Config {
    let seconds = Duration::from_secs;
    Config {
        buffer_size: tuning.buffer_bytes as u32,
        buffers: tuning.buffers as u16,
        pipes: tuning.pipes,
        hostnames: vec!["relay.test".to_owned()],
        // Kept classic gateways serve one client at a time, so that waiting for one may take long.
        park_wait: if calm { seconds(1800) } else { seconds(random.pick(&[0, 2, 10])) },
        park_time: seconds(random.pick(&[1, 5, 30])),
        response_timeout: seconds(60),
        tunnel_idle: seconds(120),
        drain: DRAIN,
        head_bytes_max: 1024,
        splice_min: random.pick(&[1000, 8 << 10, 64 << 10]),
        turn_bytes: 64 << 10,
        held_buffers: random.between(1, 4),
        ..Config::default()
    }
}

impl Simulation {
    fn draw(seed: u64, trace_lines: usize) -> Simulation {
        let mut random = Random::new(!seed);
        let calm = random.chance(400);
        let tuning = Tuning::draw(&mut random, 1024);
        let config = Arc::new(config(&mut random, &tuning, calm));
        config.validate().expect("a configuration that works");
        let count = random.between(1, 3);
        let world = World::new(seed, tuning, count, trace_lines);
        let shared = Arc::new(Shared::new(count));
        let shard = |number| {
            let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
            Some(Shard::new(world.shard(number), config, number, 1, shared, Arc::new(Counters::default())))
        };
        let shards = (0..count).map(shard).collect();
        let mut ledger = Ledger { calm, domains: random.between(1, 3), ..Ledger::default() };
        let mut gateways = Vec::new();
        for domain in 0..ledger.domains {
            let hasty = random.chance(60);
            ledger.hasty.extend(hasty.then_some(domain));
            for _ in 0..random.between(1, 4) {
                gateways.push(Gateway::draw(gateways.len(), domain, &mut random, hasty, calm));
            }
        }
        let clients = (0..random.between(1, 8)).map(|n| Client::draw(n, &mut random, &mut ledger)).collect();
        world.note(|| format!("calm {calm}, {count} shards, {config:?}"));
        // Drawn apart, so that the other seeds are what they would be without.
        let mut apart = Random::new(seed.rotate_left(32));
        let from = if calm { 5000 } else { 0 };
        let drains_at = apart.chance(DRAINED).then(|| from + apart.below(4000) as Millis);
        world.wake_at(drains_at.unwrap_or(0));
        Simulation { world, random, shards, gateways, clients, ledger, drains_at, passes: 0 }
    }

    /// Tells all shards to finish what they have begun, and to begin nothing.
    fn drain(&mut self) {
        self.world.note(|| "the relay is told to drain".into());
        self.ledger.begin_ending();
        for shard in 0..self.shards.len() {
            self.world.post(shard, Letter::Drain);
        }
    }

    /// Gives everybody a turn, in any order. True when something happened.
    fn pass(&mut self, skipping: u32) -> bool {
        if self.drains_at.take_if(|at| *at <= self.world.now()).is_some() {
            self.drain();
        }
        let actors = self.clients.len() + self.gateways.len() + self.shards.len();
        let (first, mut active) = (self.random.below(actors), false);
        for n in 0..actors {
            if self.random.chance(skipping) {
                continue;
            }
            let at = (first + n) % actors;
            active |= match at.checked_sub(self.clients.len()) {
                None => self.clients[at].step(&self.world, self.shards.len(), &mut self.ledger),
                Some(at) if at < self.gateways.len() => {
                    self.gateways[at].step(&self.world, self.shards.len(), &mut self.ledger)
                }
                Some(at) => self.turn(at - self.gateways.len()),
            };
        }
        self.passes += 1;
        if self.passes > PASSES_MAX {
            self.world.fault("the clock stands still: a shard turns in circles");
        }
        active
    }

    /// A shard's turn. True when it may have more to do at once.
    fn turn(&mut self, number: usize) -> bool {
        let Some(shard) = &mut self.shards[number] else { return false };
        match shard.turn() {
            Ok(true) => shard.io().busy() || shard.wait_until().is_some_and(|at| at <= self.world.now()),
            Ok(false) => {
                self.shards[number] = None;
                true
            }
            Err(error) => self.world.fault(&format!("turn: {error}")),
        }
    }

    /// Goes on until `done`, or until nothing can happen any more, or until `by`.
    fn until(&mut self, by: Millis, done: impl Fn(&Simulation) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if self.pass(200) || self.pass(0) {
                continue;
            }
            let deadlines = self.shards.iter().flatten().filter_map(Shard::wait_until);
            let next = self.world.next_wake().into_iter().chain(deadlines).min();
            let Some(next) = next.filter(|&at| at <= by) else { return done(self) };
            self.passes = 0;
            self.world.jump(next.max(self.world.now() + 1));
        }
    }

    /// Runs until every client is done.
    fn serve(&mut self) {
        let done = |simulation: &Simulation| simulation.clients.iter().all(Client::is_done);
        if !self.until(CLIENTS_DONE_BY, done) {
            let all = self.clients.iter().filter(|client| !client.is_done()).map(Client::describe);
            let all: Vec<String> = all.chain(self.gateways.iter().map(Gateway::describe)).collect();
            self.world.fault(&format!("clients hang:\n  {}\n  {}", all.join("\n  "), self.holdings()));
        }
    }

    /// Lets everybody go, one way or another, and sees that nothing is left.
    fn end(&mut self) {
        let drawn = self.random.below(3);
        let ending = if self.ledger.ending { drawn.max(1) } else { drawn };
        self.world.note(|| format!("the end begins: {}", ["leave", "drain", "stop"][ending]));
        self.drains_at = None;
        self.ledger.ending = ending > 0;
        self.ledger.exchanges.iter_mut().for_each(|exchange| exchange.under_way = false);
        for shard in 0..self.shards.len() {
            match ending {
                0 => {}
                1 => self.world.post(shard, Letter::Drain),
                _ => self.world.post(shard, Letter::Stop),
            }
        }
        if ending == 0 {
            for gateway in &mut self.gateways {
                gateway.retire(&self.world);
            }
        }
        let by = self.world.now() + AT_REST_WITHIN;
        if !self.until(by, |simulation| simulation.unrest(ending > 0).is_none()) {
            let unrest = self.unrest(ending > 0).unwrap_or_default();
            self.world.fault(&format!("not at rest: {unrest}\n  {}", self.holdings()));
        }
    }

    fn unrest(&self, ended: bool) -> Option<String> {
        for shard in self.shards.iter().flatten() {
            let held = shard.snapshot();
            let left = held.connections + held.domains + held.sessions + held.buffers + held.pipes;
            if ended || left > 0 {
                return Some(format!("{held:?}"));
            }
            if let Some(left) = shard.io().on_loan() {
                return Some(left);
            }
        }
        if ended { None } else { self.world.unrest() }
    }

    fn holdings(&self) -> String {
        let held = self.shards.iter().flatten().map(|shard| format!("{:?}", shard.snapshot()));
        held.collect::<Vec<_>>().join("\n  ")
    }
}
