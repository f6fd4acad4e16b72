//! `ringback check`: can a relay run on this machine, and how well?
use super::{console, failed, values};
use crate::{
    io::probe::{Check, Verdict, Wanted, available_cpus, checks},
    relay::Config,
};
use std::{fmt::Write, process::ExitCode};

/// Check what a relay needs from this machine: kernel, io_uring, limits. Exit code 1 if it could not start
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Listen backlog that the relay would ask for
    #[arg(long, value_name = "N", default_value_t = Config::default().backlog)]
    pub backlog: i32,
    /// Number of cores that the relay would use, or a list of CPUs
    #[arg(long, value_name = "N|LIST", default_value = "all")]
    pub cores: String,
    /// Buffers per core
    #[arg(long, value_name = "N", default_value_t = Config::default().buffers)]
    pub buffers: u16,
    /// Bytes of each buffer
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    pub buffer_size: u64,
}

/// Prints the table.
pub fn run(args: &Args) -> ExitCode {
    let shards = match super::relay::cores(&args.cores, &available_cpus()) {
        Ok(cores) => cores.len(),
        Err(error) => return failed(&error),
    };
    let checks = checks(&Wanted {
        backlog: args.backlog,
        shards,
        buffers: args.buffers,
        buffer_size: u32::try_from(args.buffer_size).unwrap_or(u32::MAX),
    });
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
pub(super) fn refusal(config: &Config) -> Option<String> {
    let Config { backlog, buffers, buffer_size, .. } = *config;
    let wanted = Wanted { backlog, shards: config.cores.len(), buffers, buffer_size };
    let bad: Vec<Check> = checks(&wanted).into_iter().filter(|check| check.verdict == Verdict::Bad).collect();
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
