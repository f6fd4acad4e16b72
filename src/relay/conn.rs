//! Connection slots: one fixed record for every connection, parked or busy.
use super::chunked::Chunked;
use crate::io::{Chain, Fd, Key};
use std::net::{IpAddr, Ipv6Addr};

/// No slot, no session, no domain: the end of every list.
pub const NONE: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot is in the free list.
    Free,
    /// Between requests, or before the first: a head is awaited.
    Idle,
    /// A client with a session: its head is incomplete, it waits for a gateway, or it is joined with one.
    Client,
    /// A client on its way to another shard, once nothing is armed for it. `domain` holds the shard.
    Moving,
    /// A gateway in its domain's list.
    Parked,
    /// A gateway joined with a client.
    Gateway,
    /// A gateway whose response ended with a full buffer: its stream is stopped, to see what is behind, before it is
    /// parked again.
    Settling,
    /// Everything was said; the peer's own end is awaited, what it still sends is thrown away.
    Lingering,
    /// Shut down; closed as soon as nothing is armed for it.
    Closing,
}

/// One bit each of what is armed for a connection.
pub mod armed {
    /// A poll for something to receive.
    pub const POLL_IN: u8 = 1;
    /// A poll for room to send.
    pub const POLL_OUT: u8 = 2;
    /// A stream of received buffers.
    pub const STREAM: u8 = 4;
    /// A cancellation of whichever of the above receives. Not an operation of its own.
    pub const CANCELLING: u8 = 8;
}

/// One bit each of what is known about a connection.
pub mod flag {
    /// Receives so often that a stream is kept armed.
    pub const HOT: u16 = 1;
    /// The peer has finished sending.
    pub const EOF: u16 = 2;
    /// The connection failed; nothing can be sent or received.
    pub const FAILED: u16 = 4;
    /// In the list of those that found no buffer.
    pub const STARVED: u16 = 8;
    /// A gateway that speaks classic.
    pub const CLASSIC: u16 = 16;
    /// A gateway that wants its prefix stripped.
    pub const STRIP: u16 = 32;
    /// A client that was handed over before, for the request at hand.
    pub const HANDED_OVER: u16 = 64;
    /// In the list of those with more to move when the others have had their turn.
    pub const AGAIN: u16 = 128;
    /// Closed with a reset, so that the peer does not mistake what it has for the whole.
    pub const ABORT: u16 = 256;
    /// A gateway that has registered before on this connection.
    pub const REGISTERED: u16 = 1024;
    /// Has bytes outside the pool.
    pub const STASHED: u16 = 2048;
    /// A classic gateway in its domain's list of those that rest.
    pub const RESTING: u16 = 4096;
    /// Was not counted for its address, having been one too many.
    pub const UNCOUNTED: u16 = 512;
    /// A client that has asked its last request, all of it. Nothing is armed for it until it has waited for a while.
    pub const LAST: u16 = 8192;
}

/// A connection. The hot fields come first; 72 bytes make 14 to a kilobyte.
#[derive(Debug)]
pub struct Conn {
    /// Its descriptor.
    pub fd: Fd,
    /// Which use of the slot this is.
    pub generation: u16,
    /// What it is doing.
    pub state: State,
    /// Bits of [`armed`].
    pub armed: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Receives in quick succession, while not yet hot.
    pub heat: u8,
    /// Gateways that this client's request has left without an answer.
    pub tries: u8,
    /// Bytes received and not yet passed on.
    pub input: Chain,
    /// Its session, if it has one.
    pub session: u32,
    /// Its domain's record, for gateways and waiting clients.
    pub domain: u32,
    /// Neighbours in the domain's list of parked gateways or of waiting clients, or the free list.
    pub prev: u32,
    /// See `prev`.
    pub next: u32,
    /// Neighbours in the timer wheel's bucket.
    pub timer_prev: u32,
    /// See `timer_prev`.
    pub timer_next: u32,
    /// The tick whose bucket it is in; 0 for none.
    pub timer_at: u32,
    /// The tick at which something is overdue; 0 for never.
    pub deadline: u32,
    /// The tick of the last receive.
    pub active: u32,
    /// The peer's address, IPv4 mapped.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<Conn>() <= 72, "a parked gateway's slot must stay within its budget");

impl Conn {
    fn vacant() -> Conn {
        Conn {
            fd: Fd(-1),
            generation: 0,
            state: State::Free,
            armed: 0,
            flags: 0,
            heat: 0,
            tries: 0,
            input: Chain::default(),
            session: NONE,
            domain: NONE,
            prev: NONE,
            next: NONE,
            timer_prev: NONE,
            timer_next: NONE,
            timer_at: 0,
            deadline: 0,
            active: 0,
            address: [0; 16],
        }
    }

    /// Whether a bit of [`flag`] is set.
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether it has sent something that nobody has taken.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty() || self.is(flag::STASHED)
    }

    /// Whether anything is armed that receives.
    pub fn receiving(&self) -> bool {
        self.armed & (armed::POLL_IN | armed::STREAM) != 0
    }

    /// Whether any operation is armed.
    pub fn busy(&self) -> bool {
        self.armed & (armed::POLL_IN | armed::POLL_OUT | armed::STREAM) != 0
    }

    /// The peer's address as it would be written.
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.address).to_canonical()
    }
}

/// All slots of a shard.
pub struct Conns {
    slots: Chunked<Conn>,
    free: u32,
    used: usize,
}

impl Default for Conns {
    fn default() -> Self {
        Conns { slots: Chunked::default(), free: NONE, used: 0 }
    }
}

impl Conns {
    /// A slot for a new connection.
    pub fn insert(&mut self, fd: Fd, address: IpAddr, tick: u32) -> u32 {
        let slot = match self.free {
            NONE => self.slots.push(Conn::vacant()),
            slot => {
                self.free = self.slots[slot].next;
                slot
            }
        };
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let conn = &mut self.slots[slot];
        let generation = conn.generation;
        *conn = Conn { fd, generation, state: State::Idle, address, active: tick, ..Conn::vacant() };
        self.used += 1;
        slot
    }

    /// Frees a slot. Nothing may be armed for it, and it may be in no list.
    pub fn remove(&mut self, slot: u32) {
        let free = self.free;
        let conn = &mut self[slot];
        assert!(!conn.busy(), "a slot is used again only when nothing is armed for it");
        assert!(!conn.has_input() && conn.timer_at == 0 && conn.session == NONE);
        conn.generation = conn.generation.wrapping_add(1);
        conn.state = State::Free;
        conn.fd = Fd(-1);
        conn.next = free;
        self.free = slot;
        self.used -= 1;
    }

    /// The connection that an event is for; `None` if its slot has been given up since, which would be a breach of
    /// the rule that slots outlive their operations.
    pub fn find(&self, key: Key) -> Option<&Conn> {
        let conn = self.slots.get(key.slot)?;
        (conn.generation == key.generation && conn.state != State::Free).then_some(conn)
    }

    /// The key of a slot.
    pub fn key(&self, slot: u32) -> Key {
        Key { slot, generation: self[slot].generation }
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Numbers of all slots, used or not.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        0..self.slots.count() as u32
    }
}

impl std::ops::Index<u32> for Conns {
    type Output = Conn;

    fn index(&self, slot: u32) -> &Conn {
        &self.slots[slot]
    }
}

impl std::ops::IndexMut<u32> for Conns {
    fn index_mut(&mut self, slot: u32) -> &mut Conn {
        &mut self.slots[slot]
    }
}
