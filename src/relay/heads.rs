//! A client's next request: its head is read, its domain named, its way decided.
use super::{
    conn::{NONE, State, flag},
    letter::Letter,
    pairing::Route,
    session::Phase,
    shard::Shard,
};
use crate::{
    http::{
        Body, Method, Parse, Refusal, RequestHead,
        domain::{self, DOMAIN_BYTES_MAX, Named},
        request,
    },
    io::Io,
};

/// Where a request's head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At the front of the client's input, in one buffer.
    Front,
    /// In its session's `head`; what follows it is at the front of the input.
    Kept,
}

/// A request on its way to a gateway.
pub(super) struct Request {
    pub head: RequestHead,
    pub named: Named,
    pub at: At,
    /// The body's framing behind its first bytes.
    pub body: Body,
    /// How many of those bytes are in the front buffer.
    pub first: usize,
}

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Serves the heads at the front of an idle connection's input, one by one.
    pub(super) fn next_head(&mut self, slot: u32) {
        loop {
            let conn = &self.conns[slot];
            if conn.state != State::Idle {
                return;
            }
            let Some(front) = self.front(slot) else {
                let conn = &self.conns[slot];
                if conn.flags & (flag::EOF | flag::FAILED) != 0 && !conn.has_input() {
                    self.hang_up(slot);
                }
                return;
            };
            match request::parse(self.io.bytes(&front), self.config.headers_max) {
                Err(refusal) => return self.refuse(slot, refusal, false),
                Ok(Parse::Complete(head)) if self.is_too_large(&head) => {
                    return self.refuse(slot, Refusal::HeadTooLarge, false);
                }
                Ok(Parse::Complete(head)) => self.serve(slot, head, At::Front),
                Ok(Parse::Partial) => {
                    self.begin_reading(slot);
                    self.read_head(self.conns[slot].session);
                }
            }
        }
    }

    fn is_too_large(&self, head: &RequestHead) -> bool {
        u32::from(head.len) > self.config.head_bytes_max
    }

    /// An idle connection that ends: nothing was asked, so nothing is said.
    fn hang_up(&mut self, slot: u32) {
        match self.conns[slot].session {
            NONE => self.close(slot),
            session => self.end_session(session, false),
        }
    }

    /// The connection's session; a new one unless it rests in one.
    pub(super) fn session_of(&mut self, slot: u32) -> u32 {
        if self.conns[slot].session == NONE {
            self.conns[slot].session = self.sessions.insert(slot);
        }
        self.conns[slot].state = State::Client;
        self.conns[slot].session
    }

    fn begin_reading(&mut self, slot: u32) {
        let session = self.session_of(slot);
        self.sessions[session].phase = Phase::Reading;
        self.conns[slot].deadline = self.tick + self.times.head;
    }

    /// Collects a head that arrives in pieces. It is kept outside the pool: slow clients hold no buffers.
    pub(super) fn read_head(&mut self, s: u32) {
        let slot = self.sessions[s].client;
        while let Some(front) = self.front(slot) {
            let bytes = self.io.bytes(&front);
            let head = &mut self.sessions[s].head;
            head.extend_from_slice(bytes);
            let parsed = match memchr::memchr(b'\n', bytes) {
                // Without a line end in the new bytes, the head cannot have ended, nor gone wrong in a new way.
                None => Ok(Parse::Partial),
                Some(_) => request::parse(head, self.config.headers_max),
            };
            let collected = head.len();
            match parsed {
                Err(refusal) => return self.refuse(slot, refusal, false),
                Ok(Parse::Complete(head)) if !self.is_too_large(&head) => {
                    let surplus = collected - usize::from(head.len);
                    self.sessions[s].head.truncate(usize::from(head.len));
                    self.consume(slot, front.len() - surplus);
                    return self.serve(slot, head, At::Kept);
                }
                Ok(_) if collected > self.config.head_bytes_max as usize => {
                    return self.refuse(slot, Refusal::HeadTooLarge, false);
                }
                Ok(_) => self.consume(slot, front.len()),
            }
        }
        let conn = &self.conns[slot];
        if conn.flags & (flag::EOF | flag::FAILED) != 0 && !conn.has_input() {
            self.end_session(s, false);
        }
    }

    /// Decides what becomes of a request.
    fn serve(&mut self, slot: u32, head: RequestHead, at: At) {
        if head.registration.is_some() {
            return self.register(slot, &head, at);
        }
        let (request, hash, mut lower) = match self.examine(slot, head, at) {
            Ok(examined) => examined,
            Err(refusal) => return self.decline(slot, &head, at, refusal),
        };
        let name = domain::lower(request.named.name.of(self.head_at(slot, at)), &mut lower.0).len();
        let name = &lower.0[..name];
        if self.is_ending() && self.conns[slot].is(flag::HANDED_OVER) {
            return self.decline(slot, &head, at, Refusal::ShuttingDown);
        }
        if self.ask_resting(slot, &request, hash, name) {
            return;
        }
        loop {
            match self.route(slot, hash, name) {
                Route::Here(domain) => {
                    let session = self.session_of(slot);
                    if self.ask(session, domain, &request) {
                        return;
                    }
                }
                Route::Wait(domain) => return self.wait(slot, domain, &request),
                Route::Move(shard) => return self.hand_over(slot, shard),
                Route::Nobody => return self.decline(slot, &head, at, Refusal::NoGateway),
            }
        }
    }

    /// Names the domain, and looks at the first bytes of the body: bad framing is refused before a byte of the
    /// request reaches a gateway.
    fn examine(&self, slot: u32, head: RequestHead, at: At) -> Result<(Request, u64, Lower), Refusal> {
        let bytes = self.head_at(slot, at);
        let named = domain::of(bytes, &head, &self.config.hostnames)?;
        let mut lower = Lower([0; DOMAIN_BYTES_MAX]);
        let hash = self.shared.directory.hash(domain::lower(named.name.of(bytes), &mut lower.0));
        let mut body = head.body;
        let first = body.take(self.behind_head(slot, &head, at))?;
        Ok((Request { head, named, at, body, first }, hash, lower))
    }

    /// The head that is kept in a session, parsed again.
    pub(super) fn kept_head(&self, s: u32) -> RequestHead {
        let parsed = request::parse(&self.sessions[s].head, self.config.headers_max);
        let Ok(Parse::Complete(head)) = parsed else { unreachable!("a kept head was whole when it was kept") };
        head
    }

    /// A request whose head is kept in its session, examined again: the head was good before, but what has arrived
    /// of its body since may not be.
    pub(super) fn request_again(&self, s: u32) -> Result<Request, Refusal> {
        let (request, ..) = self.examine(self.sessions[s].client, self.kept_head(s), At::Kept)?;
        Ok(request)
    }

    /// A request's head, and perhaps more behind it.
    pub(super) fn head_at(&self, slot: u32, at: At) -> &[u8] {
        let conn = &self.conns[slot];
        match at {
            At::Kept => &self.sessions[conn.session].head,
            At::Front => self.links.front(&conn.input).map_or(&[], |front| self.io.bytes(&front)),
        }
    }

    /// What is in the front buffer behind a request's head.
    pub(super) fn behind_head(&self, slot: u32, head: &RequestHead, at: At) -> &[u8] {
        let front = self.head_at(slot, At::Front);
        match at {
            At::Kept => front,
            At::Front => &front[usize::from(head.len)..],
        }
    }

    /// Drops bytes from the front of a connection's input.
    pub(super) fn consume(&mut self, slot: u32, mut n: usize) {
        let input = &mut self.conns[slot].input;
        while n > 0 {
            let Some(front) = self.links.front(input) else { unreachable!("only what is there is consumed") };
            if front.len() > n {
                return self.links.trim_front(input, n);
            }
            n -= front.len();
            if let Some(front) = self.links.pop(input) {
                self.io.release(front);
            }
        }
    }

    /// Refuses a request whose end is known; the connection is kept if nothing of the request is still to come.
    pub(super) fn decline(&mut self, slot: u32, head: &RequestHead, at: At, refusal: Refusal) {
        let complete = head.body.is_done() && !head.upgrade && head.method != Method::Connect;
        let keep = complete && head.keep_alive && !self.is_ending();
        if at == At::Front {
            self.consume(slot, usize::from(head.len));
        }
        self.answer(slot, refusal, keep, head.method == Method::Head);
    }
}

/// Room for a name in lower case.
pub(super) struct Lower(pub [u8; DOMAIN_BYTES_MAX]);
