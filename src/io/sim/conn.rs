//! A simulated TCP connection, the same seen from both ends.
//!
//! What Linux does and a relay must live with is modelled on purpose: closing with bytes unread resets; bytes sent
//! to an end that is closed bring a reset back; a reset is reported once, by whichever call comes first, and
//! looks like an end of stream to the calls after it.
use super::super::{Half, Millis};
use super::flow::{Cork, Flow};
use std::net::SocketAddr;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The relay's descriptor.
    Near = 0,
    /// The client or gateway.
    Far = 1,
}

impl End {
    fn other(self) -> End {
        match self {
            End::Near => End::Far,
            End::Far => End::Near,
        }
    }
}

/// What receiving at one end finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The other end has finished.
    Eof,
    /// Reset by the other end; reported once.
    Reset,
}

/// What one end has done, and what was done to it.
#[derive(Clone, Copy, Default)]
struct Side {
    /// It has sent its end of stream.
    finished: bool,
    /// It has shut down its receiving half.
    deaf: bool,
    /// Its descriptor is closed.
    closed: bool,
    /// When a reset reaches it.
    reset: Option<Millis>,
    /// A reset has reached it.
    dead: bool,
    /// It has not been told yet.
    untold: bool,
}

pub(super) struct Conn {
    /// By receiving end.
    flows: [Flow; 2],
    sides: [Side; 2],
    /// Milliseconds each way.
    latency: Millis,
    /// Whether the far end forgets received bytes when a reset comes, as some systems do.
    pub(super) forgetful: bool,
    pub(super) address: SocketAddr,
    /// The shard that has the near end, or had it last.
    pub(super) near: usize,
    /// The actor that has the far end.
    pub(super) far: usize,
    /// Whether the near end has received anything yet.
    pub(super) heard: bool,
    /// The near end's low-water mark.
    pub(super) mark: usize,
    /// Since when something is there that it keeps from being heard.
    pub(super) unheard_since: Option<Millis>,
}

impl Conn {
    pub(super) fn new(to_near: usize, to_far: usize, latency: Millis, address: SocketAddr) -> Conn {
        Conn {
            flows: [Flow::new(to_near), Flow::new(to_far)],
            sides: [Side::default(); 2],
            latency,
            forgetful: false,
            address,
            near: 0,
            far: 0,
            heard: false,
            mark: 1,
            unheard_since: None,
        }
    }

    /// Lets everything happen that is due.
    pub(super) fn settle(&mut self, now: Millis) {
        for end in [End::Near, End::Far] {
            let at = end as usize;
            self.flows[at].settle(now);
            if !self.sides[at].dead && self.sides[at].reset.is_some_and(|due| due <= now) {
                self.sides[at].dead = true;
                self.sides[at].untold = true;
                self.flows[at].cut();
                if end == End::Far && self.forgetful {
                    self.flows[at].clear();
                }
                self.flows[end.other() as usize].cut();
            }
        }
    }

    /// Whether a poll for input would end.
    pub(super) fn readable(&self, end: End) -> bool {
        let mark = if end == End::Near { self.mark } else { 1 };
        let side = &self.sides[end as usize];
        let flow = &self.flows[end as usize];
        match self.look(end) {
            Found::Bytes(there) if there < mark => side.dead || side.deaf || flow.has_its_end() || flow.room() == 0,
            found => found != Found::Nothing,
        }
    }

    /// Whether a poll for output would end.
    pub(super) fn writable(&self, end: End) -> bool {
        let side = &self.sides[end as usize];
        side.dead || side.finished || self.flows[end.other() as usize].has_much_room()
    }

    /// Whether a reset has reached this end.
    pub(super) fn is_dead(&self, end: End) -> bool {
        self.sides[end as usize].dead
    }

    /// Whether everything that `end` has sent was received.
    pub(super) fn has_sent_all(&self, end: End) -> bool {
        !self.flows[end.other() as usize].has_unread()
    }

    /// What receiving would find.
    pub(super) fn look(&self, end: End) -> Found {
        let side = &self.sides[end as usize];
        let flow = &self.flows[end as usize];
        match flow.arrived() {
            0 if side.untold => Found::Reset,
            0 if side.dead || side.deaf || flow.at_end() => Found::Eof,
            0 => Found::Nothing,
            bytes => Found::Bytes(bytes),
        }
    }

    /// Receives into `out`, which must not be longer than what was found.
    pub(super) fn take(&mut self, end: End, out: &mut [u8]) {
        self.heard |= end == End::Near;
        self.flows[end as usize].pop(out);
    }

    /// Reports a reset to the caller, once.
    pub(super) fn tell(&mut self, end: End) -> bool {
        std::mem::take(&mut self.sides[end as usize].untold)
    }

    /// How many bytes `end` may send now; `None` when it cannot send any more.
    pub(super) fn room(&self, end: End) -> Option<usize> {
        let side = &self.sides[end as usize];
        match side.dead || side.finished {
            true => None,
            // A closed receiver takes everything, and answers with a reset.
            false if self.sides[end.other() as usize].closed => Some(usize::MAX),
            false => Some(self.flows[end.other() as usize].room()),
        }
    }

    /// Bytes that `end` has sent and the other has not taken.
    pub(super) fn unsent(&self, end: End) -> usize {
        self.flows[end.other() as usize].len()
    }

    /// Sends bytes for which there is room. Returns when something comes of it.
    pub(super) fn put(&mut self, end: End, now: Millis, stall: Millis, bytes: &[u8], cork: Option<Cork>) -> Millis {
        let at = now + self.latency + stall;
        if self.sides[end.other() as usize].closed {
            return self.reset(end, at + self.latency);
        }
        self.flows[end.other() as usize].push(now, at, bytes, cork)
    }

    /// When what `end` has sent and the kernel keeps back goes by itself.
    pub(super) fn goes_at(&self, end: End) -> Option<Millis> {
        self.flows[end.other() as usize].held_until()
    }

    /// Until when something that `end` has sent is kept back, if nothing has ended since.
    pub(super) fn held_until(&self, end: End) -> Option<Millis> {
        let over = self.sides.iter().any(|side| side.closed || side.finished || side.reset.is_some());
        self.flows[end.other() as usize].held_until().filter(|_| !over)
    }

    /// What was kept back goes: nothing more can be sent before that.
    pub(super) fn let_go(&mut self, end: End, now: Millis) -> Millis {
        self.flows[end.other() as usize].let_go(now + self.latency);
        now + self.latency
    }

    /// Shuts down. Returns when the other end notices.
    pub(super) fn shutdown(&mut self, end: End, now: Millis, half: Half) -> Millis {
        let side = &mut self.sides[end as usize];
        side.deaf |= half == Half::Both;
        if side.dead {
            return now;
        }
        side.finished = true;
        self.flows[end.other() as usize].finish(now + self.latency)
    }

    /// Closes, as the kernel does: with a reset if something is unread. Returns when the other end notices.
    pub(super) fn close(&mut self, end: End, now: Millis) -> Millis {
        let unread = self.flows[end as usize].has_unread();
        self.sides[end as usize].closed = true;
        self.flows[end as usize].clear();
        if unread {
            return self.reset(end.other(), now + self.latency);
        }
        self.shutdown(end, now, Half::Send)
    }

    /// Closes with a reset. Returns when the other end notices.
    pub(super) fn abort(&mut self, end: End, now: Millis) -> Millis {
        self.sides[end as usize].closed = true;
        self.flows[end as usize].clear();
        self.reset(end.other(), now + self.latency)
    }

    /// Resets the other end at once and ends this one, which stays open. Returns when the other end notices.
    pub(super) fn disconnect(&mut self, now: Millis) -> Millis {
        let near = &mut self.sides[End::Near as usize];
        near.dead = true;
        near.untold = true;
        self.flows[End::Near as usize].clear();
        self.reset(End::Far, now + self.latency)
    }

    /// Lets a reset reach `end` at `at`.
    fn reset(&mut self, end: End, at: Millis) -> Millis {
        let side = &mut self.sides[end as usize];
        side.reset = Some(side.reset.map_or(at, |earlier| earlier.min(at)));
        at
    }
}
