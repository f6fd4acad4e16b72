//! The run queue is worked off: one step of one connection at a time, within its budget.
use super::{OPERATIONS, Shard};
use crate::{
    http::{Parse, Refusal, proxy_protocol},
    io::{Calls, Engine, Received},
    relay::{
        client::Next,
        conn::{Arms, Client, Flags, Gateway, NONE, Role},
        exchange::{self, ExchangeId, Phase, Traits},
        gateway::{self, Dialect, Stirred},
        message::Message,
        ready::{Budget, Lane},
        timers::after,
    },
};
use std::io;

/// Maximum operations of all connections in one turn's run queue.
const TURN_OPERATIONS: u32 = 1024;
/// A turn moves at most this many times the bytes that one connection may.
const TURN_SHARES: usize = 2;

impl<E: Engine<Mail = Message>> Shard<E> {
    /// What one connection may do in a turn.
    pub(super) fn share(&self) -> Budget {
        Budget::new(self.tables.config.turn_bytes, OPERATIONS)
    }

    pub(super) fn run_queue(&mut self) {
        let mut turn = Budget::new(self.tables.config.turn_bytes * TURN_SHARES, TURN_OPERATIONS);
        let share = self.share();
        for lane in [Lane::Fresh, Lane::Turnover, Lane::Bulk] {
            // Connections that join a lane meanwhile wait for the next turn. At least one of each lane runs.
            for _ in 0..self.tables.ready.portion(lane) {
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
            Role::Client(Client::Fresh) if conn.is(Flags::TRUSTED) => self.step_proxied(slot, budget),
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

    /// Step of a new connection: it is one until its first bytes have come.
    fn step_fresh(&mut self, slot: u32, budget: &mut Budget) -> bool {
        self.tables.with_conn(slot, budget, |_, conn, desk| {
            if conn.inbox.is_empty() && conn.may_fill() {
                desk.fill(conn);
            }
        });
        let conn = &mut self.tables.conns[slot];
        if !conn.inbox.is_empty() {
            conn.role = Role::Client(Client::Idle);
            return true;
        }
        if conn.has_ended() {
            self.tables.close(slot);
        } else if conn.may_fill() {
            // Its handshake goes on in another turn.
            self.tables.enqueue(slot, Lane::Turnover);
        }
        false
    }

    /// Step of a new connection from a trusted proxy. It may begin with a PROXY header, which names the client.
    fn step_proxied(&mut self, slot: u32, budget: &mut Budget) -> bool {
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
            let received = conn.transport().receive(self.tables.engine.calls(), &self.tables.sessions, usize::MAX);
            let len = if let Received::Bytes(buf) = &received { buf.len() } else { 0 };
            budget.spend(len + self.tables.sessions.take_cost());
            match received {
                Received::Bytes(buf) => {
                    conn.active = self.tables.tick;
                    let more = conn.transport().has_more(&self.tables.sessions);
                    let whole = buf.len() == self.tables.engine.calls_ref().buffer_size();
                    conn.flags.set(Flags::READABLE, whole || more);
                    self.tables.engine.calls().release(buf);
                }
                Received::Nothing => conn.flags.remove(Flags::READABLE),
                Received::NoBuffers => conn.flags.insert(Flags::STARVED),
                Received::Eof => conn.flags.insert(Flags::EOF),
                Received::Failed => conn.flags.insert(Flags::FAILED),
            }
        }
        if conn.has_ended() {
            // What it is still owed, it may take.
            if !conn.transport().owes(&self.tables.sessions) {
                self.tables.close(slot);
            }
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
        let rest = &x.down.out[x.down.out_sent as usize..];
        let sent = conn.transport().send(tables.engine.calls(), &tables.sessions, &[io::IoSlice::new(rest)], false);
        budget.spend(rest.len());
        match sent {
            Ok(sent) if sent < rest.len() => {
                x.down.out_sent += sent as u32;
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
}
