//! What shards and the control side write to each other.
use super::directory::ShardSet;
use crate::io::Fd;
use std::{net::IpAddr, sync::mpsc::Sender};

/// A client on its way to a shard that has gateways of its domain.
#[derive(Debug)]
pub struct Traveller {
    /// Its connection.
    pub fd: Fd,
    /// Its address.
    pub address: IpAddr,
    /// All that it has sent and that nobody has taken yet, from the head of the request at hand on.
    pub input: Vec<u8>,
    /// Whether it has finished sending.
    pub eof: bool,
    /// Gateways that the request at hand has left without an answer.
    pub tries: u8,
    /// Milliseconds on the shards' common clock by which it must have found a gateway; 0 if not yet begun.
    pub give_up: u64,
}

/// The name of a domain and its hash.
#[derive(Clone, Debug)]
pub struct DomainName {
    /// Under the directory's key.
    pub hash: u64,
    /// Lower case.
    pub name: Box<[u8]>,
}

/// What a shard holds, counted by itself between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connection slots in use.
    pub connections: usize,
    /// Gateways parked.
    pub parked: usize,
    /// Domains on record.
    pub domains: usize,
    /// Sessions.
    pub sessions: usize,
    /// Buffers on loan.
    pub buffers: usize,
    /// Pipes held by sessions.
    pub pipes: usize,
    /// Connections with an operation armed that is not a single poll.
    pub streaming: usize,
}

/// A letter to a shard.
#[derive(Debug)]
pub enum Letter {
    /// Serve this client.
    Client(Box<Traveller>),
    /// Clients of this domain wait at shard `from`: tell it when a gateway is free.
    Wanted {
        /// Who asks.
        from: usize,
        /// What for.
        domain: DomainName,
    },
    /// A gateway of this domain is free at shard `from`: send one of the clients that wait.
    Free {
        /// Who offers.
        from: usize,
        /// What.
        domain: DomainName,
    },
    /// Stop accepting, release parked gateways, end when the last session has.
    Drain,
    /// End now.
    Stop,
    /// Say what you hold.
    Report(Sender<Snapshot>),
}

/// The set without one of its members.
pub fn others(set: ShardSet, shard: usize) -> ShardSet {
    set & !(1 << shard)
}
