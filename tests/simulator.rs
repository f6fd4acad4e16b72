//! The simulator's seeds: whole shards in a simulated world, thousands of times over, never the same.

mod simulator {
    pub mod echo;
}

use simulator::echo::{self, Fault};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a run panicked with, if it did.
fn failure(run: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default())
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
        (Fault::ReleaseTwice, "released twice"),
        (Fault::KeepBuffer, "on loan"),
        (Fault::UseAfterClose, "which is closed"),
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
