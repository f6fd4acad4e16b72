//! Counters of what a shard has done: written by the shard, readable from any thread.
use crate::http::Refusal;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One number, written by one thread: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn bump(&self) {
        self.0.store(self.0.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The current value.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One shard's counters.
#[derive(Debug)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Gateways registered (for classic ones: each POST).
    pub registered: Counter,
    /// Registrations with a key, for which this relay does not ask.
    pub keys_unchecked: Counter,
    /// Connections reset because wrong keys came too fast from their source.
    pub over_guesses: Counter,
    /// Gateways that were told to go because the rules, or their keys, have changed.
    pub revoked: Counter,
    /// Requests given to a gateway.
    pub requests: Counter,
    /// Requests sent again because their gateway went away without a response.
    pub retried: Counter,
    /// Clients handed off to another shard.
    pub handed_over: Counter,
    /// 204s to classic gateways.
    pub asked_again: Counter,
    /// Gateways closed because they sent bytes that no request had asked for.
    pub unsolicited: Counter,
    /// Receives that found no buffer.
    pub starved: Counter,
    /// Directions that switched to splice.
    pub spliced: Counter,
    /// Accepts that failed, for want of descriptors mostly.
    pub accept_failed: Counter,
    /// Connections beyond the limit in total.
    pub over_connections: Counter,
    /// Connections beyond a limit of their source address.
    pub over_address: Counter,
    /// TLS connections beyond the limit of handshakes in progress.
    pub over_handshakes: Counter,
    /// Connections beyond the rate.
    pub over_accept_rate: Counter,
    /// Registrations beyond the rate.
    pub over_registration_rate: Counter,
    /// Registrations beyond the limit of their domain.
    pub over_domain: Counter,
    /// Times that accepting paused.
    pub accept_paused: Counter,
    /// Connections closed because no head began in time.
    pub idle: Counter,
    /// Times that a direction was to be spliced and no pipe was free.
    pub no_pipe: Counter,
    /// Responses refused because their heads were too long.
    pub over_response_head: Counter,
    /// Exchanges ended because a body or tunnel made no progress.
    pub stalled: Counter,
    /// Exchanges ended because their client was slower than the minimum rate and others waited.
    pub too_slow: Counter,
    /// Requests given up because their client had gone.
    pub gone: Counter,
    /// Requests refused because the limit of held bytes was reached.
    pub over_memory: Counter,
    /// Connections refused with a reset instead of an answer.
    pub reset: Counter,
    refusals: [Counter; Refusal::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            accepted: Counter::default(),
            registered: Counter::default(),
            keys_unchecked: Counter::default(),
            over_guesses: Counter::default(),
            revoked: Counter::default(),
            requests: Counter::default(),
            retried: Counter::default(),
            handed_over: Counter::default(),
            asked_again: Counter::default(),
            unsolicited: Counter::default(),
            starved: Counter::default(),
            spliced: Counter::default(),
            accept_failed: Counter::default(),
            over_connections: Counter::default(),
            over_address: Counter::default(),
            over_handshakes: Counter::default(),
            over_accept_rate: Counter::default(),
            over_registration_rate: Counter::default(),
            over_domain: Counter::default(),
            accept_paused: Counter::default(),
            idle: Counter::default(),
            no_pipe: Counter::default(),
            over_response_head: Counter::default(),
            stalled: Counter::default(),
            too_slow: Counter::default(),
            gone: Counter::default(),
            over_memory: Counter::default(),
            reset: Counter::default(),
            refusals: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Counters {
    /// How often a client was given this refusal.
    pub fn refused(&self, refusal: Refusal) -> &Counter {
        &self.refusals[refusal as usize]
    }
}
