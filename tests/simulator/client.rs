//! A scripted client: sends its requests, checks that each answer is its own, whole, and there only once.
mod checks;
mod pace;

use super::draw::{self, Style};
use super::net::Net;
use super::payload::{payload, request_key};
use super::plan::{Framed, Kind, Ledger, request_body};
use super::wire::{Body, Framing, Head, Inbox};
use checks::{check_body, check_head, draw_script};
use ringback::io::Millis;
use ringback::io::sim::{Heard, Peer, Random};
use std::collections::VecDeque;
use std::ops::Range;

/// One connection's worth of requests.
pub struct Script {
    pub requests: Vec<usize>,
    /// Requests that may be under way at once.
    pub depth: usize,
    /// Finishes sending behind the last request.
    pub half_close: bool,
    /// Goes away after hearing so many bytes, with a reset or without.
    pub quits: Option<(usize, bool)>,
    /// What is no request, behind the last one.
    pub garbage: bool,
    /// Leaves closing to the relay.
    pub idles: bool,
}

/// A request's place in what a connection sends.
struct Place {
    start: usize,
    head_end: usize,
    released: bool,
}

/// How long the relay lingers over a silent peer.
const LINGER: Millis = 5000;

/// A response being received.
struct Reply {
    head: Head,
    body: Body,
}

/// One connection.
struct Live {
    peer: Peer,
    script: Script,
    out: Vec<u8>,
    places: Vec<Place>,
    sent: usize,
    /// Where in `out` it rests, and for how long.
    rests: VecDeque<(usize, Millis)>,
    rests_until: Millis,
    finished: bool,
    /// No more can be sent.
    mute: bool,
    inbox: Inbox,
    heard: usize,
    /// Which request is being answered.
    at: usize,
    reply: Option<Reply>,
    /// Raw bytes, in a tunnel or from a gateway that does not speak HTTP.
    raw: Option<Vec<u8>>,
    /// The gateway's half of a tunnel has ended.
    ended: bool,
    /// The relay took the connection for one too many.
    turned_away: bool,
    /// The relay has said that it closes.
    closing: bool,
    style: Style,
    since: Vec<Millis>,
    /// When the head of each request had been sent.
    asked: Vec<Millis>,
    /// When the last answer was complete.
    replied_at: Millis,
    continue_at: Option<Millis>,
    wait_until: Millis,
    /// How often it falls asleep over a response, each time for less than the relay's patience.
    naps: usize,
    /// Whether it has slept for longer than the relay lingers.
    slept: bool,
}

pub struct Client {
    number: usize,
    random: Random,
    scripts: VecDeque<Script>,
    live: Option<Live>,
    at: Millis,
}

impl Client {
    pub fn draw(number: usize, random: &mut Random, ledger: &mut Ledger) -> Client {
        let mut random = random.fork();
        let scripts = (0..random.between(1, 3)).map(|_| draw_script(&mut random, ledger)).collect();
        // In calm seeds, gateways are there first.
        let after_gateways = if ledger.calm && !ledger.early { 5000 } else { 0 };
        let at = ledger.epoch + after_gateways + random.pick(&[0, 10, 500, 2000]);
        Client { number, at, random, scripts, live: None }
    }

    /// Asks less.
    pub fn shrink(&mut self, requests: usize) {
        self.scripts.iter_mut().for_each(|script| script.requests.truncate(requests.max(1)));
    }

    pub fn is_done(&self) -> bool {
        self.live.is_none() && self.scripts.is_empty()
    }

    pub fn describe(&self) -> String {
        match &self.live {
            None => format!("client {}: {} scripts to go", self.number, self.scripts.len()),
            Some(live) => format!(
                "client {} {:?}: request {:?} ({} of {:?}), sent {} of {}, heard {}",
                self.number,
                live.peer,
                live.script.requests.get(live.at),
                live.at,
                live.script.requests,
                live.sent,
                live.out.len(),
                live.heard
            ),
        }
    }

    /// The request for whose answer it waits, and since when, if it takes what comes.
    pub fn waits(&self, now: Millis) -> Option<(usize, Millis)> {
        let live = self.live.as_ref()?;
        let begun = live.reply.is_some() || live.raw.is_some() || !live.inbox.is_empty() || now < live.wait_until;
        let over = live.ended || live.closing || live.mute || live.turned_away;
        let (&id, &asked) = (live.script.requests.get(live.at)?, live.asked.get(live.at)?);
        (!begun && !over).then_some((id, asked.max(live.replied_at)))
    }

    /// Does one thing or a few. True when something happened.
    pub fn step<M>(&mut self, world: &Net<M>, shards: usize, ledger: &mut Ledger) -> bool {
        if self.live.is_none() {
            if self.scripts.is_empty() {
                return false;
            }
            if world.now() < self.at {
                world.wake_at(self.at);
                return false;
            }
            self.connect(world, shards, ledger);
            return true;
        }
        self.say(world, ledger) | self.hear(world, ledger)
    }

    fn connect<M>(&mut self, world: &Net<M>, shards: usize, ledger: &mut Ledger) {
        let peer = checks::connect(world, shards, &mut self.random, ledger);
        let script = self.scripts.pop_front().expect("a script");
        let mut out = Vec::new();
        let (mut places, mut rests) = (Vec::new(), VecDeque::new());
        for &id in &script.requests {
            let exchange = &mut ledger.exchanges[id];
            exchange.address = Some(world.address(peer));
            let start = out.len();
            out.extend(&exchange.head);
            places.push(Place { start, head_end: out.len(), released: !exchange.expect });
            let body_at = out.len();
            out.extend(request_body(exchange, id, &mut self.random));
            rests.extend(draw::rests(&mut self.random, &out, body_at, exchange.framed == Framed::Chunked));
            if exchange.is_tunnel() {
                out.extend(payload(request_key(id), exchange.len));
            }
        }
        places.push(Place { start: out.len(), head_end: out.len(), released: true });
        if script.garbage {
            out.extend(draw::garbage(&mut self.random));
        }
        self.live = Some(Live {
            peer,
            style: Style::draw(&mut self.random, out.len()),
            script,
            out,
            places,
            sent: 0,
            rests,
            rests_until: 0,
            finished: false,
            mute: false,
            inbox: Inbox::default(),
            heard: 0,
            at: 0,
            reply: None,
            raw: None,
            ended: false,
            turned_away: false,
            closing: false,
            since: Vec::new(),
            asked: Vec::new(),
            replied_at: 0,
            continue_at: None,
            wait_until: 0,
            slept: false,
            naps: if self.random.chance(20) { self.random.between(2, 5) } else { 0 },
        });
        world.note(|| self.describe());
    }

    /// Sends what may be sent now.
    fn say<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let Some(live) = &mut self.live else { return false };
        if live.mute || live.finished {
            return false;
        }
        let limit = live.limit(world, ledger, &mut self.random);
        if live.sent == live.out.len() {
            let tunnel = live.raw.is_some();
            if tunnel || live.script.half_close {
                world.finish(live.peer);
                live.finished = true;
                if let Some(&id) = live.script.requests.get(live.at) {
                    ledger.exchanges[id].finished_at = Some(world.now());
                }
            }
            return live.finished;
        }
        if live.sent >= limit || world.now() < live.rests_until {
            return false;
        }
        if let Some(time) = draw::rest(&mut live.rests, live.sent) {
            live.rests_until = world.now() + time;
            world.wake_at(live.rests_until);
            return true;
        }
        let next = live.rests.front().map_or(limit, |&(at, _)| at.min(limit));
        let some = live.style.some_of(&mut self.random, next - live.sent);
        match world.send(live.peer, &live.out[live.sent..live.sent + some]) {
            None => {
                live.mute = true;
                true
            }
            Some(sent) => {
                live.sent += sent;
                while live.since.len() < live.places.len() && live.places[live.since.len()].start < live.sent {
                    live.since.push(world.now());
                }
                while live.asked.len() < live.places.len() && live.places[live.asked.len()].head_end <= live.sent {
                    live.asked.push(world.now());
                }
                sent > 0
            }
        }
    }

    fn hear<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let Some(live) = &mut self.live else { return false };
        if live.ended {
            // The other half goes on until everything is said.
            if live.finished || live.mute {
                self.over(world, ledger, false);
            }
            return self.live.is_none();
        }
        if world.now() < live.wait_until {
            return false;
        }
        // The kernel says that there is room again when a third is free.
        let most = if live.naps > 0 { usize::MAX } else { self.random.between(1, 30_000) };
        let heard = world.receive(live.peer, most, &mut live.inbox.bytes);
        match heard {
            Heard::Nothing => return false,
            Heard::Eof if live.in_tunnel(ledger) && !live.finished && !live.mute => live.ended = true,
            Heard::Eof => self.over(world, ledger, false),
            Heard::Reset => self.over(world, ledger, true),
            Heard::Bytes(count) => {
                live.heard += count;
                if live.naps > 0 && live.reply.is_some() {
                    live.naps -= 1;
                    live.slept = true;
                    live.wait_until = world.now() + self.random.between(25_000, 45_000) as Millis;
                    world.wake_at(live.wait_until);
                } else if self.random.chance(8) {
                    // Now and then for as long as many a phone is in a tunnel.
                    let pause = if self.random.chance(100) { 40_000 } else { 1500 };
                    let pause = self.random.below(pause) as Millis;
                    live.slept |= pause > LINGER;
                    live.wait_until = world.now() + pause;
                    world.wake_at(live.wait_until);
                }
                self.read(world, ledger);
                self.maybe_quit(world, ledger);
            }
        }
        true
    }

    /// Goes away, if the script says so.
    fn maybe_quit<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) {
        let Some(live) = &self.live else { return };
        let Some((after, hard)) = live.script.quits else { return };
        if live.heard >= after {
            world.note(|| format!("{} quits", self.describe()));
            for &id in &live.script.requests[live.at..] {
                ledger.exchanges[id].result = Some("given up");
            }
            match hard {
                true => world.reset(live.peer),
                false => world.close(live.peer),
            }
            self.next(world);
        }
    }

    fn next<M>(&mut self, world: &Net<M>) {
        self.live = None;
        self.at = world.now() + self.random.pick(&[0, 0, 30, 1000]);
        world.wake_at(self.at);
    }

    /// Reads what was received.
    fn read<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) {
        while let Some(live) = &mut self.live {
            if let Some(raw) = &mut live.raw {
                let there = live.inbox.rest().len();
                raw.extend(live.inbox.take(there));
                return;
            }
            if live.inbox.is_empty() {
                return;
            }
            if live.turned_away && live.reply.is_none() {
                // A connection may be refused before it is known that HEAD is asked.
                let there = live.inbox.rest().len();
                live.inbox.take(there);
                return;
            }
            let Some(reply) = &mut live.reply else {
                if !self.read_head(world, ledger) {
                    return;
                }
                continue;
            };
            if let Err(wrong) = reply.body.feed(&mut live.inbox) {
                world.fault(&format!("{}: {wrong}", self.describe()));
            }
            if !reply.body.is_done() {
                return;
            }
            self.replied(world, ledger);
        }
    }

    /// Takes a response's head. False when it is not all there.
    fn read_head<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let who = self.describe();
        let live = self.live.as_mut().expect("live");
        let id = live.script.requests.get(live.at).copied();
        let rest = live.inbox.rest();
        let Some(id) = id.filter(|_| live.since.len() > live.at) else {
            if live.script.garbage && live.sent > live.places[live.at].start {
                return self.read_refusal(world, if ledger.limited { 400..504 } else { 400..500 });
            }
            if ledger.limited {
                return self.read_refusal(world, 429..504);
            }
            world.fault(&format!("{who}: nobody asked for {:?}", String::from_utf8_lossy(rest)));
        };
        if !b"HTTP/".starts_with(&rest[..rest.len().min(5)]) {
            live.raw = Some(Vec::new());
            live.closing = true;
            return true;
        }
        let Some(head) = Head::take(&mut live.inbox) else { return false };
        let status = head.status();
        let exchange = &ledger.exchanges[id];
        if (100..200).contains(&status) && status != 101 {
            if exchange.http10 {
                world.fault(&format!("{who}: {status} to HTTP/1.0"));
            }
            live.places[live.at].released = true;
            return true;
        }
        world.note(|| format!("{who}: answered with {status}"));
        live.places[live.at].released = true;
        check_head(world, &who, live, ledger, id, &head);
        live.turned_away = ledger.limited && matches!(status, 429 | 503) && head.header("x-relay-error").is_some();
        let exchange = &ledger.exchanges[id];
        let body = match status {
            101 => Framing::UntilClose,
            200..300 if exchange.kind == Kind::Connect => Framing::UntilClose,
            204 | 304 => Framing::Done,
            _ if exchange.kind == Kind::Head => Framing::Done,
            _ => head.framing(true),
        };
        let tunnel = exchange.is_tunnel() && (status == 101 || exchange.kind == Kind::Connect && status < 300);
        if tunnel && head.header("x-hasty").is_none() && head.header("x-news").is_none() {
            live.raw = Some(Vec::new());
            return true;
        }
        live.closing = head.connection("close")
            || body == Framing::UntilClose
            || exchange.http10 && !head.connection("keep-alive");
        let body = Body::new(body);
        let done = body.is_done();
        live.reply = Some(Reply { head, body });
        if done {
            self.replied(world, ledger);
        }
        true
    }

    /// Reads what answers no request: the refusal of garbage, or of the connection.
    fn read_refusal<M>(&mut self, world: &Net<M>, expected: Range<u16>) -> bool {
        let live = self.live.as_mut().expect("live");
        let Some(head) = Head::take(&mut live.inbox) else { return false };
        if !expected.contains(&head.status()) || head.header("x-relay-error").is_none() {
            world.fault(&format!("client {}: answered out of turn with {:?}", self.number, head.words));
        }
        live.closing = true;
        let body = Body::new(head.framing(true));
        live.reply = Some(Reply { head, body });
        true
    }

    /// A response is complete.
    fn replied<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) {
        let who = self.describe();
        let live = self.live.as_mut().expect("live");
        let reply = live.reply.take().expect("a reply");
        let Some(&id) = live.script.requests.get(live.at) else {
            // The refusal of garbage.
            return self.over(world, ledger, false);
        };
        let exchange = &mut ledger.exchanges[id];
        if reply.head.header("x-relay-error").is_none() && reply.head.number("x-id").is_some() {
            check_body(world, &who, exchange, id, &reply.body.bytes, true);
        }
        exchange.result = Some("answered");
        live.at += 1;
        live.replied_at = world.now();
        if exchange.is_tunnel() {
            // Refused: what was meant for the tunnel is not sent.
            let end = live.places[live.at - 1].head_end;
            live.out.truncate(end);
            live.places[live.at].start = end;
        }
        // A client that sent the rest of a refused body late would send it as a request.
        let unfinished = live.sent < live.places[live.at].start;
        if live.closing && unfinished {
            live.mute = true;
        }
        // Answered early: the relay may close without having said so.
        let unasked = reply.head.header("x-hasty").is_some() || reply.head.header("x-news").is_some();
        live.closing |= unfinished || exchange.answer.early || unasked;
        exchange.client_quits |= live.closing && unfinished;
        let last = live.at >= live.script.requests.len() && !live.script.garbage;
        if live.closing || !last || live.script.idles || live.script.half_close && !live.mute {
            return;
        }
        world.close(live.peer);
        self.next(world);
    }

    /// The connection has ended.
    fn over<M>(&mut self, world: &Net<M>, ledger: &mut Ledger, reset: bool) {
        let who = self.describe();
        let live = self.live.as_mut().expect("live");
        world.note(|| format!("{who}: over, reset {reset}"));
        world.close(live.peer);
        let mut rest = live.script.requests.split_off(live.at.min(live.script.requests.len()));
        if !rest.is_empty() && (live.raw.is_some() || live.reply.is_some() || !live.closing) {
            let id = rest.remove(0);
            // A reset that tells that a later answer is not whole may overtake this one.
            let reached = |id: &usize| !ledger.exchanges[*id].reached.is_empty();
            let overtaken = reset && live.reply.is_none() && rest.iter().any(reached);
            self.cut_short(world, ledger, id, reset, overtaken);
        }
        self.go_on_elsewhere(ledger, &rest);
        self.next(world);
    }

    /// Asks again, on another connection, what a closed one left unasked.
    fn go_on_elsewhere(&mut self, ledger: &mut Ledger, rest: &[usize]) {
        for &id in rest {
            ledger.exchanges[id].result = Some("left unasked");
        }
        if rest.is_empty() || !self.live.as_ref().is_some_and(|live| live.closing) {
            return;
        }
        let requests = rest.iter().map(|&id| ledger.again(id, &mut self.random)).collect();
        let script = Script { requests, depth: 1, half_close: false, quits: None, garbage: false, idles: false };
        self.scripts.push_front(script);
    }

    /// The connection ended within, or instead of, the answer to request `id`.
    fn cut_short<M>(&mut self, world: &Net<M>, ledger: &mut Ledger, id: usize, reset: bool, overtaken: bool) {
        let who = self.describe();
        let live = self.live.as_mut().expect("live");
        let needed = ledger.must_succeed(&ledger.exchanges[id]);
        let exchange = &mut ledger.exchanges[id];
        let begun = live.reply.as_ref().is_some_and(|reply| reply.head.header("x-relay-error").is_some());
        let may_be_lost = ledger.ending || overtaken || ledger.limited && reset;
        // The relay has lingered as long as it does, and the reset takes what the client has not read.
        let overslept = reset && live.slept;
        if begun && !overslept || exchange.domain >= ledger.domains && !may_be_lost {
            world.fault(&format!("{who}: the relay's own answer to {id} was cut"));
        }
        if ledger.hasty.contains(&exchange.domain) {
            // Such a gateway answers HEAD with a body, which may come so late that it answers the next request.
            exchange.result = Some("answered in haste");
            return;
        }
        let mut whole = false;
        if let Some(raw) = &live.raw {
            let prefix = format!("OPAQUE {id}\n");
            let opaque = exchange.answer.opaque && !exchange.is_tunnel();
            let skip = if opaque { prefix.len().min(raw.len()) } else { 0 };
            if raw[..skip] != prefix.as_bytes()[..skip] {
                world.fault(&format!("{who}: {:?} is no answer", String::from_utf8_lossy(&raw[..skip])));
            }
            check_body(world, &who, exchange, id, &raw[skip..], false);
            whole = raw.len() - skip == exchange.answer.len;
        } else if let Some(reply) = &live.reply {
            if reply.head.number("x-id").is_some() {
                check_body(world, &who, exchange, id, &reply.body.bytes, false);
                whole = reply.body.framing == Framing::UntilClose && reply.body.bytes.len() == exchange.answer.len;
            } else {
                // What a gateway said unasked was taken for a tunnel's answer.
                whole = reply.head.header("x-hasty").is_some();
            }
            if reply.body.framing == Framing::UntilClose && !whole && !reset && exchange.reset {
                world.fault(&format!("{who}: answer {id} cut, but its end looks like one"));
            }
        }
        exchange.result = Some(if whole { "answered" } else { "cut" });
        // What is sent on behind an early answer finds the relay gone, if it comes so late that it lingers no more.
        let late = exchange.answer.early && live.places[live.at].head_end < live.sent;
        // What is sent behind a request that is answered by something else than HTTP makes the gateway reset; what is sent
        // behind the last answer, the relay.
        let more_sent = (live.raw.is_some() || live.closing) && live.places[live.at + 1].start < live.sent;
        if needed && !(overslept && more_sent) && (!whole || reset && !more_sent && !late) {
            world.fault(&format!(
                "{who}: request {id} came to nothing (whole {whole}, reset {reset}): {}",
                exchange.describe()
            ));
        }
    }
}
