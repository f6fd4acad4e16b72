//! Sends a request to its gateway: its head, around the original bytes, and the beginning of its body in one send.
use super::record::{Exchange, Phase, Traits};
use crate::{
    http::{
        Body, Method, Parts, Piece, Refusal, RequestHead, Version,
        domain::{self, Named},
        forward::{self, Added, Gateway},
    },
    io::Calls,
    relay::{
        conn::{Conn, Flags},
        desk::Desk,
    },
};

/// Where a request's head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the front of the client's inbox, contiguous.
    Front,
    /// In its exchange's `head`; the bytes behind it are at the front of the inbox.
    Kept,
}

/// A request on its way to a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub head: RequestHead,
    pub named: Named,
    pub at: At,
    /// Its `Authorization` was a key for the relay, and goes no further.
    pub key_used: bool,
    /// The body's framing, behind the first bytes of the body.
    pub body: Body,
    /// What to pass and drop of those first bytes.
    pub first: Piece,
}

impl Request {
    /// The bytes of its head, and those behind it in the same place.
    pub fn bytes<'a, C: Calls>(&self, x: &'a Exchange, client: &Conn, desk: &'a Desk<'_, C>) -> &'a [u8] {
        bytes(self.at, x, client, desk)
    }
}

/// The bytes of a head, and those behind it in the same place.
pub fn bytes<'a, C: Calls>(at: At, x: &'a Exchange, client: &Conn, desk: &'a Desk<'_, C>) -> &'a [u8] {
    match at {
        At::Kept => &x.head,
        At::Front => desk.peek(client),
    }
}

/// Finds the domain, unless it is given, and checks the first bytes of the body: bad framing is refused before a byte of
/// the request reaches a gateway.
///
/// # Errors
/// The client's refusal.
pub fn examine<C: Calls>(
    head: RequestHead,
    at: At,
    named: Option<Named>,
    x: Option<&Exchange>,
    client: &Conn,
    desk: &Desk<'_, C>,
) -> Result<Request, Refusal> {
    let front = desk.peek(client);
    let (bytes, behind) = match (at, x) {
        (At::Kept, Some(x)) => (&*x.head, front),
        _ => (front, &front[usize::from(head.len)..]),
    };
    let named = match named {
        Some(named) => named,
        None => domain::of(bytes, &head, &desk.config.hostnames)?,
    };
    // All that has arrived must be valid, though only its first piece is sent with the head.
    head.body.clone().take(behind)?;
    let mut body = head.body;
    let first = body.next(behind)?;
    Ok(Request { head, named, at, key_used: false, body, first })
}

/// Sends a request's head to a gateway, with the beginning of its body. False, without effect, if the gateway's
/// connection cannot send.
pub fn begin<C: Calls>(
    x: &mut Exchange,
    request: &Request,
    announce: bool,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> bool {
    let Some(dialect) = gateway.dialect() else { return false };
    debug_assert!(x.up.out.is_empty());
    let hide_authorization = request.key_used;
    let to = Gateway { dialect, strip_prefix: gateway.is(Flags::STRIP), announce, hide_authorization };
    let added = Added::new(client.ip(), client.is(Flags::TRUSTED), client.transport().is_secure());
    let head_len = usize::from(request.head.len);
    let bytes = request.bytes(x, client, desk);
    let body = match request.at {
        At::Front => &bytes[head_len..head_len + request.first.pass],
        At::Kept => &desk.peek(client)[..request.first.pass],
    };
    let mut parts = Parts::new();
    forward::request(bytes, &request.head, &request.named, &to, &added, &mut parts);
    let head_bytes = parts.len();
    parts.push(body);
    let Ok(sent) = parts.with_slices(|slices| gateway.transport().send(&*desk.calls, desk.sessions, slices, false))
    else {
        return false;
    };
    let mut rest = Vec::new();
    parts.copy(sent, head_bytes, &mut rest);
    if !rest.is_empty() {
        x.up.out.extend(&mut desk.inboxes.account, &rest);
    }
    desk.budget.spend(sent);
    asked(x, request, sent.saturating_sub(head_bytes), client, gateway, desk);
    true
}

/// Notes that a gateway has taken a request.
fn asked<C: Calls>(
    x: &mut Exchange,
    request: &Request,
    sent_body: usize,
    client: &mut Conn,
    gateway: &mut Conn,
    desk: &mut Desk<'_, C>,
) {
    desk.counters.requests.bump();
    let head = &request.head;
    let safe = matches!(head.method, Method::Get | Method::Head | Method::OtherSafe);
    let upgrade = gateway.dialect().is_some_and(|dialect| head.may_switch(dialect));
    let repeatable = safe && head.body.is_done() && !upgrade;
    if request.at == At::Front {
        if repeatable {
            keep_head(x, usize::from(head.len), client, desk);
        }
        desk.consume(client, usize::from(head.len));
    }
    x.phase = Phase::Asked;
    x.method = head.method;
    x.traits.set(Traits::REPEATABLE, repeatable);
    x.traits.set(Traits::KEEP_CLIENT, head.keep_alive);
    x.traits.set(Traits::HTTP10, head.version == Version::Http10);
    x.traits.set(Traits::UPGRADE, upgrade);
    x.traits.remove(Traits::HEARD | Traits::KEEP_GATEWAY);
    x.traits.set(Traits::EXPECTS, head.expect_continue && request.first.pass == 0);
    x.down.body = Body::EMPTY;
    x.up.body = request.body;
    x.up.piece = Piece { pass: request.first.pass - sent_body, ..request.first };
    desk.consume(client, sent_body);
    x.up.blocked = !x.up.is_flushed();
    if x.up.blocked {
        desk.be_patient(gateway);
    }
    let done = x.up.is_done();
    client.flags.remove(Flags::HANDED_OVER);
    x.expect(if done { desk.times.response } else { desk.times.session_idle }, client, desk);
    let tunnel = upgrade || head.method == Method::Connect;
    if done && !head.keep_alive && !tunnel && !client.is_armed() && client.inbox.is_empty() {
        client.flags.insert(Flags::LAST);
        client.active = desk.tick;
    }
}

/// Copies a request's head, at the front of the client's inbox, into its exchange: for waiting, and for sending it
/// again.
pub fn keep_head<C: Calls>(x: &mut Exchange, len: usize, client: &Conn, desk: &mut Desk<'_, C>) {
    let Desk { inboxes, calls, .. } = desk;
    inboxes.copy_front(&client.inbox, len, &mut x.head, *calls);
}
