//! What shards and the control side write to each other.
use super::directory::ShardSet;
use crate::transport::Transport;
use std::{mem::ManuallyDrop, net::IpAddr, sync::mpsc::Sender};

/// A client on its way to a shard that has gateways of its domain.
#[derive(Debug)]
pub struct HandOff {
    /// Its connection. Where no shard is left to take it out it ends with the process.
    pub transport: ManuallyDrop<Transport>,
    /// Its address.
    pub address: IpAddr,
    /// The head of the request at hand, if it was taken out of the input.
    pub head: Vec<u8>,
    /// What it has sent and nobody has taken yet, behind that head, or from the head on.
    pub input: Vec<u8>,
    /// How many of the first bytes of `input` are taken.
    pub taken: usize,
    /// Whether it has finished sending.
    pub eof: bool,
    /// Whether admission has counted it for its source.
    pub counted: bool,
    /// Whether what it claims about the hops before it is believed.
    pub trusted: bool,
    /// Gateways that the request at hand has left without an answer.
    pub tries: u8,
    /// The tick by which it must have found a gateway; 0 if it does not wait yet.
    pub give_up: u32,
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
    /// Bytes of peers held outside the pool.
    pub held: usize,
}

/// A message to a shard.
#[derive(Debug)]
pub enum Message {
    /// Serve this client.
    Client(Box<HandOff>),
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
        /// Shards that had no use for it.
        passed: ShardSet,
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
