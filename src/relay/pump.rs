//! Bytes from one side of a session to the other, with back-pressure: by ring buffer, or by splice when there are many.
use super::{
    conn::{NONE, armed, flag},
    letter::Letter,
    session::{Flow, Phase},
    shard::Shard,
};
use crate::{
    http::Body,
    io::{Io, Pipe, Received, Spliced},
};
use std::io::IoSlice;

/// A direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to the gateway.
    Up,
    /// From the gateway to the client.
    Down,
}

/// How sending went.
enum Sent {
    /// All of it.
    All,
    /// Not all: there is no more room.
    Blocked,
    /// The destination takes no more.
    Refused,
}

/// Whole buffers in a row that show a stream worth splicing, when its length is not known.
const FULL_READS_OF_A_STREAM: u8 = 3;
/// A splice that moves less than this shows that a stream has dried up.
const SPLICE_DRY: usize = 4096;
/// Chunks with less than this to go are received: what stands between them would cost more than splicing saves.
const CHUNK_SPLICE_MIN: u64 = 16 << 10;
/// What is received where one spliced chunk ends and the next begins: its line end and the next one's size, and
/// little of its data.
const BOUNDARY_BYTES: usize = 64;
/// Most bytes asked for in one splice; a pipe holds no more.
const SPLICE_MAX: usize = 1 << 20;

impl<I: Io<Mail = Letter>> Shard<I> {
    pub(super) fn flow(&mut self, s: u32, way: Way) -> &mut Flow {
        let session = &mut self.sessions[s];
        match way {
            Way::Up => &mut session.up,
            Way::Down => &mut session.down,
        }
    }

    /// The slots a direction leads from and to.
    fn ends(&self, s: u32, way: Way) -> (u32, u32) {
        let session = &self.sessions[s];
        match way {
            Way::Up => (session.client, session.gateway),
            Way::Down => (session.gateway, session.client),
        }
    }

    /// Moves what can be moved in one direction. Ends the session if the client takes no more, or if chunked
    /// framing breaks.
    pub(super) fn pump(&mut self, s: u32, way: Way) {
        if self.flow(s, way).dead {
            return self.discard(s, way);
        }
        match self.push(s, way) {
            Ok(Sent::All) => self.splice(s, way),
            Ok(Sent::Blocked) => {
                let (_, to) = self.ends(s, way);
                self.want_room(to);
            }
            Ok(Sent::Refused) => self.refused(s, way),
            // What went before cannot be taken back: both sides must see that the message is not whole.
            Err(()) => self.end_session(s, true),
        }
    }

    /// The destination takes no more. A gateway may still answer; a client is gone.
    fn refused(&mut self, s: u32, way: Way) {
        match way {
            Way::Down => self.end_session(s, true),
            Way::Up => {
                self.release_pipe_of(s, way);
                self.flow(s, way).dead = true;
                self.discard(s, way);
            }
        }
    }

    /// Throws away what a gateway that takes no more would have got next.
    fn discard(&mut self, s: u32, way: Way) {
        let (from, _) = self.ends(s, way);
        let flow = self.flow(s, way);
        flow.out.clear();
        flow.out_sent = 0;
        let approved = std::mem::take(&mut flow.approved);
        self.consume(from, approved);
    }

    /// Sends what is pending in order: own bytes, the pipe, received buffers.
    fn push(&mut self, s: u32, way: Way) -> Result<Sent, ()> {
        let (from, to) = self.ends(s, way);
        let fd = self.conns[to].fd;
        let mut moved = false;
        let outcome = loop {
            let flow = self.flow(s, way);
            if !flow.out.is_empty() {
                let rest = flow.out.len() - flow.out_sent;
                let out = std::mem::take(&mut flow.out);
                let start = flow.out_sent;
                let sent = self.io.send(fd, &[IoSlice::new(&out[start..])]);
                let flow = self.flow(s, way);
                flow.out = out;
                let Ok(sent) = sent else { break Sent::Refused };
                flow.out_sent += sent;
                moved |= sent > 0;
                if sent < rest {
                    break Sent::Blocked;
                }
                flow.out.clear();
                flow.out_sent = 0;
                continue;
            }
            if flow.piped > 0 {
                match self.drain_pipe(s, way) {
                    Sent::All => moved = true,
                    other => break other,
                }
                continue;
            }
            if from == NONE {
                break Sent::All;
            }
            let Some(front) = self.front(from) else { break Sent::All };
            if self.flow(s, way).approved == 0 {
                if self.flow(s, way).body.is_done() {
                    break Sent::All;
                }
                let mut body = self.flow(s, way).body;
                let approved = body.take(self.io.bytes(&front)).map_err(|_| ())?;
                let flow = self.flow(s, way);
                flow.body = body;
                flow.approved = approved;
            }
            let n = front.len().min(self.flow(s, way).approved);
            let Ok(sent) = self.io.send(fd, &[IoSlice::new(&self.io.bytes(&front)[..n])]) else {
                break Sent::Refused;
            };
            self.flow(s, way).approved -= sent;
            self.consume(from, sent);
            moved |= sent > 0;
            if sent < n {
                break Sent::Blocked;
            }
        };
        if moved {
            self.touch(s);
        }
        Ok(outcome)
    }

    /// A session has made progress.
    pub(super) fn touch(&mut self, s: u32) {
        let session = &self.sessions[s];
        let time = match session.phase {
            Phase::Tunnel => self.times.tunnel_idle,
            Phase::Asked if session.up.is_done() => self.times.response,
            _ => self.times.session_idle,
        };
        self.conns[session.client].deadline = self.tick + time;
    }

    fn drain_pipe(&mut self, s: u32, way: Way) -> Sent {
        let (_, to) = self.ends(s, way);
        let fd = self.conns[to].fd;
        let flow = self.flow(s, way);
        let more = !flow.body.is_done();
        let (Some(pipe), mut piped) = (flow.pipe, flow.piped) else { return Sent::All };
        let outcome = loop {
            if piped == 0 {
                break Sent::All;
            }
            match self.io.splice_out(pipe, fd, piped, more) {
                Spliced::Moved(n) => piped -= n,
                Spliced::Blocked => break Sent::Blocked,
                Spliced::Eof | Spliced::Failed => break Sent::Refused,
            }
        };
        self.flow(s, way).piped = piped;
        outcome
    }

    /// Whether a direction should be spliced from here on.
    fn is_worth_splicing(&mut self, s: u32, way: Way) -> bool {
        let (splice_min, chunk_min) = (self.config.splice_min, self.chunk_splice_min());
        let flow = self.flow(s, way);
        match flow.body {
            Body::UntilClose => flow.full_reads >= FULL_READS_OF_A_STREAM,
            Body::Chunked(_) => flow.full_reads > 0 && flow.body.opaque() >= chunk_min,
            _ => flow.full_reads > 0 && flow.body.opaque() >= splice_min,
        }
    }

    /// Everything received is sent: if much more is to come, it goes by splice.
    fn splice(&mut self, s: u32, way: Way) {
        let (from, _) = self.ends(s, way);
        if from == NONE || self.conns[from].has_input() {
            return;
        }
        if !self.flow(s, way).bulk {
            if !self.is_worth_splicing(s, way) {
                return;
            }
            self.counters.spliced.bump();
            self.flow(s, way).bulk = true;
            self.conns[from].flags &= !flag::HOT;
        }
        let conn = &self.conns[from];
        // A stream that is being stopped still delivers, and what it delivers comes first.
        if conn.armed & (armed::STREAM | armed::POLL_IN) != 0 || conn.flags & (flag::EOF | flag::FAILED) != 0 {
            return;
        }
        self.splice_turn(s, way);
    }

    fn splice_turn(&mut self, s: u32, way: Way) {
        let (from, to) = self.ends(s, way);
        let source = self.conns[from].fd;
        let Some(pipe) = self.flow(s, way).pipe.or_else(|| self.io.pipe()) else { return self.stop_splicing(s, way) };
        self.flow(s, way).pipe = Some(pipe);
        let mut left = self.config.turn_bytes;
        loop {
            let flow = self.flow(s, way);
            let opaque = flow.body.opaque();
            if left == 0 {
                return self.go_on_later(from);
            }
            if opaque == 0 {
                if self.flow(s, way).body.is_done() {
                    return self.stop_splicing(s, way);
                }
                if !self.cross_boundary(s, way, pipe) {
                    return;
                }
                left = left.saturating_sub(BOUNDARY_BYTES);
                continue;
            }
            let max = usize::try_from(opaque).unwrap_or(usize::MAX).min(SPLICE_MAX).min(left);
            let moved = match self.io.splice_in(source, pipe, max) {
                Spliced::Moved(moved) => moved,
                Spliced::Blocked => return,
                Spliced::Eof => {
                    self.conns[from].flags |= flag::EOF;
                    return;
                }
                Spliced::Failed => {
                    self.conns[from].flags |= flag::FAILED;
                    return;
                }
            };
            left = left.saturating_sub(moved);
            let flow = self.flow(s, way);
            flow.body.skip(moved as u64);
            flow.piped += moved;
            flow.unseen = true;
            match self.drain_pipe(s, way) {
                Sent::All if moved < SPLICE_DRY && self.flow(s, way).body == Body::UntilClose => {
                    self.touch(s);
                    return self.stop_splicing(s, way);
                }
                // Only now may the request be complete, and the answer be what is waited for.
                Sent::All => self.touch(s),
                Sent::Blocked => return self.want_room(to),
                Sent::Refused => return self.refused(s, way),
            }
        }
    }

    fn chunk_splice_min(&self) -> u64 {
        CHUNK_SPLICE_MIN.min(self.config.splice_min)
    }

    /// From one chunk to the next while splicing. False if splicing does not go on right now.
    fn cross_boundary(&mut self, s: u32, way: Way, pipe: Pipe) -> bool {
        let (from, to) = self.ends(s, way);
        let (source, destination) = (self.conns[from].fd, self.conns[to].fd);
        let buf = match self.io.recv_at_most(source, BOUNDARY_BYTES) {
            Received::Bytes(buf) => buf,
            Received::Nothing => return false,
            Received::NoBuffers => {
                self.starve(from);
                return false;
            }
            Received::Eof => {
                self.conns[from].flags |= flag::EOF;
                return false;
            }
            Received::Failed => {
                self.conns[from].flags |= flag::FAILED;
                return false;
            }
        };
        self.flow(s, way).unseen = buf.len() == BOUNDARY_BYTES;
        let mut body = self.flow(s, way).body;
        let whole = body.take(self.io.bytes(&buf)) == Ok(buf.len());
        if !whole || body.opaque() < self.chunk_splice_min() {
            // The end, an error, or small chunks: back to the ring, these bytes first.
            self.append(from, buf);
            self.stop_splicing(s, way);
            self.pump(s, way);
            return false;
        }
        // The next data are fetched before the boundary goes out, so that it does not travel alone.
        let max = usize::try_from(body.opaque()).unwrap_or(usize::MAX).min(SPLICE_MAX);
        let moved = match self.io.splice_in(source, pipe, max) {
            Spliced::Moved(moved) => moved,
            Spliced::Failed => {
                self.conns[from].flags |= flag::FAILED;
                0
            }
            // An end is still there at the next look.
            Spliced::Blocked | Spliced::Eof => 0,
        };
        body.skip(moved as u64);
        let sent = self.io.send_with(destination, &[IoSlice::new(self.io.bytes(&buf))], moved > 0);
        let rest = self.io.bytes(&buf)[*sent.as_ref().unwrap_or(&0)..].to_vec();
        self.io.release(buf);
        let flow = self.flow(s, way);
        flow.body = body;
        flow.piped += moved;
        flow.unseen |= moved > 0;
        flow.out.extend_from_slice(&rest);
        if sent.is_err() {
            self.refused(s, way);
            return false;
        }
        self.touch(s);
        if !rest.is_empty() {
            self.want_room(to);
            return false;
        }
        match self.drain_pipe(s, way) {
            Sent::All => return true,
            Sent::Blocked => self.want_room(to),
            Sent::Refused => self.refused(s, way),
        }
        false
    }

    /// Back to ring buffers.
    fn stop_splicing(&mut self, s: u32, way: Way) {
        self.release_pipe_of(s, way);
        let flow = self.flow(s, way);
        flow.bulk = false;
        flow.full_reads = 0;
    }

    fn release_pipe_of(&mut self, s: u32, way: Way) {
        let flow = self.flow(s, way);
        let empty = std::mem::take(&mut flow.piped) == 0;
        if let Some(pipe) = flow.pipe.take() {
            self.io.release_pipe(pipe, empty);
        }
    }
}
