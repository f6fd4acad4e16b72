//! One request of a client and its response, from the head's first byte until both connections have gone on.
//!
//! A step sees the exchange, its two connections and a [`Desk`]; it moves bytes, notes what it learnt in those records,
//! and returns an [`Outcome`]. Everything that concerns others (freeing, parking, refusing, handing off) is done by the
//! shard, which applies that outcome after the step.

pub mod flow;
pub mod request;
mod response;
mod splice;
pub mod table;

pub use table::{ExchangeId, Exchanges};

use super::{
    config::GoneClients,
    conn::{Arms, Conn, Filled, Flags, NONE},
    desk::Desk,
    memory::{Account, Held},
};
use crate::{
    http::{Body, Method, Refusal},
    io::Calls,
};
use bitflags::bitflags;
use flow::{Flow, KEEP_BYTES, Stop};

/// A request that this many gateways have left unanswered is not given to another one.
const TRIES_MAX: u8 = 8;

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
    fn new() -> Exchange {
        Exchange {
            client: NONE,
            gateway: NONE,
            generation: 0,
            phase: Phase::Free,
            method: Method::Get,
            traits: Traits::empty(),
            parse_at: 0,
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

    /// Whether the request may go to another gateway, now that this one has not answered it.
    fn may_retry(&self, client: &Conn) -> bool {
        self.is(Traits::REPEATABLE) && client.tries < TRIES_MAX
    }

    /// The outcome when the gateway's connection has ended too early.
    fn failure(&self, client: &Conn) -> Outcome {
        match () {
            _ if !self.is(Traits::HEARD) && self.may_retry(client) => Outcome::Retry,
            _ if self.reply.is_empty() => Outcome::Refuse(Refusal::GatewayFailed),
            _ => Outcome::Refuse(Refusal::GatewayBadResponse),
        }
    }

    /// Notes progress: the exchange's deadline is set anew.
    pub fn touch<C>(&self, client: &mut Conn, desk: &Desk<'_, C>) {
        let span = match self.phase {
            Phase::Tunnel => desk.times.tunnel_idle,
            Phase::Asked if self.up.is_done() => desk.times.response,
            _ => desk.times.session_idle,
        };
        client.deadline = super::timers::after(desk.tick, span);
    }
}

/// Does all that can be done for a joined client and gateway within the budget.
pub fn step<C: Calls>(x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    debug_assert!(x.phase.is_joined());
    if client.is(Flags::FAILED) {
        return Outcome::Abort;
    }
    let mut spent = match drive_up(x, client, gateway, desk) {
        Ok(spent) => spent,
        Err(outcome) => return outcome,
    };
    while x.phase == Phase::Asked {
        if !x.down.is_flushed() {
            // An interim response that the client has not taken yet holds the next one back.
            match drive_down(x, client, gateway, desk) {
                Ok(_) if !x.down.is_flushed() => break,
                Ok(_) => continue,
                Err(outcome) => return outcome,
            }
        }
        match response::read(x, client, gateway, desk) {
            response::Read::Passed => {}
            response::Read::Incomplete => break,
            response::Read::Spent => {
                spent = true;
                break;
            }
            response::Read::Failed(outcome) => return outcome,
        }
        if x.phase == Phase::Tunnel {
            // What the client sent behind its request goes first.
            match drive_up(x, client, gateway, desk) {
                Ok(more) => spent |= more,
                Err(outcome) => return outcome,
            }
        }
    }
    if x.phase != Phase::Asked {
        match drive_down(x, client, gateway, desk) {
            Ok(more) => spent |= more,
            Err(outcome) => return outcome,
        }
    }
    look_at_client(x, client, desk);
    match ends(x, client, gateway, desk) {
        Outcome::Pending if spent => Outcome::Spent,
        outcome => outcome,
    }
}

fn drive_up<C: Calls>(
    x: &mut Exchange,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Result<bool, Outcome> {
    let progress = x.up.drive(client, gateway, desk);
    if progress.moved {
        x.touch(client, desk);
    }
    match progress.stop {
        Stop::Idle | Stop::Blocked => Ok(false),
        Stop::Spent => Ok(true),
        Stop::Broken => Err(Outcome::Abort),
        Stop::Refused => {
            // It may still answer.
            x.up.give_up(client, desk);
            Ok(false)
        }
    }
}

fn drive_down<C: Calls>(
    x: &mut Exchange,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Result<bool, Outcome> {
    let progress = x.down.drive(gateway, client, desk);
    if progress.moved {
        x.touch(client, desk);
    }
    match progress.stop {
        Stop::Idle | Stop::Blocked => Ok(false),
        Stop::Spent => Ok(true),
        Stop::Broken | Stop::Refused => Err(Outcome::Abort),
    }
}

/// A client whose request is sent is still watched: it may go, or pipeline its next request.
fn look_at_client<C: Calls>(x: &Exchange, client: &mut Conn, desk: &mut Desk<'_, C>) {
    if client.may_fill() && x.up.wants(client) && (x.up.body.is_done() || x.up.dead) {
        desk.fill(client);
    }
}

/// The outcome that follows from either side's end, or the response's.
fn ends<C: Calls>(x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    if client.is(Flags::FAILED) {
        return Outcome::Abort;
    }
    if x.phase == Phase::Answering && x.down.is_done() {
        return Outcome::Done(finish(x, client, gateway, desk));
    }
    if gateway.has_ended() && gateway.inbox.is_empty() && x.down.is_flushed() {
        let outcome = gateway_gone(x, client, gateway, desk);
        if x.phase != Phase::Tunnel || outcome != Outcome::Pending {
            return outcome;
        }
    }
    if client.is(Flags::EOF) && client.inbox.is_empty() && x.up.is_flushed() {
        return client_finished(x, gateway, desk);
    }
    Outcome::Pending
}

/// The gateway has ended, and all that it sent has been passed on.
fn gateway_gone<C: Calls>(x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    // A device that answers without reading the request and closes resets its connection with that, and is still
    // delivered whole. A reset that a send ran into is reported only there; the receiving side then ends as if in
    // order.
    let forgiven = gateway.dialect().is_some_and(|dialect| dialect.traits().may_end_by_reset);
    let failed = (gateway.is(Flags::FAILED) || x.up.dead) && !forgiven;
    match x.phase {
        Phase::Asked => x.failure(client),
        Phase::Answering if x.down.body == Body::UntilClose && !failed => {
            Outcome::Done(finish(x, client, gateway, desk))
        }
        Phase::Answering => Outcome::Abort,
        Phase::Tunnel if failed => Outcome::Abort,
        Phase::Tunnel => {
            if !x.down.ended {
                x.up.dead |= gateway.is(Flags::FAILED);
                x.down.ended = true;
                client.transport().finish(desk.calls);
            }
            tunnel_end(x)
        }
        Phase::Free | Phase::Reading | Phase::Waiting | Phase::Resting | Phase::Parting => Outcome::Pending,
    }
}

/// The client has finished sending, and all that it sent has been passed on.
fn client_finished<C: Calls>(x: &mut Exchange, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    let cut_short = !x.up.is_done() && x.up.body != Body::UntilClose;
    if cut_short && !x.up.dead {
        return Outcome::Abort;
    }
    let tunnel = x.phase == Phase::Tunnel;
    let demand = desk.demand && gateway.dialect().is_some_and(|dialect| dialect.traits().rests);
    if x.phase == Phase::Asked && is_gone(x, desk.config.gone_clients, demand) {
        desk.counters.gone.bump();
        return Outcome::Over;
    }
    // A connection that is used again cannot be half-closed.
    let passes_end = gateway.dialect().is_some_and(|dialect| !dialect.traits().reused);
    if (tunnel || passes_end) && !x.up.ended {
        x.up.ended = true;
        gateway.transport().finish(desk.calls);
    }
    if tunnel { tunnel_end(x) } else { Outcome::Pending }
}

/// Whether a client that has sent its whole request and a FIN counts as gone. The FIN alone does not tell a client that
/// has gone from one that only half-closes.
fn is_gone(x: &Exchange, policy: GoneClients, demand: bool) -> bool {
    match policy {
        GoneClients::Never => false,
        GoneClients::Closing => !x.is(Traits::HTTP10) && (!x.is(Traits::KEEP_CLIENT) || demand),
        GoneClients::Always => !x.is(Traits::HTTP10),
    }
}

/// A tunnel is over when both sides have finished, or when one has and the other accepts no more.
fn tunnel_end(x: &Exchange) -> Outcome {
    if x.down.ended && (x.up.ended || x.up.dead) { Outcome::Over } else { Outcome::Pending }
}

/// The response has been passed on: decides which of the connections may be used again.
fn finish<C: Calls>(x: &mut Exchange, client: &Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> After {
    let sent_all = x.up.is_done();
    let keep_client = x.is(Traits::KEEP_CLIENT) && sent_all && !desk.ending && !client.is(Flags::FAILED);
    let mut unsure = false;
    if x.is(Traits::KEEP_GATEWAY) && gateway.is(Flags::READABLE) && !gateway.has_ended() {
        // Bytes that the gateway sent behind its response must be found before the next request goes out, or they would
        // be taken for its response. If a stream may still bring some, that is not known before it has ended.
        match gateway.arms.contains(Arms::STREAM) {
            true => unsure = true,
            false if desk.fill(gateway) == Filled::NoBuffer => gateway.flags.insert(Flags::FAILED),
            false => {}
        }
    }
    let clean = gateway.inbox.is_empty() && !gateway.has_ended();
    if !gateway.inbox.is_empty() {
        desk.counters.unsolicited.bump();
    }
    let keep_gateway = x.is(Traits::KEEP_GATEWAY) && sent_all && clean && !x.up.ended;
    After { keep_client, keep_gateway, unsure }
}
