//! One shard: the loop that turns events into facts, runs steps, and applies their outcomes.
//!
//! The shard is a state machine behind an [`Engine`]: it never blocks or sleeps, and knows no sockets, so the simulator
//! can drive it in any order that a kernel could. A turn has four parts: events are noted; the run queue is worked off
//! as far as the turn's budget allows; timers run; what was given up is freed.
use super::{
    admission::Denied,
    client::Next,
    config::Config,
    conn::{Arms, Client, Conn, Flags, Gateway, NONE, Role, watch},
    counters::Counters,
    exchange::{self, After, ExchangeId, Outcome, Phase, Traits},
    gateway::{self, Dialect, Stirred},
    message::{Message, Snapshot},
    ready::{Budget, Lane},
    tables::{End, Tables},
    timers::{TICK_MILLIS, after, begins, earlier, is_due, tick},
};
use crate::{
    http::{Method, Parse, Refusal, proxy_protocol},
    io::{Buf, Calls, End as StreamEnd, Engine, Event, Key, Millis, Received, Socket},
    transport::Transport,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

pub use super::tables::Shared;

/// How long accepting pauses after it failed, mostly for want of descriptors.
const ACCEPT_PAUSE_TICKS: u32 = (200 / TICK_MILLIS) as u32;
/// How often a shard that has drained checks whether the others have.
const DRAIN_LOOK_TICKS: u32 = (64 / TICK_MILLIS) as u32;
/// How often admission forgets sources.
const SWEEP_TICKS: u32 = (1000 / TICK_MILLIS) as u32;
/// Maximum operations of one connection in one turn.
const OPERATIONS: u32 = 32;
/// Maximum operations of all connections in one turn's run queue.
const TURN_OPERATIONS: u32 = 1024;
/// A turn moves at most this many times the bytes that one connection may.
const TURN_SHARES: usize = 2;
/// Slots that a drain or a stop looks at in one turn. Each that is closed ends an armed operation, the kernel runs about
/// twenty completions in one enter, in order, and whoever is being served must not wait behind thousands.
const SLOTS_PER_TURN: u32 = 16;
/// Timers that run in one turn, and streams that cool down in one: each of those asks the kernel for a cancellation.
const TIMERS_PER_TURN: u32 = 128;
const COOLED_PER_TURN: u32 = 16;

/// A listener whose accepting is paused, and until when.
struct AcceptPause {
    listener: usize,
    until: u32,
}

/// One shard.
pub struct Shard<E: Engine> {
    tables: Tables<E>,
    listeners: usize,
    events: Vec<Event<Message>>,
    accept_pauses: Vec<AcceptPause>,
    /// The end that this turn's mail asks for.
    told_to_end: Option<End>,
    /// The first slot that a drain or a stop has not visited yet.
    ending_at: Option<u32>,
    /// Nobody is admitted any more, and the other shards know.
    closed: bool,
    next_sweep: u32,
}

impl<E: Engine<Mail = Message>> Shard<E> {
    /// An empty shard that accepts at `listeners` listeners of its engine.
    pub fn new(
        mut engine: E,
        config: Arc<Config>,
        number: usize,
        listeners: usize,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Shard<E> {
        for listener in 0..listeners {
            engine.accept(listener);
        }
        let tick = tick(engine.now());
        Shard {
            tables: Tables::new(engine, config, number, shared, counters, tick),
            listeners,
            events: Vec::with_capacity(1024),
            accept_pauses: Vec::new(),
            told_to_end: None,
            ending_at: None,
            closed: false,
            next_sweep: after(tick, SWEEP_TICKS),
        }
    }

    /// One turn: waits for something to happen and handles it. False once the shard has ended.
    ///
    /// # Errors
    /// The ring failed.
    pub fn turn(&mut self) -> io::Result<bool> {
        let until = self.wait_until();
        let mut events = std::mem::take(&mut self.events);
        self.tables.engine.turn(until, &mut events)?;
        self.tables.tick = tick(self.tables.engine.now());
        for event in events.drain(..) {
            self.note(event);
        }
        self.events = events;
        self.run_queue();
        match self.told_to_end.take() {
            Some(End::Stopping) => self.stop(),
            Some(_) => self.drain(),
            None => {}
        }
        self.run_timers();
        self.go_on_ending();
        self.feed_line();
        if self.tables.is_ending() && !self.closed {
            // Not before: an accept may have stood behind the news of the end.
            self.closed = true;
            self.tables.shared.ending.close(1);
        }
        self.tables.reap();
        if cfg!(debug_assertions) && self.tables.conns.used() <= 256 {
            let fault = self.tables.fault();
            assert!(fault.is_none(), "{}", fault.unwrap_or_default());
        }
        Ok(!self.has_ended())
    }

    /// Whether nothing is left to do. A shard that has not been told to end yet may still send a client here, so all
    /// shards end together; a drain's deadline ends them in any case.
    fn has_ended(&self) -> bool {
        let tables = &self.tables;
        tables.conns.used() == 0 && tables.is_ending() && tables.shared.is_quiet()
    }

    /// The engine, for the driver of the shard.
    pub fn io(&self) -> &E {
        &self.tables.engine
    }

    /// What the shard holds now.
    pub fn snapshot(&self) -> Snapshot {
        let tables = &self.tables;
        let calls = tables.engine.calls_ref();
        let (buffers, free) = calls.buffers();
        let mut snapshot = Snapshot {
            connections: tables.conns.used(),
            domains: tables.park.len(),
            sessions: tables.exchanges.used(),
            buffers: buffers - free,
            pipes: calls.pipes_held(),
            held: tables.inboxes.account.held(),
            ..Snapshot::default()
        };
        for slot in tables.conns.numbers() {
            let conn = &tables.conns[slot];
            snapshot.parked += usize::from(matches!(conn.role, Role::Gateway(_, Gateway::Parked)));
            snapshot.streaming += usize::from(conn.arms.contains(Arms::STREAM));
        }
        snapshot
    }

    /// When the next turn is due at the latest, even if nothing happens.
    pub fn wait_until(&self) -> Option<Millis> {
        let tables = &self.tables;
        if !tables.ready.is_empty() || self.ending_at.is_some() {
            return Some(0);
        }
        let look = tables.is_ending() && tables.conns.used() == 0;
        let drained_by = match tables.end {
            End::Draining(by) => Some(by),
            End::None | End::Stopping => None,
        };
        let next = [
            tables.wheel.next(),
            self.accept_pauses.iter().map(|pause| pause.until).reduce(earlier),
            tables.lost_domains.front().map(|&(lost, _)| after(lost, tables.times.domain_grace)),
            drained_by,
            // This shard gets no event when the other shards' connections end.
            look.then(|| after(tables.tick, DRAIN_LOOK_TICKS)),
        ];
        let next = next.into_iter().flatten().reduce(earlier)?;
        Some(begins(next, tables.tick, tables.engine.now()))
    }

    // Events are noted.

    fn note(&mut self, event: Event<Message>) {
        match event {
            Event::Accepted { socket } => self.accepted(socket),
            Event::AcceptFailed { listener, .. } => {
                self.tables.counters.accept_failed.bump();
                self.pause_accepting(listener, ACCEPT_PAUSE_TICKS);
            }
            Event::Readable { key } => {
                let tick = self.tables.tick;
                if let Some(conn) = self.ended_arm(key, Arms::READ | Arms::CANCELLING) {
                    watch::warm_up(conn, tick);
                    conn.flags.insert(Flags::READABLE);
                    self.tables.wake(key.slot);
                }
            }
            Event::Writable { key } => {
                if self.ended_arm(key, Arms::WRITE).is_some() {
                    self.tables.wake(key.slot);
                }
            }
            Event::Received { key, buf, more } => self.received(key, buf, more),
            Event::Ended { key, end } => {
                if let Some(conn) = self.ended_arm(key, Arms::STREAM | Arms::CANCELLING) {
                    match end {
                        StreamEnd::Eof => conn.flags.insert(Flags::EOF),
                        StreamEnd::Failed => conn.flags.insert(Flags::FAILED),
                        StreamEnd::NoBuffers => conn.flags.insert(Flags::STARVED | Flags::READABLE),
                        StreamEnd::Cancelled => conn.flags.insert(Flags::READABLE),
                    }
                    self.tables.wake(key.slot);
                }
            }
            Event::Mail(message) => self.message(message),
        }
    }

    /// Notes that an armed operation has ended. Returns the connection, unless it is closing.
    fn ended_arm(&mut self, key: Key, arms: Arms) -> Option<&mut Conn> {
        let slot = self.tables.conns.find(key);
        debug_assert!(slot.is_some(), "an event for a slot that was given up");
        let slot = slot?;
        self.tables.conns[slot].arms.remove(arms);
        if self.tables.conns[slot].role == Role::Closing {
            if !self.tables.conns[slot].is_armed() {
                self.tables.doom(slot);
            }
            return None;
        }
        Some(&mut self.tables.conns[slot])
    }

    fn received(&mut self, key: Key, buf: Buf, more: bool) {
        let whole = buf.len() == self.tables.engine.calls_ref().buffer_size();
        let tick = self.tables.tick;
        let ended = if more { Arms::empty() } else { Arms::STREAM | Arms::CANCELLING };
        let Tables { conns, inboxes, engine, .. } = &mut self.tables;
        let Some(slot) = conns.find(key) else { return engine.calls().release(buf) };
        let conn = &mut conns[slot];
        if matches!(conn.role, Role::Lingering | Role::Closing) {
            engine.calls().release(buf);
        } else {
            conn.has_received(whole, tick);
            inboxes.append(&mut conn.inbox, buf, engine.calls());
        }
        if let Some(conn) = self.ended_arm(key, ended) {
            if !more {
                conn.flags.insert(Flags::READABLE);
            }
            self.tables.wake(slot);
        }
    }

    fn accepted(&mut self, socket: Socket) {
        let tables = &mut self.tables;
        tables.counters.accepted.bump();
        let transport = Transport::Plain(socket);
        let address = transport.peer(tables.engine.calls()).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let slot = tables.conns.insert(Some(transport), address, tables.tick);
        let trusted = tables.config.trusted_proxies.iter().any(|net| net.contains(&tables.conns[slot].address));
        if trusted {
            // Its connections are from many sources.
            tables.conns[slot].flags.insert(Flags::TRUSTED | Flags::UNCOUNTED);
            tables.conns[slot].role = Role::Client(Client::Fresh);
        }
        let denied = tables.shared.admission.admit(&tables.conns[slot].address, trusted, tables.tick).err();
        let stopping = tables.end == End::Stopping;
        match denied {
            Some(Denied::Source) => tables.counters.over_address.bump(),
            Some(Denied::Rate) => tables.counters.over_accept_rate.bump(),
            Some(Denied::Total) => tables.counters.over_connections.bump(),
            None if stopping => {
                tables.conns[slot].flags.insert(Flags::RESET);
                return tables.close(slot);
            }
            None => {
                let deadline = tables.in_ticks(tables.times.head);
                let conn = &mut tables.conns[slot];
                conn.deadline = deadline;
                // Under load the first bytes have usually arrived already.
                conn.flags.insert(Flags::READABLE);
                tables.enqueue(slot, Lane::Fresh);
            }
        }
        if denied.is_some() {
            self.deny(slot, stopping);
        }
        if let Some(wait) = self.tables.shared.admission.pause(self.tables.tick) {
            (0..self.listeners).for_each(|listener| self.pause_accepting(listener, wait));
        }
    }

    /// Turns away a connection beyond a limit: a few get an answer, the others a reset.
    fn deny(&mut self, slot: u32, stopping: bool) {
        let tables = &mut self.tables;
        tables.conns[slot].flags.insert(Flags::UNCOUNTED);
        if !stopping && tables.shared.admission.answers(tables.tick) {
            let mut budget = Budget::new(usize::MAX, 1);
            return tables.answer(slot, Refusal::TooManyConnections, false, false, &mut budget);
        }
        tables.counters.reset.bump();
        tables.conns[slot].flags.insert(Flags::RESET);
        tables.close(slot);
    }

    fn pause_accepting(&mut self, listener: usize, span: u32) {
        if self.accept_pauses.iter().any(|pause| pause.listener == listener) {
            return;
        }
        self.tables.engine.pause_accepting(listener);
        self.accept_pauses.push(AcceptPause { listener, until: self.tables.in_ticks(span) });
    }

    fn resume_accepting(&mut self) {
        let tick = self.tables.tick;
        for at in (0..self.accept_pauses.len()).rev() {
            if !is_due(self.accept_pauses[at].until, tick) {
                continue;
            }
            if let Some(wait) = self.tables.shared.admission.pause(tick) {
                self.accept_pauses[at].until = after(tick, wait);
                continue;
            }
            let pause = self.accept_pauses.swap_remove(at);
            if !self.tables.is_ending() {
                self.tables.engine.accept(pause.listener);
            }
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Client(hand_off) => self.tables.arrived(*hand_off),
            Message::Wanted { from, domain } => self.tables.wanted(from, domain),
            Message::Free { from, domain, passed } => self.tables.offered(from, domain, passed),
            // What came before it in the same turn is dealt with first.
            Message::Drain => self.told_to_end = Some(self.told_to_end.unwrap_or(End::Draining(0))),
            Message::Stop => self.told_to_end = Some(End::Stopping),
            Message::Report(to) => {
                let _ = to.send(self.snapshot());
            }
        }
    }

    // The run queue is worked off.

    fn run_queue(&mut self) {
        let config = &self.tables.config;
        let mut turn = Budget::new(config.turn_bytes * TURN_SHARES, TURN_OPERATIONS);
        let share = Budget::new(config.turn_bytes, OPERATIONS);
        for lane in [Lane::Fresh, Lane::Bulk] {
            // Connections that join a lane meanwhile wait for the next turn. At least one of each lane runs.
            for _ in 0..self.tables.ready.len(lane) {
                let Some(key) = self.tables.ready.pop(lane) else { break };
                if let Some(slot) = self.tables.conns.find(key) {
                    self.tables.conns[slot].flags.remove(Flags::QUEUED);
                    let mut budget = share;
                    self.run(slot, &mut budget);
                    turn.charge(share, budget);
                }
                if turn.is_spent() {
                    break;
                }
            }
        }
    }

    /// Runs one connection's steps, within its budget.
    fn run(&mut self, slot: u32, budget: &mut Budget) {
        while self.step(slot, budget) {
            if budget.is_spent() {
                self.tables.enqueue(slot, Lane::Bulk);
            }
            if self.tables.conns[slot].is(Flags::QUEUED) {
                break;
            }
        }
        self.tables.rearm_both(slot);
    }

    /// Runs one step. True if another may follow at once.
    fn step(&mut self, slot: u32, budget: &mut Budget) -> bool {
        let conn = &self.tables.conns[slot];
        match conn.role {
            Role::Client(Client::Idle) => self.step_head(slot, budget),
            Role::Client(Client::Fresh) => self.step_fresh(slot, budget),
            Role::Client(Client::Busy) => self.step_exchange(slot, budget),
            Role::Client(Client::Leaving) => {
                self.tables.depart(slot);
                false
            }
            Role::Gateway(dialect, state) => {
                self.step_gateway(slot, dialect, state, budget);
                false
            }
            Role::Lingering => {
                self.step_lingering(slot, budget);
                false
            }
            Role::Free | Role::Closing => false,
        }
    }

    /// Step of a client between two requests, or whose head is arriving.
    fn step_head(&mut self, slot: u32, budget: &mut Budget) -> bool {
        if let Some(id) = self.tables.conns[slot].exchange.some() {
            self.look_at_rest(id, budget);
        }
        match self.tables.next_head(slot, budget) {
            Next::Head(head, at) if head.registration.is_some() => {
                self.tables.register(slot, &head, at, budget);
                true
            }
            Next::Head(head, at) => {
                self.tables.serve(slot, head, at, budget);
                true
            }
            Next::Incomplete => false,
            Next::Begins => self.begin_head(slot, budget),
            Next::Refused(refusal) => {
                self.tables.answer(slot, refusal, false, false, budget);
                true
            }
            Next::HungUp => {
                match self.tables.conns[slot].exchange.some() {
                    Some(id) => self.tables.abort(id, false),
                    None => self.tables.close(slot),
                }
                false
            }
            Next::Spent => {
                self.tables.enqueue(slot, Lane::Bulk);
                false
            }
        }
    }

    /// Step of a new connection from a trusted proxy. It may begin with a PROXY header, which names the client.
    fn step_fresh(&mut self, slot: u32, budget: &mut Budget) -> bool {
        let look = self.tables.with_conn(slot, budget, |_, conn, desk| {
            if conn.may_fill() {
                desk.fill(conn);
            }
            match proxy_protocol::parse(desk.peek(conn)) {
                Ok(Parse::Partial) => {
                    // The rest must be contiguous with it.
                    desk.inboxes.spill(&mut conn.inbox, desk.calls);
                    Ok(None)
                }
                Ok(Parse::Complete(proxied)) => {
                    desk.consume(conn, proxied.len);
                    Ok(Some(proxied.source))
                }
                Err(refusal) => Err(refusal),
            }
        });
        let tables = &mut self.tables;
        let conn = &mut tables.conns[slot];
        match look {
            Ok(None) if conn.has_ended() => tables.close(slot),
            Ok(None) => {}
            Ok(Some(source)) => {
                conn.role = Role::Client(Client::Idle);
                if let Some(source) = source {
                    conn.set_ip(source.ip());
                    let trusted = tables.config.trusted_proxies.iter().any(|net| net.contains(&conn.address));
                    conn.flags.set(Flags::TRUSTED, trusted);
                }
                return true;
            }
            Err(refusal) => tables.answer(slot, refusal, false, false, budget),
        }
        false
    }

    /// The first part of a head has arrived: the head is collected outside the pool.
    fn begin_head(&mut self, slot: u32, budget: &mut Budget) -> bool {
        let tables = &mut self.tables;
        if tables.inboxes.account.is_full() {
            tables.counters.over_memory.bump();
            tables.answer(slot, Refusal::MemoryFull, false, false, budget);
            return true;
        }
        let Some(id) = tables.exchange_of(slot) else {
            tables.answer(slot, Refusal::MemoryFull, false, false, budget);
            return true;
        };
        tables.exchanges[id].phase = Phase::Reading;
        let deadline = tables.in_ticks(tables.times.head);
        tables.conns[slot].deadline = deadline;
        true
    }

    /// A gateway that rests with its client, or did until the next request began, may have ended or sent bytes
    /// meanwhile.
    fn look_at_rest(&mut self, id: ExchangeId, budget: &mut Budget) {
        let x = &self.tables.exchanges[id];
        let (gateway, phase) = (x.gateway, x.phase);
        if gateway == NONE || phase.is_joined() {
            return;
        }
        let stirred = self.tables.with_conn(gateway, budget, |_, gateway, desk| gateway::look(gateway, desk));
        if stirred != Stirred::Silent {
            self.tables.drop_gateway(id);
            if phase == Phase::Resting {
                self.tables.end_exchange(id);
            }
        }
    }

    fn step_gateway(&mut self, slot: u32, dialect: Dialect, state: Gateway, budget: &mut Budget) {
        if state == Gateway::Joined {
            return;
        }
        if state == Gateway::Quarantined && self.tables.conns[slot].arms.contains(Arms::STREAM) {
            // Until its stream has ended, it is not known whether more bytes follow its response.
            let conn = &self.tables.conns[slot];
            if !conn.inbox.is_empty() || conn.has_ended() {
                self.tables.counters.unsolicited.bump();
                self.tables.close(slot);
            }
            return;
        }
        if state == Gateway::Quarantined {
            self.tables.conns[slot].flags.insert(Flags::READABLE);
        }
        match self.tables.with_conn(slot, budget, |_, gateway, desk| gateway::look(gateway, desk)) {
            Stirred::Silent if state == Gateway::Quarantined => self.tables.release_gateway(slot, dialect, budget),
            Stirred::Silent => {}
            stirred => {
                if stirred == Stirred::Spoke {
                    self.tables.counters.unsolicited.bump();
                }
                self.tables.close(slot);
            }
        }
    }

    /// Step of a connection that has had its last response: what it still sends is thrown away.
    fn step_lingering(&mut self, slot: u32, budget: &mut Budget) {
        let conn = &mut self.tables.conns[slot];
        while conn.may_fill() && !budget.is_spent() {
            let received = conn.transport().receive(self.tables.engine.calls(), usize::MAX);
            budget.spend(if let Received::Bytes(buf) = &received { buf.len() } else { 0 });
            match received {
                Received::Bytes(buf) => {
                    conn.flags.set(Flags::READABLE, buf.len() == self.tables.engine.calls_ref().buffer_size());
                    self.tables.engine.calls().release(buf);
                }
                Received::Nothing => conn.flags.remove(Flags::READABLE),
                Received::NoBuffers => conn.flags.insert(Flags::STARVED),
                Received::Eof => conn.flags.insert(Flags::EOF),
                Received::Failed => conn.flags.insert(Flags::FAILED),
            }
        }
        if conn.has_ended() {
            self.tables.close(slot);
        } else if conn.may_fill() {
            self.tables.enqueue(slot, Lane::Bulk);
        }
    }

    /// Step of a client with an exchange.
    fn step_exchange(&mut self, slot: u32, budget: &mut Budget) -> bool {
        let Some(id) = self.tables.conns[slot].exchange.some() else { return false };
        match self.tables.exchanges[id].phase {
            Phase::Reading => self.step_head(slot, budget),
            Phase::Waiting => {
                self.step_waiting(slot, id, budget);
                false
            }
            Phase::Parting => self.step_parting(slot, id, budget),
            Phase::Asked | Phase::Answering | Phase::Tunnel => {
                let outcome = self.tables.with_exchange(id, budget, exchange::step);
                self.apply(slot, id, outcome, budget)
            }
            Phase::Resting | Phase::Free => false,
        }
    }

    /// Step of a client that waits for a gateway: it may leave, or send the beginning of its body.
    fn step_waiting(&mut self, slot: u32, id: ExchangeId, budget: &mut Budget) {
        self.tables.with_conn(slot, budget, |_, client, desk| {
            if client.inbox.is_empty() && client.may_fill() && !desk.inboxes.account.is_tight() {
                desk.fill(client);
            }
        });
        if self.tables.conns[slot].is(Flags::FAILED) {
            self.tables.abort(id, true);
        }
    }

    /// Sends more of the relay's own response.
    fn step_parting(&mut self, slot: u32, id: ExchangeId, budget: &mut Budget) -> bool {
        let tables = &mut self.tables;
        let conn = &mut tables.conns[slot];
        let x = &mut tables.exchanges[id];
        let rest = &x.down.out[x.down.out_sent..];
        let sent = conn.transport().send(tables.engine.calls(), &[io::IoSlice::new(rest)], false);
        budget.spend(rest.len());
        match sent {
            Ok(sent) if sent < rest.len() => {
                x.down.out_sent += sent;
                if sent > 0 {
                    conn.deadline = after(tables.tick, tables.times.session_idle);
                }
                return false;
            }
            Err(_) => {
                tables.abort(id, true);
                return false;
            }
            Ok(_) => {}
        }
        let keep = x.is(Traits::KEEP_CLIENT) && !tables.is_ending();
        tables.end_exchange(id);
        match keep {
            true => self.next_request(slot),
            false => tables.linger(slot),
        }
        keep
    }

    // Outcomes are applied: the one place where a step's result changes anything that belongs to others.

    fn apply(&mut self, slot: u32, id: ExchangeId, outcome: Outcome, budget: &mut Budget) -> bool {
        match outcome {
            Outcome::Pending => return false,
            Outcome::Spent => {
                self.tables.enqueue(slot, Lane::Bulk);
                return false;
            }
            Outcome::Done(next) => self.done(slot, id, next, budget),
            Outcome::Refuse(refusal) => {
                let head_only = self.tables.exchanges[id].method == Method::Head;
                self.tables.answer(slot, refusal, false, head_only, budget);
            }
            Outcome::Retry => self.tables.retry(id, budget),
            Outcome::Abort => self.tables.abort(id, true),
            Outcome::Over => {
                self.tables.end_exchange(id);
                // What the client still sends must not turn its own end into a reset.
                self.tables.linger(slot);
            }
        }
        true
    }

    /// Applies the end of a response that was passed on completely.
    fn done(&mut self, client: u32, id: ExchangeId, next: After, budget: &mut Budget) {
        let tables = &mut self.tables;
        let gateway = tables.exchanges[id].gateway;
        let Some(dialect) = tables.conns[gateway].dialect() else { return tables.abort(id, true) };
        let traits = dialect.traits();
        let After { keep_client, keep_gateway, unsure } = next;
        let wanted = tables.park.has_waiting(tables.conns[gateway].domain);
        if traits.rests && keep_gateway && keep_client && !unsure && !wanted {
            self.rest(client, id);
            return;
        }
        if keep_gateway && traits.reused && !tables.is_ending() {
            tables.exchanges[id].gateway = NONE;
            tables.conns[gateway].exchange = ExchangeId::NONE;
            match unsure {
                true => {
                    tables.conns[gateway].role = Role::Gateway(dialect, Gateway::Quarantined);
                    tables.rearm(gateway);
                }
                false => tables.release_gateway(gateway, dialect, budget),
            }
        }
        tables.end_exchange(id);
        match keep_client {
            true => self.next_request(client),
            false => self.part_from(client),
        }
    }

    /// Lets a gateway rest with its client between two of that client's requests.
    fn rest(&mut self, client: u32, id: ExchangeId) {
        let tables = &mut self.tables;
        let gateway = tables.exchanges[id].gateway;
        let domain = tables.conns[gateway].domain;
        tables.conns[gateway].flags.insert(Flags::RESTING);
        tables.park[domain].resting.push_back(&mut tables.conns, gateway);
        let x = &mut tables.exchanges[id];
        for flow in [&mut x.up, &mut x.down] {
            flow.return_pipe(tables.engine.calls());
        }
        x.reset(&mut tables.inboxes.account);
        x.gateway = gateway;
        x.phase = Phase::Resting;
        self.next_request(client);
    }

    /// A client may send its next request, which may have arrived already.
    fn next_request(&mut self, client: u32) {
        let deadline = self.tables.in_ticks(self.tables.times.client_idle);
        let conn = &mut self.tables.conns[client];
        conn.role = Role::Client(Client::Idle);
        conn.tries = 0;
        conn.deadline = deadline;
    }

    /// Ends a client that has had its last response. One that asked for that and has sent nothing since needs no
    /// lingering: there are no bytes of its own that could cause a reset.
    fn part_from(&mut self, client: u32) {
        let tables = &mut self.tables;
        let conn = &mut tables.conns[client];
        if conn.is(Flags::LAST) && conn.inbox.is_empty() && !conn.is_armed() {
            match conn.transport().receive(tables.engine.calls(), usize::MAX) {
                Received::Nothing | Received::Eof | Received::Failed => return tables.close(client),
                Received::Bytes(buf) => tables.engine.calls().release(buf),
                Received::NoBuffers => {}
            }
        }
        tables.linger(client);
    }

    // Timers run.

    fn run_timers(&mut self) {
        let tick = self.tables.tick;
        let mut cooled = 0;
        for _ in 0..TIMERS_PER_TURN {
            let Tables { wheel, conns, .. } = &mut self.tables;
            let Some(slot) = wheel.pop(conns, tick) else { break };
            let conn = &mut conns[slot];
            if conn.deadline != 0 && is_due(conn.deadline, tick) {
                conn.deadline = 0;
                let mut budget = Budget::new(self.tables.config.turn_bytes, OPERATIONS);
                self.overdue(slot, &mut budget);
                self.tables.rearm_both(slot);
                continue;
            }
            if conn.is(Flags::LAST) && is_due(after(conn.active, watch::LAST_TICKS), tick) {
                conn.flags.remove(Flags::LAST);
            }
            if watch::is_cold(conn, tick) {
                cooled += 1;
                self.cool(slot, cooled > COOLED_PER_TURN);
            }
            self.tables.rearm(slot);
        }
        self.tables.forget_domains();
        self.resume_accepting();
        if is_due(self.next_sweep, tick) {
            self.next_sweep = after(tick, SWEEP_TICKS);
            self.tables.shared.admission.sweep_some(tick / SWEEP_TICKS, tick);
        }
        if let End::Draining(by) = self.tables.end
            && is_due(by, tick)
        {
            self.stop();
        }
    }

    /// Returns a quiet connection from a stream to a watch, unless too many are cooling down in this turn.
    fn cool(&mut self, slot: u32, later: bool) {
        let key = self.tables.conns.key(slot);
        let Tables { conns, engine, tick, .. } = &mut self.tables;
        let conn = &mut conns[slot];
        if later && conn.arms.contains(Arms::STREAM) {
            conn.active = *tick;
            return;
        }
        conn.flags.remove(Flags::HOT);
        conn.heat = 0;
        watch::stop_stream(conn, key, engine);
    }

    fn overdue(&mut self, slot: u32, budget: &mut Budget) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Client(Client::Busy), Some(id)) => self.exchange_overdue(slot, id, budget),
            (Role::Client(Client::Idle), Some(id)) => self.tables.abort(id, false),
            (Role::Gateway(dialect, Gateway::Parked), _) => self.tables.ask_again(slot, dialect, budget),
            (Role::Client(Client::Idle | Client::Fresh) | Role::Lingering, _) => self.tables.close(slot),
            // Its new shard must learn that its time is up.
            (Role::Client(Client::Leaving), _) => self.tables.conns[slot].deadline = after(self.tables.tick, 1),
            _ => {}
        }
    }

    /// An exchange's time is up.
    fn exchange_overdue(&mut self, slot: u32, id: ExchangeId, budget: &mut Budget) {
        let x = &self.tables.exchanges[id];
        match x.phase {
            Phase::Reading => self.tables.answer(slot, Refusal::HeadTimeout, false, false, budget),
            Phase::Waiting => self.tables.waited_in_vain(id, None, budget),
            // The gateway owes a response, or room for the request.
            Phase::Asked if x.up.is_done() || !x.up.is_flushed() => {
                let head_only = x.method == Method::Head;
                self.tables.answer(slot, Refusal::GatewayTimeout, false, head_only, budget);
            }
            Phase::Asked | Phase::Answering | Phase::Tunnel => {
                let reset = x.phase == Phase::Answering;
                self.tables.counters.stalled.bump();
                self.tables.abort(id, reset);
            }
            Phase::Parting => self.tables.abort(id, true),
            Phase::Resting | Phase::Free => {}
        }
    }

    /// Wakes the connections that found no buffer, in order, as far as there are buffers.
    fn feed_line(&mut self) {
        let mut at_hand = self.tables.engine.calls_ref().at_hand();
        while at_hand > 0
            && let Some(key) = self.tables.line.pop_front()
        {
            if let Some(slot) = self.tables.conns.find(key) {
                at_hand -= 1;
                self.tables.conns[slot].flags.remove(Flags::STARVED | Flags::IN_LINE);
                self.tables.conns[slot].flags.insert(Flags::READABLE);
                self.tables.wake(slot);
            }
        }
    }

    // The end.

    fn drain(&mut self) {
        if self.tables.is_ending() {
            return;
        }
        let by = self.tables.in_ticks(self.tables.times.drain);
        self.begin_end(End::Draining(by));
    }

    fn stop(&mut self) {
        if self.tables.end != End::Stopping {
            self.begin_end(End::Stopping);
        }
    }

    fn begin_end(&mut self, end: End) {
        self.tables.end = end;
        self.tables.engine.stop_accepting();
        self.accept_pauses.clear();
        self.ending_at = Some(0);
    }

    /// Ends the next portion of connections that need not be kept. In portions, so that a full shard goes on serving.
    fn go_on_ending(&mut self) {
        let Some(start) = self.ending_at else { return };
        let slots = self.tables.conns.numbers().end;
        let end = start.saturating_add(SLOTS_PER_TURN).min(slots);
        let mut budget = Budget::new(usize::MAX, u32::MAX);
        for slot in start..end {
            match self.tables.end {
                End::None => {}
                End::Draining(_) => self.release(slot, &mut budget),
                End::Stopping => self.cut_off(slot),
            }
            self.tables.rearm_both(slot);
        }
        self.ending_at = (end < slots).then_some(end);
    }

    /// What a drain does with a connection.
    fn release(&mut self, slot: u32, budget: &mut Budget) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Gateway(_, Gateway::Parked | Gateway::Quarantined), _) => self.tables.close(slot),
            (Role::Client(Client::Idle), Some(id)) => self.tables.abort(id, false),
            (Role::Client(Client::Idle | Client::Fresh), None) => self.tables.close(slot),
            // No gateway registers any more, so none will become free for them.
            (Role::Client(Client::Busy), Some(id)) if self.tables.exchanges[id].phase == Phase::Waiting => {
                self.tables.waited_in_vain(id, Some(Refusal::ShuttingDown), budget);
            }
            _ => {}
        }
    }

    /// What a stop does with a connection.
    fn cut_off(&mut self, slot: u32) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Free | Role::Closing, _) => {}
            (_, Some(id)) => self.tables.abort(id, true),
            (_, None) => self.tables.close(slot),
        }
    }
}
