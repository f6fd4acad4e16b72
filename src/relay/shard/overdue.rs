//! What time brings: deadlines, streams that cool down, domains and sources to forget, and buffers for those that wait
//! in line.
use super::{SWEEP_TICKS, Shard};
use crate::{
    http::{Method, Refusal},
    io::{Calls, Engine},
    relay::{
        conn::{Arms, Client, Conn, Flags, Gateway, Role, watch},
        desk::Desk,
        exchange::{self, Exchange, ExchangeId, Phase},
        message::Message,
        ready::{Budget, Lane},
        tables::{End, Tables},
        timers::{after, is_due},
    },
};

/// Timers that run in one turn, and streams that cool down in one: each of those asks the kernel for a cancellation.
const TIMERS_PER_TURN: u32 = 128;
const COOLED_PER_TURN: u32 = 16;

impl<E: Engine<Mail = Message>> Shard<E> {
    pub(super) fn run_timers(&mut self) {
        let tick = self.tables.tick;
        let mut cooled = 0;
        for _ in 0..TIMERS_PER_TURN {
            let Tables { wheel, conns, engine, times, .. } = &mut self.tables;
            let Some(slot) = wheel.pop(conns, tick) else { break };
            let conn = &mut conns[slot];
            if conn.arms.contains(Arms::MARK) && is_due(after(conn.active, times.bulk_delay), tick) {
                // What has arrived since then has waited for long enough. The kernel tells of it at once.
                conn.set_low_water(1, engine.calls());
            }
            if conn.deadline != 0 && is_due(conn.deadline, tick) {
                conn.deadline = 0;
                let mut budget = self.share();
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
        self.tables.fresh_until.take_if(|until| is_due(*until, tick));
        if self.tunnels_until.take_if(|until| is_due(*until, tick)).is_some() {
            self.end_tunnels();
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
        conn.heat = 0;
        watch::stop_stream(conn, key, engine);
    }

    fn overdue(&mut self, slot: u32, budget: &mut Budget) {
        let conn = &self.tables.conns[slot];
        match (conn.role, conn.exchange.some()) {
            (Role::Client(Client::Busy), Some(id)) => self.exchange_overdue(slot, id, budget),
            (Role::Client(Client::Idle), Some(id)) => {
                self.tables.counters.idle.bump();
                self.tables.abort(id, false);
            }
            (Role::Gateway(dialect, Gateway::Parked), _) => self.tables.ask_again(slot, dialect, budget),
            (Role::Client(Client::Idle | Client::Fresh), _) => {
                self.tables.counters.idle.bump();
                self.tables.close(slot);
            }
            (Role::Lingering, _) => self.tables.linger_on(slot),
            // Its new shard must learn that its time is up.
            (Role::Client(Client::Leaving), _) => self.tables.conns[slot].deadline = after(self.tables.tick, 1),
            _ => {}
        }
    }

    /// An exchange's time is up.
    fn exchange_overdue(&mut self, slot: u32, id: ExchangeId, budget: &mut Budget) {
        let x = &self.tables.exchanges[id];
        let phase = x.phase;
        match phase {
            Phase::Reading => self.tables.answer(slot, Refusal::HeadTimeout, false, false, budget),
            Phase::Waiting => self.tables.waited_in_vain(id, None, budget),
            // Only its client is too slow, which the step finds out.
            Phase::Asked | Phase::Answering if !x.is_overdue(self.tables.tick) => {
                self.tables.enqueue(slot, Lane::Fresh)
            }
            Phase::Tunnel if !is_due(x.idle_at, self.tables.tick) => {
                let lost = |x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, E::Calls>| {
                    exchange::is_lost(x, client, gateway, desk)
                };
                if self.tables.with_exchange(id, budget, lost) {
                    self.tables.counters.stalled.bump();
                    self.tables.abort(id, true);
                }
            }
            // The gateway owes a response, or room for the request.
            Phase::Asked if x.up.is_done() || !x.up.is_flushed() => {
                let head_only = x.method == Method::Head;
                self.tables.answer(slot, Refusal::GatewayTimeout, false, head_only, budget);
            }
            Phase::Asked | Phase::Answering | Phase::Tunnel => {
                let goes_on = |x: &mut Exchange, client: &mut Conn, _: &mut Conn, desk: &mut Desk<'_, E::Calls>| {
                    exchange::goes_on(x, client, desk)
                };
                if self.tables.with_exchange(id, budget, goes_on) {
                    return;
                }
                let reset = phase == Phase::Answering;
                self.tables.counters.stalled.bump();
                self.tables.abort(id, reset);
            }
            Phase::Parting => self.tables.abort(id, true),
            Phase::Resting | Phase::Free => {}
        }
    }

    /// Wakes the connections that found no buffer, in order, as far as there are buffers.
    pub(super) fn feed_line(&mut self) {
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
}
