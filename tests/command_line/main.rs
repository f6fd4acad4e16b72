//! `ringback relay` as people and supervisors start and stop it.
#[path = "../support/mod.rs"]
mod support;

mod starting;
mod stopping;
mod streams;
