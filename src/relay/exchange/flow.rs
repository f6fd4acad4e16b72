//! Moves one direction's bytes from its source to its sink, with backpressure, by buffer or by splice.
use super::{
    direction::{Flow, KEEP_BYTES, Stop},
    low_water::{LowWater, ONE_WAY_TICKS},
    splice,
};
use crate::{
    http::{Body, framing::Piece},
    io::Calls,
    relay::{
        conn::{Arms, Conn, Filled},
        desk::Desk,
        timers::{after, is_due},
    },
};
use std::io::IoSlice;

/// What a byte that is received and sent costs, in bytes that are spliced.
const COPYING_COST: usize = 2;
/// Buffers that go into one send where nothing can be spliced: the plaintext of four full records.
const PARTS_MAX: usize = 4;
/// What finding the framing of chunks adds to that.
const FRAMING_COST: usize = 2;

/// Result of [`Flow::drive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that moved.
    pub moved: u32,
    /// Why it stopped.
    pub stop: Stop,
}

impl Flow {
    /// Moves as many bytes as it can within the budget.
    pub fn drive<C: Calls>(&mut self, source: &mut Conn, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Progress {
        if self.dead {
            self.discard(source, desk);
            self.mark_source(source, sink, Stop::Refused, desk);
            return Progress { moved: 0, stop: Stop::Idle };
        }
        self.moved = 0;
        let stop = loop {
            if let Err(stop) = self.advance(source, sink, desk) {
                break stop;
            }
        };
        self.blocked = stop == Stop::Blocked;
        if self.blocked {
            desk.be_patient(sink);
        }
        if self.blocked || self.moved > 0 {
            self.moved = sink.transport().take_moved(desk.sessions, self.moved);
        }
        // The next bytes may take long. If only the budget is used up, they come in the next turn.
        if self.corked && matches!(stop, Stop::Idle | Stop::Blocked) {
            self.corked = false;
            sink.transport().push(desk.calls);
        }
        self.mark_source(source, sink, stop, desk);
        Progress { moved: self.moved, stop }
    }

    /// Gives the source the low-water mark that fits, when all has been done that can be.
    fn mark_source<C: Calls>(&mut self, source: &mut Conn, sink: &Conn, stop: Stop, desk: &mut Desk<'_, C>) {
        let marked = source.arms.contains(Arms::MARK);
        if desk.times.bulk_delay == 0 || !marked && LowWater::is_near_end(&self.body) {
            return;
        }
        let change = match stop {
            // More is there: the mark makes no difference now, and is likely to fit again.
            Stop::Spent | Stop::Blocked if !self.body.is_done() => None,
            // Nothing came: what the timer has lowered stays low.
            Stop::Idle if self.moved == 0 && !marked => None,
            Stop::Idle => {
                if self.moved > 0 {
                    self.low_water.note(self.moved, desk.tick, desk.times.bulk_delay);
                }
                let one_way = is_due(after(sink.active, ONE_WAY_TICKS), desk.tick);
                self.low_water.change(&self.body, marked, one_way)
            }
            Stop::Spent | Stop::Blocked | Stop::Broken | Stop::Refused => marked.then_some(1),
        };
        if let Some(bytes) = change {
            source.set_low_water(bytes, desk.calls);
        }
    }

    /// One move: our own bytes first, then the pipe, then the inbox, then receives more.
    #[inline]
    fn advance<C: Calls>(&mut self, source: &mut Conn, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Result<(), Stop> {
        if !self.out.is_empty() {
            return self.send_out(sink, desk);
        }
        if self.piped > 0 {
            let more = splice::is_between_chunks(self, source);
            return splice::drain(self, sink, desk, more);
        }
        if !source.inbox.is_empty() {
            return self.send_received(source, sink, desk);
        }
        if self.body.is_done() || source.has_ended() {
            return Err(Stop::Idle);
        }
        if self.bulk || splice::is_worth_it(self, source, desk) {
            return splice::advance(self, source, sink, desk);
        }
        if !source.may_fill() {
            return Err(Stop::Idle);
        }
        if desk.budget.is_spent() {
            return Err(Stop::Spent);
        }
        match desk.fill(source) {
            Filled::Bytes(_) => {
                // Several records were opened at once, and go on in one send.
                while source.transport().has_more(desk.sessions)
                    && !desk.inboxes.holds(&source.inbox, PARTS_MAX)
                    && matches!(desk.fill(source), Filled::Bytes(_))
                {}
                Ok(())
            }
            Filled::Nothing | Filled::NoBuffer | Filled::Ended => Err(Stop::Idle),
        }
    }

    /// Sends bytes of our own, whatever the budget: they are few, and nothing else can go before them.
    fn send_out<C: Calls>(&mut self, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Result<(), Stop> {
        let rest = &self.out[self.out_sent as usize..];
        let whole = rest.len();
        let sent = sink
            .transport()
            .send(desk.calls, desk.sessions, &[IoSlice::new(rest)], false)
            .map_err(|_| Stop::Refused)?;
        self.corked = false;
        self.out_sent += sent as u32;
        self.moved += sent as u32;
        desk.budget.spend(sent);
        if sent < whole {
            return Err(Stop::Blocked);
        }
        self.out.clear(&mut desk.inboxes.account, KEEP_BYTES);
        self.out_sent = 0;
        Ok(())
    }

    fn send_received<C: Calls>(
        &mut self,
        source: &mut Conn,
        sink: &mut Conn,
        desk: &mut Desk<'_, C>,
    ) -> Result<(), Stop> {
        if self.piece.pass == 0 {
            desk.consume(source, std::mem::take(&mut self.piece.drop));
            if self.body.is_done() || source.inbox.is_empty() {
                // There may be more.
                return if source.inbox.is_empty() && !self.body.is_done() { Ok(()) } else { Err(Stop::Idle) };
            }
            if desk.budget.is_spent() {
                return Err(Stop::Spent);
            }
            self.piece = self.body.next(desk.peek(source)).map_err(|_| Stop::Broken)?;
            if matches!(self.body, Body::Chunked(_)) {
                desk.budget.spend(FRAMING_COST * (self.piece.pass + self.piece.drop));
            }
            if self.piece.pass == 0 {
                return Ok(());
            }
        }
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let bytes = desk.peek(source);
        let n = bytes.len().min(self.piece.pass);
        parts[0] = IoSlice::new(&bytes[..n]);
        let (mut count, mut all) = (1, n);
        if n == bytes.len() && !(source.transport().may_splice() && sink.transport().may_splice()) {
            // What a pipe would carry otherwise: in few pieces, which are sealed together.
            for slice in desk.inboxes.slices(&source.inbox, desk.calls).skip(1).take(PARTS_MAX - 1) {
                let left = self.body.opaque() - (all - n) as u64;
                let some = slice.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if some == 0 {
                    break;
                }
                parts[count] = IoSlice::new(&slice[..some]);
                (count, all) = (count + 1, all + some);
            }
        }
        let sending = sink.transport().send(&*desk.calls, desk.sessions, &parts[..count], false);
        let sent = sending.map_err(|_| Stop::Refused)?;
        self.corked = false;
        self.body.skip(sent.saturating_sub(n) as u64);
        self.piece.pass -= sent.min(n);
        self.moved += sent as u32;
        desk.consume(source, sent);
        desk.budget.spend(COPYING_COST * sent);
        if sent == all {
            return Ok(());
        }
        if sent >= n {
            // Of what has no room yet, the first piece is what waits for it.
            self.piece.pass = desk.peek(source).len().min(all - sent);
            self.body.skip(self.piece.pass as u64);
        }
        Err(Stop::Blocked)
    }

    /// The sink accepts no more: the bytes that it would have got next are thrown away.
    pub fn give_up<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.dead = true;
        self.blocked = false;
        self.return_pipe(desk.calls);
        self.discard(source, desk);
    }

    fn discard<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.out.clear(&mut desk.inboxes.account, KEEP_BYTES);
        self.out_sent = 0;
        let Piece { pass, drop } = std::mem::take(&mut self.piece);
        desk.consume(source, pass + drop);
    }
}
