//! `ringback check`: can a relay run on this machine, and how well?
use super::console;
use crate::{
    io::probe::{Check, Verdict, checks},
    relay::Config,
};
use std::{fmt::Write, process::ExitCode};

/// Check what a relay needs from this machine: kernel, io_uring, limits. Exit code 1 if it could not start
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Listen backlog that the relay would ask for
    #[arg(long, value_name = "N", default_value_t = Config::default().backlog)]
    pub backlog: i32,
}

/// Prints the table.
pub fn run(args: &Args) -> ExitCode {
    let checks = checks(args.backlog);
    console::print(&table(&checks));
    match checks.iter().any(|check| check.verdict == Verdict::Bad) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Poor => "poor",
        Verdict::Bad => "BAD",
    }
}

fn table(checks: &[Check]) -> String {
    let widest = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut table = String::new();
    for check in checks {
        let _ = writeln!(table, "{:5}{:widest$}  {}", word(check.verdict), check.name, check.found);
        if !check.remedy.is_empty() {
            let _ = writeln!(table, "{:5}{:widest$}  -> {}", "", "", check.remedy);
        }
    }
    table
}

/// What `relay` says when it cannot start here: the failed checks, in the same words.
pub(super) fn refusal(backlog: i32) -> Option<String> {
    let bad: Vec<Check> = checks(backlog).into_iter().filter(|check| check.verdict == Verdict::Bad).collect();
    (!bad.is_empty()).then(|| format!("this machine cannot run a relay:\n{}", table(&bad).trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A remedy stands under its check; a good check has none.
    #[test]
    fn the_table_shows_verdict_and_remedy() {
        let check = |verdict, remedy: &str| Check {
            name: "io_uring",
            found: "found".to_string(),
            verdict,
            remedy: remedy.to_string(),
        };
        assert_eq!(
            table(&[check(Verdict::Bad, "do this"), check(Verdict::Good, "")]),
            "BAD  io_uring  found\n               -> do this\ngood io_uring  found\n"
        );
    }
}
