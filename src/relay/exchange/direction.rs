//! One direction of an exchange: what is pending in it, and whether more is wanted.
use super::low_water::LowWater;
use crate::{
    http::{Body, framing::Piece},
    io::{Calls, Pipe},
    relay::{
        conn::Conn,
        desk::Desk,
        memory::{Account, Held},
    },
};

/// Maximum capacity of a vector that is kept for the next exchange.
pub const KEEP_BYTES: usize = 2048;

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
    pub out_sent: u32,
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
    /// How the source delivers.
    pub low_water: LowWater,
    /// Bytes sent since it was last driven, even if not all that were to be.
    pub moved: u32,
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
            low_water: LowWater::default(),
            moved: 0,
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

    /// Back to buffers.
    pub(super) fn stop_splicing<C: Calls>(&mut self, source: &mut Conn, desk: &mut Desk<'_, C>) {
        self.return_pipe(desk.calls);
        self.bulk = false;
        source.whole = 0;
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
            _ if self.out_sent as usize > self.out.len() => Some("more was sent than there was"),
            _ if self.dead && !self.is_flushed() => Some("something is under way to where nothing is taken"),
            _ if self.blocked && self.is_flushed() => Some("it waits for room with nothing to send"),
            _ => None,
        }
    }
}
