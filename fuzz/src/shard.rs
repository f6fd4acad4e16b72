//! A whole shard in a simulated world: the input says what its peers do, byte by byte.

use ringback::{
    io::{
        Millis,
        sim::{Heard, Peer, Random, Sim, Tuning, World},
    },
    relay::{
        config::Config,
        counters::Counters,
        message::Message,
        shard::{Shard, Shared},
    },
};
use std::{sync::Arc, time::Duration};

/// Peers that an input may have.
const PEERS_MAX: usize = 12;
/// Turns without the clock going on: more means that the shard turns in circles.
const TURNS_MAX: usize = 100_000;
/// Steps that are taken of an input.
const STEPS_MAX: usize = 400;
/// How long the shard may take to give everything back once its peers have gone.
const AT_REST_WITHIN: Millis = 15 * 60 * 1000;

/// What gateways say first.
const REGISTRATIONS: [&[u8]; 4] = [
    b"GET /d HTTP/1.1\r\nHost: r\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n",
    b"POST /d HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: r\r\n\r\n",
    b"GET /.well-known/ptth/https%3A%2F%2Fd,https%3A%2F%2Fe/ HTTP/1.1\r\nHost: r\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n",
    b"POST /.well-known/ptth/https%3A%2F%2Ff,https%3A%2F%2Fe/ HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: r\r\n\r\n",
];
/// What they say then, besides bodies.
const RESPONSES: [&[u8]; 8] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
];
/// What clients say, besides bodies.
const REQUESTS: [&[u8]; 10] = [
    b"GET /d/ HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /nobody/ HTTP/1.1\r\nHost: r\r\n\r\n",
    b"POST /d/ HTTP/1.1\r\nHost: r\r\nContent-Length: 40\r\n\r\n",
    b"POST /d/ HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /d/ HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
    b"CONNECT /d HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET /d/ HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HEAD /d/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /d/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n",
    b"GET /e/ HTTP/1.1\r\nHost: r\r\n\r\n",
];
/// Parts of bodies.
const BODIES: [&[u8]; 5] = [
    b"28\r\n0123456789012345678901234567890123456789\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Sum: 1\r\n\r\n",
    b"0123456789012345678901234567890123456789",
    b"\r\n",
];

/// One of two lists' members.
fn phrase(first: &[&'static [u8]], choice: u8) -> &'static [u8] {
    let choice = usize::from(choice) % (first.len() + BODIES.len());
    first.get(choice).copied().unwrap_or_else(|| BODIES[choice - first.len()])
}

/// The shard, its world and those who connect to it.
struct Scene {
    world: World<Message>,
    shard: Shard<Sim<Message>>,
    peers: Vec<Option<Peer>>,
}

/// Does what the input says and then lets all peers go: the shard gives everything back.
pub fn shard(data: &[u8]) {
    let (seed, mut script) = data.split_at(data.len().min(4));
    let seed = seed.iter().fold(0, |seed, &byte| seed << 8 | u64::from(byte));
    let mut scene = Scene::new(seed);
    for _ in 0..STEPS_MAX {
        let [step, detail, rest @ ..] = script else { break };
        script = scene.step(*step, *detail, rest);
        scene.settle();
    }
    scene.end();
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut random = Random::new(!seed);
        let tuning = Tuning::draw(&mut random, 1024);
        let config = Config {
            buffer_size: tuning.buffer_bytes as u32,
            buffers: tuning.buffers as u16,
            pipes: tuning.pipes,
            hostnames: vec!["relay.test".to_owned()],
            client_wait: Duration::from_secs(2),
            tunnel_idle: Duration::from_secs(120),
            max_head_bytes: 1024,
            splice_min: 1000,
            held_buffers: random.between(1, 4),
            allow_any_gateway: true,
            ..Config::default()
        };
        config.validate().expect("a configuration that works");
        let listeners = tuning.listeners;
        let world = World::new(seed, tuning, 1, 0);
        let (shared, counters) = (Arc::new(Shared::new(&config, 1, 1)), Arc::new(Counters::default()));
        let shard = Shard::new(world.shard(0), Arc::new(config), 0, listeners, shared, counters);
        Scene { world, shard, peers: Vec::new() }
    }

    /// One step of one peer: what it does is in the low bits of `step`. What is left of the script.
    fn step<'a>(&mut self, step: u8, detail: u8, script: &'a [u8]) -> &'a [u8] {
        let (what, choice) = (step % 16, step / 16);
        if self.peers.is_empty() || (what == 0 && self.peers.len() < PEERS_MAX) {
            self.connect(choice);
            return script;
        }
        let at = usize::from(detail) % self.peers.len();
        let Some(peer) = self.peers[at] else { return script };
        match what {
            0..8 => {
                let list = if at.is_multiple_of(2) { &RESPONSES[..] } else { &REQUESTS[..] };
                self.world.send(peer, phrase(list, choice));
            }
            8 => {
                let (bytes, rest) = script.split_at(script.len().min(usize::from(choice)));
                self.world.send(peer, bytes);
                return rest;
            }
            9 => {
                self.world.send(peer, &[b'x'; 4000][..usize::from(choice) * 250]);
            }
            10 | 11 => self.hear(peer),
            12 => self.world.finish(peer),
            13 => {
                self.world.reset(peer);
                self.peers[at] = None;
            }
            14 => {
                self.world.close(peer);
                self.peers[at] = None;
            }
            _ => self.world.jump(self.world.now() + Millis::from(detail) * 100 + 1),
        }
        script
    }

    /// Another peer. Every other one is a gateway, and says so unless it is to say something else first.
    fn connect(&mut self, choice: u8) {
        let peer = self.world.connect(0, 0);
        if self.peers.len().is_multiple_of(2) && choice < 15 {
            self.world.send(peer, REGISTRATIONS[usize::from(choice) % REGISTRATIONS.len()]);
        }
        self.peers.push(Some(peer));
    }

    fn hear(&self, peer: Peer) {
        let mut bytes = Vec::new();
        while let Heard::Bytes(_) = self.world.receive(peer, 1 << 16, &mut bytes) {
            bytes.clear();
        }
    }

    /// Gives the shard turns until it has nothing more to do now.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            match self.shard.turn() {
                Ok(going) => assert!(going, "the shard has ended by itself"),
                Err(error) => self.world.fault(&format!("turn: {error}")),
            }
            let due = self.shard.wait_until().is_some_and(|at| at <= self.world.now());
            if !self.shard.io().busy() && !due {
                return;
            }
        }
        self.world.fault("the clock stands still: the shard turns in circles");
    }

    /// Lets all peers go and waits until nothing of theirs is left.
    fn end(mut self) {
        for peer in self.peers.drain(..).flatten() {
            self.world.close(peer);
        }
        let by = self.world.now() + AT_REST_WITHIN;
        loop {
            self.settle();
            let next = self.world.next_wake().into_iter().chain(self.shard.wait_until()).min();
            let Some(next) = next.filter(|&at| at <= by) else { break };
            self.world.jump(next.max(self.world.now() + 1));
        }
        let held = self.shard.snapshot();
        let left = held.connections + held.domains + held.sessions + held.buffers + held.pipes;
        assert_eq!(left, 0, "not at rest: {held:?}");
        assert_eq!(self.shard.io().on_loan(), None);
        assert_eq!(self.world.unrest(), None);
    }
}
