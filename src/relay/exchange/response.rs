//! Passes a response's head from the gateway to the client, with the beginning of its body.
use super::{
    record::{Exchange, Outcome, Phase, Traits},
    request::At,
};
use crate::{
    http::{
        Body, Method, Parse, Parts, Piece, Refusal, Reply, ResponseHead,
        pieces::may_parse,
        repair::{self, Repaired},
        reply::{Asked, Then},
        response::{self, NotAResponse},
    },
    io::Calls,
    relay::{
        conn::{Conn, Filled, Flags},
        desk::Desk,
    },
};

/// A sloppy answer up to this long is looked at with every piece that comes.
const EAGER_BYTES: usize = 1024;

/// Result of reading one response head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A head was passed on, or left out; the phase says what comes next.
    Passed,
    /// It has not arrived completely.
    Incomplete,
    /// The budget is used up.
    Spent,
    /// The exchange ends here.
    Failed(Outcome),
}

/// Reads one response head, an interim or the final one.
pub(super) fn read<C: Calls>(x: &mut Exchange, client: &mut Conn, gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Read {
    if desk.budget.is_spent() {
        return Read::Spent;
    }
    if gateway.inbox.is_empty() && !(gateway.may_fill() && matches!(desk.fill(gateway), Filled::Bytes(_))) {
        return Read::Incomplete;
    }
    x.traits.insert(Traits::HEARD);
    let front = desk.inboxes.peek(&gateway.inbox, desk.calls);
    let front_len = front.len();
    let max = desk.config.max_response_head_bytes as usize;
    let at = if x.reply.is_empty() { At::Front } else { At::Kept };
    let before = x.reply.len();
    if at == At::Kept {
        // A sloppy answer's body may begin in what has no line end; where it goes on for long, its lines are waited for.
        let eager = is_sloppy(gateway) && before + front_len <= EAGER_BYTES;
        let worth_it = may_parse(&mut x.parse_at, &x.reply, front) || eager;
        desk.inboxes.copy_front(&gateway.inbox, front_len, &mut x.reply, desk.calls);
        if !worth_it && x.reply.len() <= max {
            desk.consume(gateway, front_len);
            return Read::Passed;
        }
    }
    let so_far = match at {
        At::Front => desk.peek(gateway),
        At::Kept => &x.reply,
    };
    let collected = so_far.len();
    let parsed = response::parse(so_far, x.method, desk.config.max_response_headers);
    match parsed {
        Ok(Parse::Complete(head)) if usize::from(head.len) <= max => {
            let len = usize::from(head.len);
            if at == At::Kept {
                x.reply.truncate(&mut desk.inboxes.account, len);
                desk.consume(gateway, len - before);
            }
            pass(x, &head, at, client, gateway, desk)
        }
        Ok(Parse::Partial) if collected <= max => {
            if at == At::Front {
                x.parse_at = 0;
                desk.inboxes.copy_front(&gateway.inbox, front_len, &mut x.reply, desk.calls);
            }
            desk.consume(gateway, front_len);
            Read::Passed
        }
        Err(NotAResponse::NotHttp) if is_sloppy(gateway) && desk.config.opaque_answers => {
            if at == At::Kept {
                desk.consume(gateway, front_len);
            }
            turn_opaque(x, client, desk)
        }
        Err(_) if is_sloppy(gateway) => match repair::parse(so_far, x.method) {
            Ok(Parse::Complete(repaired)) => pass_repaired(x, repaired, before, client, gateway, desk),
            Ok(Parse::Partial) => {
                if at == At::Front {
                    x.parse_at = 0;
                    desk.inboxes.copy_front(&gateway.inbox, front_len, &mut x.reply, desk.calls);
                }
                desk.consume(gateway, front_len);
                Read::Passed
            }
            Err(error) if error.is_too_long() => over_limit(x, desk),
            Err(_) => Read::Failed(bad(x)),
        },
        Ok(_) => over_limit(x, desk),
        Err(error) if error.is_too_long() => over_limit(x, desk),
        Err(_) => Read::Failed(bad(x)),
    }
}

/// The head is longer than it may be.
fn over_limit<C>(x: &Exchange, desk: &Desk<'_, C>) -> Read {
    desk.counters.over_response_head.bump();
    Read::Failed(bad(x))
}

/// Passes on a repaired response, with a head of ours; both connections end with it. `before` bytes of it were taken
/// out of the inbox before the latest arrived.
fn pass_repaired<C: Calls>(
    x: &mut Exchange,
    repaired: Repaired,
    before: usize,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Read {
    let Repaired { len, head, status, body } = repaired;
    let account = &mut desk.inboxes.account;
    x.down.out.extend(account, &head);
    if body == Body::UntilClose && len < before {
        // The body began in what was taken for another header line.
        let begun = x.reply[len..before].to_vec();
        x.down.out.extend(account, &begun);
    }
    x.reply.truncate(account, 0);
    x.traits.remove(Traits::KEEP_CLIENT | Traits::KEEP_GATEWAY);
    x.down.body = body;
    desk.consume(gateway, len.saturating_sub(before));
    if x.method == Method::Connect && (200..300).contains(&status) {
        begin_tunnel(x);
    } else {
        // The device gets the rest of this request and no more: what a proxy pipelines behind it may be another
        // user's.
        x.phase = Phase::Answering;
    }
    x.touch(client, desk);
    Read::Passed
}

fn is_sloppy(gateway: &Conn) -> bool {
    gateway.dialect().is_some_and(|dialect| dialect.traits().sloppy)
}

fn bad(x: &Exchange) -> Outcome {
    // Behind an interim head that is not sent completely, our own response would be taken for its rest.
    if x.down.is_flushed() { Outcome::Refuse(Refusal::GatewayBadResponse) } else { Outcome::Abort }
}

/// A classic gateway does not answer in HTTP, and the operator wants its bytes passed on as they are until either side
/// closes.
fn turn_opaque<C: Calls>(x: &mut Exchange, client: &mut Conn, desk: &mut Desk<'_, C>) -> Read {
    let reply = x.reply.take(&mut desk.inboxes.account);
    x.down.out.extend(&mut desk.inboxes.account, &reply);
    x.traits.remove(Traits::KEEP_CLIENT | Traits::KEEP_GATEWAY);
    x.down.body = Body::UntilClose;
    if x.is(Traits::UPGRADE) || x.method == Method::Connect {
        begin_tunnel(x);
    } else {
        // The device gets the rest of this request and no more: what a proxy pipelines behind it may be another
        // user's.
        x.phase = Phase::Answering;
    }
    x.touch(client, desk);
    Read::Passed
}

fn begin_tunnel(x: &mut Exchange) {
    x.phase = Phase::Tunnel;
    x.up.body = Body::UntilClose;
    x.down.body = Body::UntilClose;
}

/// Passes a response head to the client, with the beginning of its body.
fn pass<C: Calls>(
    x: &mut Exchange,
    head: &ResponseHead,
    at: At,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Read {
    let Some(dialect) = gateway.dialect() else { return Read::Failed(Outcome::Abort) };
    let asked = Asked {
        method: x.method,
        upgrade: x.is(Traits::UPGRADE),
        http10: x.is(Traits::HTTP10),
        proxy: client.is(Flags::TRUSTED),
        dialect,
        keep_client: x.is(Traits::KEEP_CLIENT) && !desk.ending && !is_declined(x, head),
    };
    let Ok(reply) = Reply::new(head, &asked) else { return Read::Failed(bad(x)) };
    if reply.then == Then::AnotherUnseen {
        match at {
            At::Kept => x.reply.truncate(&mut desk.inboxes.account, 0),
            At::Front => desk.consume(gateway, usize::from(head.len)),
        }
        desk.budget.spend(0);
        return Read::Passed;
    }
    let interim = reply.then == Then::Another;
    let mut body = if interim { Body::EMPTY } else { reply.body };
    let front = desk.peek(gateway);
    let behind = if at == At::Front { &front[usize::from(head.len)..] } else { front };
    let Ok(first) = body.next(behind) else { return Read::Failed(bad(x)) };
    if !interim {
        x.traits.set(Traits::KEEP_GATEWAY, reply.keep_gateway);
        x.traits.set(Traits::KEEP_CLIENT, reply.keep_client);
    }
    if !emit(x, &reply, head, at, first, client, gateway, desk) {
        return Read::Failed(Outcome::Abort);
    }
    x.down.body = body;
    x.reply.truncate(&mut desk.inboxes.account, 0);
    // A client that has heard anything waits for a 100 no longer.
    x.traits.remove(Traits::EXPECTS);
    match reply.then {
        Then::Another | Then::AnotherUnseen => {}
        Then::Body => x.phase = Phase::Answering,
        Then::Tunnel => begin_tunnel(x),
    }
    x.touch(client, desk);
    Read::Passed
}

/// Whether the gateway declines a tunnel. What the client sent ahead for the tunnel is no request, whatever it looks
/// like (RFC 9931 §8), so nothing more is read from this connection.
fn is_declined(x: &Exchange, head: &ResponseHead) -> bool {
    let asked_for = x.is(Traits::UPGRADE) || x.method == Method::Connect;
    asked_for && head.status >= 200 && !(x.method == Method::Connect && head.status < 300)
}

/// Sends a response head and the beginning of its body. False if the client's connection cannot send.
#[allow(clippy::too_many_arguments)]
fn emit<C: Calls>(
    x: &mut Exchange,
    reply: &Reply,
    head: &ResponseHead,
    at: At,
    first: Piece,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> bool {
    let len = usize::from(head.len);
    let front = desk.inboxes.peek(&gateway.inbox, desk.calls);
    let (bytes, body) = match at {
        At::Kept => (&*x.reply, &front[..first.pass]),
        At::Front => (front, &front[len..len + first.pass]),
    };
    let mut room = Vec::new();
    let mut parts = Parts::new();
    reply.push_head(&mut parts, bytes, head, &mut room);
    let head_bytes = parts.len();
    parts.push(body);
    let Ok(sent) = parts.with_slices(|slices| client.transport().send(&*desk.calls, desk.sessions, slices, false))
    else {
        return false;
    };
    let mut rest = Vec::new();
    parts.copy(sent, head_bytes, &mut rest);
    if !rest.is_empty() {
        x.down.out.extend(&mut desk.inboxes.account, &rest);
    }
    desk.budget.spend(sent);
    let sent_body = sent.saturating_sub(head_bytes);
    x.down.piece = Piece { pass: first.pass - sent_body, ..first };
    x.down.blocked = !x.down.is_flushed();
    if x.down.blocked {
        desk.be_patient(client);
    }
    if at == At::Front {
        desk.consume(gateway, len);
    }
    desk.consume(gateway, sent_body);
    true
}
