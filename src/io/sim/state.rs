//! The simulated world's state, shared by its shards and by the far ends of their connections.
use super::super::{Armed, Half, Interest, Key, Millis, Socket};
use super::armed::{Operation, Table};
use super::conn::{Conn, End};
use super::flow::Cork;
use super::meter::Meter;
use super::random::Random;
use super::tuning::Tuning;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

/// Descriptors below are taken, as in a real process.
const FIRST_FD: usize = 3;

#[derive(Default)]
pub(super) struct Listener {
    pub(super) accepting: bool,
    pub(super) closed: bool,
    pub(super) backlog: VecDeque<usize>,
}

/// Whom something concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    /// The driver of the world.
    Nobody,
    /// Who holds a far end.
    Actor(usize),
    Shard(usize),
    /// Both ends of a connection.
    Conn(usize),
}

pub(super) struct Shard<M> {
    pub(super) table: Table,
    pub(super) listeners: Vec<Listener>,
    /// Mail on its way here, by sender; the last sender is the outside. Times never go down.
    pub(super) inbox: Vec<VecDeque<(Millis, M)>>,
    /// Something has happened since its last turn, by itself or by others, and an event may have come of it.
    pub(super) stirred: bool,
    /// It has ended: it has no more turns.
    pub(super) over: bool,
    pub(super) meter: Meter,
    /// Milliseconds that this turn's calls have taken.
    pub(super) spent: usize,
    /// When its last turn was.
    pub(super) turned: Millis,
}

pub(super) struct State<M> {
    pub(super) seed: u64,
    pub(super) tuning: Tuning,
    pub(super) random: Random,
    pub(super) now: Millis,
    /// Times at which something may become possible that is not now, and for whom.
    wakes: BinaryHeap<Reverse<(Millis, Whom)>>,
    /// By actor: whether something may have become possible for it since its last step.
    awake: Vec<bool>,
    /// The actor whose step this is.
    acting: usize,
    /// Connections with something kept back, by when it goes.
    corks: BinaryHeap<Reverse<(Millis, usize)>>,
    pub(super) conns: Vec<Conn>,
    /// Connection behind each descriptor.
    fds: Vec<Option<usize>>,
    pub(super) shards: Vec<Shard<M>>,
    trace: VecDeque<String>,
    /// How many of the last lines are kept.
    trace_lines: usize,
}

impl<M> State<M> {
    pub(super) fn new(seed: u64, tuning: Tuning, shards: usize, trace_lines: usize) -> State<M> {
        let shard = || Shard {
            table: Table::default(),
            listeners: (0..tuning.listeners).map(|_| Listener::default()).collect(),
            inbox: (0..=shards).map(|_| VecDeque::new()).collect(),
            stirred: false,
            over: false,
            meter: Meter::default(),
            spent: 0,
            turned: 0,
        };
        State {
            seed,
            random: Random::new(seed),
            now: tuning.epoch_millis,
            wakes: BinaryHeap::new(),
            awake: Vec::new(),
            acting: 0,
            corks: BinaryHeap::new(),
            conns: Vec::new(),
            fds: vec![None; FIRST_FD],
            shards: (0..shards).map(|_| shard()).collect(),
            trace: VecDeque::new(),
            trace_lines,
            tuning,
        }
    }

    /// Ends the simulation: a rule of [`super::super::Engine`] or [`super::super::Calls`] was broken.
    pub(super) fn fault(&self, what: &str) -> ! {
        panic!("seed {}, {} ms: {what}", self.seed, self.now)
    }

    /// Adds a line to the trace, if one is kept.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace_lines > 0 {
            if self.trace.len() == self.trace_lines {
                self.trace.pop_front();
            }
            self.trace.push_back(format!("{:>7} {}", self.now, line()));
        }
    }

    pub(super) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace).into()
    }

    // Who has something to do. Neither a shard nor an actor is asked unless something may have changed for it, which
    // saves most of the time that a simulation would take.

    /// Remembers that something may become possible at `at`.
    pub(super) fn wake_at(&mut self, at: Millis, whom: Whom) {
        match at > self.now {
            true => self.wakes.push(Reverse((at, whom))),
            false => self.wake(whom),
        }
    }

    /// Something may have become possible.
    pub(super) fn wake(&mut self, whom: Whom) {
        match whom {
            Whom::Nobody => {}
            Whom::Actor(actor) => {
                self.know(actor);
                self.awake[actor] = true;
            }
            Whom::Shard(shard) => self.shards[shard].stirred = true,
            Whom::Conn(conn) => {
                let Conn { near, far, .. } = self.conns[conn];
                self.shards[near].stirred = true;
                self.wake(Whom::Actor(far));
            }
        }
    }

    /// Wakes whom the time has come for. Says when it next comes for somebody.
    pub(super) fn next_wake(&mut self) -> Option<Millis> {
        while let Some(&Reverse((at, whom))) = self.wakes.peek() {
            if at > self.now {
                return Some(at);
            }
            self.wakes.pop();
            self.wake(whom);
        }
        None
    }

    /// An actor's step begins, or would. False if nothing has become possible for it since the last one.
    pub(super) fn act(&mut self, actor: usize) -> bool {
        self.know(actor);
        self.acting = actor;
        std::mem::take(&mut self.awake[actor])
    }

    /// Whether somebody's step or turn is due now. A shard whose end has come is not asked any more.
    pub(super) fn is_anyone_awake(&self) -> bool {
        self.awake.contains(&true) || self.shards.iter().any(|shard| shard.stirred && !shard.over)
    }

    fn know(&mut self, actor: usize) {
        if self.awake.len() <= actor {
            self.awake.resize(actor + 1, true);
        }
    }

    /// The actor whose step this is has something to do at `at`.
    pub(super) fn wake_actor_at(&mut self, at: Millis) {
        self.wake_at(at, Whom::Actor(self.acting));
    }

    // What a turn costs.

    /// A call that receives, sends or splices: it counts, and it may take time.
    pub(super) fn called(&mut self, shard: usize, conn: usize, bytes: usize) {
        let State { shards, tuning, random, .. } = self;
        let outcome = shards[shard].meter.called(conn, bytes, &tuning.budget);
        let slow = shards[shard].spent < tuning.slow_max && random.chance(tuning.slow);
        shards[shard].spent += usize::from(slow);
        self.now += Millis::from(slow);
        if let Err(wrong) = outcome {
            self.fault(&format!("shard {shard}: {wrong}"));
        }
    }

    /// The shard does something with a connection.
    pub(super) fn touched(&mut self, shard: usize, conn: usize) {
        self.shards[shard].meter.touched(conn);
        self.conns[conn].near = shard;
    }

    /// Says which connection was kept waiting, up to now, for what was announced and did not follow.
    pub(super) fn idle_cork(&mut self) -> Option<String> {
        while let Some(&Reverse((at, conn))) = self.corks.peek()
            && at <= self.now
        {
            self.corks.pop();
            if self.conns[conn].held_until(End::Near) == Some(at) && self.tuning.cork_is_fault {
                return Some(format!("peer {conn} waits for bytes that were sent as if more would follow at once"));
            }
        }
        None
    }

    // Descriptors.

    /// A descriptor for a connection: the lowest free number, as a kernel would.
    pub(super) fn open(&mut self, conn: usize) -> Socket {
        let free = (FIRST_FD..self.fds.len()).find(|&fd| self.fds[fd].is_none());
        let fd = free.unwrap_or_else(|| {
            self.fds.push(None);
            self.fds.len() - 1
        });
        self.fds[fd] = Some(conn);
        Socket::new(fd as i32)
    }

    /// The connection behind a descriptor, up to date.
    pub(super) fn behind(&mut self, socket: &Socket, doing: &str) -> usize {
        let conn = usize::try_from(socket.number()).ok().and_then(|fd| self.fds.get(fd).copied().flatten());
        let Some(conn) = conn else { self.fault(&format!("{doing} on {socket:?}, which is closed")) };
        self.conns[conn].settle(self.now);
        conn
    }

    /// Takes a descriptor away. Nothing may be armed for it.
    pub(super) fn vacate(&mut self, socket: Socket, doing: &str) -> usize {
        let conn = self.behind(&socket, doing);
        let fd = socket.into_number();
        for (number, shard) in self.shards.iter().enumerate() {
            if let Some(operation) = shard.table.on(fd) {
                let Operation { key, armed, .. } = operation;
                self.fault(&format!("{doing} of socket {fd} while shard {number} has {armed:?} armed for {key:?}"));
            }
        }
        self.fds[fd as usize] = None;
        conn
    }

    /// Descriptors in use.
    pub(super) fn open_fds(&self) -> Vec<usize> {
        let open = self.fds.iter().enumerate().filter(|(_, conn)| conn.is_some());
        open.map(|(fd, _)| fd).collect()
    }

    // Operations.

    pub(super) fn arm(&mut self, shard: usize, socket: &Socket, key: Key, armed: Armed) {
        let conn = self.behind(socket, "arming");
        let fd = socket.number();
        self.touched(shard, conn);
        for (number, other) in self.shards.iter().enumerate() {
            if number != shard && other.table.on(fd).is_some() {
                self.fault(&format!("shard {shard} arms {socket:?}, which shard {number} has armed"));
            }
        }
        let stray = self.shards[shard].table.on(fd).filter(|other| other.key != key);
        if let Some(other) = stray {
            self.fault(&format!("{socket:?} armed for {key:?} and {:?}", other.key));
        }
        let not_before = match self.random.chance(self.tuning.late) {
            true => self.now + self.random.between(1, self.tuning.late_max) as Millis,
            false => self.now,
        };
        let spurious = armed == Armed::Watch(Interest::Readable) && self.random.chance(self.tuning.spurious);
        let spurious_at = spurious.then(|| self.now + self.random.below(20) as Millis);
        for at in [Some(not_before), spurious_at].into_iter().flatten() {
            self.wake_at(at, Whom::Shard(shard));
        }
        self.note(|| format!("shard {shard}: arm {armed:?} {fd} {}", name(key)));
        let operation = Operation { key, fd, conn, armed, cancelled: false, ended: false, not_before, spurious_at };
        self.shards[shard].stirred = true;
        if let Err(wrong) = self.shards[shard].table.arm(operation) {
            self.fault(&wrong);
        }
    }

    /// A call that receives must not overtake a stream.
    pub(super) fn forbid_stream(&self, socket: &Socket, doing: &str) {
        for shard in &self.shards {
            let stream =
                shard.table.operations.iter().any(|o| o.fd == socket.number() && o.armed == Armed::Stream && !o.ended);
            if stream {
                self.fault(&format!("{doing} on {socket:?} while a stream is armed: bytes would change order"));
            }
        }
    }

    // Connections.

    /// A new connection at one of the listeners. The near end of one that nobody listens for is closed already.
    pub(super) fn connect(&mut self, shard: usize, listener: usize, address: SocketAddr) -> usize {
        let (least, most) = self.tuning.socket_bytes;
        let (low, high) = (least.min(most), least.max(most));
        let latency = self.random.below(self.tuning.latency_max + 1) as Millis;
        let tight = self.random.chance(200);
        let mut size = || if tight { low } else { self.random.between(low, high) };
        let (near, far) = (size(), size());
        let mut conn = Conn::new(near, far, latency, address);
        (conn.near, conn.far) = (shard, self.acting);
        conn.forgetful = self.random.chance(self.tuning.forgetful);
        let number = self.conns.len();
        if self.shards[shard].listeners[listener].closed {
            conn.abort(End::Near, self.now);
        } else {
            self.shards[shard].listeners[listener].backlog.push_back(number);
        }
        self.conns.push(conn);
        self.wake(Whom::Conn(number));
        number
    }

    /// Sends from one end. `None` when that end cannot send any more. With `more`, the kernel may keep back the last of
    /// it; not when less fits than was to be sent, because then it has other things to send.
    pub(super) fn send(&mut self, conn: usize, end: End, parts: &[&[u8]], limit: usize, more: bool) -> Option<usize> {
        let (now, mut sent) = (self.now, 0);
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let mut room = self.conns[conn].room(end)?.min(limit);
        let short = room < whole;
        let cork = (more && !short && self.tuning.cork_millis > 0)
            .then(|| Cork { segment_bytes: self.tuning.segment_bytes, until: now + self.tuning.cork_millis as Millis });
        let stall = match end == End::Near && self.random.chance(self.tuning.stall) {
            true => self.random.between(1, self.tuning.stall_max) as Millis,
            false => 0,
        };
        if short && self.conns[conn].held_until(end).is_some() {
            let at = self.conns[conn].let_go(end, now);
            self.wake_at(at, Whom::Conn(conn));
        }
        for part in parts {
            let some = part.len().min(room);
            if some == 0 {
                continue;
            }
            let at = self.conns[conn].put(end, now, stall, &part[..some], cork);
            self.wake_at(at, Whom::Conn(conn));
            sent += some;
            room -= some;
        }
        if let Some(at) = self.conns[conn].goes_at(end) {
            self.wake_at(at, Whom::Conn(conn));
            self.corks.push(Reverse((at, conn)));
        }
        Some(sent)
    }

    /// Lets what the near end has sent, and the kernel keeps back, go.
    pub(super) fn push(&mut self, conn: usize) {
        if self.conns[conn].held_until(End::Near).is_some() {
            let at = self.conns[conn].let_go(End::Near, self.now);
            self.wake_at(at, Whom::Conn(conn));
        }
    }

    pub(super) fn shutdown(&mut self, conn: usize, end: End, half: Half) {
        let at = self.conns[conn].shutdown(end, self.now, half);
        self.wake(Whom::Conn(conn));
        self.wake_at(at, Whom::Conn(conn));
    }

    pub(super) fn close(&mut self, conn: usize, end: End, hard: bool) {
        let now = self.now;
        let at = match hard {
            true => self.conns[conn].abort(end, now),
            false => self.conns[conn].close(end, now),
        };
        self.wake(Whom::Conn(conn));
        self.wake_at(at, Whom::Conn(conn));
    }

    /// Resets a connection whose near end stays open.
    pub(super) fn disconnect(&mut self, conn: usize) {
        let now = self.now;
        let at = self.conns[conn].disconnect(now);
        self.wake(Whom::Conn(conn));
        self.wake_at(at, Whom::Conn(conn));
    }

    /// Puts mail into a shard's inbox, behind what the same sender has there.
    pub(super) fn post(&mut self, from: usize, to: usize, mail: M) {
        if to >= self.shards.len() {
            self.fault(&format!("mail from shard {from} to shard {to}, which does not exist"));
        }
        let delay = self.random.below(self.tuning.mail_delay_max + 1) as Millis;
        let inbox = &mut self.shards[to].inbox[from];
        let at = (self.now + delay).max(inbox.back().map_or(0, |last| last.0));
        inbox.push_back((at, mail));
        self.wake_at(at, Whom::Shard(to));
        self.note(|| format!("mail from {from} to {to}"));
    }
}

/// A key in few letters.
pub(super) fn name(key: Key) -> String {
    format!("{}.{}", key.slot, key.generation)
}
