//! The handle by which a test holds a simulated world: its clock and the far ends of its connections.
use super::super::Millis;
use super::Sim;
use super::conn::{End, Found};
use super::state::{State, Whom};
use super::tuning::Tuning;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// The far end of a connection: what a client or a gateway holds. Never used again for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer(usize);

/// What a far end receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes were appended, at least one.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The relay has finished sending.
    Eof,
    /// The relay reset the connection; said once, later calls find [`Heard::Eof`].
    Reset,
}

/// A simulated world: time, shards, connections. Clones are handles to the same world.
pub struct World<M>(pub(super) Rc<RefCell<State<M>>>);

impl<M> Clone for World<M> {
    fn clone(&self) -> Self {
        World(Rc::clone(&self.0))
    }
}

impl<M> World<M> {
    /// A world with so many shards. It keeps the last `trace_lines` lines of what happens.
    pub fn new(seed: u64, tuning: Tuning, shards: usize, trace_lines: usize) -> World<M> {
        World(Rc::new(RefCell::new(State::new(seed, tuning, shards, trace_lines))))
    }

    /// The back end of one shard; to be asked for once each.
    pub fn shard(&self, number: usize) -> Sim<M> {
        Sim::new(self.clone(), number)
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.0.borrow().now
    }

    /// When next something may become possible that is not now.
    pub fn next_wake(&self) -> Option<Millis> {
        self.0.borrow_mut().next_wake()
    }

    /// Moves the clock forward.
    pub fn jump(&self, to: Millis) {
        let mut state = self.0.borrow_mut();
        assert!(to >= state.now, "time goes forward");
        state.now = to;
        let _ = state.next_wake();
        if let Some(wrong) = state.idle_cork() {
            state.fault(&wrong);
        }
    }

    /// Makes sure that the clock stops at `at`, if that is still to come, and that the actor whose step this is gets
    /// another one then.
    pub fn wake_at(&self, at: Millis) {
        self.0.borrow_mut().wake_actor_at(at);
    }

    /// Makes sure that the clock stops at `at`, if that is still to come.
    pub fn stop_at(&self, at: Millis) {
        self.0.borrow_mut().wake_at(at, Whom::Nobody);
    }

    /// The step of an actor, by number, begins: connections made from here on are its own. False if nothing has
    /// happened to its connections, and none of its times has come, since the last step: then it has nothing to do.
    pub fn act(&self, actor: usize) -> bool {
        self.0.borrow_mut().act(actor)
    }

    /// Whether something has become possible for an actor or a shard that has not had its turn since.
    pub fn is_anyone_awake(&self) -> bool {
        self.0.borrow().is_anyone_awake()
    }

    /// An actor has something to do.
    pub fn wake(&self, actor: usize) {
        self.0.borrow_mut().wake(Whom::Actor(actor));
    }

    /// A shard may have something to do: its next turn comes even if there is nothing to tell it.
    pub fn wake_shard(&self, shard: usize) {
        self.0.borrow_mut().wake(Whom::Shard(shard));
    }

    /// Adds a line to the trace, if one is kept.
    pub fn note(&self, line: impl FnOnce() -> String) {
        self.0.borrow_mut().note(line);
    }

    /// Takes the last lines of the trace.
    pub fn take_trace(&self) -> Vec<String> {
        self.0.borrow_mut().take_trace()
    }

    /// Ends the simulation, naming seed and time.
    pub fn fault(&self, what: &str) -> ! {
        self.0.borrow().fault(what)
    }

    /// Sends mail from the outside to a shard.
    pub fn post(&self, to: usize, mail: M) {
        let mut state = self.0.borrow_mut();
        let outside = state.shards.len();
        state.post(outside, to, mail);
    }

    /// Connects to a listener of a shard, as if the kernel had chosen that shard.
    pub fn connect(&self, shard: usize, listener: usize) -> Peer {
        let number = self.0.borrow().conns.len();
        self.connect_from(shard, listener, Ipv4Addr::new(10, 0, 0, (number % 250) as u8).into())
    }

    /// The same, from an address.
    pub fn connect_from(&self, shard: usize, listener: usize, address: IpAddr) -> Peer {
        let mut state = self.0.borrow_mut();
        let port = 1024 + (state.conns.len() % 60_000) as u16;
        let address = SocketAddr::from((address, port));
        let conn = state.connect(shard, listener, address);
        state.note(|| format!("peer {conn} connects to shard {shard}"));
        Peer(conn)
    }

    /// Where a far end is.
    pub fn address(&self, peer: Peer) -> IpAddr {
        self.0.borrow().conns[peer.0].address.ip()
    }

    /// How many listeners each shard has.
    pub fn listeners(&self) -> usize {
        self.0.borrow().tuning.listeners
    }

    /// How many bytes there is room for; `None` when the connection is gone.
    pub fn room(&self, peer: Peer) -> Option<usize> {
        let state = &mut *self.0.borrow_mut();
        let now = state.now;
        state.conns[peer.0].settle(now);
        state.conns[peer.0].room(End::Far)
    }

    /// Sends what there is room for; 0 when there is none, `None` when the connection is gone.
    pub fn send(&self, peer: Peer, bytes: &[u8]) -> Option<usize> {
        let state = &mut *self.0.borrow_mut();
        state.conns[peer.0].settle(state.now);
        let sent = state.send(peer.0, End::Far, &[bytes], usize::MAX, false);
        if sent != Some(0) {
            state.wake(Whom::Conn(peer.0));
            state.note(|| format!("peer {}: sends {sent:?} of {}", peer.0, bytes.len()));
        }
        sent
    }

    /// Receives at most `max` bytes, appended to `out`.
    pub fn receive(&self, peer: Peer, max: usize, out: &mut Vec<u8>) -> Heard {
        let state = &mut *self.0.borrow_mut();
        let now = state.now;
        let conn = &mut state.conns[peer.0];
        conn.settle(now);
        let heard = match conn.look(End::Far) {
            Found::Nothing => return Heard::Nothing,
            Found::Eof => Heard::Eof,
            Found::Reset => {
                conn.tell(End::Far);
                Heard::Reset
            }
            Found::Bytes(there) => {
                let (before, len) = (out.len(), there.min(max));
                out.resize(before + len, 0);
                conn.take(End::Far, &mut out[before..]);
                Heard::Bytes(len)
            }
        };
        if let Heard::Bytes(_) = heard {
            // There is room again.
            state.wake(Whom::Conn(peer.0));
        }
        state.note(|| format!("peer {}: hears {heard:?}", peer.0));
        heard
    }

    /// Finishes sending; still receives.
    pub fn finish(&self, peer: Peer) {
        let state = &mut *self.0.borrow_mut();
        state.note(|| format!("peer {}: finishes", peer.0));
        state.shutdown(peer.0, End::Far, super::super::Half::Send);
    }

    /// Closes the far end.
    pub fn close(&self, peer: Peer) {
        let state = &mut *self.0.borrow_mut();
        state.note(|| format!("peer {}: closes", peer.0));
        state.close(peer.0, End::Far, false);
    }

    /// Closes the far end with a reset.
    pub fn reset(&self, peer: Peer) {
        let state = &mut *self.0.borrow_mut();
        state.note(|| format!("peer {}: resets", peer.0));
        state.close(peer.0, End::Far, true);
    }

    /// Says what is still open, armed or under way, if anything is.
    pub fn unrest(&self) -> Option<String> {
        let state = self.0.borrow();
        let open = state.open_fds();
        if !open.is_empty() {
            return Some(format!("descriptors left open: {open:?}"));
        }
        for (number, shard) in state.shards.iter().enumerate() {
            if let Some(operation) = shard.table.operations.iter().find(|operation| !operation.ended) {
                return Some(format!("shard {number} has {:?} armed for {:?}", operation.armed, operation.key));
            }
            if shard.inbox.iter().any(|mail| !mail.is_empty()) {
                return Some(format!("mail waits for shard {number}"));
            }
        }
        None
    }
}
