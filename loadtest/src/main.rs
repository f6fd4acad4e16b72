//! Fleets of gateways, clients and the bare pipe: what ringback and its peers are measured with.
//!
//! `framing`, `conn`, `pace` and `runtime` are what the rest stands on; `answer` is the program behind `origin` and
//! `fleet` (whose processes are `gateway`s); `load` is the client; `pipe` and `splice` are the floor every
//! relay is compared with; `polite` is a client beside the `rude` peers; `watch` reads what a relay's process has
//! used; `chart` draws.
#![deny(unsafe_code)]

mod answer;
mod chart;
mod conn;
mod fleet;
mod framing;
mod gateway;
mod load;
mod origin;
mod pace;
mod pipe;
mod polite;
mod rude;
mod runtime;
mod splice;
mod watch;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load for relays: gateways, clients, and the bare pipe to compare with
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A pipe that parses nothing: one backend connection for each client connection
    Pipe(pipe::PipeArgs),
    /// Gateways that register with a relay and answer at once
    Fleet(fleet::FleetArgs),
    /// The same answers as a plain server
    Origin(origin::OriginArgs),
    /// Clients that measure
    Load(Box<load::LoadArgs>),
    /// A client that sends one small request at a time, and says how long it waited
    Polite(polite::PoliteArgs),
    /// Peers that keep the relay as busy as they can
    Rude(rude::RudeArgs),
    /// Draw what was measured
    Chart(chart::ChartArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Pipe(args) => pipe::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Origin(args) => origin::run(&args),
        Command::Load(args) => load::run(*args),
        Command::Polite(args) => polite::run(&args),
        Command::Rude(args) => rude::run(&args),
        Command::Chart(args) => chart::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringback-loadtest: {}", advice(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error, and what to do about those that need explaining.
fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error} (io_uring may be switched off here)"),
        io::ErrorKind::OutOfMemory => {
            format!("{error} (the limit of locked memory may be too low)")
        }
        _ => error.to_string(),
    }
}
