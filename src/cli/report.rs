//! The report of a running relay: what each shard holds, and its counters, one line per shard, and their totals.
use crate::{
    http::Refusal,
    relay::{Relay, Snapshot, counters::Counters},
};
use std::fmt::Write;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// The report: the time and the uptime, a line per shard and one of totals, of `name=value` pairs; refusals only with
/// reasons that occurred. A shard that has ended says `ended` in the place of what it holds; its counters are its last.
pub fn lines(relay: &Relay) -> String {
    let up = relay.uptime().as_secs();
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let mut lines = format!("ringback: report at {}, up {hours}h{minutes:02}m{seconds:02}s\n", now());
    let mut total = Vec::new();
    for (number, (held, done)) in relay.snapshots().iter().zip(relay.counters()).enumerate() {
        let mut values = held.as_ref().map(holds).unwrap_or_default();
        values.extend(has_done(done));
        let ended = if held.is_none() { " ended" } else { "" };
        let _ = writeln!(lines, "ringback: shard {number}:{ended}{}", pairs(&values));
        add(&mut total, values);
    }
    let _ = writeln!(lines, "ringback: total:{}", pairs(&total));
    lines
}

/// The time in UTC, as the log has it.
fn now() -> String {
    let mut now = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    now
}

type Values = Vec<(String, u64)>;

fn pairs(values: &Values) -> String {
    values.iter().fold(String::new(), |mut line, (name, value)| {
        let _ = write!(line, " {name}={value}");
        line
    })
}

/// Adds values to totals, by their names.
fn add(total: &mut Values, values: Values) {
    for (name, value) in values {
        match total.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += value,
            None => total.push((name, value)),
        }
    }
}

fn holds(held: &Snapshot) -> Values {
    let values = [
        ("connections", held.connections),
        ("parked", held.parked),
        ("domains", held.domains),
        ("sessions", held.sessions),
        ("buffers", held.buffers),
        ("pipes", held.pipes),
        ("streaming", held.streaming),
        ("held", held.held),
        ("secure", held.secure),
        ("handshakes", held.handshakes),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value as u64)).collect()
}

fn has_done(done: &Counters) -> Values {
    let values = [
        ("accepted", &done.accepted),
        ("registered", &done.registered),
        ("requests", &done.requests),
        ("keys-unchecked", &done.keys_unchecked),
        ("over-guesses", &done.over_guesses),
        ("revoked", &done.revoked),
        ("retried", &done.retried),
        ("handed-over", &done.handed_over),
        ("asked-again", &done.asked_again),
        ("unsolicited", &done.unsolicited),
        ("starved", &done.starved),
        ("spliced", &done.spliced),
        ("accept-failed", &done.accept_failed),
        ("over-connections", &done.over_connections),
        ("over-address", &done.over_address),
        ("over-handshakes", &done.over_handshakes),
        ("over-accept-rate", &done.over_accept_rate),
        ("over-registration-rate", &done.over_registration_rate),
        ("over-domain", &done.over_domain),
        ("accept-paused", &done.accept_paused),
        ("idle", &done.idle),
        ("no-pipe", &done.no_pipe),
        ("over-response-head", &done.over_response_head),
        ("stalled", &done.stalled),
        ("too-slow", &done.too_slow),
        ("gone", &done.gone),
        ("over-memory", &done.over_memory),
        ("reset", &done.reset),
    ];
    let refusals = Refusal::ALL.iter().map(|&refusal| (format!("refused-{}", refusal.reason()), done.refused(refusal)));
    let refusals = refusals.map(|(name, counter)| (name, counter.value())).filter(|&(_, times)| times > 0);
    values.into_iter().map(|(name, counter)| (name.to_owned(), counter.value())).chain(refusals).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, u64)]) -> Values {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    /// Totals are by name: a refusal that only one shard counted is there, too.
    #[test]
    fn totals_are_by_name() {
        let mut total = values(&[("a", 1)]);
        add(&mut total, values(&[("a", 2), ("b", 3)]));
        assert_eq!(pairs(&total), " a=3 b=3");
    }
}
