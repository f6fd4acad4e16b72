//! Accepting: who comes in, who is turned away, and when nobody is accepted for a while.
use super::{AcceptPause, Shard};
use crate::{
    http::Refusal,
    io::{Engine, Socket},
    relay::{
        admission::Denied,
        conn::{Client, Flags, Role},
        message::Message,
        ready::{Budget, Lane},
        tables::End,
        timers::{TICK_MILLIS, after, is_due},
    },
    transport::Transport,
};
use std::net::{IpAddr, Ipv4Addr};

/// How long accepting pauses after it failed, mostly for want of descriptors.
pub(super) const ACCEPT_PAUSE_TICKS: u32 = (200 / TICK_MILLIS) as u32;

impl<E: Engine<Mail = Message>> Shard<E> {
    pub(super) fn accepted(&mut self, listener: usize, socket: Socket) {
        let tables = &mut self.tables;
        tables.counters.accepted.bump();
        let secure = tables.config.is_for_tls(listener);
        let transport = match secure {
            false => Transport::plain(socket),
            true => Transport::secure(socket, &tables.sessions),
        };
        let address = transport.peer(tables.engine.calls()).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let slot = tables.conns.insert(Some(transport), address, tables.tick);
        tables.conns[slot].flags.set(Flags::AMONG_GATEWAYS, tables.config.is_for_gateways(listener));
        let trusted = tables.config.trusted_proxies.iter().any(|net| net.contains(&tables.conns[slot].address));
        if trusted {
            // Its connections are from many sources.
            tables.conns[slot].flags.insert(Flags::TRUSTED | Flags::UNCOUNTED);
        }
        tables.conns[slot].role = Role::Client(Client::Fresh);
        let denied = tables.shared.admission.admit(&tables.conns[slot].address, trusted, tables.tick).err();
        let stopping = tables.end == End::Stopping;
        match denied {
            Some(denied) => self.deny(slot, denied, stopping),
            None if stopping => {
                tables.conns[slot].flags.insert(Flags::RESET);
                return tables.close(slot);
            }
            None if secure && tables.has_enough_handshakes() => {
                tables.counters.over_handshakes.bump();
                tables.conns[slot].flags.insert(Flags::RESET);
                return tables.close(slot);
            }
            None => {
                let deadline = tables.in_ticks(tables.times.head);
                let conn = &mut tables.conns[slot];
                conn.deadline = deadline;
                // Under load the first bytes have usually arrived already.
                conn.flags.insert(Flags::READABLE);
                tables.enqueue(slot, Lane::Turnover);
            }
        }
        if let Some(wait) = self.tables.shared.admission.pause(self.tables.tick) {
            (0..self.listeners).for_each(|listener| self.pause_accepting(listener, wait));
        }
    }

    /// Turns away a connection beyond a limit: a few get an answer, the others a reset.
    fn deny(&mut self, slot: u32, denied: Denied, stopping: bool) {
        let tables = &mut self.tables;
        let (counter, refusal) = match denied {
            Denied::Source => (&tables.counters.over_address, Refusal::TooManyFromAddress),
            Denied::Rate => (&tables.counters.over_accept_rate, Refusal::TooManyConnections),
            Denied::Total => (&tables.counters.over_connections, Refusal::TooManyConnections),
        };
        counter.bump();
        tables.conns[slot].flags.insert(Flags::UNCOUNTED);
        if !stopping && tables.shared.admission.answers(tables.tick) {
            let mut budget = Budget::new(usize::MAX, 1);
            tables.answer(slot, refusal, false, false, &mut budget);
            return tables.linger_less(slot);
        }
        tables.counters.reset.bump();
        tables.conns[slot].flags.insert(Flags::RESET);
        tables.close(slot);
    }

    pub(super) fn pause_accepting(&mut self, listener: usize, span: u32) {
        if self.accept_pauses.iter().any(|pause| pause.listener == listener) {
            return;
        }
        self.tables.counters.accept_paused.bump();
        self.tables.engine.pause_accepting(listener);
        self.accept_pauses.push(AcceptPause { listener, until: self.tables.in_ticks(span) });
    }

    pub(super) fn resume_accepting(&mut self) {
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
}
