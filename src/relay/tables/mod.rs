//! Everything that a shard owns, and what steps may see of it.
//!
//! Nothing here runs a step by itself, and nothing is freed during a turn: a slot, an exchange's or a domain's record
//! that is given up is used again only in a later turn, so no call can free what its caller still uses.

mod arming;
mod ends;
mod invariants;
mod roster;

use super::{
    access::{Registered, Rules},
    config::Config,
    conn::{Client, Conn, Conns, Flags, Gateway, Inboxes, Role},
    counters::Counters,
    desk::{Desk, Times},
    exchange::{Exchange, ExchangeId, Exchanges},
    memory::Account,
    message::{Message, others},
    park::Park,
    ready::{Budget, Lane, RunQueue},
    shared::Shared,
    timers::{Wheel, after, ticks},
};
use crate::{
    io::{Calls, Engine, Key},
    transport::Sessions,
};
use std::{collections::VecDeque, sync::Arc};

/// Whether a shard is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is not: it serves.
    None,
    /// It takes no new requests; exchanges in progress may go on until this tick.
    Draining(u32),
    /// Everything is being closed.
    Stopping,
}

/// All of a shard's owners.
pub struct Tables<E: Engine> {
    pub engine: E,
    pub config: Arc<Config>,
    pub times: Times,
    pub number: usize,
    pub shared: Arc<Shared>,
    /// The rules that count now.
    pub rules: Option<Arc<Rules>>,
    /// With which keys gateways have registered.
    pub registered: Registered,
    pub counters: Arc<Counters>,
    pub conns: Conns,
    pub exchanges: Exchanges,
    pub inboxes: Inboxes,
    pub sessions: Sessions,
    pub park: Park,
    pub wheel: Wheel,
    pub ready: RunQueue,
    /// Connections that found no buffer, in order.
    pub line: VecDeque<Key>,
    /// Domains for which gateways were lately taken back from slow clients, and when.
    yields: VecDeque<(u32, u32)>,
    /// Slots closed in this turn with nothing armed, to be freed at its end.
    doomed: Vec<u32>,
    /// Domains whose last gateway has gone, with the tick at which it went.
    pub lost_domains: VecDeque<(u32, u32)>,
    /// Domains that have lost their names and still have waiting clients.
    pub dissolved: VecDeque<u32>,
    /// Domains that may have become empty in this turn.
    empty_domains: Vec<u32>,
    /// Counts up with each choice among several shards, so that they take turns.
    pub choices: u32,
    /// The tick of this turn.
    pub tick: u32,
    /// Until then clients wait for domains that have not been seen.
    pub fresh_until: Option<u32>,
    pub end: End,
}

impl<E: Engine<Mail = Message>> Tables<E> {
    pub fn new(
        engine: E,
        config: Arc<Config>,
        number: usize,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        tick: u32,
    ) -> Tables<E> {
        let times = Times::new(&config);
        let share = usize::try_from(config.max_memory).unwrap_or(usize::MAX) / shared.shards();
        Tables {
            fresh_until: Some(ticks(config.start_grace)).filter(|&grace| grace > 0).map(|grace| after(tick, grace)),
            times,
            inboxes: Inboxes::new(engine.calls_ref().buffers().0, Account::new(share)),
            sessions: Sessions::new(shared.acceptor().cloned()),
            wheel: Wheel::new(tick),
            engine,
            rules: config.rules.clone(),
            registered: Registered::default(),
            config,
            number,
            shared,
            counters,
            conns: Conns::default(),
            exchanges: Exchanges::default(),
            park: Park::default(),
            ready: RunQueue::default(),
            line: VecDeque::new(),
            yields: VecDeque::new(),
            doomed: Vec::new(),
            lost_domains: VecDeque::new(),
            dissolved: VecDeque::new(),
            empty_domains: Vec::new(),
            choices: number as u32,
            tick,
            end: End::None,
        }
    }

    /// Whether more TLS handshakes are in progress than this shard's share of the maximum.
    pub fn has_enough_handshakes(&self) -> bool {
        let most = self.config.max_handshakes.div_ceil(self.shared.shards() as u32);
        most != 0 && self.sessions.count().1 > most as usize
    }

    /// Whether the shard is ending: connections are not kept for further requests.
    pub fn is_ending(&self) -> bool {
        self.end != End::None
    }

    // What steps may see.

    /// What a step may use, and beside it the connections and exchanges of which it gets its own.
    #[inline(always)]
    fn split<'a>(&'a mut self, budget: &'a mut Budget) -> (&'a mut Conns, &'a mut Exchanges, Desk<'a, E::Calls>) {
        let ending = self.is_ending();
        let desk = Desk {
            calls: self.engine.calls(),
            sessions: &self.sessions,
            inboxes: &mut self.inboxes,
            config: &self.config,
            times: &self.times,
            counters: &self.counters,
            budget,
            tick: self.tick,
            ending,
            demand: false,
        };
        (&mut self.conns, &mut self.exchanges, desk)
    }

    /// Runs a step on one connection, and its exchange if it has one.
    pub fn with_conn<R>(
        &mut self,
        slot: u32,
        budget: &mut Budget,
        step: impl FnOnce(Option<&mut Exchange>, &mut Conn, &mut Desk<'_, E::Calls>) -> R,
    ) -> R {
        let (conns, exchanges, mut desk) = self.split(budget);
        let conn = &mut conns[slot];
        let x = conn.exchange.some().map(|id| &mut exchanges[id]);
        step(x, conn, &mut desk)
    }

    /// Runs a step on an exchange and both of its connections.
    pub fn with_exchange<R>(
        &mut self,
        id: ExchangeId,
        budget: &mut Budget,
        step: impl FnOnce(&mut Exchange, &mut Conn, &mut Conn, &mut Desk<'_, E::Calls>) -> R,
    ) -> R {
        let x = &self.exchanges[id];
        // Looked up only if it may matter.
        let demand = self.conns[x.client].is(Flags::EOF) && self.is_wanted(self.conns[x.gateway].domain);
        let (conns, exchanges, mut desk) = self.split(budget);
        desk.demand = demand;
        let x = &mut exchanges[id];
        let (client, gateway) = conns.pair(x.client, x.gateway);
        step(x, client, gateway, &mut desk)
    }

    /// Whether clients wait for a domain, here or on another shard.
    pub fn is_wanted(&self, domain: u32) -> bool {
        let hashes =
            std::iter::once(self.park[domain].hash).chain(self.park.further(domain).iter().map(|name| name.hash));
        self.park.has_waiting(domain)
            || hashes.map(|hash| self.shared.directory.waiting(hash)).any(|shards| others(shards, self.number) != 0)
    }

    /// The client's exchange, a new one unless it has one. The client is busy from here on.
    pub fn exchange_of(&mut self, slot: u32) -> Option<ExchangeId> {
        if self.conns[slot].exchange == ExchangeId::NONE {
            self.conns[slot].exchange = self.exchanges.insert(slot)?;
        }
        self.conns[slot].role = Role::Client(Client::Busy);
        self.conns[slot].exchange.some()
    }

    // The run queue.

    /// Something has happened to a connection: it is put into the run queue. For a joined gateway, its client is, so
    /// that an exchange is stepped once.
    pub fn wake(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        let target = match (conn.role, conn.exchange.some()) {
            (Role::Gateway(..), Some(id)) => self.exchanges[id].client,
            _ => slot,
        };
        let bulk = self.conns[target].exchange.some().is_some_and(|id| {
            let x = &self.exchanges[id];
            x.up.bulk || x.down.bulk
        });
        let lane = match self.conns[target].role {
            _ if bulk => Lane::Bulk,
            Role::Client(Client::Fresh) | Role::Gateway(_, Gateway::Parked) | Role::Lingering => Lane::Turnover,
            _ => Lane::Fresh,
        };
        self.enqueue(target, lane);
    }

    /// Puts a connection into a lane of the run queue, unless it is in one.
    pub fn enqueue(&mut self, slot: u32, lane: Lane) {
        let conn = &mut self.conns[slot];
        if !conn.flags.contains(Flags::QUEUED) {
            conn.flags.insert(Flags::QUEUED);
            let key = self.conns.key(slot);
            self.ready.push(key, lane);
        }
    }

    /// The tick so many ticks from now.
    pub fn in_ticks(&self, span: u32) -> u32 {
        after(self.tick, span)
    }
}
