//! Everything that a shard owns, and the changes that concern more than one owner.
//!
//! Nothing here runs a step by itself, and nothing is freed during a turn: a slot, an exchange's or a domain's record
//! that is given up is used again only in a later turn, so no call can free what its caller still uses.
use super::{
    admission::Admission,
    config::Config,
    conn::{Arms, Client, Conn, Conns, Flags, Gateway, Inboxes, NONE, Role, watch, watch::Wish},
    counters::Counters,
    desk::{Desk, Times},
    directory::Directory,
    ending::Ending,
    exchange::{Exchange, ExchangeId, Exchanges, Phase, Traits},
    gateway::Dialect,
    memory::Account,
    message::{DomainName, Message, others},
    park::Park,
    ready::{Budget, Lane, RunQueue},
    routing,
    timers::{Wheel, after, is_due},
};
use crate::{
    http::Refusal,
    io::{Calls, Engine, Key},
};
use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// What all shards of a relay share.
pub struct Shared {
    /// Which shards have gateways of which domain.
    pub directory: Directory,
    /// How many connections there are, and which may come.
    pub admission: Admission,
    /// How many have come how far with ending.
    pub ending: Ending,
    /// Set once a gateway has registered a whole host as its origin: only then are hosts looked up.
    origins: AtomicBool,
    shards: usize,
}

impl Shared {
    /// The state shared by so many shards, beginning at a tick.
    pub fn new(config: &Config, shards: usize, tick: u32) -> Shared {
        Shared {
            directory: Directory::new(shards),
            admission: Admission::new(config, tick),
            ending: Ending::new(shards),
            origins: AtomicBool::new(false),
            shards,
        }
    }

    /// Whether no shard will hand off a client any more, and none is in transit.
    pub fn is_quiet(&self) -> bool {
        self.ending.is_quiet(&self.admission)
    }

    /// Whether gateways may have registered whole hosts.
    pub fn has_origins(&self) -> bool {
        self.origins.load(Relaxed)
    }

    /// A gateway registers a whole host.
    pub fn note_origin(&self) {
        self.origins.store(true, Relaxed);
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }
}

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
    pub counters: Arc<Counters>,
    pub conns: Conns,
    pub exchanges: Exchanges,
    pub inboxes: Inboxes,
    pub park: Park,
    pub wheel: Wheel,
    pub ready: RunQueue,
    /// Connections that found no buffer, in order.
    pub line: VecDeque<Key>,
    /// Slots closed in this turn with nothing armed, to be freed at its end.
    doomed: Vec<u32>,
    /// Domains whose last gateway has gone, with the tick at which it went.
    pub lost_domains: VecDeque<(u32, u32)>,
    /// Domains that may have become empty in this turn.
    empty_domains: Vec<u32>,
    /// Counts up with each choice among several shards, so that they take turns.
    pub choices: u32,
    /// The tick of this turn.
    pub tick: u32,
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
        let share = usize::try_from(config.max_memory).unwrap_or(usize::MAX) / shared.shards();
        Tables {
            times: Times::new(&config),
            inboxes: Inboxes::new(engine.calls_ref().buffers().0, Account::new(share)),
            wheel: Wheel::new(tick),
            engine,
            config,
            number,
            shared,
            counters,
            conns: Conns::default(),
            exchanges: Exchanges::default(),
            park: Park::default(),
            ready: RunQueue::default(),
            line: VecDeque::new(),
            doomed: Vec::new(),
            lost_domains: VecDeque::new(),
            empty_domains: Vec::new(),
            choices: number as u32,
            tick,
            end: End::None,
        }
    }

    /// Whether the shard is ending: connections are not kept for further requests.
    pub fn is_ending(&self) -> bool {
        self.end != End::None
    }

    // What steps may see.

    /// Runs a step on one connection, and its exchange if it has one.
    pub fn with_conn<R>(
        &mut self,
        slot: u32,
        budget: &mut Budget,
        step: impl FnOnce(Option<&mut Exchange>, &mut Conn, &mut Desk<'_, E::Calls>) -> R,
    ) -> R {
        let ending = self.is_ending();
        let conn = &mut self.conns[slot];
        let x = conn.exchange.some().map(|id| &mut self.exchanges[id]);
        let mut desk = Desk {
            calls: self.engine.calls(),
            inboxes: &mut self.inboxes,
            config: &self.config,
            times: &self.times,
            counters: &self.counters,
            budget,
            tick: self.tick,
            ending,
            demand: false,
        };
        step(x, conn, &mut desk)
    }

    /// Runs a step on an exchange and both of its connections.
    pub fn with_exchange<R>(
        &mut self,
        id: ExchangeId,
        budget: &mut Budget,
        step: impl FnOnce(&mut Exchange, &mut Conn, &mut Conn, &mut Desk<'_, E::Calls>) -> R,
    ) -> R {
        let ending = self.is_ending();
        let x = &mut self.exchanges[id];
        let (client, gateway) = self.conns.pair(x.client, x.gateway);
        // Looked up only if it may matter.
        let demand = client.is(Flags::EOF) && self.park.has_waiting(gateway.domain);
        let mut desk = Desk {
            calls: self.engine.calls(),
            inboxes: &mut self.inboxes,
            config: &self.config,
            times: &self.times,
            counters: &self.counters,
            budget,
            tick: self.tick,
            ending,
            demand,
        };
        step(x, client, gateway, &mut desk)
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
        self.enqueue(target, if bulk { Lane::Bulk } else { Lane::Fresh });
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

    // Arming.

    /// Arms what a connection needs now, and its timer. To be called after its step.
    pub fn rearm(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if matches!(conn.role, Role::Free | Role::Closing) {
            return;
        }
        if conn.inbox.holds_buffers() {
            self.make_room(slot);
        }
        if self.conns[slot].flags & (Flags::STARVED | Flags::IN_LINE) == Flags::STARVED {
            self.starve(slot);
        }
        let wish = self.wish(slot);
        let key = self.conns.key(slot);
        watch::rearm(&mut self.conns[slot], key, wish, &mut self.engine);
        self.schedule(slot);
    }

    /// Rearms a client and, if it has one, its gateway.
    pub fn rearm_both(&mut self, client: u32) {
        if let Some(id) = self.conns[client].exchange.some() {
            let gateway = self.exchanges[id].gateway;
            if gateway != NONE {
                self.rearm(gateway);
            }
        }
        self.rearm(client);
    }

    /// What a connection should have armed.
    fn wish(&self, slot: u32) -> Wish {
        let conn = &self.conns[slot];
        let deaf = conn.flags.intersects(Flags::EOF | Flags::FAILED | Flags::STARVED | Flags::QUEUED);
        let piling = conn.inbox.is_spilled() || self.inboxes.holds(&conn.inbox, self.config.held_buffers);
        let mut wish = Wish { read: !deaf, stop: piling, ..Wish::default() };
        let x = conn.exchange.some().map(|id| &self.exchanges[id]);
        match (conn.role, x) {
            (Role::Free | Role::Closing | Role::Client(Client::Leaving), _) => return Wish::default(),
            (Role::Gateway(_, Gateway::Quarantined), _) => return Wish { stop: true, ..Wish::default() },
            // The relay's own response waits for room; the client's next bytes wait, too.
            (Role::Client(Client::Busy), Some(x)) if x.phase == Phase::Parting => {
                wish = Wish { write: true, ..Wish::default() }
            }
            (Role::Client(Client::Busy), Some(x)) => {
                let tight = x.phase == Phase::Waiting && self.inboxes.account.is_tight();
                wish.read &= (x.phase == Phase::Reading || x.up.wants(conn)) && !tight && !conn.is(Flags::LAST);
                wish.bulk = x.up.bulk;
                wish.write = x.down.blocked;
            }
            (Role::Gateway(_, Gateway::Joined), Some(x)) if x.phase.is_joined() => {
                wish.read &= x.down.wants(conn) && !self.conns[x.client].is(Flags::QUEUED);
                wish.bulk = x.down.bulk;
                wish.write = x.up.blocked;
            }
            _ => {}
        }
        wish.stop |= wish.bulk;
        wish
    }

    /// Spills a connection's bytes, if buffers are short and memory is not.
    fn make_room(&mut self, slot: u32) {
        let calls = self.engine.calls();
        if calls.at_hand() <= calls.buffers().0 / 4 && !self.inboxes.account.is_full() {
            self.inboxes.spill(&mut self.conns[slot].inbox, calls);
        }
    }

    /// A receive found no buffer at hand. If some are in the kernel's ring, a stream can use those; otherwise the
    /// connection waits in line.
    fn starve(&mut self, slot: u32) {
        let calls = self.engine.calls_ref();
        let conn = &mut self.conns[slot];
        let bulk = conn.exchange.some().is_some_and(|id| self.exchanges[id].up.bulk || self.exchanges[id].down.bulk);
        if calls.buffers().1 > calls.at_hand() && !bulk && !conn.arms.contains(Arms::STREAM) {
            conn.flags.remove(Flags::STARVED);
            conn.flags.insert(Flags::HOT);
            conn.active = self.tick;
            return;
        }
        conn.flags.insert(Flags::IN_LINE);
        let key = self.conns.key(slot);
        self.line.push_back(key);
    }

    /// Puts a connection on the timer wheel, if something is due for it.
    pub fn schedule(&mut self, slot: u32) {
        if let Some(due) = watch::due(&self.conns[slot]) {
            self.wheel.set(&mut self.conns, slot, due);
        }
    }

    /// The tick so many ticks from now.
    pub fn in_ticks(&self, span: u32) -> u32 {
        after(self.tick, span)
    }

    // Ends.

    /// Ends a connection that has no exchange. Its slot is freed when nothing is armed any more and the turn is over.
    pub fn close(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        debug_assert!(conn.exchange == ExchangeId::NONE);
        if matches!(conn.role, Role::Free | Role::Closing) {
            return;
        }
        if matches!(conn.role, Role::Gateway(..)) {
            self.leave(slot);
        }
        self.wheel.unlink(&mut self.conns, slot);
        let conn = &mut self.conns[slot];
        self.inboxes.clear(&mut conn.inbox, self.engine.calls());
        conn.role = Role::Closing;
        conn.deadline = 0;
        if !conn.is_armed() {
            return self.doomed.push(slot);
        }
        // Ends what is armed. Closing alone would leave it armed, and the peer without a FIN.
        match conn.flags.contains(Flags::RESET) {
            true => conn.transport().disconnect(self.engine.calls()),
            false => conn.transport().shut(self.engine.calls()),
        }
    }

    /// Marks a closing connection, for which nothing is armed any more, to be freed.
    pub fn doom(&mut self, slot: u32) {
        debug_assert!(self.conns[slot].role == Role::Closing && !self.conns[slot].is_armed());
        self.doomed.push(slot);
    }

    /// Gives up a slot whose transport was handed off.
    pub fn give_up_slot(&mut self, slot: u32) {
        self.wheel.unlink(&mut self.conns, slot);
        let conn = &mut self.conns[slot];
        debug_assert!(conn.transport.is_none() && !conn.is_armed());
        conn.role = Role::Closing;
        conn.deadline = 0;
        self.doomed.push(slot);
    }

    /// Ends a connection in order: sends a FIN and waits for the peer's, so that no reset overtakes the response while
    /// the peer is still sending (RFC 9112 §9.6).
    pub fn linger(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        debug_assert!(conn.exchange == ExchangeId::NONE);
        self.inboxes.clear(&mut conn.inbox, self.engine.calls());
        if conn.has_ended() {
            return self.close(slot);
        }
        conn.role = Role::Lingering;
        conn.flags.remove(Flags::LAST);
        conn.deadline = after(self.tick, self.times.linger);
        conn.transport().finish(self.engine.calls());
        self.wake(slot);
    }

    /// Ends an exchange and closes its gateway, if it still has one. The caller decides about the client.
    pub fn end_exchange(&mut self, id: ExchangeId) {
        let client = self.exchanges[id].client;
        if self.exchanges[id].phase == Phase::Waiting {
            self.stop_waiting(client);
        }
        self.drop_gateway(id);
        self.conns[client].exchange = ExchangeId::NONE;
        let x = &mut self.exchanges[id];
        for flow in [&mut x.up, &mut x.down] {
            flow.return_pipe(self.engine.calls());
        }
        self.exchanges.end(id, &mut self.inboxes.account);
    }

    /// Ends an exchange and both of its connections, the client's with a reset if it must not take what it has for the
    /// whole.
    pub fn abort(&mut self, id: ExchangeId, reset: bool) {
        let client = self.exchanges[id].client;
        self.end_exchange(id);
        self.conns[client].flags.set(Flags::RESET, reset);
        self.close(client);
    }

    /// Takes the gateway out of an exchange and closes it.
    pub fn drop_gateway(&mut self, id: ExchangeId) {
        let x = &mut self.exchanges[id];
        // A gateway that is given up within an exchange must notice at once, even with unread bytes: it is reset.
        let within = match x.phase {
            Phase::Asked => true,
            Phase::Answering => !x.down.is_done() && !x.down.body.is_done(),
            Phase::Tunnel => !x.down.ended && !x.up.ended,
            _ => false,
        };
        let gateway = std::mem::replace(&mut x.gateway, NONE);
        if gateway != NONE {
            let conn = &mut self.conns[gateway];
            conn.exchange = ExchangeId::NONE;
            conn.flags.set(Flags::RESET, within && !conn.has_ended());
            self.close(gateway);
        }
    }

    /// Sends a client the relay's own response, and ends its exchange if it has one. `head_only` for HEAD, whose
    /// responses have no body.
    pub fn answer(&mut self, slot: u32, refusal: Refusal, keep: bool, head_only: bool, budget: &mut Budget) {
        self.counters.refused(refusal).bump();
        if let Some(id) = self.conns[slot].exchange.some() {
            if !self.exchanges[id].down.is_flushed() {
                // Within another response this one would be taken for a part of it.
                return self.abort(id, true);
            }
            self.end_exchange(id);
        }
        let mut answer = if keep { refusal.kept() } else { refusal.closing() };
        if head_only && let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") {
            answer = &answer[..end + 4];
        }
        let conn = &mut self.conns[slot];
        let sent = conn.transport().send(self.engine.calls(), &[IoSlice::new(answer)], false);
        budget.spend(answer.len());
        conn.flags.remove(Flags::HANDED_OVER | Flags::LAST);
        conn.tries = 0;
        match sent {
            Ok(sent) if sent < answer.len() => self.begin_parting(slot, &answer[sent..], keep),
            Ok(_) if keep => {
                conn.role = Role::Client(Client::Idle);
                conn.deadline = after(self.tick, self.times.client_idle);
            }
            _ => self.linger(slot),
        }
    }

    /// The relay's own response waits for room.
    fn begin_parting(&mut self, slot: u32, rest: &[u8], keep: bool) {
        let Some(id) = self.exchange_of(slot) else { return self.close(slot) };
        let x = &mut self.exchanges[id];
        x.phase = Phase::Parting;
        x.down.out.extend(&mut self.inboxes.account, rest);
        x.down.blocked = true;
        x.traits.set(Traits::KEEP_CLIENT, keep);
        self.conns[slot].deadline = after(self.tick, self.times.session_idle);
    }

    /// The client's exchange, a new one unless it has one. The client is busy from here on.
    pub fn exchange_of(&mut self, slot: u32) -> Option<ExchangeId> {
        if self.conns[slot].exchange == ExchangeId::NONE {
            self.conns[slot].exchange = self.exchanges.insert(slot)?;
        }
        self.conns[slot].role = Role::Client(Client::Busy);
        self.conns[slot].exchange.some()
    }

    // Gateways.

    /// A gateway's connection joins its domain.
    pub fn join(&mut self, gateway: u32, domain: u32) {
        let record = &mut self.park[domain];
        self.conns[gateway].domain = domain;
        let hash = record.hash;
        if record.gain() {
            self.shared.directory.gain(hash, self.number);
        }
        self.shared.directory.count(hash, 1);
    }

    /// A gateway's connection leaves its domain. The domain is remembered for a while: the gateway may come back.
    pub fn leave(&mut self, gateway: u32) {
        self.rouse(gateway);
        let domain = std::mem::replace(&mut self.conns[gateway].domain, NONE);
        if domain == NONE {
            return;
        }
        if matches!(self.conns[gateway].role, Role::Gateway(_, Gateway::Parked)) {
            self.park[domain].parked.unlink(&mut self.conns, gateway);
        }
        self.shared.directory.count(self.park[domain].hash, -1);
        if self.park[domain].lose(self.tick) {
            self.lost_domains.push_back((self.tick, domain));
        }
    }

    /// Takes a gateway out of its domain's list of resting ones, if it is there.
    pub fn rouse(&mut self, gateway: u32) {
        let conn = &mut self.conns[gateway];
        if conn.is(Flags::RESTING) {
            conn.flags.remove(Flags::RESTING);
            let domain = conn.domain;
            self.park[domain].resting.unlink(&mut self.conns, gateway);
        }
    }

    /// Parks a gateway's connection, which has joined its domain.
    pub fn park_gateway(&mut self, gateway: u32, dialect: Dialect) {
        let traits = dialect.traits();
        let deadline = if traits.poll_again.is_some() { self.in_ticks(self.times.poll_interval) } else { 0 };
        let conn = &mut self.conns[gateway];
        conn.role = Role::Gateway(dialect, Gateway::Parked);
        conn.exchange = ExchangeId::NONE;
        conn.deadline = deadline;
        if conn.is(Flags::PATIENT) {
            // Parked, it has the kernel's short limit again.
            conn.flags.remove(Flags::PATIENT);
            conn.transport().set_patience(self.engine.calls(), self.config.tcp_user_timeout);
        }
        let domain = conn.domain;
        let parked = &mut self.park[domain].parked;
        match traits.latest_first {
            true => parked.push_front(&mut self.conns, gateway),
            false => parked.push_back(&mut self.conns, gateway),
        }
    }

    /// Takes the domain's next parked gateway out of its list.
    pub fn take_parked(&mut self, domain: u32) {
        let Some(gateway) = self.park[domain].parked.first() else { return };
        self.park[domain].parked.unlink(&mut self.conns, gateway);
        if let Role::Gateway(dialect, _) = self.conns[gateway].role {
            self.conns[gateway].role = Role::Gateway(dialect, Gateway::Joined);
        }
    }

    /// Puts a client first or last into the list of those that wait for a gateway of a domain, and tells the directory.
    /// Whether it is the only one.
    pub fn start_waiting(&mut self, slot: u32, domain: u32, first: bool) -> bool {
        self.conns[slot].domain = domain;
        let alone = self.park[domain].waiting.is_empty();
        match first {
            true => self.park[domain].waiting.push_front(&mut self.conns, slot),
            false => self.park[domain].waiting.push_back(&mut self.conns, slot),
        }
        if alone {
            self.shared.directory.wait(self.park[domain].hash, self.number);
        }
        alone
    }

    /// Takes a waiting client out of its domain's list.
    pub fn stop_waiting(&mut self, slot: u32) {
        let domain = std::mem::replace(&mut self.conns[slot].domain, NONE);
        self.park[domain].waiting.unlink(&mut self.conns, slot);
        if self.park[domain].waiting.is_empty() {
            self.shared.directory.wait_no_more(self.park[domain].hash, self.number);
            self.empty_domains.push(domain);
        }
    }

    /// A domain's name and hash, for another shard.
    pub fn name_of(&self, domain: u32) -> DomainName {
        let domain = &self.park[domain];
        DomainName { hash: domain.hash, name: domain.name().into() }
    }

    /// A shard, other than those that have `passed`, where clients wait for a domain; they take turns.
    pub fn waits_elsewhere(&mut self, hash: u64, passed: u64) -> Option<usize> {
        let elsewhere = others(self.shared.directory.waiting(hash), self.number) & !passed;
        if elsewhere == 0 {
            return None;
        }
        self.choices = self.choices.wrapping_add(1);
        routing::pick(elsewhere, self.choices)
    }

    // Between two turns.

    /// Frees what was given up during the turn.
    pub fn reap(&mut self) {
        for at in 0..self.doomed.len() {
            let slot = self.doomed[at];
            let conn = &self.conns[slot];
            let (reset, counted) = (conn.is(Flags::RESET), !conn.is(Flags::UNCOUNTED));
            if conn.transport.is_some() {
                self.shared.admission.release(&conn.address, counted);
            }
            match (self.conns.remove(slot), reset) {
                (Some(transport), true) => transport.reset(self.engine.calls()),
                (Some(transport), false) => transport.close(self.engine.calls()),
                (None, _) => {}
            }
        }
        self.doomed.clear();
        self.exchanges.reap();
        while let Some(domain) = self.empty_domains.pop() {
            if self.park.contains(domain) && !self.park[domain].is_listed() && self.park[domain].waiting.is_empty() {
                self.park.remove(domain);
            }
        }
    }

    /// Notes a domain that may be empty, since the client for which it was looked up did not wait for it after all.
    pub fn may_be_empty(&mut self, domain: u32) {
        self.empty_domains.push(domain);
    }

    /// Forgets domains that have been without a gateway for `domain_grace`.
    pub fn forget_domains(&mut self) {
        while let Some(&(lost, domain)) = self.lost_domains.front() {
            if !is_due(after(lost, self.times.domain_grace), self.tick) {
                return;
            }
            self.lost_domains.pop_front();
            if !self.park.contains(domain) || self.park[domain].gone_since() != Some(lost) {
                continue;
            }
            let record = &mut self.park[domain];
            if record.waiting.is_empty() {
                self.shared.directory.lose(record.hash, self.number);
                self.park.remove(domain);
            } else {
                record.remember_from(self.tick);
                self.lost_domains.push_back((self.tick, domain));
            }
        }
    }

    // Invariants, checked at the end of every turn in debug builds and in the simulator.

    /// The first broken invariant of the owners, if any.
    pub fn fault(&self) -> Option<String> {
        let mut held = self.inboxes.spilled_bytes();
        for x in self.exchanges.records() {
            held += x.head.len() + x.reply.len() + x.up.out.len() + x.down.out.len();
            let wrong = [&x.up, &x.down].into_iter().find_map(|flow| flow.fault());
            if let Some(wrong) = wrong.filter(|_| x.phase != Phase::Free) {
                return Some(format!("an exchange of slot {} in {:?}: {wrong}", x.client, x.phase));
            }
        }
        if held != self.inboxes.account.held() {
            return Some(format!("{held} bytes are held, {} on the account", self.inboxes.account.held()));
        }
        self.conns.numbers().find_map(|slot| {
            let conn = &self.conns[slot];
            let wrong = self.inboxes.fault(&conn.inbox).or_else(|| self.forgotten(slot));
            wrong.map(|wrong| format!("slot {slot}, {:?}: {wrong}", conn.role))
        })
    }

    /// Whether nothing but a deadline would come back to a connection: nothing is armed, and it is in no list. That
    /// must not happen, except to a client that waits for a gateway, or whose gateway is not forgotten.
    fn forgotten(&self, slot: u32) -> Option<&'static str> {
        let kept = |slot: u32| {
            let conn = &self.conns[slot];
            let unwatched = conn.is(Flags::LAST) && conn.timer_at != 0;
            conn.is_armed() || conn.flags.intersects(Flags::IN_LINE | Flags::QUEUED) || unwatched
        };
        let conn = &self.conns[slot];
        let joined = |id: ExchangeId| {
            let x = &self.exchanges[id];
            let other = x.gateway != NONE && kept(x.gateway);
            other || (x.phase == Phase::Waiting && conn.timer_at != 0)
        };
        let fine = match conn.role {
            Role::Free | Role::Gateway(_, Gateway::Joined) => true,
            Role::Client(Client::Busy) => kept(slot) || conn.exchange.some().is_some_and(joined),
            Role::Closing => kept(slot) || self.doomed.contains(&slot),
            _ => kept(slot),
        };
        (!fine).then_some("forgotten")
    }
}
