//! A shard that sends back what it receives, right or with one planted fault: the simulator's own test.
use ringback::io::sim::{Heard, Peer, Random, Sim, Tuning, World};
use ringback::io::{Armed, Buf, Calls, End, Engine, Event, Half, Interest, Key, Socket};
use std::collections::VecDeque;
use std::io::IoSlice;

/// What the shard does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    CloseWhileArmed,
    KeepBuffer,
    ArmTwice,
    ReuseSlotEarly,
    StaleKey,
    PollOutForgotten,
}

struct Slot {
    fd: Option<Socket>,
    key: Key,
    /// How much of the first buffer is sent.
    sent: usize,
    streaming: bool,
    cancelling: bool,
    polling: bool,
    waiting: VecDeque<Buf>,
    ended: bool,
    broken: bool,
}

#[derive(Default)]
pub struct Echo {
    slots: Vec<Option<Slot>>,
    generations: Vec<u16>,
    fault: Option<Fault>,
}

/// Buffers that may wait for one connection before its stream is stopped.
const WAITING_MAX: usize = 2;

impl Echo {
    pub fn handle(&mut self, io: &mut Sim<()>, event: Event<()>) {
        match event {
            Event::Accepted { socket, .. } => self.accepted(io, socket),
            Event::AcceptFailed { listener, .. } => io.accept(listener),
            Event::Received { key, buf, more } => {
                let slot = self.slot(key);
                slot.waiting.push_back(buf);
                slot.streaming = more;
                slot.cancelling &= more;
                if more && !slot.cancelling && slot.waiting.len() > WAITING_MAX {
                    slot.cancelling = true;
                    io.cancel(key, Armed::Stream);
                }
                self.pump(io, key);
            }
            Event::Ended { key, end } => {
                let slot = self.slot(key);
                (slot.streaming, slot.cancelling) = (false, false);
                slot.ended |= end == End::Eof;
                slot.broken |= end == End::Failed;
                self.pump(io, key);
            }
            Event::Writable { key } => {
                self.slot(key).polling = false;
                self.pump(io, key);
            }
            Event::Readable { .. } | Event::Mail(()) => unreachable!("not asked for"),
        }
    }

    /// Streams stopped for want of buffers go on when there are some.
    pub fn after_turn(&mut self, io: &mut Sim<()>) {
        let keys: Vec<Key> = self.slots.iter().flatten().map(|slot| slot.key).collect();
        for key in keys {
            if io.calls_ref().buffers().1 > 0 {
                self.pump(io, key);
            }
        }
    }

    fn accepted(&mut self, io: &mut Sim<()>, fd: Socket) {
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
            self.generations.push(0);
        }
        self.generations[at] += 1;
        let key = Key { slot: at as u32, generation: self.generations[at] };
        io.stream(&fd, key);
        if self.fault == Some(Fault::ArmTwice) {
            io.stream(&fd, key);
        }
        if self.fault == Some(Fault::StaleKey) {
            io.watch(&fd, Key { generation: key.generation - 1, ..key }, Interest::Writable);
        }
        self.slots[at] = Some(Slot {
            fd: Some(fd),
            key,
            sent: 0,
            streaming: true,
            cancelling: false,
            polling: false,
            waiting: VecDeque::new(),
            ended: false,
            broken: false,
        });
    }

    fn slot(&mut self, key: Key) -> &mut Slot {
        let slot = self.slots[key.slot as usize].as_mut().expect("a slot in use");
        assert_eq!(slot.key, key);
        slot
    }

    fn pump(&mut self, io: &mut Sim<()>, key: Key) {
        let fault = self.fault;
        let slot = self.slot(key);
        while !slot.broken && !slot.polling && !slot.waiting.is_empty() {
            let first = slot.waiting.front().expect("not empty");
            let fd = slot.fd.as_ref().expect("open");
            let calls = io.calls_ref();
            match calls.send(fd, &[IoSlice::new(&calls.bytes(first)[slot.sent..])], false) {
                Err(_) => slot.broken = true,
                Ok(sent) => {
                    slot.sent += sent;
                    if slot.sent == first.len() {
                        slot.sent = 0;
                        let buf = slot.waiting.pop_front().expect("not empty");
                        discard(io, buf, fault);
                    } else if fault != Some(Fault::PollOutForgotten) {
                        slot.polling = true;
                        io.watch(fd, key, Interest::Writable);
                    } else {
                        return;
                    }
                }
            }
        }
        if slot.broken || (slot.ended && slot.waiting.is_empty()) {
            return self.leave(io, key);
        }
        if !slot.streaming && !slot.ended && slot.waiting.is_empty() && io.calls_ref().buffers().1 > 0 {
            slot.streaming = true;
            io.stream(slot.fd.as_ref().expect("open"), key);
        }
    }

    fn leave(&mut self, io: &mut Sim<()>, key: Key) {
        let fault = self.fault;
        let slot = self.slot(key);
        for buf in slot.waiting.drain(..) {
            discard(io, buf, fault);
        }
        let fd = slot.fd.as_ref().expect("open");
        io.calls().shutdown(fd, Half::Both);
        let armed = slot.streaming || slot.polling;
        if armed && fault != Some(Fault::CloseWhileArmed) {
            slot.broken = true;
            if fault == Some(Fault::ReuseSlotEarly) {
                let next = Key { generation: key.generation + 1, ..key };
                io.watch(fd, next, Interest::Writable);
            }
            return;
        }
        let fd = slot.fd.take().expect("open");
        io.calls().close(fd);
        self.slots[key.slot as usize] = None;
    }
}

fn discard(io: &mut Sim<()>, buf: Buf, fault: Option<Fault>) {
    match fault {
        Some(Fault::KeepBuffer) => drop(buf),
        _ => io.calls().release(buf),
    }
}

struct Speaker {
    peer: Peer,
    says: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
    finished: bool,
    resets_after: Option<usize>,
    done: bool,
}

impl Speaker {
    /// True when something happened.
    fn step(&mut self, world: &World<()>, random: &mut Random) -> bool {
        if self.done {
            return false;
        }
        if self.resets_after.is_some_and(|after| self.heard.len() >= after) {
            world.reset(self.peer);
            self.done = true;
            return true;
        }
        let mut active = false;
        let rest = &self.says[self.said..];
        if !rest.is_empty() {
            let some = random.part(rest.len());
            let sent = world.send(self.peer, &rest[..some]).unwrap_or(0);
            self.said += sent;
            active |= sent > 0;
        } else if !self.finished {
            world.finish(self.peer);
            self.finished = true;
            active = true;
        }
        match world.receive(self.peer, random.between(1, 5000), &mut self.heard) {
            Heard::Nothing => {}
            Heard::Bytes(_) => active = true,
            Heard::Reset => world.fault("the echo reset a connection"),
            Heard::Eof => {
                if self.heard != self.says {
                    world.fault("the echo is wrong");
                }
                world.close(self.peer);
                self.done = true;
                active = true;
            }
        }
        active
    }
}

/// Passes without the clock going on: more means that the shard asks again and again for what must come by itself.
const PASSES_MAX: usize = 20_000;

/// Runs one seed; panics when something is wrong.
pub fn run(seed: u64, fault: Fault) {
    let mut random = Random::new(seed);
    let world: World<()> = World::new(seed, Tuning::draw(&mut random, 128), 1, 0);
    let mut io = world.shard(0);
    let mut echo = Echo { fault: Some(fault), ..Echo::default() };
    io.accept(0);
    let mut speakers: Vec<Speaker> = (0..random.between(1, 6))
        .map(|_| {
            let length = random.pick(&[0, 1, 300, 20_000]);
            Speaker {
                peer: world.connect(0, 0),
                says: (0..length).map(|_| random.word() as u8).collect(),
                said: 0,
                heard: Vec::new(),
                finished: false,
                resets_after: random.chance(200).then(|| random.below(length + 1)),
                done: false,
            }
        })
        .collect();
    let mut events = Vec::new();
    let mut passes = 0;
    loop {
        passes += 1;
        if passes > PASSES_MAX {
            world.fault("a speaker hangs, and the clock with it");
        }
        let mut active = false;
        for speaker in &mut speakers {
            active |= speaker.step(&world, &mut random);
        }
        io.turn(None, &mut events).expect("the simulator's turns never fail");
        active |= io.busy();
        for event in events.drain(..) {
            echo.handle(&mut io, event);
        }
        echo.after_turn(&mut io);
        if !active {
            match world.next_wake() {
                Some(at) => {
                    passes = 0;
                    world.jump(at);
                }
                None => break,
            }
        }
    }
    if speakers.iter().any(|speaker| !speaker.done) {
        world.fault("a speaker hangs");
    }
    if let Some(left) = world.unrest().or_else(|| io.on_loan()) {
        world.fault(&left);
    }
}
