//! A request goes to its gateway: verbatim, or with a clean head around the original bytes.
use super::{
    conn::flag,
    heads::{At, Request},
    letter::Letter,
    parts::Parts,
    pump::Way,
    session::Phase,
    shard::Shard,
};
use crate::{
    http::{Body, Cuts, Method, Version, canned::CLASSIC_101},
    io::Io,
};
use std::io::Write;

/// Headers that the relay adds are written here: two addresses' worth of room.
struct Added {
    bytes: [u8; 128],
    len: usize,
}

impl Added {
    fn new() -> Added {
        Added { bytes: [0; 128], len: 0 }
    }

    fn forwarded_for(&mut self, address: std::net::IpAddr) {
        self.push(b"X-Forwarded-For: ");
        match address {
            // Most are; and formatting them by hand is a twentieth of what the relay itself adds to a request.
            std::net::IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                for (octet, end) in [(a, b"."), (b, b"."), (c, b"."), (d, b"\r")] {
                    self.push_octet(octet);
                    self.push(end);
                }
                self.push(b"\n");
            }
            std::net::IpAddr::V6(v6) => {
                let mut rest = &mut self.bytes[self.len..];
                let room = rest.len();
                // An address has at most 45 bytes, so this cannot fail.
                let _ = write!(rest, "{v6}\r\n");
                self.len += room - rest.len();
            }
        }
        self.push(b"X-Forwarded-Proto: http\r\n");
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_octet(&mut self, octet: u8) {
        if octet >= 100 {
            self.push(&[b'0' + octet / 100]);
        }
        if octet >= 10 {
            self.push(&[b'0' + octet / 10 % 10]);
        }
        self.push(&[b'0' + octet % 10]);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Sends a request's head to the session's gateway, with the first of its body. False if the gateway takes
    /// nothing: then nothing has happened.
    pub(super) fn send_request(&mut self, s: u32, request: &Request, announce: bool) -> bool {
        let (client, gateway) = (self.sessions[s].client, self.sessions[s].gateway);
        let classic = self.conns[gateway].is(flag::CLASSIC);
        let mut out = std::mem::take(&mut self.sessions[s].up.out);
        debug_assert!(out.is_empty());
        let mut added = Added::new();
        added.forwarded_for(self.conns[client].ip());
        let head = self.head_at(client, request.at);
        let body = &self.behind_head(client, &request.head, request.at)[..request.first];
        let cuts = self.cuts_for(gateway, request);
        let mut parts = Parts::new();
        if classic {
            if announce {
                parts.push(CLASSIC_101);
            }
            parts.push_head(head, 0, usize::from(request.head.len), &cuts);
        } else {
            push_clean(&mut parts, head, request, &cuts, added.bytes());
        }
        let head_bytes = parts.len();
        parts.push(body);
        let Ok(sent) = self.io.send(self.conns[gateway].fd, parts.slices()) else {
            self.sessions[s].up.out = out;
            return false;
        };
        parts.copy(sent, head_bytes, &mut out);
        let sent_body = sent.saturating_sub(head_bytes);
        self.asked(s, request, out, sent_body);
        true
    }

    /// What this gateway does not get to see of a head.
    fn cuts_for(&self, gateway: u32, request: &Request) -> Cuts {
        let conn = &self.conns[gateway];
        let mut cuts = if conn.is(flag::CLASSIC) { Cuts::default() } else { request.head.cuts };
        if conn.is(flag::STRIP) {
            // Without room for one more cut the prefix stays: the request is still right, if not as wished.
            let _ = cuts.add(request.named.strip);
        }
        cuts
    }

    /// A gateway has taken a request.
    fn asked(&mut self, s: u32, request: &Request, out: Vec<u8>, sent_body: usize) {
        self.counters.requests.bump();
        let client = self.sessions[s].client;
        let head = &request.head;
        let repeatable = matches!(head.method, Method::Get | Method::Head | Method::OtherSafe)
            && head.body.is_done()
            && !head.upgrade;
        if repeatable && request.at == At::Front {
            self.keep_head(s, request);
        }
        let turn = self.turn;
        let session = &mut self.sessions[s];
        session.phase = Phase::Asked;
        session.asked_in = turn;
        session.method = head.method;
        session.upgrade = head.upgrade;
        session.repeatable = repeatable;
        session.heard = false;
        session.keep_client = head.keep_alive;
        session.http10 = head.version == Version::Http10;
        session.down.body = Body::EMPTY;
        session.up.body = request.body;
        session.up.out = out;
        session.up.approved = request.first - sent_body;
        let done = session.up.is_done();
        let blocked = !session.up.is_flushed();
        if request.at == At::Front {
            self.consume(client, usize::from(head.len));
        }
        self.consume(client, sent_body);
        let time = if done { self.times.response } else { self.times.session_idle };
        let conn = &mut self.conns[client];
        conn.flags &= !flag::HANDED_OVER;
        conn.deadline = self.tick + time;
        let tunnel = head.upgrade || head.method == Method::Connect;
        if done && !head.keep_alive && !tunnel && !conn.busy() {
            conn.flags |= flag::LAST;
            conn.active = self.tick;
        }
        if blocked {
            self.want_room(self.sessions[s].gateway);
        }
        if !done && self.conns[client].has_input() {
            // The body has begun in more buffers than one.
            self.pump(s, Way::Up);
        }
    }
}

/// A head for a gateway that is used again and again: without what was meant for one hop, with what it cannot see.
fn push_clean<'a>(parts: &mut Parts<'a>, bytes: &'a [u8], request: &Request, cuts: &Cuts, added: &'a [u8]) {
    let head = &request.head;
    let len = usize::from(head.len);
    parts.push_head(bytes, 0, len - 2, cuts);
    parts.push(added);
    if let Some(authority) = head.authority {
        parts.push(b"X-Forwarded-Host: ");
        parts.push(authority.of(bytes));
        parts.push(b"\r\n");
    }
    if head.upgrade {
        parts.push(b"Connection: upgrade\r\n");
    } else if head.version == Version::Http10 {
        // Or the gateway would close its connection behind the response.
        parts.push(b"Connection: keep-alive\r\n");
    }
    parts.push(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses are written as the standard library writes them.
    #[test]
    fn addresses_are_written_as_usual() {
        for address in ["0.0.0.0", "1.20.255.9", "100.10.0.199", "255.255.255.255", "::1", "2001:db8::ff00:42:8329"] {
            let mut added = Added::new();
            added.forwarded_for(address.parse().unwrap());
            let expected = format!("X-Forwarded-For: {address}\r\nX-Forwarded-Proto: http\r\n");
            assert_eq!(added.bytes(), expected.as_bytes());
        }
    }
}
