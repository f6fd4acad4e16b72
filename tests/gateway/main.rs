//! The gateway as a black box: real sockets on free ports, raw bytes at both of its ends.
#![cfg(feature = "gateway")]
#![allow(missing_docs)]

mod classic;
mod commands;
mod doubtful;
mod exchanges;
mod hung;
mod registration;
mod streams;
mod targets;
mod tunnels;
mod wire;
