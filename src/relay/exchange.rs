//! One request and its response, once a client and a gateway are joined.
use super::{
    conn::{NONE, State, armed, flag},
    heads::{At, Request},
    letter::Letter,
    pairing::Route,
    parts::Parts,
    pump::Way,
    session::{Phase, Session},
    shard::Shard,
};
use crate::{
    http::{
        Body, Cuts, Method, Parse, Refusal, ResponseHead, Version,
        canned::CLASSIC_101,
        domain::{self, DOMAIN_BYTES_MAX},
        response::{self, NotAResponse},
    },
    io::{Half, Io, Received},
};
use std::io::Write;

/// A request that leaves this many gateways without an answer is not given to yet another.
const TRIES_MAX: u8 = 8;

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
        let mut rest = &mut self.bytes[..];
        let room = rest.len();
        // An address has at most 45 bytes, so this cannot fail.
        let _ = write!(rest, "X-Forwarded-For: {address}\r\nX-Forwarded-Proto: http\r\n");
        self.len = room - rest.len();
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
        if blocked {
            self.want_room(self.sessions[s].gateway);
        }
        if !done && self.conns[client].has_input() {
            // The body has begun in more buffers than one.
            self.pump(s, Way::Up);
        }
    }

    /// Does all that can be done for a session now.
    pub(super) fn run(&mut self, s: u32) {
        let Session { client, gateway, phase, .. } = self.sessions[s];
        match phase {
            Phase::Free => {}
            Phase::Reading => {
                if gateway != NONE && self.gateway_stirred(gateway) {
                    self.drop_gateway(s);
                }
                self.read_head(s);
                self.next_head(client);
            }
            Phase::Waiting if self.conns[client].is(flag::FAILED) => self.end_session(s, true),
            Phase::Waiting => {}
            Phase::Resting => self.rested(s),
            Phase::Parting => self.part(s),
            Phase::Asked | Phase::Answering | Phase::Tunnel => self.relay(s),
        }
        self.settle(client);
        if gateway != NONE {
            self.settle(gateway);
        }
    }

    fn gateway_stirred(&self, gateway: u32) -> bool {
        let conn = &self.conns[gateway];
        conn.has_input() || conn.flags & (flag::EOF | flag::FAILED) != 0
    }

    /// A classic gateway that rests with its client has spoken unasked, or has ended.
    fn rested(&mut self, s: u32) {
        let Session { client, gateway, .. } = self.sessions[s];
        if self.gateway_stirred(gateway) {
            self.conns[client].session = NONE;
            self.release_session(s);
        }
    }

    fn relay(&mut self, s: u32) {
        let client = self.sessions[s].client;
        if self.conns[client].is(flag::FAILED) {
            return self.end_session(s, true);
        }
        self.pump(s, Way::Up);
        self.read_reply(s);
        if matches!(self.phase(s), Phase::Asked | Phase::Answering | Phase::Tunnel) {
            self.pump(s, Way::Down);
        }
        if matches!(self.phase(s), Phase::Asked | Phase::Answering | Phase::Tunnel) {
            self.check_ends(s);
        }
    }

    /// Reads response heads: interim ones as they come, then the final one.
    fn read_reply(&mut self, s: u32) {
        while self.phase(s) == Phase::Asked {
            let gateway = self.sessions[s].gateway;
            let Some(front) = self.front(gateway) else { return };
            let bytes = self.io.bytes(&front);
            let session = &mut self.sessions[s];
            session.heard = true;
            let at = if session.reply.is_empty() { At::Front } else { At::Kept };
            if at == At::Kept {
                session.reply.extend_from_slice(bytes);
            }
            let so_far = if at == At::Kept { &session.reply } else { bytes };
            let parsed = response::parse(so_far, session.method, self.config.headers_max);
            let collected = so_far.len();
            match parsed {
                Ok(Parse::Complete(head)) if u32::from(head.len) <= self.config.head_bytes_max => {
                    if at == At::Kept {
                        self.sessions[s].reply.truncate(usize::from(head.len));
                        let surplus = collected - usize::from(head.len);
                        self.consume(gateway, front.len() - surplus);
                    }
                    self.pass_reply(s, &head, at);
                }
                Ok(Parse::Partial) if collected <= self.config.head_bytes_max as usize => {
                    if at == At::Front {
                        self.sessions[s].reply.extend_from_slice(bytes);
                    }
                    self.consume(gateway, front.len());
                }
                Err(NotAResponse::NotHttp) if self.conns[gateway].is(flag::CLASSIC) => {
                    if at == At::Kept {
                        self.consume(gateway, front.len());
                    }
                    self.turn_opaque(s);
                }
                _ => return self.bad_reply(s),
            }
        }
    }

    /// A classic gateway does not speak HTTP: what it says is passed on as it comes, until either side closes.
    fn turn_opaque(&mut self, s: u32) {
        let session = &mut self.sessions[s];
        session.down.out.append(&mut session.reply);
        session.keep_client = false;
        session.keep_gateway = false;
        if session.upgrade || session.method == Method::Connect {
            return self.begin_tunnel(s);
        }
        // The device gets the rest of this request and no more: what a shared proxy pipelines behind it may be for
        // somebody else.
        session.phase = Phase::Answering;
        session.down.body = Body::UntilClose;
        self.touch(s);
    }

    fn begin_tunnel(&mut self, s: u32) {
        let session = &mut self.sessions[s];
        session.phase = Phase::Tunnel;
        session.up.body = Body::UntilClose;
        session.down.body = Body::UntilClose;
        self.touch(s);
        // What the client sent behind its request goes first.
        self.pump(s, Way::Up);
    }

    fn bad_reply(&mut self, s: u32) {
        let client = self.sessions[s].client;
        let head_only = self.sessions[s].method == Method::Head;
        self.answer(client, Refusal::GatewayBadResponse, false, head_only);
    }

    /// Passes a response head to the client, with the first of its body.
    fn pass_reply(&mut self, s: u32, head: &ResponseHead, at: At) {
        let Session { gateway, method, upgrade, http10, .. } = self.sessions[s];
        let interim = head.status < 200 && head.status != 101;
        let tunnel = head.status == 101 || (method == Method::Connect && (200..300).contains(&head.status));
        if head.status == 101 && !upgrade {
            return self.bad_reply(s);
        }
        if interim && http10 {
            // An HTTP/1.0 client does not know of them (RFC 9110 §15.2).
            return self.drop_reply_head(s, head, at);
        }
        let classic = self.conns[gateway].is(flag::CLASSIC);
        let mut body = if interim { Body::EMPTY } else { head.body };
        let behind = self.behind_reply(gateway, head, at);
        let Ok(first) = body.take(behind) else { return self.bad_reply(s) };
        let ending = self.is_ending();
        let session = &mut self.sessions[s];
        if !interim {
            session.keep_gateway = head.keep_alive && head.body != Body::UntilClose;
            session.keep_client &= head.body != Body::UntilClose && (!classic || head.keep_alive) && !ending;
        }
        let connection = match session.keep_client {
            _ if classic || interim || tunnel => &b""[..],
            _ if head.status == 426 => b"Connection: upgrade\r\n",
            false => b"Connection: close\r\n",
            true if http10 => b"Connection: keep-alive\r\n",
            true => b"",
        };
        session.down.body = body;
        session.phase = match interim {
            true => Phase::Asked,
            false => Phase::Answering,
        };
        if !self.emit_reply(s, head, at, first, connection) {
            return self.end_session(s, true);
        }
        self.sessions[s].reply.clear();
        if tunnel {
            self.begin_tunnel(s);
        } else {
            self.touch(s);
        }
    }

    /// What is in the front buffer behind a response's head.
    fn behind_reply(&self, gateway: u32, head: &ResponseHead, at: At) -> &[u8] {
        let Some(front) = self.links.front(&self.conns[gateway].input) else { return &[] };
        let bytes = self.io.bytes(&front);
        match at {
            At::Kept => bytes,
            At::Front => &bytes[usize::from(head.len)..],
        }
    }

    fn drop_reply_head(&mut self, s: u32, head: &ResponseHead, at: At) {
        match at {
            At::Kept => self.sessions[s].reply.clear(),
            At::Front => self.consume(self.sessions[s].gateway, usize::from(head.len)),
        }
    }

    /// Sends a response head and the first `first` bytes of its body. False if the client takes nothing more.
    fn emit_reply(&mut self, s: u32, head: &ResponseHead, at: At, first: usize, connection: &[u8]) -> bool {
        let Session { client, gateway, .. } = self.sessions[s];
        let classic = self.conns[gateway].is(flag::CLASSIC);
        let flushed = self.sessions[s].down.is_flushed();
        let mut out = std::mem::take(&mut self.sessions[s].down.out);
        let len = usize::from(head.len);
        let cuts = if classic { Cuts::default() } else { head.cuts };
        let front = self.links.front(&self.conns[gateway].input);
        let front = front.map_or(&[][..], |front| self.io.bytes(&front));
        let (bytes, body) = match at {
            At::Kept => (self.sessions[s].reply.as_slice(), &front[..first]),
            At::Front => (front, &front[len..len + first]),
        };
        let mut parts = Parts::new();
        if connection.is_empty() {
            parts.push_head(bytes, 0, len, &cuts);
        } else {
            // The added line goes before the blank one, whichever line end the gateway uses.
            let blank = if bytes[..len].ends_with(b"\r\n") { 2 } else { 1 };
            parts.push_head(bytes, 0, len - blank, &cuts);
            parts.push(connection);
            parts.push(b"\r\n");
        }
        let head_bytes = parts.len();
        parts.push(body);
        // An interim response that did not fit goes first.
        let sent = if flushed { self.io.send(self.conns[client].fd, parts.slices()) } else { Ok(0) };
        let Ok(sent) = sent else {
            self.sessions[s].down.out = out;
            return false;
        };
        parts.copy(sent, head_bytes, &mut out);
        let sent_body = sent.saturating_sub(head_bytes);
        let down = &mut self.sessions[s].down;
        down.out = out;
        down.approved = first - sent_body;
        if !down.is_flushed() {
            self.want_room(client);
        }
        if at == At::Front {
            self.consume(gateway, len);
        }
        self.consume(gateway, sent_body);
        true
    }

    /// What follows from either side's end, and from the response's.
    fn check_ends(&mut self, s: u32) {
        let session = &self.sessions[s];
        let (client, gateway, phase) = (session.client, session.gateway, session.phase);
        if phase == Phase::Answering && session.down.is_done() {
            return self.complete(s);
        }
        let g = &self.conns[gateway];
        let gone = g.flags & (flag::EOF | flag::FAILED) != 0 && !g.has_input() && session.down.is_flushed();
        if gone {
            self.gateway_gone(s);
            if self.phase(s) != Phase::Tunnel {
                return;
            }
        }
        let session = &self.sessions[s];
        let c = &self.conns[client];
        if c.is(flag::EOF) && !c.has_input() && session.up.is_flushed() {
            self.client_finished(s);
        }
    }

    /// The gateway has ended, and all that it said has been passed on.
    fn gateway_gone(&mut self, s: u32) {
        let session = &self.sessions[s];
        let (client, gateway) = (session.client, session.gateway);
        // A classic device that answers without reading the request and closes resets its connection with that, and
        // is still delivered whole.
        let classic = self.conns[gateway].is(flag::CLASSIC);
        // A reset that sending met is reported only there; the receiving side then ends as if in order.
        let failed = (self.conns[gateway].is(flag::FAILED) || session.up.dead) && !classic;
        match session.phase {
            Phase::Asked if !session.heard && self.may_retry(s) => self.retry(s),
            Phase::Asked => {
                let refusal =
                    if session.reply.is_empty() { Refusal::GatewayFailed } else { Refusal::GatewayBadResponse };
                let head_only = session.method == Method::Head;
                self.answer(client, refusal, false, head_only);
            }
            Phase::Answering if session.down.body == Body::UntilClose && !failed => self.complete(s),
            Phase::Answering => self.end_session(s, true),
            Phase::Tunnel if failed => self.end_session(s, true),
            Phase::Tunnel => {
                if !session.down.ended {
                    let gone = self.conns[gateway].is(flag::FAILED);
                    self.sessions[s].up.dead |= gone;
                    self.sessions[s].down.ended = true;
                    self.io.shutdown(self.conns[client].fd, Half::Send);
                }
                self.end_tunnel(s);
            }
            Phase::Free | Phase::Reading | Phase::Waiting | Phase::Resting | Phase::Parting => {}
        }
    }

    /// The client has finished sending, and all that it sent has been passed on.
    fn client_finished(&mut self, s: u32) {
        let session = &self.sessions[s];
        let gateway = session.gateway;
        let cut_short = !session.up.is_done() && session.up.body != Body::UntilClose;
        if cut_short && !session.up.dead {
            return self.end_session(s, true);
        }
        // A reused connection cannot be half-closed; a classic one is not used again.
        let tunnel = session.phase == Phase::Tunnel;
        if (tunnel || self.conns[gateway].is(flag::CLASSIC)) && !session.up.ended {
            self.sessions[s].up.ended = true;
            self.io.shutdown(self.conns[gateway].fd, Half::Send);
        }
        if tunnel {
            self.end_tunnel(s);
        }
    }

    /// A tunnel is over when both sides have finished, or when one has and the other takes no more.
    fn end_tunnel(&mut self, s: u32) {
        let session = &self.sessions[s];
        if session.down.ended && (session.up.ended || session.up.dead) {
            let client = session.client;
            self.conns[client].session = NONE;
            self.release_session(s);
            // What the client still sends must not turn its own end into a reset.
            self.linger(client);
        }
    }

    /// Whether a request may go to another gateway, now that this one has not answered it.
    fn may_retry(&self, s: u32) -> bool {
        let session = &self.sessions[s];
        session.repeatable && self.conns[session.client].tries < TRIES_MAX
    }

    /// The request was safe and nobody heard it: another gateway gets it.
    fn retry(&mut self, s: u32) {
        self.counters.retried.bump();
        let client = self.sessions[s].client;
        self.conns[client].tries += 1;
        self.release_pipes(s);
        self.drop_gateway(s);
        let head = std::mem::take(&mut self.sessions[s].head);
        self.sessions[s].reset();
        self.sessions[s].head = head;
        self.sessions[s].phase = Phase::Reading;
        // It has no body, so nothing that came since can be wrong with it.
        let Ok(request) = self.request_again(s) else { return self.end_session(s, true) };
        let mut lower = [0; DOMAIN_BYTES_MAX];
        let name = domain::lower(request.named.name.of(self.head_at(client, At::Kept)), &mut lower);
        let hash = self.shared.directory.hash(name);
        loop {
            match self.route(client, hash, name) {
                Route::Here(domain) => {
                    if self.ask(s, domain, &request) {
                        return;
                    }
                }
                Route::Wait(_) if self.is_ending() => {
                    self.decline(client, &request.head, At::Kept, Refusal::ShuttingDown);
                    return self.next_head(client);
                }
                Route::Wait(domain) => {
                    self.conns[client].deadline = 0;
                    return self.wait(client, domain, &request);
                }
                Route::Move(shard) => return self.hand_over(client, shard),
                Route::Nobody => {
                    self.decline(client, &request.head, At::Kept, Refusal::GatewayFailed);
                    return self.next_head(client);
                }
            }
        }
    }

    /// The response has been passed on, whole.
    fn complete(&mut self, s: u32) {
        let session = &self.sessions[s];
        let (client, gateway) = (session.client, session.gateway);
        let sent_all = session.up.is_done();
        let keep_client = session.keep_client && sent_all && !self.is_ending();
        if session.keep_gateway {
            self.look_behind_response(s);
        }
        let session = &self.sessions[s];
        let g = &self.conns[gateway];
        let unsure = session.unsure;
        let clean = !g.has_input() && g.flags & (flag::EOF | flag::FAILED) == 0;
        let keep_gateway = session.keep_gateway && sent_all && clean && !session.up.ended;
        let classic = g.is(flag::CLASSIC);
        self.release_pipes(s);
        if classic && keep_gateway && keep_client && !unsure {
            self.sessions[s].reset();
            self.sessions[s].gateway = gateway;
            self.sessions[s].phase = Phase::Resting;
            return self.next_request(client);
        }
        self.conns[client].session = NONE;
        if keep_gateway && !classic && !self.is_ending() {
            self.sessions[s].gateway = NONE;
            self.sessions.remove(s);
            match unsure {
                true => self.begin_settling(gateway),
                false => self.park_gateway(gateway),
            }
        } else {
            if self.conns[gateway].has_input() {
                self.counters.unsolicited.bump();
            }
            self.release_session(s);
        }
        self.settle(gateway);
        if keep_client {
            self.next_request(client);
        } else {
            self.linger(client);
        }
    }

    /// Where a response ends with a full buffer, or was spliced, what the gateway sent behind it is still in the
    /// socket: it must be found before the next request goes out, or it would be taken for the answer.
    fn look_behind_response(&mut self, s: u32) {
        let Session { gateway, ref down, .. } = self.sessions[s];
        let conn = &self.conns[gateway];
        if (down.full_reads == 0 && !down.bulk && down.pipe.is_none()) || conn.flags & flag::EOF != 0 {
            return;
        }
        if conn.armed & armed::STREAM != 0 {
            // It may be in an event that has not been seen: no look can tell until the stream has ended.
            self.sessions[s].unsure = true;
            return;
        }
        match self.io.recv(conn.fd) {
            Received::Bytes(buf) => self.append(gateway, buf),
            Received::Eof => self.conns[gateway].flags |= flag::EOF,
            // Without a look the connection cannot be trusted.
            Received::Failed | Received::NoBuffers => self.conns[gateway].flags |= flag::FAILED,
            Received::Nothing => {}
        }
    }

    fn begin_settling(&mut self, gateway: u32) {
        let conn = &mut self.conns[gateway];
        conn.state = State::Settling;
        conn.session = NONE;
        if conn.armed & armed::CANCELLING == 0 {
            self.stop_stream(gateway);
        }
    }

    /// A gateway whose stream is being stopped has spoken, or its stream has ended.
    pub(super) fn settled(&mut self, gateway: u32) {
        let conn = &self.conns[gateway];
        if conn.has_input() {
            self.counters.unsolicited.bump();
            return self.close(gateway);
        }
        if conn.flags & (flag::EOF | flag::FAILED) != 0 {
            return self.close(gateway);
        }
        if conn.armed & armed::STREAM == 0 {
            match self.io.recv(conn.fd) {
                Received::Nothing => self.park_gateway(gateway),
                Received::Bytes(buf) => {
                    self.counters.unsolicited.bump();
                    self.io.release(buf);
                    self.close(gateway);
                }
                Received::NoBuffers | Received::Eof | Received::Failed => self.close(gateway),
            }
        }
    }

    /// A gateway's bytes or end that were there before it was asked, since they came with the events of the turn in
    /// which it was: they belong to nobody, and it cannot be told where its answer will begin. True if so.
    pub(super) fn spoke_too_soon(&mut self, gateway: u32) -> bool {
        let conn = &self.conns[gateway];
        if conn.state != State::Gateway || self.sessions[conn.session].asked_in != self.turn {
            return false;
        }
        let s = conn.session;
        let session = &self.sessions[s];
        if session.phase != Phase::Asked || session.gateway != gateway {
            return false;
        }
        self.counters.unsolicited.bump();
        if self.may_retry(s) {
            self.retry(s);
        } else {
            let head_only = session.method == Method::Head;
            self.answer(session.client, Refusal::GatewayFailed, false, head_only);
        }
        true
    }

    /// A client's connection is free for its next request, which may be there already.
    pub(super) fn next_request(&mut self, client: u32) {
        let conn = &mut self.conns[client];
        conn.state = State::Idle;
        conn.tries = 0;
        conn.deadline = self.tick + self.times.client_idle;
        self.next_head(client);
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
