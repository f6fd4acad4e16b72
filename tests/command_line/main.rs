//! `ringback relay` as people and supervisors start and stop it.
#[path = "../support/mod.rs"]
mod support;

mod keys;
mod starting;
mod stopping;
mod streams;
