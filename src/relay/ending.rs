//! How connections and sessions end.
use super::{
    conn::{NONE, State, armed, flag},
    heads::At,
    letter::Letter,
    pump::Way,
    session::Phase,
    shard::Shard,
};
use crate::{
    http::Refusal,
    io::{Armed, Half, Io},
};
use std::{io::IoSlice, sync::atomic::Ordering::SeqCst};

impl<I: Io<Mail = Letter>> Shard<I> {
    /// Answers a client that has no session, or whose session ends with this answer.
    pub(super) fn refuse(&mut self, slot: u32, refusal: Refusal, keep: bool) {
        self.answer(slot, refusal, keep, false);
    }

    /// Gives the relay's own answer. `head_only` for HEAD, whose answers have no body.
    pub(super) fn answer(&mut self, slot: u32, refusal: Refusal, keep: bool, head_only: bool) {
        self.counters.refused(refusal).bump();
        let session = self.conns[slot].session;
        if session != NONE && !self.sessions[session].down.is_flushed() {
            // In the middle of something else an answer would be taken for its rest.
            return self.end_session(session, true);
        }
        let session = std::mem::replace(&mut self.conns[slot].session, NONE);
        if session != NONE {
            self.release_session(session);
        }
        let mut answer = if keep { refusal.kept() } else { refusal.closing() };
        if head_only && let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") {
            answer = &answer[..end + 4];
        }
        let sent = self.io.send(self.conns[slot].fd, &[IoSlice::new(answer)]);
        let conn = &mut self.conns[slot];
        conn.flags &= !flag::HANDED_OVER;
        conn.tries = 0;
        match sent {
            Ok(sent) if sent < answer.len() => self.begin_parting(slot, &answer[sent..], keep),
            Ok(_) if keep => {
                conn.state = State::Idle;
                conn.deadline = self.tick + self.times.client_idle;
            }
            _ => self.linger(slot),
        }
    }

    /// The relay's own answer waits for room.
    fn begin_parting(&mut self, slot: u32, rest: &[u8], keep: bool) {
        let s = self.session_of(slot);
        let session = &mut self.sessions[s];
        session.phase = Phase::Parting;
        session.down.out.extend_from_slice(rest);
        session.keep_client = keep;
        self.conns[slot].deadline = self.tick + self.times.session_idle;
        self.want_room(slot);
    }

    /// There may be room for the rest of the relay's own answer.
    pub(super) fn part(&mut self, s: u32) {
        let slot = self.sessions[s].client;
        if self.conns[slot].is(flag::FAILED) {
            return self.end_session(s, true);
        }
        self.pump(s, Way::Down);
        if self.phase(s) != Phase::Parting || !self.sessions[s].down.is_flushed() {
            return;
        }
        let keep = self.sessions[s].keep_client;
        self.conns[slot].session = NONE;
        self.release_session(s);
        match keep {
            true => self.next_request(slot),
            false => self.linger(slot),
        }
    }

    /// Says goodbye in order: a FIN behind what was sent, and no reset that could overtake it while the peer is
    /// still sending (RFC 9112 §9.6).
    pub(super) fn linger(&mut self, slot: u32) {
        self.release_input(slot);
        let conn = &mut self.conns[slot];
        if conn.flags & (flag::EOF | flag::FAILED) != 0 {
            return self.close(slot);
        }
        conn.state = State::Lingering;
        conn.deadline = self.tick + self.times.linger;
        let fd = conn.fd;
        self.io.shutdown(fd, Half::Send);
        self.settle(slot);
    }

    /// A lingering connection has sent something, which was thrown away, or has ended.
    pub(super) fn lingered(&mut self, slot: u32) {
        if self.conns[slot].flags & (flag::EOF | flag::FAILED) != 0 {
            self.close(slot);
        }
    }

    /// Ends a connection that has no session. It is closed when the last armed operation has ended.
    pub(super) fn close(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        debug_assert!(conn.session == NONE && !matches!(conn.state, State::Free | State::Closing));
        if matches!(conn.state, State::Parked | State::Gateway | State::Settling) {
            self.leave(slot);
        }
        self.forget(slot);
        self.release_input(slot);
        let key = self.conns.key(slot);
        let conn = &mut self.conns[slot];
        conn.state = State::Closing;
        conn.deadline = 0;
        let (fd, pending, aborted) = (conn.fd, conn.armed, conn.is(flag::ABORT));
        if conn.busy() && !aborted {
            // Ends what is armed. A close alone would leave it armed, and the peer without a FIN.
            self.io.shutdown(fd, Half::Both);
        } else if aborted {
            // A shutdown would send the FIN that the peer must not see.
            for (bit, what) in
                [(armed::POLL_IN, Armed::PollIn), (armed::POLL_OUT, Armed::PollOut), (armed::STREAM, Armed::Stream)]
            {
                if pending & bit != 0 {
                    self.io.cancel(key, what);
                }
            }
        }
        self.finish(slot);
    }

    /// Closes the descriptor and frees the slot, if nothing is armed any more.
    pub(super) fn finish(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if conn.busy() {
            return;
        }
        let (fd, aborted) = (conn.fd, conn.is(flag::ABORT));
        if aborted {
            self.io.abort(fd);
        } else {
            self.io.close(fd);
        }
        self.shared.connections.fetch_sub(1, SeqCst);
        self.uncount(slot);
        self.conns.remove(slot);
    }

    /// Admission forgets a connection.
    pub(super) fn uncount(&mut self, slot: u32) {
        if !self.conns[slot].is(flag::UNCOUNTED) {
            self.limits.release(&self.conns[slot].address);
        }
    }

    /// Ends a session and both of its connections; the client's with a reset if it must not take what it has for
    /// the whole.
    pub(super) fn end_session(&mut self, s: u32, abort: bool) {
        let client = self.sessions[s].client;
        if self.phase(s) == Phase::Waiting {
            self.stop_waiting(client);
        }
        self.release_session(s);
        let conn = &mut self.conns[client];
        conn.session = NONE;
        if abort {
            conn.flags |= flag::ABORT;
        }
        self.close(client);
    }

    /// Frees a session's record and closes its gateway, if it still has one. The client is left to the caller.
    pub(super) fn release_session(&mut self, s: u32) {
        self.release_pipes(s);
        self.drop_gateway(s);
        self.sessions.remove(s);
    }

    pub(super) fn release_pipes(&mut self, s: u32) {
        let session = &mut self.sessions[s];
        for flow in [&mut session.up, &mut session.down] {
            if let Some(pipe) = flow.pipe.take() {
                self.io.release_pipe(pipe, flow.piped == 0);
                flow.piped = 0;
            }
        }
    }

    /// A session's time is up.
    pub(super) fn session_overdue(&mut self, s: u32) {
        let client = self.sessions[s].client;
        match self.phase(s) {
            Phase::Reading => self.refuse(client, Refusal::HeadTimeout, false),
            Phase::Waiting => self.waited_in_vain(s, None),
            // The gateway owes an answer, or room for the request.
            Phase::Asked if self.sessions[s].up.is_done() || !self.sessions[s].up.is_flushed() => {
                let head_only = self.sessions[s].method == crate::http::Method::Head;
                self.answer(client, Refusal::GatewayTimeout, false, head_only);
            }
            Phase::Asked | Phase::Answering | Phase::Tunnel => {
                self.counters.stalled.bump();
                self.end_session(s, self.phase(s) == Phase::Answering);
            }
            Phase::Parting => self.end_session(s, true),
            Phase::Resting | Phase::Free => {}
        }
    }

    /// A client has waited for a gateway for as long as it may, or for as long as there is hope.
    pub(super) fn waited_in_vain(&mut self, s: u32, refusal: Option<Refusal>) {
        let client = self.sessions[s].client;
        let domain = self.conns[client].domain;
        let busy = self.park[domain].gateways() > 0;
        let refusal = refusal.unwrap_or(if busy { Refusal::GatewayBusy } else { Refusal::GatewayAbsent });
        let head = self.kept_head(s);
        self.stop_waiting(client);
        self.decline(client, &head, At::Kept, refusal);
        self.next_head(client);
    }
}
