//! Many requests over one connection, and many bytes in one request.
//!
//! `RINGBACK_MANY` says how many requests (10,000 unless told), `RINGBACK_BULK_MIB` how many MiB (64 unless told).
#[path = "../support/mod.rs"]
mod support;

mod alternating;
mod bulk;
mod stream;

/// A number from the environment.
fn from_environment(name: &str, otherwise: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")),
        Err(_) => otherwise,
    }
}
