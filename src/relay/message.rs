//! Messages between shards, and from the control thread to shards.
use super::{access::Rules, directory::ShardSet};
use crate::transport::{Session, Transport};
use std::{
    mem::ManuallyDrop,
    net::IpAddr,
    sync::{Arc, mpsc::Sender},
};

/// A client on its way to a shard that has gateways of its domain.
#[derive(Debug)]
pub struct HandOff {
    /// Its connection. If no shard is left to receive the message, it ends with the process.
    pub transport: ManuallyDrop<Transport>,
    /// What there is of it besides its socket, if it is TLS.
    pub session: Option<Box<Session>>,
    /// Its address.
    pub address: IpAddr,
    /// The head of the request at hand, if it was taken out of the input.
    pub head: Vec<u8>,
    /// Its unconsumed bytes: those behind that head, or from the head on.
    pub input: Vec<u8>,
    /// How many of the first bytes of `input` are consumed.
    pub taken: usize,
    /// Whether it has finished sending.
    pub eof: bool,
    /// Whether admission has counted it for its source.
    pub counted: bool,
    /// Whether its claims about earlier hops are believed.
    pub trusted: bool,
    /// Gateways that went away without answering the request at hand.
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

/// An offer of a free gateway.
#[derive(Debug)]
pub struct Offer {
    /// The shard that has it.
    pub from: usize,
    /// Its domain, by the name for which clients wait.
    pub domain: DomainName,
    /// The other names of its domain.
    pub others: Box<[DomainName]>,
    /// Shards that have passed the offer on.
    pub passed: ShardSet,
}

/// What a shard holds, counted by the shard between two events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Connection slots in use.
    pub connections: usize,
    /// Gateways parked.
    pub parked: usize,
    /// Domains on record.
    pub domains: usize,
    /// Exchanges in progress.
    pub sessions: usize,
    /// Buffers on loan.
    pub buffers: usize,
    /// Pipes in use.
    pub pipes: usize,
    /// Connections with a stream armed.
    pub streaming: usize,
    /// Bytes of peers held outside the pool.
    pub held: usize,
    /// TLS connections.
    pub secure: usize,
    /// Those of them whose handshake is not over.
    pub handshakes: usize,
}

/// A message to a shard.
#[derive(Debug)]
pub enum Message {
    /// Serve this client.
    Client(Box<HandOff>),
    /// Clients of this domain wait at shard `from`: offer it a gateway if one is free.
    Wanted {
        /// The shard that asks.
        from: usize,
        /// The domain that its clients wait for.
        domain: DomainName,
    },
    /// An offer: a gateway of this domain is free at shard `from`. Hand off one of the clients that wait.
    Free(Offer),
    /// Stop accepting, close parked gateways, end when the last exchange has.
    Drain,
    /// End now.
    Stop,
    /// These rules count from now on, and for the gateways that have registered before, too.
    Rules(Arc<Rules>),
    /// Report what you hold.
    Report(Sender<Snapshot>),
}

/// The set without one of its members.
pub fn others(set: ShardSet, shard: usize) -> ShardSet {
    set & !(1 << shard)
}
