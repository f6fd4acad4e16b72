//! One core's state, and the loop that turns events into operations.
//!
//! The shard is a state machine behind an [`Io`]: it never blocks, never sleeps, and knows no sockets, so that the
//! simulator can drive it in every order that the kernel might.
use super::{
    config::Config,
    conn::{Conns, NONE, State, armed, flag},
    counters::Counters,
    directory::Directory,
    letter::{Letter, Snapshot},
    limits::{Denied, Limits},
    park::Park,
    session::{Phase, Sessions},
    stash::Stashes,
    timers::{TICK_MILLIS, Wheel, tick, ticks},
};
use crate::{
    http::Refusal,
    io::{Event, Fd, Io, Key, Links, Millis},
};
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// What all shards of a relay share.
pub struct Shared {
    /// Which shard has whom.
    pub directory: Directory,
    /// Connections of all shards, those on their way from one to another included.
    pub connections: AtomicUsize,
    /// Shards that hand no client over any more: as many as `shards` once all have heard of a drain.
    pub ending: AtomicUsize,
    shards: usize,
}

impl Shared {
    /// What so many shards share.
    pub fn new(shards: usize) -> Shared {
        Shared {
            directory: Directory::new(shards),
            connections: AtomicUsize::new(0),
            ending: AtomicUsize::new(0),
            shards,
        }
    }
}

/// The configured times, in ticks.
pub(super) struct Times {
    pub park_wait: u32,
    pub domain_memory: u32,
    pub park_time: u32,
    pub repost: u32,
    pub head: u32,
    pub response: u32,
    pub client_idle: u32,
    pub session_idle: u32,
    pub tunnel_idle: u32,
    pub linger: u32,
    pub drain: u32,
}

impl Times {
    fn new(config: &Config) -> Times {
        Times {
            park_wait: ticks(config.park_wait),
            domain_memory: ticks(config.domain_memory),
            park_time: ticks(config.park_time),
            repost: ticks(config.repost_timeout),
            head: ticks(config.head_timeout),
            response: ticks(config.response_timeout),
            client_idle: ticks(config.client_idle),
            session_idle: ticks(config.session_idle),
            tunnel_idle: ticks(config.tunnel_idle),
            linger: ticks(config.linger),
            drain: ticks(config.drain),
        }
    }
}

/// How long accepting rests after it failed, for want of descriptors mostly.
const ACCEPT_PAUSE_TICKS: u32 = (200 / TICK_MILLIS) as u32;
/// How often a shard that has drained looks whether the others have.
const DRAIN_LOOK_TICKS: u32 = (64 / TICK_MILLIS) as u32;
/// How often admission forgets addresses.
const SWEEP_TICKS: u32 = (5000 / TICK_MILLIS) as u32;

/// Accepting that failed, and when it is tried again.
struct AcceptPause {
    listener: usize,
    until: u32,
}

/// One core's state.
pub struct Shard<I> {
    pub(super) io: I,
    pub(super) config: Arc<Config>,
    pub(super) times: Times,
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) conns: Conns,
    pub(super) sessions: Sessions,
    pub(super) park: Park,
    pub(super) wheel: Wheel,
    pub(super) links: Links,
    /// The tick of this turn.
    pub(super) tick: u32,
    /// The number of this turn.
    pub(super) turn: u32,
    /// Domains whose last gateway has gone, by the tick it went.
    pub(super) lost_domains: VecDeque<(u32, u32)>,
    /// Received bytes that wait outside the pool.
    pub(super) stashes: Stashes,
    pub(super) limits: Limits,
    /// Set once no new work is taken: the tick by which sessions must have ended.
    pub(super) draining: Option<u32>,
    stopping: bool,
    pub(super) starved: VecDeque<u32>,
    pub(super) again: VecDeque<u32>,
    events: Vec<Event<Letter>>,
    accept_pauses: Vec<AcceptPause>,
    next_sweep: u32,
}

impl<I: Io<Mail = Letter>> Shard<I> {
    /// A shard with nothing in it that accepts at `listeners` listeners of its `io`.
    pub fn new(
        mut io: I,
        config: Arc<Config>,
        number: usize,
        listeners: usize,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Shard<I> {
        for listener in 0..listeners {
            io.accept(listener);
        }
        let tick = tick(io.now());
        Shard {
            times: Times::new(&config),
            limits: Limits::new(&config, tick),
            links: Links::new(io.buffers().0),
            wheel: Wheel::new(tick),
            io,
            config,
            number,
            shared,
            counters,
            conns: Conns::default(),
            sessions: Sessions::default(),
            park: Park::default(),
            tick,
            turn: 0,
            lost_domains: VecDeque::new(),
            stashes: Stashes::default(),
            draining: None,
            stopping: false,
            starved: VecDeque::new(),
            again: VecDeque::new(),
            events: Vec::with_capacity(1024),
            accept_pauses: Vec::new(),
            next_sweep: tick + SWEEP_TICKS,
        }
    }

    /// Waits for something to happen and does what follows from it. False once the shard has ended.
    ///
    /// # Errors
    /// The ring failed.
    pub fn turn(&mut self) -> io::Result<bool> {
        let until = self.wait_until();
        let mut events = std::mem::take(&mut self.events);
        self.io.turn(until, &mut events)?;
        self.tick = tick(self.io.now());
        self.turn = self.turn.wrapping_add(1);
        for event in events.drain(..) {
            self.handle(event);
        }
        self.events = events;
        self.run_again();
        self.run_timers();
        self.feed_starved();
        debug_assert!(
            self.conns.used() > 256 || self.forgotten().is_none(),
            "slot {:?} is forgotten",
            self.forgotten()
        );
        Ok(!self.has_ended())
    }

    /// Whether nothing is left to do. A shard that has not heard of a drain yet may still send a client here, so that
    /// draining takes all shards together; the drain's deadline ends it in any case.
    fn has_ended(&self) -> bool {
        let all_ending = || self.shared.ending.load(SeqCst) == self.shared.shards;
        let all_gone = || self.shared.connections.load(SeqCst) == 0;
        self.conns.used() == 0 && (self.stopping || self.draining.is_some() && all_ending() && all_gone())
    }

    /// A connection that nothing but a deadline would come back to: nothing armed, in no list. There must be none. A
    /// client may be without while it waits for a gateway, or as long as its gateway is not; a gateway, as long as its
    /// client is not.
    fn forgotten(&self) -> Option<(u32, State)> {
        let kept = |slot: u32| {
            let conn = &self.conns[slot];
            let unwatched = conn.is(flag::LAST) && conn.timer_at != 0;
            conn.busy() || conn.flags & (flag::STARVED | flag::AGAIN) != 0 || unwatched
        };
        let joined = |session: u32| {
            let session = &self.sessions[session];
            let other = session.gateway != NONE && kept(session.gateway);
            other || (session.phase == Phase::Waiting && self.conns[session.client].timer_at != 0)
        };
        let mut slots = self.conns.numbers().map(|slot| (slot, &self.conns[slot]));
        slots
            .find(|&(slot, conn)| match conn.state {
                State::Free | State::Gateway => false,
                State::Client => !kept(slot) && !joined(conn.session),
                _ => !kept(slot),
            })
            .map(|(slot, conn)| (slot, conn.state))
    }

    /// The back end, for whoever drives the shard.
    pub fn io(&self) -> &I {
        &self.io
    }

    /// What the shard holds now.
    pub fn snapshot(&self) -> Snapshot {
        let (buffers, free) = self.io.buffers();
        let mut snapshot = Snapshot {
            connections: self.conns.used(),
            domains: self.park.len(),
            sessions: self.sessions.used(),
            buffers: buffers - free,
            pipes: self.io.pipes_held(),
            ..Snapshot::default()
        };
        for slot in self.conns.numbers() {
            let conn = &self.conns[slot];
            snapshot.parked += usize::from(conn.state == State::Parked);
            snapshot.streaming += usize::from(conn.armed & armed::STREAM != 0);
        }
        snapshot
    }

    /// When the shard must look at its clock again, if nothing happens before.
    pub fn wait_until(&self) -> Option<Millis> {
        if !self.again.is_empty() {
            return Some(0);
        }
        let next = [
            self.wheel.next(),
            self.accept_pauses.iter().map(|pause| pause.until).min(),
            self.lost_domains.front().map(|&(lost, _)| lost + self.times.domain_memory),
            self.draining,
            // The other shards' connections end without a word to this one.
            self.draining.filter(|_| self.conns.used() == 0).map(|by| by.min(self.tick + DRAIN_LOOK_TICKS)),
        ];
        let next = next.into_iter().flatten().min()?;
        // The tick of a time is one more than the time's own count; see `tick`.
        Some(u64::from(next.saturating_sub(1)) * TICK_MILLIS)
    }

    fn handle(&mut self, event: Event<Letter>) {
        match event {
            Event::Accepted { fd } => self.accepted(fd),
            Event::AcceptFailed { listener, .. } => {
                self.counters.accept_failed.bump();
                self.accept_pauses.push(AcceptPause { listener, until: self.tick + ACCEPT_PAUSE_TICKS });
            }
            Event::Readable { key } => self.readable(key),
            Event::Writable { key } => {
                self.disarm(key, armed::POLL_OUT);
                self.advance(key.slot);
                self.settle(key.slot);
            }
            Event::Received { key, buf, more } => self.received(key, buf, more),
            Event::Ended { key, end } => self.ended(key, end),
            Event::Mail(letter) => self.letter(letter),
        }
    }

    pub(super) fn disarm(&mut self, key: Key, bits: u8) {
        debug_assert!(self.conns.find(key).is_some(), "an event for a slot that was given up");
        self.conns[key.slot].armed &= !bits;
    }

    fn accepted(&mut self, fd: Fd) {
        self.counters.accepted.bump();
        let address = self.io.peer(fd).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let slot = self.conns.insert(fd, address, self.tick);
        let total = self.shared.connections.fetch_add(1, SeqCst) + 1;
        let over = self.config.connections_max != 0 && total > self.config.connections_max;
        let denied = self.limits.admit(&self.conns[slot].address.clone(), self.tick).err();
        match denied {
            Some(Denied::Address) => self.counters.over_address.bump(),
            Some(Denied::Rate) => self.counters.over_accept_rate.bump(),
            None if over => self.counters.over_connections.bump(),
            None => {
                self.conns[slot].deadline = self.tick + self.times.head;
                // Under load the first bytes are there already.
                self.receive(slot);
                self.settle(slot);
                return;
            }
        }
        if denied.is_some() {
            self.conns[slot].flags |= flag::UNCOUNTED;
        }
        self.refuse(slot, Refusal::TooManyConnections, false);
    }

    /// Takes a connection out of the lists that hold slots by number.
    pub(super) fn forget(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.is(flag::STARVED) {
            self.starved.retain(|&other| other != slot);
        }
        if conn.is(flag::AGAIN) {
            self.again.retain(|&other| other != slot);
        }
        conn.flags &= !(flag::STARVED | flag::AGAIN);
        self.wheel.unlink(&mut self.conns, slot);
    }

    fn run_timers(&mut self) {
        while let Some(slot) = self.wheel.pop(&mut self.conns, self.tick) {
            let conn = &self.conns[slot];
            if conn.deadline != 0 && conn.deadline <= self.tick {
                self.conns[slot].deadline = 0;
                self.overdue(slot);
                self.settle(slot);
                continue;
            }
            self.time_passes(slot);
        }
        self.forget_domains();
        self.resume_accepting();
        if self.tick >= self.next_sweep {
            self.next_sweep = self.tick + SWEEP_TICKS;
            self.limits.sweep(self.tick);
        }
        if self.draining.is_some_and(|by| by <= self.tick) {
            self.stop();
        }
    }

    fn resume_accepting(&mut self) {
        let tick = self.tick;
        while let Some(at) = self.accept_pauses.iter().position(|pause| pause.until <= tick) {
            let pause = self.accept_pauses.swap_remove(at);
            if self.draining.is_none() {
                self.io.accept(pause.listener);
            }
        }
    }

    fn overdue(&mut self, slot: u32) {
        match self.conns[slot].state {
            State::Client => self.session_overdue(self.conns[slot].session),
            State::Parked => self.ask_again(slot),
            State::Idle if self.conns[slot].session != NONE => self.end_session(self.conns[slot].session, false),
            State::Idle | State::Lingering => self.close(slot),
            // Its new shard must know that it has waited for long enough.
            State::Moving => self.conns[slot].deadline = self.tick + 1,
            State::Gateway | State::Settling | State::Closing | State::Free => {}
        }
    }

    fn letter(&mut self, letter: Letter) {
        match letter {
            Letter::Client(traveller) => self.arrived(*traveller),
            Letter::Wanted { from, domain } => self.wanted(from, domain),
            Letter::Free { from, domain } => self.offered(from, &domain),
            Letter::Drain => self.drain(),
            Letter::Stop => self.stop(),
            Letter::Report(to) => {
                let _ = to.send(self.snapshot());
            }
        }
    }

    fn drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(self.tick + self.times.drain);
        self.shared.ending.fetch_add(1, SeqCst);
        self.io.stop_accepting();
        for slot in self.conns.numbers() {
            let conn = &self.conns[slot];
            match conn.state {
                State::Parked | State::Settling => self.close(slot),
                State::Idle if conn.session != NONE => self.end_session(conn.session, false),
                State::Idle => self.close(slot),
                // Nobody registers any more, so nobody will come for them.
                State::Client if self.phase(conn.session) == Phase::Waiting => {
                    self.waited_in_vain(conn.session, Some(Refusal::ShuttingDown));
                }
                _ => {}
            }
        }
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.draining = None;
        self.io.stop_accepting();
        for slot in self.conns.numbers() {
            match self.conns[slot].state {
                State::Client | State::Gateway => self.end_session(self.conns[slot].session, true),
                State::Idle if self.conns[slot].session != NONE => self.end_session(self.conns[slot].session, true),
                State::Free | State::Closing => {}
                State::Moving => self.drop_client(slot),
                _ => self.close(slot),
            }
        }
    }

    /// Whether the shard takes no new requests on kept connections.
    pub(super) fn is_ending(&self) -> bool {
        self.draining.is_some() || self.stopping
    }

    /// Whether everything is being closed.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// How far a session is.
    pub(super) fn phase(&self, session: u32) -> Phase {
        self.sessions[session].phase
    }
}
