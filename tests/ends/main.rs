//! Peers that die, fall silent or dawdle: each ends as PROTOCOL says, nobody else notices, and nothing is left behind.
#[path = "../support/mod.rs"]
mod support;

mod clients;
mod gateways;
mod scene;
mod slow;
