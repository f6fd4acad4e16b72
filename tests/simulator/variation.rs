//! A seed, but less of it: how a failure shrinks, and what a run is told to leave out.
use super::bounds;
use ringback::io::sim::{Budget, Tuning};
use std::fmt;

/// Something that a world can do without, by name, and how it is made to.
type Knob = (&'static str, fn(&mut Tuning));

/// Everything that a world can do without. Those without an effect here are asked for by name where they count.
const KNOBS: &[Knob] = &[
    ("wrap", |tuning| tuning.epoch_millis = 0),
    ("budget", |tuning| tuning.budget = Budget::NONE),
    ("corkfault", |tuning| tuning.cork_is_fault = false),
    ("cork", |tuning| tuning.cork_millis = 0),
    ("fails", |tuning| tuning.fails_from = None),
    ("refusals", |_| {}),
    ("ahead", |_| {}),
    ("limits", |_| {}),
    ("drain", |_| {}),
    ("ipv6", |_| {}),
    ("origins", |_| {}),
    ("ring", |tuning| tuning.ring_buffers = tuning.ring_buffers.min(2)),
    ("slow", |tuning| tuning.slow = 0),
    ("stall", |tuning| tuning.stall = 0),
    ("partial", |tuning| tuning.partial = 0),
    ("late", |tuning| tuning.late = 0),
    ("withhold", |tuning| tuning.withhold = 0),
    ("spurious", |tuning| tuning.spurious = 0),
    ("quits", |tuning| tuning.stream_quits = 0),
    ("accepts", |tuning| tuning.accept_fails = 0),
    ("forgetful", |tuning| tuning.forgetful = 0),
    ("latency", |tuning| tuning.latency_max = 0),
    ("mail", |tuning| tuning.mail_delay_max = 0),
    ("batch", |tuning| tuning.batch_max = 1),
    ("pipes", |tuning| tuning.pipes = 0),
    ("pool", |tuning| tuning.buffers = 64),
];

/// Most runs that shrinking one failure takes.
const TRIES_MAX: usize = 200;

/// What is left of a seed's world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variation {
    /// Most clients, gateways of a domain, requests of a connection, and rude peers.
    counts: [Option<usize>; COUNTS.len()],
    without: Vec<&'static str>,
    /// Whether some peers use TLS.
    secure: bool,
}

const COUNTS: [&str; 4] = ["clients", "gateways", "requests", "rude"];

impl Variation {
    /// The whole world, but for what is switched off for every run.
    pub fn whole() -> Variation {
        Variation { counts: [None; COUNTS.len()], without: bounds::OFF.to_vec(), secure: false }
    }

    /// The same, where some peers use TLS.
    pub fn secure(self) -> Variation {
        Variation { secure: true, ..self }
    }

    /// Whether some peers use TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Reads what [`Variation`]'s `Display` writes: `clients=2,rude=0,-cork`.
    pub fn parse(text: &str) -> Variation {
        let mut variation = Variation::whole();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            if word == "tls" {
                variation.secure = true;
                continue;
            }
            if let Some((name, count)) = word.split_once('=') {
                let at = COUNTS.iter().position(|known| *known == name);
                let at = at.unwrap_or_else(|| panic!("{name} is none of {COUNTS:?}"));
                variation.counts[at] = Some(count.parse().unwrap_or_else(|_| panic!("{count} is not a number")));
                continue;
            }
            let name = word.trim_start_matches(['-', '+']);
            let knob = KNOBS.iter().find(|knob| knob.0 == name);
            let knob = knob.unwrap_or_else(|| panic!("there is no {name} to go without"));
            match word.starts_with('+') {
                true => variation.without.retain(|other| *other != knob.0),
                false => variation.without.push(knob.0),
            }
        }
        variation
    }

    /// Whether something is left out.
    pub fn lacks(&self, name: &str) -> bool {
        debug_assert!(KNOBS.iter().any(|knob| knob.0 == name));
        self.without.contains(&name)
    }

    /// Takes out of a world what it is to do without.
    pub fn apply(&self, tuning: &mut Tuning) {
        KNOBS.iter().filter(|knob| self.lacks(knob.0)).for_each(|knob| knob.1(tuning));
    }

    /// Most clients.
    pub fn clients(&self) -> usize {
        self.counts[0].unwrap_or(usize::MAX)
    }

    /// Most gateways of one domain.
    pub fn gateways(&self) -> usize {
        self.counts[1].unwrap_or(usize::MAX)
    }

    /// Most requests on one connection.
    pub fn requests(&self) -> usize {
        self.counts[2].unwrap_or(usize::MAX)
    }

    /// Most rude peers.
    pub fn rude(&self) -> usize {
        self.counts[3].unwrap_or(usize::MAX)
    }

    /// The least of this seed that still fails in the same way.
    pub fn shrink(self, wrong: &str, failure: impl Fn(&Variation) -> Option<String>) -> Variation {
        let (kind, mut least, mut tries) = (kind(wrong), self, 0);
        let mut fails = |variation: &Variation| {
            tries += 1;
            tries <= TRIES_MAX && failure(variation).is_some_and(|wrong| self::kind(&wrong) == kind)
        };
        loop {
            let before = least.clone();
            for at in (0..COUNTS.len()).rev() {
                for count in [0, 1, 2, 3, 5] {
                    let mut less = least.clone();
                    less.counts[at] = Some(count);
                    // No more than now, and a client without a request is none.
                    let useful = least.counts[at].is_none_or(|now| count < now) && (count > 0 || at == 0 || at == 3);
                    if useful && fails(&less) {
                        least = less;
                        break;
                    }
                }
            }
            for (name, _) in KNOBS {
                let mut less = least.clone();
                less.without.push(name);
                if !least.lacks(name) && fails(&less) {
                    least = less;
                }
            }
            if least == before {
                return least;
            }
        }
    }
}

impl fmt::Display for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = COUNTS.iter().zip(self.counts).filter_map(|(name, count)| Some(format!("{name}={}", count?)));
        let without = self.without.iter().map(|name| format!("-{name}"));
        let tls = self.secure.then(|| "tls".to_owned());
        f.write_str(&tls.into_iter().chain(counts).chain(without).collect::<Vec<_>>().join(","))
    }
}

/// What went wrong, without the numbers: two failures of the same kind are taken for the same.
pub fn kind(wrong: &str) -> String {
    let line = wrong.lines().next().unwrap_or_default();
    let line = line.split_once("ms: ").map_or(line, |(_, what)| what);
    let line: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
    // The peer that it happened to describes itself first.
    let marks = ["heard : ", "request Some(): ", "request None: "];
    let what = marks.iter().filter_map(|mark| line.find(mark).map(|at| at + mark.len())).max();
    line[what.unwrap_or(0)..].chars().take(48).collect()
}
