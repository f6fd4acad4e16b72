//! The command line: one file a command.
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[cfg(feature = "relay")]
mod check;
mod console;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "relay")]
mod key;
#[cfg(feature = "relay")]
mod keys;
#[cfg(feature = "relay")]
mod relay;
#[cfg(feature = "relay")]
mod report;
#[cfg(unix)]
mod signals;
#[cfg(feature = "gateway")]
mod tunnel;
mod values;

/// Reverse-HTTP relay: devices dial out and wait, clients reach them by URL.
#[derive(Debug, Parser)]
#[command(name = "ringback", version, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    #[cfg(feature = "relay")]
    Relay(Box<relay::Args>),
    #[cfg(feature = "gateway")]
    Gateway(gateway::Args),
    #[cfg(feature = "gateway")]
    Tunnel(tunnel::Args),
    #[cfg(feature = "relay")]
    Key(key::Args),
    #[cfg(feature = "relay")]
    Check(check::Args),
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let ended = match CommandLine::parse().command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        #[cfg(feature = "relay")]
        Command::Relay(args) => relay::run(*args),
        #[cfg(feature = "gateway")]
        Command::Gateway(args) => gateway::run(args),
        #[cfg(feature = "gateway")]
        Command::Tunnel(args) => tunnel::run(args),
        #[cfg(feature = "relay")]
        Command::Key(args) => key::run(args),
        #[cfg(feature = "relay")]
        Command::Check(args) => check::run(&args),
    };
    console::flush();
    ended
}

/// Tells the user why the command failed.
fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    console::say(&format!("ringback: {error}\n"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// No two options collide, every default parses, every help text is there.
    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }
}
