//! One request of a client and its response, from the head's first byte until both connections have gone on.
//!
//! A step sees the exchange, its two connections and a [`Desk`]; it moves bytes, notes what it learnt in those records,
//! and returns an [`Outcome`]. Everything that concerns others (freeing, parking, refusing, handing off) is done by the
//! shard, which applies that outcome after the step.

mod direction;
mod flow;
mod id;
mod low_water;
mod pace;
mod record;
pub mod request;
mod response;
mod splice;
pub mod table;

pub use id::ExchangeId;
pub use record::{After, Exchange, Outcome, Phase, Traits};
pub use table::Exchanges;

use super::{
    config::GoneClients,
    conn::{Arms, Conn, Flags},
    desk::Desk,
    timers::{after, earlier},
};
use crate::{
    http::{Body, Refusal},
    io::Calls,
};
use direction::Stop;

/// A request that this many gateways have left unanswered is not given to another one.
const TRIES_MAX: u8 = 8;

/// Does all that can be done for a joined client and gateway within the budget.
pub fn step<C: Calls>(x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    debug_assert!(x.phase.is_joined());
    if client.is(Flags::FAILED) {
        return Outcome::Abort;
    }
    x.pace.count_time(desk.tick, desk.config.min_rate);
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
    let too_slow = keep_pace(x, client, desk);
    watch_path(x, client, gateway, desk);
    match ends(x, client, gateway, desk) {
        Outcome::Pending if spent => Outcome::Spent,
        Outcome::Pending => too_slow.unwrap_or(Outcome::Pending),
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
    if progress.moved > 0 {
        x.traits.remove(Traits::EXPECTS);
        x.pace.count_bytes(progress.moved);
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
    if progress.moved > 0 {
        x.pace.count_bytes(progress.moved);
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

/// Finds out whether the client holds its gateway up from here on. The outcome, if it has fallen too far behind the
/// minimum rate.
fn keep_pace<C: Calls>(x: &mut Exchange, client: &mut Conn, desk: &Desk<'_, C>) -> Option<Outcome> {
    let up = &x.up;
    let may_send = !x.is(Traits::EXPECTS) && !client.is(Flags::STARVED);
    let owes_body = may_send && !up.body.is_done() && !up.blocked && !up.dead;
    let held_up = x.phase != Phase::Tunnel && (x.down.blocked || owes_body);
    if held_up && desk.config.min_rate != 0 {
        return fall_behind(x, client, desk);
    }
    if x.pace.is_held_up() {
        x.pace.set_held_up(false, desk.tick);
        client.deadline = x.idle_at;
    }
    None
}

fn fall_behind<C: Calls>(x: &mut Exchange, client: &mut Conn, desk: &Desk<'_, C>) -> Option<Outcome> {
    x.pace.set_held_up(true, desk.tick);
    if x.pace.ticks_left(desk.config.min_rate, desk.times.min_rate_after) == 0 {
        has_drained(x, client, desk);
    }
    let left = x.pace.ticks_left(desk.config.min_rate, desk.times.min_rate_after);
    if left > 0 {
        client.deadline = earlier(x.idle_at, after(desk.tick, left));
        return None;
    }
    client.deadline = x.idle_at;
    Some(Outcome::Slow)
}

/// Whether a client that has no room for more has taken some of what was sent since that was last looked at. That is
/// progress, too. `None` if it was not looked at since more was sent.
pub fn has_drained<C: Calls>(x: &mut Exchange, client: &mut Conn, desk: &Desk<'_, C>) -> Option<bool> {
    if !x.down.blocked {
        return Some(false);
    }
    let unsent = client.transport().unsent(&*desk.calls);
    let drained = x.pace.look(unsent, desk.config.min_rate, desk.times.min_rate_after);
    if drained == Some(true) {
        x.touch(client, desk);
    }
    drained
}

/// Whether an exchange in which nothing has moved for too long is to go on. The kernel says that there is room for more
/// only when a third of its buffer is free: a client that takes less than that has a quarter of the time more, to show it.
pub fn goes_on<C: Calls>(x: &mut Exchange, client: &mut Conn, desk: &Desk<'_, C>) -> bool {
    has_drained(x, client, desk).unwrap_or_else(|| {
        x.expect(desk.times.session_idle.div_ceil(4), client, desk);
        true
    })
}

/// A tunnel may be silent for hours. Where the kernel has been told to be patient with one of its peers, that is asked
/// from time to time whether it still acknowledges anything.
fn watch_path<C: Calls>(x: &Exchange, client: &mut Conn, gateway: &Conn, desk: &Desk<'_, C>) {
    let patient = client.is(Flags::PATIENT) || gateway.is(Flags::PATIENT);
    if x.phase == Phase::Tunnel && patient && client.deadline == x.idle_at {
        client.deadline = earlier(x.idle_at, after(desk.tick, desk.times.user_timeout));
    }
}

/// Whether a peer of a tunnel acknowledges nothing any more: the path to it is lost. If not, it is asked again later.
pub fn is_lost<C: Calls>(x: &Exchange, client: &mut Conn, gateway: &mut Conn, desk: &Desk<'_, C>) -> bool {
    let limit = desk.config.tcp_user_timeout;
    let lost = |conn: &mut Conn| conn.is(Flags::PATIENT) && conn.transport().unanswered(&*desk.calls) >= limit;
    if lost(client) || lost(gateway) {
        return true;
    }
    client.deadline = x.idle_at;
    watch_path(x, client, gateway, desk);
    false
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
    let cut = gateway.transport().was_cut(desk.sessions);
    let failed = cut || (gateway.is(Flags::FAILED) || x.up.dead) && !forgiven;
    match x.phase {
        Phase::Asked => failure(x, client),
        Phase::Answering if x.down.body == Body::UntilClose && !failed => {
            Outcome::Done(finish(x, client, gateway, desk))
        }
        Phase::Answering => Outcome::Abort,
        Phase::Tunnel if failed => Outcome::Abort,
        Phase::Tunnel => {
            if !x.down.ended {
                x.up.dead |= gateway.is(Flags::FAILED);
                x.down.ended = true;
                client.transport().finish(desk.calls, desk.sessions);
            }
            tunnel_end(x)
        }
        Phase::Free | Phase::Reading | Phase::Waiting | Phase::Resting | Phase::Parting => Outcome::Pending,
    }
}

/// Whether the request may go to another gateway, now that this one has not answered it.
fn may_retry(x: &Exchange, client: &Conn) -> bool {
    x.is(Traits::REPEATABLE) && client.tries < TRIES_MAX
}

/// The outcome when the gateway's connection has ended too early.
fn failure(x: &Exchange, client: &Conn) -> Outcome {
    match () {
        _ if !x.is(Traits::HEARD) && may_retry(x, client) => Outcome::Retry,
        _ if x.reply.is_empty() => Outcome::Refuse(Refusal::GatewayFailed),
        _ => Outcome::Refuse(Refusal::GatewayBadResponse),
    }
}

/// The client has finished sending, and all that it sent has been passed on.
fn client_finished<C: Calls>(x: &mut Exchange, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Outcome {
    let cut_short = !x.up.is_done() && x.up.body != Body::UntilClose;
    if cut_short && !x.up.dead {
        return Outcome::Abort;
    }
    let tunnel = x.phase == Phase::Tunnel;
    let policy = desk.config.gone_clients;
    if x.phase == Phase::Asked && is_gone(x, policy, desk.demand) {
        desk.counters.gone.bump();
        return Outcome::Over;
    }
    let doubtful = x.phase == Phase::Asked && is_gone(x, policy, true);
    // A connection that is used again cannot be half-closed.
    let passes_end = gateway.dialect().is_some_and(|dialect| !dialect.traits().reused);
    if (tunnel || passes_end) && !x.up.ended {
        x.up.ended = true;
        gateway.transport().finish(desk.calls, desk.sessions);
    }
    match () {
        _ if tunnel => tunnel_end(x),
        _ if doubtful => Outcome::Doubtful,
        _ => Outcome::Pending,
    }
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
    // While a slow client took the rest of its response, nobody watched the gateway.
    let unwatched = gateway.active != desk.tick && !gateway.is_receiving();
    if unwatched {
        gateway.flags.insert(Flags::READABLE);
    }
    if x.is(Traits::KEEP_GATEWAY) && gateway.is(Flags::READABLE) && !gateway.has_ended() {
        // Bytes that the gateway sent behind its response must be found before the next request goes out, or they would
        // be taken for its response. If a stream may still bring some, that is not known before it has ended.
        match gateway.arms.contains(Arms::STREAM) {
            true => unsure = true,
            false => desk.check(gateway),
        }
    }
    let clean = gateway.inbox.is_empty() && !gateway.has_ended();
    if !gateway.inbox.is_empty() {
        desk.counters.unsolicited.bump();
    }
    let keep_gateway = x.is(Traits::KEEP_GATEWAY) && sent_all && clean && !x.up.ended;
    After { keep_client, keep_gateway, unsure }
}
