//! `ringback gateway`: makes a web server behind a firewall reachable through a relay.
use std::{io, process::ExitCode, sync::Arc, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    console, failed,
    signals::{Asks, Hangup},
    values,
};
use crate::{
    gateway::{self, Authority, Config, relay_url},
    http::Dialect,
};

/// Make a server behind a firewall reachable through a relay.
///
/// Dials out to the relay and passes the requests that arrive there for a relay domain to a server that this machine
/// can reach. Reconnects by itself, and runs until SIGTERM or Ctrl-C. SIGUSR1 writes how it stands to standard error;
/// SIGHUP changes nothing. RUST_LOG=debug logs more, as -v does, and RUST_LOG=warn less.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// URL of the relay, as in http://relay.example:8080
    #[arg(long, value_name = "URL", value_parser = relay_url)]
    pub relay: Authority,
    /// Relay domain: clients reach the target at <URL>/<NAME>/
    #[arg(long, value_name = "NAME")]
    pub domain: String,
    /// Server that gets the requests
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Authority,
    /// Protocol to the relay: ptth keeps its connections, classic works with the original relay
    #[arg(long, default_value = "ptth", value_parser = dialect())]
    pub dialect: Dialect,
    /// Connections to keep waiting at the relay
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub connections: usize,
    /// Maximum connections open at the relay: that many clients are served at the same time
    #[arg(long, alias = "connections-max", value_name = "M", default_value_t = 64)]
    pub max_connections: usize,
    /// Key for the domain; better given in the environment as RINGBACK_KEY, where `ps` does not show it
    #[arg(long)]
    pub key: Option<String>,
    /// Have the relay strip /<NAME> from the paths that the target sees; redirects and cookies of the target get it again
    #[arg(long)]
    pub strip_prefix: bool,
    /// Maximum time to connect to the relay or to the target
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub connect_timeout: Duration,
    /// Maximum time until the target begins its response
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub response_timeout: Duration,
    /// Maximum time without progress of a request's or response's body, or of a tunnel that one side has closed
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub idle_timeout: Duration,
    /// Maximum time without a byte in a tunnel
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = values::duration)]
    pub tunnel_idle: Duration,
    /// Time without use after which a surplus connection is closed
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub surplus_after: Duration,
    /// Log every request, and what becomes of connections
    #[arg(short, long)]
    pub verbose: bool,
}

/// Runs the command until it is interrupted.
pub fn run(args: Args) -> ExitCode {
    log_to_stderr(args.verbose);
    let mut asks = match Asks::watch(Hangup::GoOn) {
        Ok(asks) => asks,
        Err(error) => return failed(&error),
    };
    let config = Config {
        dialect: args.dialect,
        connections: args.connections,
        max_connections: args.max_connections,
        key: key(args.key),
        strip_prefix: args.strip_prefix,
        connect_timeout: args.connect_timeout,
        response_timeout: args.response_timeout,
        idle_timeout: args.idle_timeout,
        tunnel_idle: args.tunnel_idle,
        surplus_after: args.surplus_after,
        ..Config::new(args.relay, args.domain, args.target)
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let (status, domain) = (Arc::clone(&config.status), config.domain.clone());
    let report = || format!("ringback: gateway of {domain}: {status}\n");
    let ended = runtime.block_on(gateway::run(config, asks.end(report)));
    // A name that is still being looked up must not hold the exit back.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn dialect() -> impl TypedValueParser<Value = Dialect> {
    PossibleValuesParser::new(["ptth", "classic"]).map(|name| match name.as_str() {
        "classic" => Dialect::Classic,
        _ => Dialect::Ptth,
    })
}

/// The key from the command line, else from the environment.
pub(super) fn key(given: Option<String>) -> Option<String> {
    given.or_else(|| std::env::var("RINGBACK_KEY").ok().filter(|key| !key.is_empty()))
}

/// One thread: a gateway waits for the network most of the time.
pub(super) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Logs to standard error, `info` and above, or `debug` and above if `verbose`, unless `RUST_LOG` says otherwise. Leaves
/// a subscriber that is already there alone.
pub(super) fn log_to_stderr(verbose: bool) {
    use io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(if verbose { "debug" } else { "info" }));
    let logger = tracing_subscriber::fmt().with_writer(|| console::Log).with_ansi(io::stderr().is_terminal());
    let _was_there_before = logger.with_env_filter(filter).with_target(false).try_init();
}
