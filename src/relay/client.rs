//! Step of a client: its next request head, parsed where it landed, or collected while it arrives in pieces.
use super::{
    conn::{Conn, Filled},
    desk::Desk,
    exchange::{Exchange, Traits, request::At},
};
use crate::{
    http::{Parse, Refusal, RequestHead, pieces::may_parse, request},
    io::Calls,
};

/// Result of looking for a client's next head.
#[derive(Debug)]
pub enum Next {
    /// A complete head.
    Head(RequestHead, At),
    /// No bytes, or only part of a head.
    Incomplete,
    /// The first part of a head, which needs an exchange to be collected in.
    Begins,
    /// The bytes are no head.
    Refused(Refusal),
    /// The client has ended between two requests or within a head. It gets no answer.
    HungUp,
    /// The budget is used up.
    Spent,
}

/// Reads the head at the front of a client's inbox, receiving if the inbox is empty. Heads that arrive in pieces are
/// collected in the exchange, outside the pool: slow clients hold no buffers.
pub fn next<C: Calls>(mut x: Option<&mut Exchange>, client: &mut Conn, desk: &mut Desk<'_, C>) -> Next {
    loop {
        if desk.budget.is_spent() {
            return Next::Spent;
        }
        if let Some(x) = x.as_deref_mut().filter(|x| x.is(Traits::WHOLE)) {
            x.traits.remove(Traits::WHOLE);
            return match request::parse(&x.head, desk.config.max_headers) {
                Ok(Parse::Complete(head)) => Next::Head(head, At::Kept),
                Ok(Parse::Partial) => Next::Refused(Refusal::BadRequestLine),
                Err(refusal) => Next::Refused(refusal),
            };
        }
        if client.inbox.is_empty() {
            if client.may_fill() && matches!(desk.fill(client), Filled::Bytes(_)) {
                continue;
            }
            return if client.has_ended() { Next::HungUp } else { Next::Incomplete };
        }
        let max = desk.config.max_head_bytes as usize;
        let front = desk.inboxes.peek(&client.inbox, desk.calls);
        let Some(x) = x.as_deref_mut().filter(|x| x.is_collecting()) else {
            desk.budget.spend(0);
            return match request::parse(front, desk.config.max_headers) {
                Err(refusal) => Next::Refused(refusal),
                Ok(Parse::Complete(head)) if usize::from(head.len) > max => Next::Refused(Refusal::HeadTooLarge),
                Ok(Parse::Complete(head)) => Next::Head(head, At::Front),
                Ok(Parse::Partial) => Next::Begins,
            };
        };
        let (front_len, before) = (front.len(), x.head.len());
        let worth_it = may_parse(&mut x.parse_at, &x.head, front);
        desk.inboxes.copy_front(&client.inbox, front_len, &mut x.head, desk.calls);
        let parsed = match worth_it || x.head.len() > max {
            true => request::parse(&x.head, desk.config.max_headers),
            false => Ok(Parse::Partial),
        };
        match parsed {
            Err(refusal) => return Next::Refused(refusal),
            Ok(Parse::Complete(head)) if usize::from(head.len) <= max => {
                let len = usize::from(head.len);
                x.head.truncate(&mut desk.inboxes.account, len);
                desk.consume(client, len - before);
                desk.budget.spend(0);
                return Next::Head(head, At::Kept);
            }
            Ok(_) if x.head.len() > max => return Next::Refused(Refusal::HeadTooLarge),
            Ok(_) => desk.consume(client, front_len),
        }
    }
}
