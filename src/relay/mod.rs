//! The relay: one shard a core, and the threads they run on.

mod arming;
mod chunked;
pub mod config;
pub mod conn;
pub mod counters;
pub mod directory;
mod ending;
mod exchange;
mod forward;
mod handover;
mod heads;
pub mod letter;
pub mod limits;
mod pairing;
pub mod park;
mod parts;
mod pump;
mod registration;
mod reply;
pub mod server;
pub mod session;
pub mod shard;
mod stash;
pub mod timers;

pub use config::Config;
pub use letter::Snapshot;
pub use server::{Relay, StartError};
