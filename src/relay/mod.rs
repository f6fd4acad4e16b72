//! The relay: one shard per core, and the threads that they run on.
//!
//! Calls go one way, down this list, and `scripts/lib/rings.py` checks that no file uses one that uses it:
//!
//! - [`server`]: the threads. [`shard`]: events, the run queue, timers, drain; it applies the outcomes of steps.
//! - [`registration`], [`claim`], [`pairing`], [`hand_off`]: gateways join; clients and gateways of a domain find each other,
//!   across shards, too.
//! - [`tables`]: everything that a shard owns, and the changes that concern more than one owner.
//! - [`exchange`], [`client`], [`gateway`]: steps of one connection or one exchange. They see the connections at hand
//!   and return an outcome; they cannot free, park or hand off anything.
//! - [`conn`]: a connection's slot, its inbox of received bytes, and what is armed for it.
//! - [`access`], [`admission`], [`ending`], [`routing`], [`directory`], [`park`], [`ready`], [`timers`], [`memory`]: each the owner
//!   of one thing.

pub mod access;
pub mod admission;
mod aliases;
mod arena;
mod claim;
mod client;
pub mod config;
pub mod conn;
pub mod counters;
pub mod denials;
mod desk;
pub mod directory;
mod ending;
mod exchange;
mod gateway;
mod hand_off;
mod memory;
pub mod message;
mod names;
pub mod network;
mod pairing;
pub mod park;
mod ready;
mod registration;
mod routing;
pub mod server;
pub mod shard;
mod shared;
mod tables;
pub mod timers;

pub use config::Config;
pub use message::Snapshot;
pub use server::{Relay, StartError};
