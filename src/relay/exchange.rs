//! One request and its response, once a client and a gateway are joined.
use super::{
    conn::{NONE, State, armed, flag},
    heads::At,
    letter::Letter,
    pairing::Route,
    pump::Way,
    session::{Phase, Session},
    shard::Shard,
};
use crate::{
    http::{
        Body, Method, Refusal,
        domain::{self, DOMAIN_BYTES_MAX},
    },
    io::{Half, Io, Received},
};

/// A request that leaves this many gateways without an answer is not given to yet another.
const TRIES_MAX: u8 = 8;

impl<I: Io<Mail = Letter>> Shard<I> {
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
        loop {
            self.read_reply(s);
            if matches!(self.phase(s), Phase::Asked | Phase::Answering | Phase::Tunnel) {
                self.pump(s, Way::Down);
            }
            let session = &self.sessions[s];
            let more = session.phase == Phase::Asked && session.down.is_flushed();
            if !more || self.front(self.sessions[s].gateway).is_none() {
                break;
            }
        }
        if matches!(self.phase(s), Phase::Asked | Phase::Answering | Phase::Tunnel) {
            self.check_ends(s);
        }
    }

    /// What follows from either side's end, and from the response's.
    fn check_ends(&mut self, s: u32) {
        let session = &self.sessions[s];
        let (client, gateway, phase) = (session.client, session.gateway, session.phase);
        if self.conns[client].is(flag::FAILED) {
            // A splice has met it just now.
            return self.end_session(s, true);
        }
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
        let domain = self.conns[gateway].domain;
        let wanted = !self.park[domain].waiting.is_empty();
        if classic && keep_gateway && keep_client && !unsure && !wanted {
            self.conns[gateway].flags |= flag::RESTING;
            self.park[domain].resting.push_back(&mut self.conns, gateway);
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
            self.part_from(client);
        }
    }

    /// A client has its answer, and there will be no other. Who has asked for that and has sent nothing since needs no
    /// lingering: no byte of its own can turn the end of the answer into a reset.
    fn part_from(&mut self, client: u32) {
        let conn = &self.conns[client];
        if conn.is(flag::LAST) && !conn.has_input() && !conn.busy() {
            match self.io.recv(conn.fd) {
                Received::Nothing | Received::Eof | Received::Failed => return self.close(client),
                Received::Bytes(buf) => self.io.release(buf),
                Received::NoBuffers => {}
            }
        }
        self.linger(client);
    }

    /// Where a response ends with a full buffer, or was spliced, what the gateway sent behind it is still in the
    /// socket: it must be found before the next request goes out, or it would be taken for the answer.
    fn look_behind_response(&mut self, s: u32) {
        let Session { gateway, ref down, .. } = self.sessions[s];
        let conn = &self.conns[gateway];
        if !down.unseen || conn.flags & flag::EOF != 0 {
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
        let client = session.client;
        if self.may_retry(s) {
            self.retry(s);
            // Only its gateway had an event: it may have to leave for another shard, or to wait.
            self.settle(client);
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
