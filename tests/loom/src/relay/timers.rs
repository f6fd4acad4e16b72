//! The length of a tick; nothing here waits for one.

/// Milliseconds of a tick.
pub const TICK_MILLIS: u64 = 8;
