//! A response's head comes back from the gateway and goes on to the client.
use super::{
    conn::flag,
    heads::At,
    letter::Letter,
    parts::Parts,
    pump::Way,
    session::{Phase, Session},
    shard::Shard,
};
use crate::{
    http::{
        Body, Cuts, Method, Parse, Refusal, ResponseHead,
        response::{self, NotAResponse},
    },
    io::Io,
};

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Reads response heads: interim ones as they come, then the final one.
    pub(super) fn read_reply(&mut self, s: u32) {
        // An interim response that the client has not taken yet holds the next one back.
        while self.phase(s) == Phase::Asked && self.sessions[s].down.is_flushed() {
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
}
