//! ringback: a reverse-HTTP relay on io_uring.
//!
//! A gateway dials out to the relay and waits; clients send ordinary HTTP requests to a URL on the relay; the
//! relay passes them down the waiting connection and the answer back.
//!
//! # The reader's map
//! Data flows one way: bytes come in through [`io`], heads are read by [`http`], names are looked up by
//! [`relay`], bytes leave through [`io`].
//!
//! - [`http`]: heads, framing, relay domains and canned answers, as pure functions of bytes.
//! - [`io`]: the only door to the kernel and the only unsafe code: the `Io` trait, its io_uring back end, and
//!   the simulated one that the tests drive from a seed.
//! - [`transport`]: what carries a connection's bytes: plain TCP.
//! - [`relay`]: one shard per core: connections, the park, the directory, sessions, limits, timers.
//! - [`gateway`]: the program that runs beside the device, and the tunnel client (tokio, portable).
//! - [`cli`]: one file a command.
#![deny(unsafe_code)]

pub mod cli;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod http;
#[cfg(feature = "relay")]
#[allow(unsafe_code)]
pub mod io;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "relay")]
pub mod transport;
