//! An exchange's record, and what a step may say of it.
use super::{
    direction::{Flow, KEEP_BYTES},
    pace::Pace,
};
use crate::{
    http::{Method, Refusal},
    relay::{
        conn::{Conn, NONE},
        desk::Desk,
        memory::{Account, Held},
        timers::{after, is_due},
    },
};
use bitflags::bitflags;

/// Phase of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The record is in the free list.
    Free,
    /// The request's head is arriving in pieces, which are collected in `head`.
    Reading,
    /// The request's head is in `head`; no gateway has taken it yet.
    Waiting,
    /// A gateway has the request; no response head yet, or only interim ones.
    Asked,
    /// The response is under way.
    Answering,
    /// Raw bytes both ways.
    Tunnel,
    /// A classic gateway that stays joined with its client between two of the client's requests.
    Resting,
    /// The relay's own response did not fit the socket at once; the rest is in `down.out`.
    Parting,
}

impl Phase {
    /// A client and a gateway are joined, and bytes pass.
    pub fn is_joined(self) -> bool {
        matches!(self, Phase::Asked | Phase::Answering | Phase::Tunnel)
    }
}

bitflags! {
    /// What is known about an exchange.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Traits: u16 {
        /// The request may be sent again: safe and without a body.
        const REPEATABLE = 1;
        /// The client's connection is kept after the response.
        const KEEP_CLIENT = 2;
        /// The gateway's connection is kept after the response.
        const KEEP_GATEWAY = 4;
        /// The client speaks HTTP/1.0.
        const HTTP10 = 8;
        /// The request asks to switch protocols.
        const UPGRADE = 16;
        /// A byte of the response has arrived.
        const HEARD = 32;
        /// The kept head is complete: it came from another shard.
        const WHOLE = 64;
        /// The client waits for a 100 before it sends the body.
        const EXPECTS = 128;
    }
}

/// An exchange's record; its vectors keep their memory from one exchange to the next.
#[derive(Debug)]
pub struct Exchange {
    /// The client's slot.
    pub client: u32,
    /// The gateway's slot, or [`NONE`].
    pub gateway: u32,
    /// Generation: which use of the record this is.
    pub generation: u16,
    /// Its phase.
    pub phase: Phase,
    /// The request's method.
    pub method: Method,
    /// What is known about it.
    pub traits: Traits,
    /// Length of `head` or `reply`, whichever is being collected, at which parsing it again is worth it.
    pub parse_at: u32,
    /// How its client keeps up with the minimum rate.
    pub pace: Pace,
    /// The tick at which its time is up, if nothing moves; its client may be too slow before.
    pub idle_at: u32,
    /// Client to gateway.
    pub up: Flow,
    /// Gateway to client.
    pub down: Flow,
    /// The request's head: while it arrives in pieces, while it waits, and for sending it again.
    pub head: Held,
    /// A response head arriving in pieces.
    pub reply: Held,
}

const _: () = assert!(size_of::<Exchange>() <= 256, "an exchange's record must stay within its budget");

/// Outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on when an event comes.
    Pending,
    /// The same, but the client may have gone: if others need its gateway, it is taken for gone.
    Doubtful,
    /// The same, but the client is too slow: if others need its gateway, it loses it.
    Slow,
    /// The budget is used up; it goes on in a later turn.
    Spent,
    /// The response has been passed on completely.
    Done(After),
    /// The client gets this refusal instead of a response; the gateway is closed.
    Refuse(Refusal),
    /// The gateway has ended without a byte of a response: the request may go to another one.
    Retry,
    /// A response that was begun cannot be completed: both sides must see that it is not whole.
    Abort,
    /// Both have finished, or the client has gone: both are closed in order.
    Over,
}

/// What becomes of both connections when a response has been passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// The client may send another request.
    pub keep_client: bool,
    /// The gateway may be used again.
    pub keep_gateway: bool,
    /// More bytes may follow the response; only the end of the gateway's stream will tell.
    pub unsure: bool,
}

impl Exchange {
    pub(super) fn new() -> Exchange {
        Exchange {
            client: NONE,
            gateway: NONE,
            generation: 0,
            phase: Phase::Free,
            method: Method::Get,
            traits: Traits::empty(),
            parse_at: 0,
            pace: Pace::default(),
            idle_at: 0,
            up: Flow::new(),
            down: Flow::new(),
            head: Held::default(),
            reply: Held::default(),
        }
    }

    /// Resets the record for the client's next request.
    pub fn reset(&mut self, account: &mut Account) {
        self.up.reset(account);
        self.down.reset(account);
        self.head.clear(account, KEEP_BYTES);
        self.reply.clear(account, KEEP_BYTES);
        self.gateway = NONE;
        self.parse_at = 0;
        self.traits = Traits::empty();
        self.pace = Pace::default();
    }

    /// Resets the record for sending the same request, whose head is kept, again.
    pub fn restart(&mut self, account: &mut Account) {
        let head = std::mem::take(&mut self.head);
        self.reset(account);
        self.head = head;
        self.phase = Phase::Reading;
    }

    /// Whether a trait is known.
    #[inline]
    pub fn is(&self, traits: Traits) -> bool {
        self.traits.intersects(traits)
    }

    /// Its request's head is being put together.
    pub fn is_collecting(&self) -> bool {
        self.phase == Phase::Reading
    }

    /// Notes progress: the exchange's deadline is set anew.
    pub fn touch<C>(&mut self, client: &mut Conn, desk: &Desk<'_, C>) {
        let span = match self.phase {
            Phase::Tunnel => desk.times.tunnel_idle,
            Phase::Asked if self.up.is_done() => desk.times.response,
            _ => desk.times.session_idle,
        };
        self.expect(span, client, desk);
    }

    /// Sets the deadline, so many ticks from now, by which something must move.
    pub fn expect<C>(&mut self, span: u32, client: &mut Conn, desk: &Desk<'_, C>) {
        self.idle_at = after(desk.tick, span);
        client.deadline = self.idle_at;
    }

    /// Whether nothing has moved for too long; or else its client is only too slow.
    pub fn is_overdue(&self, tick: u32) -> bool {
        !self.pace.is_held_up() || is_due(self.idle_at, tick)
    }
}
