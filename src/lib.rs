//! ringback: a reverse-HTTP relay on io_uring.
//!
//! A gateway dials out to the relay and waits; clients send ordinary HTTP requests to a URL on the relay; the relay
//! passes each request down the waiting connection, and the response back.
//!
//! # The reader's map
//! Data flows one way: bytes come in through [`io`], heads are parsed by [`http`], gateways are found by [`relay`],
//! bytes leave through [`transport`] and [`io`]. `docs/architecture.md` has the relay's own flow.
//!
//! - [`http`]: heads, framing, relay domains and canned responses, as pure functions of bytes.
//! - [`io`]: the only door to the kernel and the only unsafe code: the traits `Engine` and `Calls`, their
//!   io_uring back end, and the simulated one that the tests drive from a seed.
//! - `pem`: what can be wrong with certificate files, in words.
//! - `sync`: what threads share, by one name for the relay and for the models of its races.
//! - [`transport`]: what carries a connection's bytes: plain TCP, or TLS.
//! - [`relay`]: one shard per core: run queue, connections, exchanges, the park, the directory, admission, timers.
//! - [`gateway`]: the program that runs beside the device, and the tunnel client (tokio, portable).
//! - [`cli`]: one file per command.
#![deny(unsafe_code)]

pub mod cli;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod http;
#[cfg(feature = "relay")]
#[allow(unsafe_code)]
pub mod io;
#[cfg(any(feature = "relay", feature = "gateway"))]
mod pem;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "relay")]
mod sync;
#[cfg(feature = "relay")]
pub mod transport;
