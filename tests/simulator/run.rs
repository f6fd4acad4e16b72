//! One simulation: shards, gateways and clients in one world, until all is said, answered and given back.
use super::bounds::{BUDGET, TURN_BYTES};
use super::client::Client;
use super::gateway::Gateway;
use super::net::Net;
use super::plan::Ledger;
use super::rude::{Manner, Rude};
use super::toy;
use super::variation::Variation;
use ringback::http::Refusal;
use ringback::io::Millis;
use ringback::io::sim::{Random, Sim, Tuning, World};
use ringback::relay::config::{Config, GoneClients};
use ringback::relay::counters::{Counter, Counters};
use ringback::relay::message::Message;
use ringback::relay::shard::{Shard, Shared};
use ringback::transport::{Acceptor, Certificates};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Nothing that the actors do takes longer: a client that is not done by then hangs.
const CLIENTS_DONE_BY: Millis = 3600 * 1000;
/// How long rude peers go on when the polite ones are done.
const RUDE_FOR: Millis = 120 * 1000;
/// How long the relay may take to give everything back once its peers have gone.
/// A client that waits for a gateway with more behind its request than is read is not listened to meanwhile.
/// A few of them may do so one after the other.
const AT_REST_WITHIN: Millis = 6 * 3600 * 1000;
/// Passes without the clock going on: more means that a shard turns in circles.
const PASSES_MAX: usize = 300_000;
/// So many times in a thousand that the clock goes on, a shard has a turn although nothing has happened to it.
const NEEDLESS: u32 = 100;
/// So many seeds in a thousand drain the relay while clients are busy.
const DRAINED: u32 = 60;
/// So many have rude peers beside the polite ones.
const RUDE: u32 = 500;
/// So many with several shards have gateways that claim names in changing company.
const CLAIMING: u32 = 300;
/// Maximum moves of clients between shards, for each request, registration and connection; and so many beside.
const MOVES_MAX: u64 = 3;
const MOVES_SPARE: u64 = 50;
/// So many lose a ring.
const FAILING: u32 = 20;
/// So many domains in a thousand have several names, which their gateways register in one list.
const SEVERAL: u32 = 400;
/// A relay that has clients wait for so long after its start can be asked before any gateway has registered.
const EARLY: Duration = Duration::from_secs(10);
/// Longer than anything takes that is under way when a drain begins.
const DRAIN: Duration = Duration::from_secs(600);

/// What fat sockets hold.
const FAT: usize = 1 << 20;

struct Simulation {
    world: Net<Message>,
    random: Random,
    shards: Vec<Option<Shard<Sim<Message>>>>,
    /// When each shard's next turn is due, even if nothing happens.
    dues: Vec<Option<Millis>>,
    gateways: Vec<Gateway>,
    clients: Vec<Client>,
    rude: Vec<Rude>,
    /// Of each shard.
    counters: Vec<Arc<Counters>>,
    variation: Variation,
    ledger: Ledger,
    /// When the relay is told to drain, in the middle of everything.
    drains_at: Option<Millis>,
    /// Since when shards' turns fail.
    fails_from: Millis,
    passes: usize,
    /// A shard's turn has failed, as it was to: the process has ended.
    failed: bool,
}

/// Prepares a seed's world and tells the caller of it, so that its trace outlives a panic; then runs it.
pub fn run(seed: u64, variation: &Variation, trace_lines: usize, tell: impl FnOnce(World<Message>)) {
    let mut simulation = Simulation::draw(seed, variation, trace_lines);
    tell(World::clone(&simulation.world));
    simulation.serve();
    if !simulation.failed {
        simulation.end();
    }
}

/// What kind of world a seed makes.
struct Kind {
    /// Nothing goes wrong but what the kernel may do, and what rude peers do to themselves.
    calm: bool,
    /// Many clients, and few gateways on many shards.
    crowd: bool,
    /// They wait for as long as it takes.
    patient: bool,
    /// Few are admitted.
    limited: bool,
    /// Many rude peers, and a small pool that they hold most of.
    hogs: bool,
    /// Sockets and pipes hold far more than one connection may move in a turn.
    fat: bool,
}

impl Kind {
    fn draw(random: &mut Random, variation: &Variation) -> Kind {
        let calm = random.chance(400);
        let (crowd, limited) = (random.chance(if calm { 250 } else { 0 }), random.chance(if calm { 0 } else { 200 }));
        let (hogs, fat) = (random.chance(150), random.chance(40));
        let patient = crowd && random.chance(600);
        Kind { calm, crowd, patient, limited: limited && !variation.lacks("limits"), hogs, fat }
    }
}

fn config(random: &mut Random, waits: &mut Random, tuning: &Tuning, kind: &Kind) -> Config {
    let seconds = Duration::from_secs;
    let config = Config {
        buffer_size: tuning.buffer_bytes as u32,
        buffers: tuning.buffers as u16,
        pipes: tuning.pipes,
        hostnames: vec!["relay.test".to_owned()],
        // Kept classic gateways serve one client at a time, so that waiting for one may take long.
        client_wait: match kind.calm {
            true if kind.crowd && !kind.patient => seconds(2),
            true => seconds(1800),
            false => seconds(random.pick(&[0, 2, 10])),
        },
        classic_poll_interval: seconds(random.pick(&[1, 5, 30])),
        response_timeout: seconds(60),
        tunnel_idle: seconds(120),
        drain: DRAIN,
        drain_tunnels: DRAIN,
        start_grace: seconds(waits.pick(&[0, 2, 10, 30])),
        absent_wait: seconds(waits.pick(&[0, 5, 60])),
        bulk_delay: Duration::from_millis(waits.pick(&[0, 20, 20])),
        max_head_bytes: 1024,
        // Clients that finish early are promised their answers here.
        gone_clients: GoneClients::Never,
        // Where every request must succeed, slow clients must, too.
        min_rate: if kind.calm { 0 } else { random.pick(&[0, 100, 5000]) },
        min_rate_after: seconds(random.pick(&[1, 20])),
        splice_min: random.pick(&[1000, 8 << 10, 64 << 10]),
        turn_bytes: TURN_BYTES,
        held_buffers: random.between(1, 4),
        allow_any_gateway: true,
        ..Config::default()
    };
    if !kind.limited {
        return config;
    }
    Config {
        max_connections: random.pick(&[0, 4, 12]),
        max_connections_per_address: random.pick(&[0, 2, 5]),
        max_accepts_per_address: random.pick(&[0, 2, 10]),
        max_accepts_per_second: random.pick(&[0, 3, 20]),
        max_registrations_per_second: random.pick(&[0, 1, 5]),
        max_gateways_per_domain: random.pick(&[0, 1, 2]),
        ..config
    }
}

/// Adds a listener for TLS to the others.
fn secure(config: &mut Config, tuning: &mut Tuning) {
    let at = |port: usize| SocketAddr::from(([127, 0, 0, 1], port as u16));
    config.listen = (1..=tuning.listeners).map(at).collect();
    config.listen_tls = vec![at(443)];
    config.certificates = Some(Certificates::Files(Vec::new()));
    config.allow_plain_gateways = true;
    tuning.listeners += 1;
}

fn tuning(random: &mut Random, kind: &Kind, variation: &Variation) -> Tuning {
    let mut tuning = Tuning::draw(random, 1024);
    if kind.crowd {
        // A shard that is busy looks into its mailbox late.
        tuning.mail_delay_max = random.pick(&[10, 200]);
    }
    if kind.hogs {
        tuning.buffers = random.between(8, 12);
        tuning.ring_buffers = random.between(2, 4);
        tuning.socket_bytes.0 = random.pick(&[512, 700]);
    }
    if kind.fat {
        tuning.socket_bytes = (FAT, FAT);
        (tuning.pipes, tuning.pipe_bytes) = (4, FAT);
    }
    tuning.budget = BUDGET;
    let fails_from = tuning.epoch_millis + 5000 + random.below(5000) as Millis;
    tuning.fails_from = random.chance(FAILING).then_some(fails_from);
    variation.apply(&mut tuning);
    tuning
}

impl Simulation {
    fn draw(seed: u64, variation: &Variation, trace_lines: usize) -> Simulation {
        let mut random = Random::new(!seed);
        let kind = Kind::draw(&mut random, variation);
        let mut tuning = tuning(&mut random, &kind, variation);
        // Drawn apart, so that the rest is what it would be without.
        let mut waits = Random::new(seed.rotate_left(48));
        let mut config = config(&mut random, &mut waits, &tuning, &kind);
        if variation.is_secure() {
            secure(&mut config, &mut tuning);
        }
        let config = Arc::new(config);
        config.validate().expect("a configuration that works");
        let count = if kind.crowd { random.between(3, 5) } else { random.between(1, 3) };
        let (epoch, fails_from) = (tuning.epoch_millis, tuning.fails_from.unwrap_or(Millis::MAX));
        let listeners = tuning.listeners;
        let world = World::new(seed, tuning, count, trace_lines);
        let world = if variation.is_secure() { Net::secure(world, seed) } else { Net::plain(world) };
        let acceptor = variation.is_secure().then(|| Acceptor::given(toy::server()));
        let shared = Arc::new(Shared::new(&config, count, 1).with_acceptor(acceptor));
        let counters: Vec<_> = (0..count).map(|_| Arc::new(Counters::default())).collect();
        let shard = |number: usize| {
            let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
            Some(Shard::new(world.shard(number), config, number, listeners, shared, Arc::clone(&counters[number])))
        };
        let shards = (0..count).map(shard).collect();
        let wait = config.client_wait.as_millis() as Millis;
        let mut ledger = Ledger {
            calm: kind.calm,
            crowded: kind.crowd,
            hurried: kind.crowd && !kind.patient,
            gateways_at: (kind.patient && random.chance(300)).then(|| random.below(count)),
            limited: kind.limited,
            rated: config.min_rate > 0,
            ipv6: !variation.lacks("ipv6"),
            epoch,
            early: kind.calm && !kind.limited && config.start_grace >= EARLY && waits.chance(500),
            client_wait: (!kind.limited && !variation.lacks("refusals")).then_some(wait),
            domains: if kind.crowd { 1 } else { random.between(1, 3) },
            ..Ledger::default()
        };
        // Drawn apart, so that the rest is what it would be without.
        let mut origins = Random::new(seed.rotate_left(16));
        let several = |random: &mut Random| if random.chance(SEVERAL) { random.between(2, 5) } else { 1 };
        ledger.names = (0..ledger.domains).map(|_| several(&mut origins)).collect();
        if variation.lacks("origins") {
            ledger.names.fill(1);
        }
        let gateways = Simulation::draw_gateways(&mut random, &mut ledger, variation);
        let (least, most) = if kind.crowd { (5, 9) } else { (1, 8) };
        let mut clients: Vec<Client> =
            (0..random.between(least, most)).map(|n| Client::draw(n, &mut random, &mut ledger)).collect();
        clients.truncate(variation.clients());
        clients.iter_mut().for_each(|client| client.shrink(variation.requests()));
        world.note(|| format!("calm {}, {count} shards, {config:?}", kind.calm));
        // Drawn apart, so that the rest is what it would be without.
        let mut apart = Random::new(seed.rotate_left(32));
        let from = epoch + if kind.calm { 5000 } else { 0 };
        let drains = apart.chance(DRAINED) && !variation.lacks("drain");
        let drains_at = drains.then(|| from + apart.below(4000) as Millis);
        world.stop_at(drains_at.unwrap_or(0));
        let manner = match () {
            _ if kind.hogs => Manner::Hogs,
            _ if count > 1 && apart.chance(CLAIMING) => Manner::Claimants,
            _ => Manner::Any,
        };
        let rude = match manner {
            Manner::Hogs => apart.between(10, 20),
            Manner::Claimants => apart.between(6, 12),
            Manner::Any if kind.fat || apart.chance(RUDE) => apart.between(2, 10),
            Manner::Any => 0,
        };
        let rude = (0..rude.min(variation.rude())).map(|n| Rude::draw(n, &mut apart, from, manner)).collect();
        let variation = variation.clone();
        Simulation {
            world,
            random,
            shards,
            dues: vec![Some(0); count],
            gateways,
            clients,
            rude,
            counters,
            variation,
            ledger,
            drains_at,
            fails_from,
            passes: 0,
            failed: false,
        }
    }

    fn draw_gateways(random: &mut Random, ledger: &mut Ledger, variation: &Variation) -> Vec<Gateway> {
        let mut gateways = Vec::new();
        for domain in 0..ledger.domains {
            let hasty = random.chance(if ledger.crowded { 0 } else { 60 });
            ledger.hasty.extend(hasty.then_some(domain));
            let least = if ledger.hurried { 3 } else { 1 };
            let of_domain = random.between(least, 4);
            for nth in 0..of_domain {
                let gateway = Gateway::draw(gateways.len(), domain, random, hasty, ledger);
                // One of each is left: without any, refusals would be right.
                if nth < variation.gateways().max(1) {
                    gateways.push(gateway);
                }
            }
        }
        gateways
    }

    /// Tells all shards to finish what they have begun, and to begin nothing.
    fn drain(&mut self) {
        self.world.note(|| "the relay is told to drain".into());
        self.ledger.begin_ending();
        for shard in 0..self.shards.len() {
            self.world.post(shard, Message::Drain);
        }
    }

    /// Gives everybody a turn who may have something to do, in any order. True when something happened.
    fn pass(&mut self, skipping: u32) -> bool {
        let began = self.world.now();
        if self.drains_at.take_if(|at| *at <= self.world.now()).is_some() {
            self.drain();
        }
        let _ = self.world.next_wake();
        for (n, gateway) in self.gateways.iter().enumerate() {
            if gateway.has_passed_on(&self.ledger) {
                self.world.wake(self.clients.len() + n);
            }
        }
        let peers = self.clients.len() + self.gateways.len() + self.rude.len();
        let actors = peers + self.shards.len();
        let (first, mut active) = (self.random.below(actors), false);
        for n in 0..actors {
            if self.random.chance(skipping) {
                continue;
            }
            let at = (first + n) % actors;
            active |= match at.checked_sub(peers) {
                Some(shard) => self.turn(shard),
                None if self.world.act(at) => self.step(at),
                None => false,
            };
        }
        self.passes += 1;
        if self.passes > PASSES_MAX {
            self.world.fault("the clock stands still: a shard turns in circles");
        }
        // A call that takes time lets others come into their own.
        active || self.world.now() != began
    }

    /// A peer's step. True when it may have more to do at once.
    fn step(&mut self, actor: usize) -> bool {
        let shards = self.shards.len();
        let active = match actor.checked_sub(self.clients.len()) {
            None => self.clients[actor].step(&self.world, shards, &mut self.ledger),
            Some(at) => match at.checked_sub(self.gateways.len()) {
                None => self.gateways[at].step(&self.world, shards, &mut self.ledger),
                Some(at) => self.rude[at].step(&self.world, shards, &self.variation),
            },
        };
        if active {
            self.world.wake(actor);
        }
        active
    }

    /// A shard's turn, if there is a reason for one. True when it may have more to do at once.
    fn turn(&mut self, number: usize) -> bool {
        let Some(shard) = &mut self.shards[number] else { return false };
        let due = |due: Option<Millis>| due.is_some_and(|at| at <= self.world.now());
        if !shard.io().busy() && !due(self.dues[number]) {
            return false;
        }
        match shard.turn() {
            Ok(true) => {
                self.dues[number] = shard.wait_until();
                shard.io().busy() || due(self.dues[number])
            }
            Ok(false) => {
                self.shards[number] = None;
                true
            }
            Err(_) if self.world.now() >= self.fails_from => {
                self.failed = true;
                true
            }
            Err(error) => self.world.fault(&format!("turn: {error}")),
        }
    }

    /// Goes on until `done`, or until nothing can happen any more, or until `by`.
    fn until(&mut self, by: Millis, done: impl Fn(&Simulation) -> bool) -> bool {
        loop {
            if self.failed || done(self) {
                return true;
            }
            if self.pass(200) || self.pass(0) || self.world.is_anyone_awake() {
                continue;
            }
            let live = self.shards.iter().zip(&self.dues).filter(|(shard, _)| shard.is_some());
            let next = self.world.next_wake().into_iter().chain(live.filter_map(|(_, &due)| due)).min();
            let Some(next) = next.filter(|&at| at <= by) else { return done(self) };
            self.passes = 0;
            self.check_waiting();
            self.world.jump(next.max(self.world.now() + 1));
            if self.random.chance(NEEDLESS) {
                // A kernel may wake a shard for nothing.
                self.world.wake_shard(self.random.below(self.shards.len()));
            }
        }
    }

    /// Nobody waits for what is there: a gateway that is free and a client that wants it find each other.
    fn check_waiting(&self) {
        let now = self.world.now();
        for client in &self.clients {
            let Some((id, asked)) = client.waits(now) else { continue };
            if let Some(gateway) = self.ledger.kept_waiting(id, asked, now) {
                self.world.fault(&format!(
                    "{}: waits since {asked} although gateway {gateway} is free: {}",
                    client.describe(),
                    self.ledger.exchanges[id].describe()
                ));
            }
        }
    }

    /// Runs until every client is done.
    fn serve(&mut self) {
        let done = |simulation: &Simulation| simulation.clients.iter().all(Client::is_done);
        if !self.until(self.ledger.epoch + CLIENTS_DONE_BY, done) {
            let all = self.clients.iter().filter(|client| !client.is_done()).map(Client::describe);
            let all: Vec<String> = all.chain(self.gateways.iter().map(Gateway::describe)).collect();
            self.world.fault(&format!(
                "clients hang:\n  {}\n  {}\n  {:?} {:?}",
                all.join("\n  "),
                self.holdings(),
                self.world.next_wake(),
                self.world.unrest()
            ));
        }
        let by = self.world.now() + RUDE_FOR;
        let _ = self.until(by, |simulation| simulation.rude.iter().all(Rude::is_done));
    }

    /// Lets everybody go, one way or another, and sees that nothing is left.
    fn end(&mut self) {
        let drawn = self.random.below(3);
        let ending = if self.ledger.ending { drawn.max(1) } else { drawn };
        self.world.note(|| format!("the end begins: {}", ["leave", "drain", "stop"][ending]));
        self.drains_at = None;
        self.rude.iter_mut().for_each(|rude| rude.retire(&self.world));
        self.ledger.ending = ending > 0;
        self.ledger.exchanges.iter_mut().for_each(|exchange| exchange.under_way = false);
        if ending > 1 {
            self.world.stop();
        }
        for shard in 0..self.shards.len() {
            match ending {
                0 => {}
                1 => self.world.post(shard, Message::Drain),
                _ => self.world.post(shard, Message::Stop),
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
        self.check_moves();
    }

    /// Clients move between shards for a reason: a request, or a gateway that has become free.
    fn check_moves(&self) {
        let sum = |of: fn(&Counters) -> &Counter| -> u64 { self.counters.iter().map(|all| of(all).value()).sum() };
        let moves = sum(|all| &all.handed_over);
        let reasons = sum(|all| &all.requests) + sum(|all| &all.registered) + sum(|all| &all.accepted);
        let refused =
            |all: &Arc<Counters>| Refusal::ALL.iter().map(|&refusal| all.refused(refusal).value()).sum::<u64>();
        let reasons = reasons + self.counters.iter().map(refused).sum::<u64>();
        if moves > MOVES_SPARE + MOVES_MAX * reasons {
            self.world.fault(&format!("clients went to and fro between shards {moves} times, with {reasons} reasons"));
        }
    }

    fn unrest(&self, ended: bool) -> Option<String> {
        for shard in self.shards.iter().flatten() {
            let held = shard.snapshot();
            let left = held.connections + held.domains + held.sessions + held.buffers + held.pipes;
            let left = left + held.secure + held.handshakes + held.held;
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
