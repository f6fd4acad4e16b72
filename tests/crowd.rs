//! A shard among very many connections, on a back end in memory: who is being served does not wait behind those that come
//! and go.

use ringback::{
    io::crowd::{Crowd, FarEnds},
    relay::{
        config::Config,
        counters::Counters,
        message::Message,
        shard::{Shard, Shared},
    },
};
use std::sync::Arc;

/// Gateways that lose their connections, and come back, all at once.
const CROWD: usize = 20_000;

struct Relay {
    ends: FarEnds<Message>,
    shard: Shard<Crowd<Message>>,
}

impl Relay {
    fn new(room: usize) -> Relay {
        let config = Config { max_registrations_per_second: 0, allow_any_gateway: true, ..Config::default() };
        let ends = FarEnds::new(room);
        let shared = Arc::new(Shared::new(&config, 1, 1));
        let shard = Shard::new(ends.engine(), Arc::new(config), 0, 1, shared, Arc::new(Counters::default()));
        Relay { ends, shard }
    }

    fn gateway(&self, domain: &str) -> u32 {
        self.ends.connect(
            format!("GET /{domain} HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n").as_bytes(),
        )
    }

    fn settle(&mut self) {
        while self.ends.is_stirred() || self.shard.wait_until() == Some(0) {
            assert!(self.shard.turn().expect("a turn"));
        }
    }

    /// What was sent to one far end since the last call.
    fn heard(&self, by: u32) -> Vec<u8> {
        let mut all = Vec::new();
        self.ends.hear(|number, bytes| {
            if number == by {
                all.extend_from_slice(bytes);
            }
        });
        all
    }

    /// Turns until one far end is sent something; what that is, and how many gateways are parked by then.
    fn until_heard(&mut self, by: u32) -> (Vec<u8>, usize) {
        for _ in 0..100_000 {
            self.shard.turn().expect("a turn");
            let heard = self.heard(by);
            if !heard.is_empty() {
                return (heard, self.shard.snapshot().parked);
            }
        }
        panic!("{by} hears nothing");
    }
}

const REQUEST: &[u8] = b"GET /canary/x HTTP/1.1\r\nHost: relay\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Thousands end at once, and thousands come at once. A request that arrives behind all of them reaches its gateway, and
/// the answer its client, while most of the others still wait.
#[test]
fn a_client_passes_the_crowd() {
    let mut relay = Relay::new(2 * CROWD + 10);
    let canary = relay.gateway("canary");
    let crowd: Vec<u32> = (0..CROWD).map(|n| relay.gateway(&format!("dev-{n}"))).collect();
    relay.settle();
    let client = relay.ends.connect(REQUEST);
    relay.settle();

    assert!(relay.heard(canary).ends_with(b"\r\n\r\n"));
    relay.ends.say(canary, ANSWER);
    relay.settle();
    assert_eq!(relay.heard(client), ANSWER);

    crowd.iter().for_each(|&number| relay.ends.finish(number));
    for n in 0..CROWD {
        relay.gateway(&format!("dev-{n}"));
    }
    relay.ends.say(client, REQUEST);
    let (request, parked) = relay.until_heard(canary);
    assert!(request.starts_with(b"GET /canary/x "));
    let gone = CROWD + 1 - parked;
    assert!(gone < CROWD / 4, "{gone} have been seen off before a client was served");
    relay.ends.say(canary, ANSWER);
    let (answer, _) = relay.until_heard(client);
    assert_eq!(answer, ANSWER);

    // And nobody is forgotten.
    relay.settle();
    assert_eq!(relay.shard.snapshot().parked, CROWD + 1);
    relay.ends.post(Message::Stop);
    while relay.shard.turn().expect("a turn") {}
    assert_eq!(relay.shard.snapshot().connections, 0);
}
