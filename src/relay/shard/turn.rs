//! A turn: events are noted, and then everything that follows from them gets its share.
use super::{Shard, accepting::ACCEPT_PAUSE_TICKS};
use crate::{
    io::{Buf, Calls, End as StreamEnd, Engine, Event, Key, Millis},
    relay::{
        conn::{Arms, Conn, Flags, Role, watch},
        message::Message,
        tables::{End, Tables},
        timers::{TICK_MILLIS, after, begins, earlier, is_due, tick},
    },
};
use std::io;

/// How often a shard that has drained checks whether the others have.
const DRAIN_LOOK_TICKS: u32 = (64 / TICK_MILLIS) as u32;
/// ClientHellos that are answered in a turn: with more of them, others wait ten times as long in a storm, which takes
/// no less time for it.
const HANDSHAKE_STEPS: u32 = 1;

impl<E: Engine<Mail = Message>> Shard<E> {
    /// One turn: waits for something to happen and handles it. False once the shard has ended.
    ///
    /// # Errors
    /// The ring failed.
    pub fn turn(&mut self) -> io::Result<bool> {
        let next = self.next_due();
        let until = self.wait_for(next);
        let mut events = std::mem::take(&mut self.events);
        self.tables.engine.turn(until, &mut events)?;
        self.tables.tick = tick(self.tables.engine.now());
        self.tables.sessions.begin_turn(HANDSHAKE_STEPS);
        self.tables.inboxes.account.note_sessions(self.tables.sessions.held());
        for event in events.drain(..) {
            self.note(event);
        }
        self.events = events;
        self.run_queue();
        self.tables.rehouse(&mut self.share());
        match self.told_to_end.take() {
            Some(End::Stopping) => self.stop(),
            Some(_) => self.drain(),
            None => {}
        }
        let tick = self.tables.tick;
        if is_due(self.next_sweep, tick) || next.is_some_and(|next| is_due(next, tick)) {
            self.run_timers();
        }
        self.go_on_ending();
        self.go_on_reviewing();
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

    /// When the next turn is due at the latest, even if nothing happens.
    pub fn wait_until(&self) -> Option<Millis> {
        self.wait_for(self.next_due())
    }

    fn wait_for(&self, next: Option<u32>) -> Option<Millis> {
        let tables = &self.tables;
        if !tables.ready.is_empty() || !tables.dissolved.is_empty() || self.ending_at.or(self.reviewing_at).is_some() {
            return Some(0);
        }
        Some(begins(next?, tables.tick, tables.engine.now()))
    }

    /// The next tick at which something is due.
    fn next_due(&self) -> Option<u32> {
        let tables = &self.tables;
        let mut next = tables.wheel.next();
        let mut by = |tick| next = Some(next.map_or(tick, |next| earlier(next, tick)));
        for pause in &self.accept_pauses {
            by(pause.until);
        }
        if let Some(&(lost, _)) = tables.lost_domains.front() {
            by(after(lost, tables.times.domain_grace));
        }
        if let End::Draining(until) = tables.end {
            by(until);
        }
        if let Some(until) = self.tunnels_until {
            by(until);
        }
        // This shard gets no event when the other shards' connections end.
        if tables.is_ending() && tables.conns.used() == 0 {
            by(after(tables.tick, DRAIN_LOOK_TICKS));
        }
        next
    }

    // Events are noted.

    fn note(&mut self, event: Event<Message>) {
        match event {
            Event::Accepted { listener, socket } => self.accepted(listener, socket),
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
                    let Tables { conns, engine, sessions, .. } = &mut self.tables;
                    // Sealed bytes go before all else, whatever step comes next.
                    conns[key.slot].transport().flush(engine.calls(), sessions);
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
            conn.active = tick;
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

    fn message(&mut self, message: Message) {
        match message {
            Message::Client(hand_off) => self.tables.arrived(*hand_off),
            Message::Wanted { from, domain } => self.tables.wanted(from, domain),
            Message::Free(offer) => self.tables.offered(offer),
            // What came before it in the same turn is dealt with first.
            Message::Drain => self.told_to_end = Some(self.told_to_end.unwrap_or(End::Draining(0))),
            Message::Stop => self.told_to_end = Some(End::Stopping),
            Message::Rules(rules) => self.review(rules),
            Message::Report(to) => {
                let _ = to.send(self.snapshot());
            }
        }
    }
}
