//! Connection slots: one fixed record for every connection, parked or busy.

pub mod inbox;
pub mod table;
pub mod watch;

pub use inbox::{Inbox, Inboxes};
pub use table::Conns;

use super::exchange::ExchangeId;
use crate::{
    http::Dialect,
    io::{Calls, Received},
    transport::{Sessions, Transport},
};
use bitflags::bitflags;
use std::net::{IpAddr, Ipv6Addr};

/// No slot, no domain: the end of every list.
pub const NONE: u32 = u32::MAX;

/// What a connection is, and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The slot is in the free list.
    Free,
    /// A client, or not known yet.
    Client(Client),
    /// A gateway, of some dialect.
    Gateway(Dialect, Gateway),
    /// It has had its last response. The peer's own end is awaited; what it still sends is thrown away.
    Lingering,
    /// Shut down; closed as soon as nothing is armed for it.
    Closing,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// New: nothing has come from it. If it is from a trusted proxy, it may begin with a PROXY header.
    Fresh,
    /// Between requests, or the first is arriving: a head is awaited.
    Idle,
    /// It has an exchange in progress: its head is incomplete, or it waits for a gateway, or it is joined with one.
    Busy,
    /// It leaves for another shard once nothing is armed for it. `domain` holds the shard.
    Leaving,
}

/// What a gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// In its domain's list, waiting for a client.
    Parked,
    /// Joined with a client.
    Joined,
    /// More bytes may follow its response: its stream is stopped, to find out before it parks again.
    Quarantined,
}

bitflags! {
    /// What is armed for a connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Arms: u8 {
        /// A watch for something to receive.
        const READ = 1;
        /// A watch for room to send.
        const WRITE = 2;
        /// A stream of received buffers.
        const STREAM = 4;
        /// A cancellation of whichever of the above receives. Not an operation of its own.
        const CANCELLING = 8;
        /// The socket's receive low-water mark is above one byte: whatever receives hears of fewer bytes only when the
        /// mark is lowered. Not an operation, either.
        const MARK = 16;
    }
}

bitflags! {
    /// What is known about a connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u16 {
        /// It came in at a listener for gateways.
        const AMONG_GATEWAYS = 1;
        /// The peer has finished sending.
        const EOF = 2;
        /// The connection failed; nothing can be sent or received.
        const FAILED = 4;
        /// There may be something to receive.
        const READABLE = 8;
        /// A receive found no buffer.
        const STARVED = 16;
        /// In the line of those that found no buffer.
        const IN_LINE = 32;
        /// In the run queue.
        const QUEUED = 64;
        /// A client that was handed off already for the request at hand.
        const HANDED_OVER = 128;
        /// To be closed with a reset, so that the peer does not mistake what it has for the whole.
        const RESET = 256;
        /// A gateway that has registered before on this connection.
        const REGISTERED = 512;
        /// Not counted by source in admission.
        const UNCOUNTED = 1024;
        /// A client that has sent the last request on its connection, completely. Nothing is armed for it until it has
        /// waited a while.
        const LAST = 2048;
        /// A gateway that wants the path prefix stripped.
        const STRIP = 4096;
        /// The kernel's own limit counts: the peer's window may stay closed for as long as our own timeouts allow.
        const PATIENT = 8192;
        /// A gateway in its domain's list of those that may be taken back from their clients.
        const IN_DOUBT = 16384;
        /// Its claims about earlier hops are believed.
        const TRUSTED = 32768;
    }
}

/// A [`Conn::heat`] that only a quiet spell or a splice brings down.
pub const HOT: u8 = u8::MAX;

/// A connection. The hot fields come first; 72 bytes make 14 to a kilobyte.
#[derive(Debug)]
pub struct Conn {
    /// What carries its bytes; `None` in a free slot.
    pub transport: Option<Transport>,
    /// Which use of the slot this is.
    pub generation: u16,
    /// What is known about it.
    pub flags: Flags,
    /// What it is, and its state.
    pub role: Role,
    /// What is armed for it.
    pub arms: Arms,
    /// Number of receives in quick succession; see [`Conn::is_hot`].
    pub heat: u8,
    /// For a client, gateways that went away without answering its request; for a gateway, bytes of its registration's
    /// body that are still to come.
    pub tries: u8,
    /// Whole buffers received in a row, the sign of a stream worth splicing.
    pub whole: u8,
    /// What it has sent and the relay has not passed on.
    pub inbox: Inbox,
    /// Its exchange, if it has one.
    pub exchange: ExchangeId,
    /// Its domain's record, for gateways and waiting clients.
    pub domain: u32,
    /// Neighbours in the domain's list of parked or resting gateways or of waiting clients, or the free list.
    pub prev: u32,
    /// See `prev`.
    pub next: u32,
    /// Neighbours in the timer wheel's bucket.
    pub timer_prev: u32,
    /// See `timer_prev`.
    pub timer_next: u32,
    /// The tick whose bucket it is in; 0 for none.
    pub timer_at: u32,
    /// The tick at which its time is up; 0 for never.
    pub deadline: u32,
    /// The tick of the last receive.
    pub active: u32,
    /// The peer's address, IPv4 mapped.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<Conn>() <= 72, "a parked gateway's slot must stay within its budget");

/// How receiving once went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// This many bytes were added to the inbox.
    Bytes(usize),
    /// Nothing has arrived.
    Nothing,
    /// No buffer was free.
    NoBuffer,
    /// The stream has ended, in order or not.
    Ended,
}

impl Conn {
    pub(super) fn vacant() -> Conn {
        Conn {
            transport: None,
            generation: 0,
            flags: Flags::empty(),
            role: Role::Free,
            arms: Arms::empty(),
            heat: 0,
            tries: 0,
            whole: 0,
            inbox: Inbox::default(),
            exchange: ExchangeId::NONE,
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

    /// Its transport. Every slot in use has one.
    #[inline]
    pub fn transport(&mut self) -> &mut Transport {
        self.transport.as_mut().expect("a slot in use has a transport")
    }

    /// Whether it receives so often that a stream is kept armed.
    #[inline]
    pub fn is_hot(&self) -> bool {
        self.heat == HOT
    }

    /// Whether a flag is set.
    #[inline]
    pub fn is(&self, flag: Flags) -> bool {
        self.flags.intersects(flag)
    }

    /// Whether the peer has ended, one way or another.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.flags.intersects(Flags::EOF.union(Flags::FAILED))
    }

    /// Has whatever receives wait for so many bytes.
    pub fn set_low_water(&mut self, bytes: u32, calls: &mut impl Calls) {
        self.transport().set_low_water(calls, bytes);
        self.arms.set(Arms::MARK, bytes > 1);
    }

    /// Whether anything is armed that receives.
    pub fn is_receiving(&self) -> bool {
        self.arms.intersects(Arms::READ | Arms::STREAM)
    }

    /// Whether any operation is armed.
    pub fn is_armed(&self) -> bool {
        self.arms.intersects(Arms::READ | Arms::WRITE | Arms::STREAM)
    }

    /// Whether a receive may bring something, and may be made: a stream that is armed receives by itself.
    #[inline]
    pub fn may_fill(&self) -> bool {
        self.is(Flags::READABLE)
            && !self.flags.intersects(Flags::EOF.union(Flags::FAILED).union(Flags::STARVED))
            && !self.arms.contains(Arms::STREAM)
    }

    /// Receives once, at most `max` bytes, into the inbox.
    pub fn fill(
        &mut self,
        max: usize,
        tick: u32,
        inboxes: &mut Inboxes,
        sessions: &Sessions,
        calls: &mut impl Calls,
    ) -> Filled {
        debug_assert!(!self.arms.contains(Arms::STREAM));
        match self.transport().receive(calls, sessions, max) {
            Received::Bytes(buf) => {
                let len = buf.len();
                let whole = len == calls.buffer_size().min(max);
                let more = self.transport().has_more(sessions);
                self.has_received(whole || more, tick);
                inboxes.append(&mut self.inbox, buf, calls);
                Filled::Bytes(len)
            }
            Received::Nothing => {
                let more = self.transport().has_more(sessions);
                self.flags.set(Flags::READABLE, more);
                Filled::Nothing
            }
            Received::NoBuffers => {
                self.flags.insert(Flags::STARVED);
                Filled::NoBuffer
            }
            Received::Eof => {
                self.flags.insert(Flags::EOF);
                Filled::Ended
            }
            Received::Failed => {
                self.flags.insert(Flags::FAILED);
                Filled::Ended
            }
        }
    }

    /// Notes that bytes have arrived; `whole` if they filled all the room there was, so that there may be more.
    #[inline]
    pub fn has_received(&mut self, whole: bool, tick: u32) {
        self.active = tick;
        self.flags.set(Flags::READABLE, whole);
        self.whole = if whole { self.whole.saturating_add(1) } else { 0 };
    }

    /// The dialect of a gateway.
    pub fn dialect(&self) -> Option<Dialect> {
        match self.role {
            Role::Gateway(dialect, _) => Some(dialect),
            _ => None,
        }
    }

    /// Notes the address of the client that a proxy acts for.
    pub fn set_ip(&mut self, ip: IpAddr) {
        self.address = mapped(ip);
    }

    /// The peer's address as it would be written.
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.address).to_canonical()
    }
}

/// An address as slots keep it, IPv4 mapped.
pub fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
