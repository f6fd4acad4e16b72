//! A scripted gateway: registers, takes requests, checks that they are its own, answers as the ledger says.
mod answering;

pub use answering::has_body;

use super::draw::{self, Style};
use super::net::Net;
use super::payload::{astray, payload, request_key};
use super::plan::{Ledger, domain_name};
use super::wire::{Body, Head, Inbox};
use ringback::io::Millis;
use ringback::io::sim::{Heard, Peer, Random};
use std::collections::VecDeque;

/// The 101 that a classic gateway is told, byte for byte.
const CLASSIC_101: &[u8] = b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n";

/// How soon a tunnel's other end hears of a half-close, however slowly it reads. Shorter than a tunnel may be idle.
const HALF_CLOSE_WITHIN: Millis = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Away,
    /// Asked to be registered; a `ptth` gateway waits for its 101, a classic one for work.
    Registering,
    /// A classic gateway that will ask again.
    Reposting,
    /// Ready, with or without a request at hand.
    Serving,
    /// Finished sending; waits for the relay to do the same.
    Leaving,
}

/// How a connection is left once everything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Stay,
    Finish,
    Close,
    Reset,
}

struct Serving {
    id: usize,
    body: Body,
    /// When to answer, if it has not been.
    answer_at: Option<Millis>,
    /// Where in `out` the answer begins.
    answer_from: usize,
    tunnel: bool,
    opaque: bool,
}

pub struct Gateway {
    number: usize,
    pub domain: usize,
    classic: bool,
    strip: bool,
    /// Answers at once with the same bytes and closes, reading nothing.
    hasty: bool,
    random: Random,
    state: State,
    peer: Option<Peer>,
    /// Which of all gateways' connections this is.
    connection: usize,
    at: Millis,
    dies_at: Option<Millis>,
    speaks_at: Option<Millis>,
    reads_from: Millis,
    inbox: Inbox,
    eof: bool,
    /// When that was.
    eof_at: Millis,
    out: Vec<u8>,
    sent: usize,
    /// Where in `out` it rests, and for how long.
    rests: VecDeque<(usize, Millis)>,
    rests_until: Millis,
    style: Style,
    leave: Leave,
    /// It leaves no sooner.
    stays_until: Millis,
    serving: Option<Serving>,
    /// The last request that this connection was given.
    last: Option<usize>,
    /// It would be free but for that request's client, who has not had the answer yet.
    passing_on: bool,
    retired: bool,
}

impl Gateway {
    pub fn draw(number: usize, domain: usize, random: &mut Random, hasty: bool, ledger: &Ledger) -> Gateway {
        let Ledger { calm, epoch, crowded, .. } = *ledger;
        Gateway {
            number,
            domain,
            classic: hasty || random.chance(if crowded { 0 } else { 500 }),
            strip: random.chance(300),
            hasty,
            at: epoch + if calm || random.chance(700) { 0 } else { random.below(1500) as Millis },
            random: random.fork(),
            state: State::Away,
            peer: None,
            connection: 0,
            dies_at: None,
            speaks_at: None,
            reads_from: 0,
            inbox: Inbox::default(),
            eof: false,
            eof_at: 0,
            out: Vec::new(),
            sent: 0,
            rests: VecDeque::new(),
            rests_until: 0,
            style: Style::AllAtOnce,
            leave: Leave::Stay,
            stays_until: 0,
            serving: None,
            last: None,
            passing_on: false,
            retired: false,
        }
    }

    pub fn describe(&self) -> String {
        let serving = self.serving.as_ref().map(|serving| serving.id);
        format!(
            "gateway {} of {}{}: {:?} {:?}, request {serving:?}",
            self.number,
            domain_name(self.domain),
            if self.classic { ", classic" } else { "" },
            self.state,
            self.peer
        )
    }

    /// Goes away for good.
    pub fn retire<M>(&mut self, world: &Net<M>) {
        self.retired = true;
        if let Some(peer) = self.peer.take() {
            match self.random.chance(500) {
                true => world.close(peer),
                false => world.reset(peer),
            }
        }
        self.state = State::Away;
    }

    /// Does one thing or a few. True when something happened.
    pub fn step<M>(&mut self, world: &Net<M>, shards: usize, ledger: &mut Ledger) -> bool {
        let now = world.now();
        let Some(peer) = self.peer else {
            if self.retired {
                return false;
            }
            if now < self.at {
                world.wake_at(self.at);
                return false;
            }
            self.connect(world, shards, ledger);
            return true;
        };
        if self.dies_at.is_some_and(|at| at <= now) {
            self.die(world, ledger);
            return true;
        }
        if self.speaks_at.is_some_and(|at| at <= now) {
            self.speaks_at = None;
            let idle = self.serving.is_none() && self.leave == Leave::Stay && self.sent == self.out.len();
            if idle && self.state == State::Serving {
                self.speak(world, peer);
            }
        }
        let mut active = self.flush(world, peer, ledger);
        if self.peer.is_some() && now >= self.reads_from {
            active |= self.read(world, peer, ledger);
        }
        if self.peer.is_some() {
            active |= self.act(world, ledger);
        }
        self.note_whether_free(now, ledger);
        active
    }

    /// Whether it waits for a request, as far as it knows.
    fn note_whether_free(&mut self, now: Millis, ledger: &mut Ledger) {
        let idle = match self.state {
            State::Registering => self.classic,
            // A classic one stays with its client for the next request.
            State::Serving => !self.classic && self.serving.is_none() && self.leave == Leave::Stay,
            State::Away | State::Reposting | State::Leaving => false,
        };
        // Its answer may still be on its way through the relay, to a client that does not read.
        let passed_on = self.last.is_none_or(|id| ledger.exchanges[id].result.is_some());
        self.passing_on = !passed_on;
        let nothing_new = self.inbox.is_empty() && self.sent == self.out.len() && !self.eof && now >= self.reads_from;
        if ledger.free.len() <= self.number {
            ledger.free.resize(self.number + 1, None);
        }
        let free = &mut ledger.free[self.number];
        let since = free.map_or(now, |free| free.1);
        *free = (idle && nothing_new && passed_on && self.peer.is_some()).then_some((self.domain, since));
    }

    /// Whether the client whom it was waiting for has come to an end with its request.
    pub fn has_passed_on(&self, ledger: &Ledger) -> bool {
        self.peer.is_some() && self.passing_on && self.last.is_none_or(|id| ledger.exchanges[id].result.is_some())
    }

    /// Says something unasked. Its time is that of the first byte's sending: what cannot be sent is not said.
    fn speak<M>(&mut self, world: &Net<M>, peer: Peer) {
        let now = world.now();
        let news = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-News: {now}\r\n\r\nnews").into_bytes();
        if let Some(sent @ 1..) = world.send(peer, &news) {
            (self.out, self.sent, self.leave) = (news, sent, Leave::Close);
            // Its end would tell the relay of what it said, had the relay missed that.
            self.stays_until = now + self.random.pick(&[0, 5000]);
            world.wake_at(self.stays_until);
        }
    }

    fn connect<M>(&mut self, world: &Net<M>, shards: usize, ledger: &mut Ledger) {
        let listener = self.random.below(world.listeners());
        let shard = ledger.gateways_at.unwrap_or_else(|| self.random.below(shards));
        self.peer = Some(world.connect(shard, listener));
        self.connection = ledger.connections;
        ledger.connections += 1;
        self.state = State::Registering;
        (self.inbox, self.eof, self.sent) = (Inbox::default(), false, 0);
        (self.rests, self.rests_until) = (VecDeque::new(), 0);
        self.out = self.registration(ledger);
        self.style = Style::draw(&mut self.random, 1000);
        (self.leave, self.stays_until) = (Leave::Stay, 0);
        (self.dies_at, self.speaks_at, self.last) = (None, None, None);
        if !ledger.calm {
            let soon = world.now() + self.random.below(3000) as Millis;
            match self.random.below(8) {
                0 => self.dies_at = Some(soon),
                1 => self.speaks_at = Some(soon),
                _ => {}
            }
            world.wake_at(soon);
        }
        world.note(|| format!("{} connects as {:?}", self.describe(), self.peer));
    }

    fn registration(&mut self, ledger: &Ledger) -> Vec<u8> {
        let name = ledger.place(self.domain, &mut self.random);
        let strip = if self.strip { "X-Relay-Strip-Prefix: 1\r\n" } else { "" };
        let text = match self.classic {
            true => {
                format!("POST /{name} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay.test\r\n\r\n")
            }
            false => format!(
                "GET /{name} HTTP/1.1\r\nHost: relay.test\r\nConnection: upgrade\r\nUpgrade: ptth\r\n{strip}ALPN: h2, http%2F1.1\r\n\r\n"
            ),
        };
        text.into_bytes()
    }

    /// Ends the connection, however it stands.
    fn die<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) {
        let peer = self.peer.expect("connected");
        match self.random.chance(500) {
            true => world.close(peer),
            false => world.reset(peer),
        }
        self.away(world, ledger);
    }

    fn away<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) {
        if let Some(serving) = self.serving.take() {
            let exchange = &mut ledger.exchanges[serving.id];
            exchange.disturbed = true;
            // It rested before the first byte.
            exchange.answered &= self.sent > serving.answer_from;
        }
        self.peer = None;
        self.state = State::Away;
        let late = if ledger.limited { 100 } else { 0 };
        self.at = world.now() + late + self.random.pick(&[0, 1, 20, 500]);
        world.wake_at(self.at);
    }

    fn flush<M>(&mut self, world: &Net<M>, peer: Peer, ledger: &mut Ledger) -> bool {
        let rest = self.out.len() - self.sent;
        if rest > 0 {
            if world.now() < self.rests_until {
                return false;
            }
            if let Some(time) = draw::rest(&mut self.rests, self.sent) {
                self.rests_until = world.now() + time;
                world.wake_at(self.rests_until);
                return true;
            }
            let next = self.rests.front().map_or(rest, |&(at, _)| (at - self.sent).min(rest));
            let some = self.style.some_of(&mut self.random, next);
            let Some(sent) = world.send(peer, &self.out[self.sent..self.sent + some]) else {
                world.close(peer);
                self.away(world, ledger);
                return true;
            };
            self.sent += sent;
            return sent > 0;
        }
        if world.now() < self.stays_until {
            return false;
        }
        match std::mem::replace(&mut self.leave, Leave::Stay) {
            Leave::Stay => return false,
            Leave::Finish => {
                world.finish(peer);
                self.state = State::Leaving;
                self.at = world.now() + 5000;
                world.wake_at(self.at);
            }
            Leave::Close => {
                world.close(peer);
                if self.serving.as_ref().is_some_and(|serving| serving.body.is_done()) {
                    // Answered as planned.
                    let serving = self.serving.take().expect("serving");
                    self.check_whole(world, ledger, &serving);
                }
                self.away(world, ledger);
            }
            Leave::Reset => {
                world.reset(peer);
                self.away(world, ledger);
            }
        }
        true
    }

    fn read<M>(&mut self, world: &Net<M>, peer: Peer, ledger: &mut Ledger) -> bool {
        if self.eof {
            return false;
        }
        let most = self.random.between(1, 20_000);
        match world.receive(peer, most, &mut self.inbox.bytes) {
            Heard::Nothing => return false,
            Heard::Bytes(_) => {
                if self.random.chance(10) {
                    self.reads_from = world.now() + self.random.below(2000) as Millis;
                    world.wake_at(self.reads_from);
                }
            }
            Heard::Eof => {
                if !self.eof {
                    self.eof_at = world.now();
                }
                self.eof = true;
            }
            Heard::Reset => {
                if let Some(serving) = &self.serving {
                    self.check_part(world, ledger, serving);
                }
                world.close(peer);
                self.away(world, ledger);
            }
        }
        true
    }

    /// Goes on with what was received.
    fn act<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        match self.state {
            State::Away => false,
            State::Registering => self.registering(world, ledger),
            State::Reposting => {
                if !self.inbox.is_empty() {
                    world.fault(&format!("{}: bytes behind a 204", self.describe()));
                }
                let due = world.now() >= self.at;
                if due {
                    (self.out, self.sent) = (self.registration(ledger), 0);
                    self.state = State::Registering;
                }
                due
            }
            State::Serving => self.serve(world, ledger),
            State::Leaving => {
                self.read_tunnel_out(world, ledger);
                let done = self.eof || world.now() >= self.at;
                if done && self.serving.as_ref().is_none_or(|serving| !serving.tunnel || self.eof) {
                    if let Some(serving) = self.serving.take() {
                        let finished_at = ledger.exchanges[serving.id].finished_at;
                        if serving.tunnel && finished_at.is_some_and(|at| self.eof_at > at + HALF_CLOSE_WITHIN) {
                            world.fault(&format!("tunnel {}: the client's end came late", serving.id));
                        }
                        self.check_whole(world, ledger, &serving);
                    }
                    world.close(self.peer.expect("connected"));
                    self.away(world, ledger);
                    return true;
                }
                false
            }
        }
    }

    fn registering<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let Some(head) = Head::take(&mut self.inbox) else {
            if self.eof {
                world.close(self.peer.expect("connected"));
                self.away(world, ledger);
            }
            return self.eof;
        };
        match head.status() {
            101 => {
                if self.classic && head.raw != CLASSIC_101 {
                    world.fault(&format!("{}: the 101 differs", self.describe()));
                }
                self.state = State::Serving;
                if self.hasty {
                    let domain = self.domain;
                    self.out.extend(
                        format!("HTTP/1.1 200 OK\r\nX-Hasty: {domain}\r\nContent-Length: 5\r\n\r\nhasty").bytes(),
                    );
                    self.leave = Leave::Close;
                }
            }
            204 if self.classic => {
                self.state = State::Reposting;
                let lazy = !ledger.calm && self.random.chance(200);
                self.at = world.now() + self.random.below(if lazy { 60_000 } else { 1000 }) as Millis;
                world.wake_at(self.at);
            }
            429 | 503 if ledger.ending || ledger.limited => {
                self.leave = Leave::Close;
                self.state = State::Leaving;
            }
            status => world.fault(&format!("{}: registration answered with {status}", self.describe())),
        }
        true
    }

    fn serve<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        if self.hasty {
            return false;
        }
        let Some(serving) = &mut self.serving else {
            if self.leave != Leave::Stay {
                return false;
            }
            if let Some(head) = Head::take(&mut self.inbox) {
                self.begin(world, ledger, &head);
                return true;
            }
            if self.eof && self.leave == Leave::Stay {
                // What has been sealed of a request cannot be unsent: it arrives whole, although the relay has given the
                // connection up because the response came first.
                let overtaken = self.last.is_some_and(|id| ledger.exchanges[id].answer.early) && world.is_secure();
                if ledger.calm && !ledger.ending && !self.classic && !overtaken {
                    world.fault(&format!("{}: the relay closed a waiting gateway", self.describe()));
                }
                self.leave = Leave::Close;
                return true;
            }
            return false;
        };
        if let Err(wrong) = serving.body.feed(&mut self.inbox) {
            world.fault(&format!("request {} at gateway {}: {wrong}", serving.id, self.number));
        }
        let raw = serving.tunnel || serving.opaque;
        if serving.opaque && serving.body.is_done() {
            let behind = String::from_utf8_lossy(self.inbox.rest());
            let stray = behind.split("X-Domain: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
            if stray.is_some_and(|domain: usize| domain != self.domain) {
                world.fault(&format!("{}: handed another domain's request: {behind:?}", self.describe()));
            }
        }
        let answered = serving.answer_at.is_none() && self.sent == self.out.len();
        if !raw && !answered && serving.body.is_done() && !self.inbox.is_empty() {
            world.fault(&format!("{}: more than one request at a time", self.describe()));
        }
        if self.eof && !serving.body.is_done() && !serving.tunnel {
            // The client has gone away, or the relay has given up.
            let serving = self.serving.take().expect("serving");
            self.check_part(world, ledger, &serving);
            self.leave = Leave::Close;
            (self.out, self.sent) = (Vec::new(), 0);
            self.rests.clear();
            return true;
        }
        self.answer(world, ledger) | self.complete(world, ledger)
    }

    /// Ends the exchange when both its directions have ended.
    fn complete<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let Some(serving) = &self.serving else { return false };
        if serving.tunnel {
            return self.read_tunnel_out(world, ledger);
        }
        let answered = serving.answer_at.is_none() && ledger.exchanges[serving.id].answered;
        if !answered || !serving.body.is_done() || self.sent < self.out.len() || self.leave != Leave::Stay {
            return false;
        }
        let serving = self.serving.take().expect("serving");
        self.check_whole(world, ledger, &serving);
        (self.out, self.sent) = (Vec::new(), 0);
        if !ledger.calm && self.random.chance(100) {
            // More than was asked for, right behind the answer.
            self.speak(world, self.peer.expect("connected"));
        }
        true
    }

    /// Takes what came through a tunnel, or behind a final answer.
    fn read_tunnel_out<M>(&mut self, world: &Net<M>, ledger: &Ledger) -> bool {
        let Some(serving) = &mut self.serving else { return false };
        if !serving.tunnel {
            let _ = serving.body.feed(&mut self.inbox);
            return false;
        }
        let there = self.inbox.rest().len();
        if serving.answer_at.is_some() && there > 0 {
            world.fault(&format!("gateway {}: tunnel bytes before the answer", self.number));
        }
        if there == 0 {
            return false;
        }
        serving.body.bytes.extend(self.inbox.take(there));
        let len = ledger.exchanges[serving.id].len.min(serving.body.bytes.len());
        let want = payload(request_key(serving.id), len);
        if let Some(wrong) = astray(&serving.body.bytes, &want) {
            world.fault(&format!("tunnel {} at gateway {}: {wrong}", serving.id, self.number));
        }
        true
    }
}
