//! One shard: the loop that turns events into facts, runs steps, and applies their outcomes.
//!
//! The shard is a state machine behind an [`Engine`]: it never blocks or sleeps, and knows no sockets, so the simulator
//! can drive it in any order that a kernel could. A turn has four parts: events are noted; the run queue is worked off
//! as far as the turn's budget allows; timers run; what was given up is freed.

mod accepting;
mod drain;
mod outcomes;
mod overdue;
mod review;
mod steps;
mod turn;

use super::{
    config::Config,
    conn::{Arms, Gateway, Role},
    counters::Counters,
    message::{Message, Snapshot},
    tables::{End, Tables},
    timers::{TICK_MILLIS, after, tick},
};
use crate::io::{Calls, Engine, Event};
use std::sync::Arc;

pub use super::shared::Shared;

/// How often admission forgets sources.
const SWEEP_TICKS: u32 = (1000 / TICK_MILLIS) as u32;
/// Maximum operations of one connection in one turn.
const OPERATIONS: u32 = 32;

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
    /// When a drain ends tunnels.
    tunnels_until: Option<u32>,
    /// The first slot that a drain or a stop has not visited yet.
    ending_at: Option<u32>,
    /// The first slot that a review by new rules has not visited yet.
    reviewing_at: Option<u32>,
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
            tunnels_until: None,
            ending_at: None,
            reviewing_at: None,
            closed: false,
            next_sweep: after(tick, SWEEP_TICKS),
        }
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
        let (secure, handshakes) = tables.sessions.count();
        let mut snapshot = Snapshot {
            connections: tables.conns.used(),
            domains: tables.park.len(),
            sessions: tables.exchanges.used(),
            buffers: buffers - free,
            pipes: calls.pipes_held(),
            held: tables.inboxes.account.held() + tables.sessions.held(),
            secure,
            handshakes,
            ..Snapshot::default()
        };
        for slot in tables.conns.numbers() {
            let conn = &tables.conns[slot];
            snapshot.parked += usize::from(matches!(conn.role, Role::Gateway(_, Gateway::Parked)));
            snapshot.streaming += usize::from(conn.arms.contains(Arms::STREAM));
        }
        snapshot
    }
}
