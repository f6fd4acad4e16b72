//! One direction of an exchange: bytes from a source to a sink, with backpressure, by buffer or by splice.
use super::splice;
use crate::{
    http::{Body, framing::Piece},
    io::{Calls, Pipe},
    relay::{
        conn::{Conn, Filled},
        desk::Desk,
        memory::{Account, Held},
    },
};
use std::io::IoSlice;

/// One direction of an exchange.
#[derive(Debug)]
pub struct Flow {
    /// Where the message's body ends.
    pub body: Body,
    /// What to pass and drop of the first bytes of the source's inbox: already accounted for in `body`.
    pub piece: Piece,
    /// Bytes of our own that go before those: heads that did not fit the socket at once.
    pub out: Held,
    /// How much of `out` is sent.
    pub out_sent: usize,
    /// The pipe, while splicing.
    pub pipe: Option<Pipe>,
    /// Bytes in the pipe.
    pub piped: u32,
    /// Spliced rather than received.
    pub bulk: bool,
    /// The sink had no room for what is pending.
    pub blocked: bool,
    /// The kernel may be holding back what was sent last, until more is sent.
    pub corked: bool,
    /// The sink has been half-closed.
    pub ended: bool,
    /// The sink accepts no more; bytes for it are thrown away.
    pub dead: bool,
}

/// Why a direction does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is nothing to send.
    Idle,
    /// The sink has no room.
    Blocked,
    /// The budget is used up.
    Spent,
    /// The body's framing is broken.
    Broken,
    /// The sink accepts no more.
    Refused,
}

/// Result of [`Flow::drive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether any byte moved.
    pub moved: bool,
    /// Why it stopped.
    pub stop: Stop,
}

/// Maximum capacity of a vector that is kept for the next exchange.
pub const KEEP_BYTES: usize = 2048;

impl Flow {
    pub(super) fn new() -> Flow {
        Flow {
            body: Body::EMPTY,
            piece: Piece { pass: 0, drop: 0 },
            out: Held::default(),
            out_sent: 0,
            pipe: None,
            piped: 0,
            bulk: false,
            blocked: false,
            corked: false,
            ended: false,
            dead: false,
        }
    }

    /// Resets the record for another message. Its pipe must have been given back.
    pub(super) fn reset(&mut self, account: &mut Account) {
        assert!(self.pipe.is_none());
        self.out.clear(account, KEEP_BYTES);
        let out = std::mem::take(&mut self.out);
        *self = Flow { out, ..Flow::new() };
    }

    /// Whether all that was taken from the source has been sent.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        self.piece.pass == 0 && self.out.is_empty() && self.piped == 0
    }

    /// Whether the message has ended and all of it has been sent.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.body.is_done() && self.is_flushed() && self.piece.drop == 0
    }

    /// Whether more bytes of the source could be used.
    pub fn wants(&self, source: &Conn) -> bool {
        source.inbox.is_empty() && self.is_flushed() && !self.dead
    }

    /// Moves as many bytes as it can within the budget.
    pub fn drive<C: Calls>(&mut self, source: &mut Conn, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Progress {
        if self.dead {
            self.discard(source, desk);
            return Progress { moved: false, stop: Stop::Idle };
        }
        let mut moved = false;
        let stop = loop {
            match self.advance(source, sink, desk) {
                Ok(true) => moved = true,
                Ok(false) => {}
                Err(stop) => break stop,
            }
        };
        self.blocked = stop == Stop::Blocked;
        match stop {
            Stop::Blocked => desk.be_patient(sink),
            // The next bytes may take long. If only the budget is used up, they come in the next turn.
            Stop::Idle if self.corked => {
                self.corked = false;
                sink.transport().push(desk.calls);
            }
            _ => {}
        }
        Progress { moved, stop }
    }

    /// One move: our own bytes first, then the pipe, then the inbox, then receives more. Whether bytes were sent.
    #[inline]
    fn advance<C: Calls>(&mut self, source: &mut Conn, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Result<bool, Stop> {
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
            Filled::Bytes(_) => Ok(false),
            Filled::Nothing | Filled::NoBuffer | Filled::Ended => Err(Stop::Idle),
        }
    }

    /// Sends bytes of our own, whatever the budget: they are few, and nothing else can go before them.
    fn send_out<C: Calls>(&mut self, sink: &mut Conn, desk: &mut Desk<'_, C>) -> Result<bool, Stop> {
        let rest = &self.out[self.out_sent..];
        let whole = rest.len();
        let sent = sink.transport().send(desk.calls, &[IoSlice::new(rest)], false).map_err(|_| Stop::Refused)?;
        self.corked = false;
        self.out_sent += sent;
        desk.budget.spend(sent);
        if sent < whole {
            return Err(Stop::Blocked);
        }
        self.out.clear(&mut desk.inboxes.account, KEEP_BYTES);
        self.out_sent = 0;
        Ok(sent > 0)
    }

    fn send_received<C: Calls>(
        &mut self,
        source: &mut Conn,
        sink: &mut Conn,
        desk: &mut Desk<'_, C>,
    ) -> Result<bool, Stop> {
        if self.piece.pass == 0 {
            desk.consume(source, std::mem::take(&mut self.piece.drop));
            if self.body.is_done() || source.inbox.is_empty() {
                // There may be more.
                return if source.inbox.is_empty() && !self.body.is_done() { Ok(false) } else { Err(Stop::Idle) };
            }
            if desk.budget.is_spent() {
                return Err(Stop::Spent);
            }
            self.piece = self.body.next(desk.peek(source)).map_err(|_| Stop::Broken)?;
            if matches!(self.body, Body::Chunked(_)) {
                // Finding the framing costs about as much as passing it on.
                desk.budget.spend(self.piece.pass + self.piece.drop);
            }
            if self.piece.pass == 0 {
                return Ok(false);
            }
        }
        let bytes = desk.peek(source);
        let n = bytes.len().min(self.piece.pass);
        let parts = [IoSlice::new(&bytes[..n])];
        let sent = sink.transport().send(&*desk.calls, &parts, false).map_err(|_| Stop::Refused)?;
        self.corked = false;
        self.piece.pass -= sent;
        desk.consume(source, sent);
        desk.budget.spend(sent);
        if sent < n { Err(Stop::Blocked) } else { Ok(true) }
    }

    /// The sink accepts no more: the bytes that it would have got next are thrown away.
    pub fn give_up<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.dead = true;
        self.blocked = false;
        self.release_pipe(desk);
        self.discard(source, desk);
    }

    fn discard<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.out.clear(&mut desk.inboxes.account, KEEP_BYTES);
        self.out_sent = 0;
        let Piece { pass, drop } = std::mem::take(&mut self.piece);
        desk.consume(source, pass + drop);
    }

    /// Back to buffers.
    pub(super) fn stop_splicing<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.release_pipe(desk);
        self.bulk = false;
        source.whole = 0;
    }

    pub(super) fn release_pipe<C: Calls>(&mut self, desk: &mut Desk<'_, C>) {
        self.return_pipe(desk.calls);
    }

    /// Gives the pipe back, with whatever is in it.
    pub fn return_pipe(&mut self, calls: &mut impl Calls) {
        let empty = std::mem::take(&mut self.piped) == 0;
        if let Some(pipe) = self.pipe.take() {
            calls.release_pipe(pipe, empty);
        }
    }

    /// What is wrong with it, if anything: its invariants.
    pub fn fault(&self) -> Option<&'static str> {
        match () {
            _ if self.piped > 0 && self.pipe.is_none() => Some("bytes are in a pipe that is not held"),
            _ if self.out_sent > self.out.len() => Some("more was sent than there was"),
            _ if self.dead && !self.is_flushed() => Some("something is under way to where nothing is taken"),
            _ if self.blocked && self.is_flushed() => Some("it waits for room with nothing to send"),
            _ => None,
        }
    }
}
