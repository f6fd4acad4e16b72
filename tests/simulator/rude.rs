//! Peers that keep to no rule: gateways and clients of a domain of their own, beside polite ones.
//!
//! They check nothing but that they get no requests for names that they have not registered. What they do must not harm
//! anybody else, which the others check; and what they send must not reach anybody whom it is not for.
mod clients;
mod gateways;
mod records;

use super::net::Net;
use super::variation::Variation;
use ringback::io::Millis;
use ringback::io::sim::{Heard, Peer, Random};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

/// How long a rude peer waits for a head before it goes on.
const PATIENCE: Millis = 10_000;
/// The id of all that must reach no gateway: none of them knows it.
pub const SMUGGLED: usize = 888_888;

/// What most of a world's rude peers are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Whatever comes.
    Any,
    /// Much of the same: uploads to gateways that take nothing.
    Hogs,
    /// Names: gateways come for a moment, each with other sets of them, and clients wait for any.
    Claimants,
}

/// One thing to do.
#[derive(Clone, Debug)]
enum Do {
    /// Sends, as fast as it goes.
    Say(Vec<u8>),
    /// Sends a byte at a time, so many milliseconds apart.
    Drip(Vec<u8>, Millis),
    /// Waits until so many heads have come since the last time.
    Heads(usize),
    /// Answers every head that comes.
    Serve,
    /// Waits.
    Pause(Millis),
    /// Reads from here on, or does not.
    Reads(bool),
    /// Finishes sending.
    Finish,
    /// Closes with a reset.
    Reset,
}

/// A connection and what is left to do on it.
struct Live {
    peer: Peer,
    todo: VecDeque<Do>,
    /// The names that it registers, if it does.
    names: Vec<&'static str>,
    /// How much of the first thing to do is done.
    sent: usize,
    /// When to go on, or to give up waiting.
    until: Option<Millis>,
    reads: bool,
    heard: Vec<u8>,
    /// How much of `heard` has been looked at for heads.
    looked: usize,
    heads: usize,
    ended: bool,
}

pub struct Rude {
    number: usize,
    gateway: bool,
    manner: Manner,
    random: Random,
    lives: usize,
    live: Option<Live>,
    at: Millis,
}

impl Rude {
    pub fn draw(number: usize, random: &mut Random, from: Millis, manner: Manner) -> Rude {
        let mut random = random.fork();
        // The first two make a pair.
        let gateway =
            if number < 2 { number == 0 } else { random.chance(if manner == Manner::Hogs { 250 } else { 400 }) };
        let most = match manner {
            Manner::Claimants => 12,
            _ if gateway => 6,
            _ => 3,
        };
        let lives = random.between(1, most);
        let at = from + random.pick(&[0, 10, 1000, 5000]);
        Rude { number, gateway, manner, random, lives, live: None, at }
    }

    pub fn is_done(&self) -> bool {
        self.live.is_none() && self.lives == 0
    }

    /// Goes away for good.
    pub fn retire<M>(&mut self, world: &Net<M>) {
        self.lives = 0;
        if let Some(live) = self.live.take() {
            world.reset(live.peer);
        }
    }

    /// Does one thing or a few. True when something happened.
    pub fn step<M>(&mut self, world: &Net<M>, shards: usize, less: &Variation) -> bool {
        let Some(live) = &mut self.live else {
            if self.lives == 0 {
                return false;
            }
            if world.now() < self.at {
                world.wake_at(self.at);
                return false;
            }
            self.connect(world, shards, less);
            return true;
        };
        let heard = live.hear(world, &mut self.random);
        let done = !live.ended && live.go_on(world, &mut self.random);
        if live.ended || live.todo.is_empty() {
            world.close(live.peer);
            self.live = None;
            self.at = world.now() + self.random.pick(&[1, 20, 500]);
            world.wake_at(self.at);
            return true;
        }
        heard | done
    }

    fn connect<M>(&mut self, world: &Net<M>, shards: usize, less: &Variation) {
        self.lives -= 1;
        let bare = world.is_secure() && self.random.chance(300);
        let todo = match self.gateway {
            _ if bare => records::draw(&mut self.random),
            true => gateways::draw(&mut self.random, self.manner),
            false => clients::draw(&mut self.random, self.manner, !less.lacks("ahead")),
        };
        let listener = self.random.below(world.listeners());
        let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, self.number as u16));
        let peer = match bare {
            true => world.connect_bare(self.random.below(shards), address),
            false => world.connect_from(self.random.below(shards), listener, address),
        };
        world.note(|| format!("rude peer {}, {peer:?}: {}", self.number, describe(&todo)));
        self.live = Some(Live {
            peer,
            names: gateways::registered(&todo),
            todo: todo.into(),
            sent: 0,
            until: None,
            reads: true,
            heard: Vec::new(),
            looked: 0,
            heads: 0,
            ended: false,
        });
    }
}

impl Live {
    fn hear<M>(&mut self, world: &Net<M>, random: &mut Random) -> bool {
        if !self.reads || self.ended {
            return false;
        }
        match world.receive(self.peer, random.between(1, 20_000), &mut self.heard) {
            Heard::Nothing => return false,
            Heard::Bytes(_) => {
                while let Some(end) = memchr::memmem::find(&self.heard[self.looked..], b"\r\n\r\n") {
                    let head = &self.heard[self.looked..self.looked + end];
                    if let Some(stray) = gateways::stray(head, &self.names) {
                        world.fault(&format!("a rude gateway of {:?} got a request for {stray}", self.names));
                    }
                    self.looked += end + 4;
                    self.heads += 1;
                }
                // The next one may have begun.
                self.looked = self.looked.max(self.heard.len().saturating_sub(3));
            }
            Heard::Eof | Heard::Reset => self.ended = true,
        }
        true
    }

    /// Does the first of what is left to do. True when something happened.
    fn go_on<M>(&mut self, world: &Net<M>, random: &mut Random) -> bool {
        let now = world.now();
        if self.until.is_some_and(|until| now < until) && !matches!(self.todo.front(), Some(Do::Heads(_))) {
            return false;
        }
        let Some(this) = self.todo.pop_front() else { return true };
        let done = match &this {
            Do::Say(bytes) => {
                let some = random.part(bytes.len() - self.sent);
                self.say(world, bytes, some).then_some(self.sent == bytes.len())
            }
            Do::Drip(bytes, every) => {
                self.until = Some(now + every);
                let _ = self.say(world, bytes, 1);
                Some(self.sent == bytes.len())
            }
            Do::Heads(count) => {
                let until = *self.until.get_or_insert(now + PATIENCE);
                let enough = self.heads >= *count;
                self.heads -= if enough { *count } else { 0 };
                (enough || now >= until).then_some(true)
            }
            Do::Serve => (self.heads > 0).then(|| {
                self.heads -= 1;
                self.todo.push_front(Do::Serve);
                self.todo.push_front(Do::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
                true
            }),
            Do::Pause(time) => match self.until {
                None => {
                    self.until = Some(now + time);
                    Some(false)
                }
                Some(_) => Some(true),
            },
            Do::Reads(reads) => {
                self.reads = *reads;
                Some(true)
            }
            Do::Finish => {
                world.finish(self.peer);
                Some(true)
            }
            Do::Reset => {
                world.reset(self.peer);
                // Closing what is reset already is harmless.
                self.ended = true;
                Some(true)
            }
        };
        if done == Some(true) {
            (self.sent, self.until) = (0, None);
            return true;
        }
        self.todo.push_front(this);
        if let Some(until) = self.until {
            world.wake_at(until);
        }
        done.is_some() || self.ended
    }

    /// Sends some of it. True when something was sent.
    fn say<M>(&mut self, world: &Net<M>, bytes: &[u8], some: usize) -> bool {
        let to = (self.sent + some).min(bytes.len());
        let sent = world.send(self.peer, &bytes[self.sent..to]);
        self.ended |= sent.is_none();
        self.sent += sent.unwrap_or(0);
        sent.is_some_and(|sent| sent > 0)
    }
}

fn describe(todo: &[Do]) -> String {
    let words = todo.iter().map(|this| match this {
        Do::Say(bytes) | Do::Drip(bytes, _) => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            format!("say {} bytes, {start:?}", bytes.len())
        }
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join("; ")
}
