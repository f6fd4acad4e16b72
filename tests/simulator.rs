//! The simulator's seeds: whole shards in a simulated world, thousands of times over, never the same.

mod simulator {
    pub mod bounds;
    pub mod client;
    pub mod draw;
    pub mod echo;
    pub mod gateway;
    pub mod net;
    pub mod payload;
    pub mod plan;
    pub mod rude;
    pub mod run;
    pub mod toy;
    pub mod variation;
    pub mod wire;
}

use ringback::io::sim::World;
use simulator::echo::{self, Fault};
use simulator::variation::Variation;
use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Seeds that an optimised build runs; `RINGBACK_SEEDS` says otherwise.
const SEEDS: u64 = 2000;
/// Seeds that plain `cargo test` runs, which is many times slower.
const SEEDS_UNOPTIMISED: u64 = 60;
/// Lines of trace that a failure comes with; `RINGBACK_TRACE` says otherwise.
const TRACE_LINES: u64 = 60;
/// From so many on, a run says now and then how far it has come.
const MANY: u64 = 100_000;
/// How often.
const REPORT_EVERY: u64 = 50_000;
/// Failures after which even a run that goes on behind them ends.
const FAILURES_MAX: usize = 400;

/// What a run panicked with, if it did.
fn failure(run: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default())
}

/// Runs a seed with a trace. Says what went wrong and what happened before, if anything did.
fn replay(seed: u64, variation: &Variation) -> Option<String> {
    let lines = number("RINGBACK_TRACE").unwrap_or(TRACE_LINES) as usize;
    let world = RefCell::new(None::<World<_>>);
    let wrong = failure(|| simulator::run::run(seed, variation, lines, |made| *world.borrow_mut() = Some(made)))?;
    let trace = world.take().map(|world| world.take_trace()).unwrap_or_default();
    Some(format!("{}\n\n{wrong}\n", trace.join("\n")))
}

fn seeds() -> u64 {
    // The ci profile has every check of the debug one, so that only the directory tells them apart.
    let exe = std::env::current_exe().unwrap_or_default();
    let unoptimised = exe.components().any(|part| part.as_os_str() == "debug");
    number("RINGBACK_SEEDS").unwrap_or(if unoptimised { SEEDS_UNOPTIMISED } else { SEEDS })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// Every seed is another fleet of gateways and clients, and another order of everything. `RINGBACK_SEEDS` says how
/// many and `RINGBACK_FROM` from which on, `RINGBACK_ALL` goes on behind the first few failures, `RINGBACK_SEED` replays a single one
/// and prints its last lines, `RINGBACK_SHRINK` leaves something out (see [`Variation`]).
#[test]
fn shards_keep_their_promises_whatever_the_seed() {
    keep_promises(Variation::parse(&std::env::var("RINGBACK_SHRINK").unwrap_or_default()));
}

/// The same with a listener for TLS, which some clients and gateways use, or all. They say and hear the same as plain ones;
/// and what the relay sends them is records, to the last byte, and ends with a close_notify.
#[test]
fn shards_keep_their_promises_by_tls() {
    keep_promises(Variation::parse(&std::env::var("RINGBACK_SHRINK").unwrap_or_default()).secure());
}

fn keep_promises(variation: Variation) {
    if let Some(seed) = number("RINGBACK_SEED") {
        if let Some(wrong) = replay(seed, &variation) {
            panic!("{wrong}");
        }
        return;
    }
    let failed = run_all(&variation);
    let Some((first, wrong)) = failed.first() else { return };
    let again = |less: &Variation| failure(|| simulator::run::run(*first, less, 0, |_| {}));
    let least = variation.clone().shrink(wrong, again);
    let trace = replay(*first, &least).unwrap_or_else(|| "it does not fail again: not all is the seed's".into());
    panic!(
        "{trace}\n{wrong}\n{} seeds failed; replay the first, shrunk, with\n  RINGBACK_SEED={first} RINGBACK_SHRINK={least} \
         cargo test --profile ci --test simulator {}\n",
        failed.len(),
        if variation.is_secure() { "by_tls" } else { "whatever" }
    );
}

/// Says something at once: what a test prints is kept until its end.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the seeds that are asked for, on all processors. Returns those that failed, in order, with what went wrong.
fn run_all(variation: &Variation) -> Vec<(u64, String)> {
    let (first, count) = (number("RINGBACK_FROM").unwrap_or(0), seeds());
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let failed = Mutex::new(Vec::new());
    let most = if number("RINGBACK_ALL").is_some() { FAILURES_MAX } else { 1 };
    let began = Instant::now();
    let work = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= first + count {
                return;
            }
            let done = seed - first;
            if count >= MANY && done > 0 && done % REPORT_EVERY == 0 {
                say(&format!("{done} seeds, {:.0} a second", done as f64 / began.elapsed().as_secs_f64()));
            }
            if let Some(wrong) = failure(|| simulator::run::run(seed, variation, 0, |_| {})) {
                say(&format!("FAILED {seed}: {}", wrong.lines().next().unwrap_or_default()));
                let mut failed = failed.lock().expect("not poisoned");
                failed.push((seed, wrong));
                stop.fetch_or(failed.len() >= most, Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().expect("not poisoned");
    failed.sort();
    failed
}

#[test]
fn an_honest_echo_passes_every_seed() {
    for seed in 0..1000 {
        echo::run(seed, Fault::None);
    }
}

#[test]
fn planted_faults_are_caught() {
    for (fault, words) in [
        (Fault::CloseWhileArmed, "armed for"),
        (Fault::KeepBuffer, "on loan"),
        (Fault::ArmTwice, "while Stream is armed"),
        (Fault::ReuseSlotEarly, "armed for"),
        (Fault::StaleKey, "armed for"),
        (Fault::PollOutForgotten, "a speaker hangs"),
    ] {
        let caught: Vec<String> = (0..300).filter_map(|seed| failure(|| echo::run(seed, fault))).collect();
        assert!(!caught.is_empty(), "{fault:?} was never caught");
        let right = caught.iter().filter(|text| text.contains(words) && text.contains("seed ")).count();
        assert!(right > 0, "{fault:?} was caught only as {}", caught[0]);
    }
}
