//! What is too much, too long or too late: the numbers that the simulator's oracles go by.
use ringback::io::Millis;
use ringback::io::sim::Budget;

/// What the simulated relays are configured with: most bytes that one connection may move in one turn.
pub const TURN_BYTES: usize = 64 << 10;

/// What a shard may do in one turn. Generous: a loop that a peer's bytes can prolong is far beyond it.
pub const BUDGET: Budget = Budget {
    connection_calls: 128,
    // A turn's worth received and one sent, and half as much again of each.
    connection_bytes: 3 * TURN_BYTES,
    turn_calls: 2048,
    turn_bytes: 24 * TURN_BYTES,
    unserved_turns: 128,
};

/// A client may not be refused for want of a gateway when one of its domain has been free for this long, wherever:
/// longer than anything that the simulated network, kernel and mail hold back together.
pub const FREE_TOO_LONG: Millis = 1500;

/// A client may not wait for longer than this for a gateway that has been free for as long: the same, and the time for
/// which a gateway that has its request may not read.
pub const WAITS_TOO_LONG: Millis = 3 * FREE_TOO_LONG;

/// What every run goes without, by the names that `RINGBACK_SHRINK` uses. Empty unless an oracle is ahead of the
/// relay.
pub const OFF: &[&str] = &[];
