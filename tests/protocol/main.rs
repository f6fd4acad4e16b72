//! The wire, byte for byte, over real sockets: what PROTOCOL says gateways and clients get to see.
#[path = "../support/mod.rs"]
mod support;

mod company;
mod exchanges;
mod forms;
mod low_water;
mod origins;
mod parking;
mod registration;
mod replies;
mod retry;
mod shards;
mod tunnels;
mod unsolicited;
