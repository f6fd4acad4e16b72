//! The report of a running relay: what each shard holds, and its counters, one line per shard.
use crate::{
    http::Refusal,
    relay::{Relay, Snapshot, counters::Counters},
};
use std::fmt::Write;

/// The report: `name=value` pairs, refusals only with reasons that occurred. A shard that has ended says `ended` in the
/// place of what it holds; its counters are its last.
pub fn lines(relay: &Relay) -> String {
    let mut lines = String::new();
    for (number, (held, done)) in relay.snapshots().iter().zip(relay.counters()).enumerate() {
        let _ = write!(lines, "ringback: shard {number}:");
        match held {
            None => lines.push_str(" ended"),
            Some(held) => {
                for (name, value) in holds(held) {
                    let _ = write!(lines, " {name}={value}");
                }
            }
        }
        for (name, value) in has_done(done) {
            let _ = write!(lines, " {name}={value}");
        }
        for &refusal in Refusal::ALL {
            match done.refused(refusal).value() {
                0 => {}
                times => drop(write!(lines, " refused-{}={times}", refusal.reason())),
            }
        }
        lines.push('\n');
    }
    lines
}

fn holds(held: &Snapshot) -> [(&'static str, usize); 8] {
    [
        ("connections", held.connections),
        ("parked", held.parked),
        ("domains", held.domains),
        ("sessions", held.sessions),
        ("buffers", held.buffers),
        ("pipes", held.pipes),
        ("streaming", held.streaming),
        ("held", held.held),
    ]
}

fn has_done(done: &Counters) -> [(&'static str, u64); 19] {
    [
        ("accepted", &done.accepted),
        ("registered", &done.registered),
        ("requests", &done.requests),
        ("retried", &done.retried),
        ("handed-over", &done.handed_over),
        ("asked-again", &done.asked_again),
        ("unsolicited", &done.unsolicited),
        ("starved", &done.starved),
        ("spliced", &done.spliced),
        ("accept-failed", &done.accept_failed),
        ("over-connections", &done.over_connections),
        ("over-address", &done.over_address),
        ("over-accept-rate", &done.over_accept_rate),
        ("over-registration-rate", &done.over_registration_rate),
        ("over-domain", &done.over_domain),
        ("stalled", &done.stalled),
        ("gone", &done.gone),
        ("over-memory", &done.over_memory),
        ("reset", &done.reset),
    ]
    .map(|(name, counter)| (name, counter.value()))
}
