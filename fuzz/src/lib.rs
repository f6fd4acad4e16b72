//! What is fuzzed: functions that take any bytes and panic when a promise is broken.
//!
//! `cargo +nightly fuzz run NAME` feeds them for as long as one likes; `tests/fuzz_targets.rs` feeds the same ones a
//! bounded number of generated inputs, and everything in `corpus/`.

pub mod body;
pub mod forwarded;
pub mod heads;
pub mod shard;

pub use body::chunked;
pub use forwarded::{forward, reply};
pub use heads::{proxy_protocol, registration, repair, request_head, response_head};
pub use shard::shard;

/// What a target does with its input: it panics where something is wrong.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("registration", registration),
    ("repair", repair),
    ("proxy_protocol", proxy_protocol),
    ("forward", forward),
    ("reply", reply),
    ("shard", shard),
];
