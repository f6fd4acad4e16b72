//! `ringback demo`: a relay, a gateway and a small service behind it, in one process, to be tried with curl and a
//! browser.
mod service;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use tokio::net::TcpListener;

pub use service::serve;

use super::{
    check, console, failed,
    gateway::{log_to_stderr, runtime},
    report,
    signals::{Asks, Hangup},
};
use crate::{
    gateway,
    io::probe,
    relay::{Config, Relay},
};

/// Try ringback on this machine: start a relay, a gateway and a small web service behind it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address for the relay to listen on; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Relay domain of the demo's gateway
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub domain: String,
}

/// Runs the demo until it is interrupted.
pub fn run(args: Args) -> ExitCode {
    log_to_stderr(false);
    let mut asks = match Asks::watch(Hangup::GoOn) {
        Ok(asks) => asks,
        Err(error) => return failed(&error),
    };
    // Before anything says that it is running.
    if let Err(error) = gateway::check_domain(&args.domain) {
        return failed(&error);
    }
    let (mut running, relay) = match start_relay(args.listen) {
        Ok(started) => started,
        Err(error) => return failed(&error),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    console::print(&things_to_try(relay, &args.domain));
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run_gateway_side(relay, &args.domain) => ended,
            () = asks.end(|| report::lines(&running)) => Ok(()),
        }
    });
    runtime.shutdown_background();
    running.stop();
    let _ = running.join();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Starts the relay on threads of its own, one CPU's worth, and returns it with where it listens.
fn start_relay(listen: SocketAddr) -> Result<(Relay, SocketAddr), String> {
    let config = Config {
        listen: vec![listen],
        cores: probe::available_cpus().into_iter().take(1).collect(),
        ..Config::default()
    };
    if let Some(refusal) = check::refusal(&config) {
        return Err(refusal);
    }
    let relay = Relay::start(config).map_err(|error| error.to_string())?;
    let address = relay.addresses()[0];
    Ok((relay, address))
}

/// Starts the service on a free port of this machine and a gateway in front of it, registered as `domain` at
/// `relay`. Returns only when something fails; dropping it ends both.
///
/// # Errors
/// No port for the service, or a `domain` that cannot be registered.
pub async fn run_gateway_side(relay: SocketAddr, domain: &str) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let target = gateway::Authority::from(listener.local_addr()?);
    let config =
        gateway::Config { strip_prefix: true, ..gateway::Config::new(relay.into(), domain.to_owned(), target) };
    tokio::select! {
        ended = serve(listener) => ended,
        ended = gateway::run(config, std::future::pending()) => ended.map_err(io::Error::other),
    }
}

/// What the demo prints.
fn things_to_try(relay: SocketAddr, domain: &str) -> String {
    let base = format!("http://{relay}/{domain}");
    format!(
        "A relay, a gateway and a small service behind it are running. Try:

  curl {base}/hello
  curl -N {base}/events
  curl --data-binary @/etc/services {base}/upload

or open {base}/ in a browser. Ctrl-C ends it.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_things_to_try_and_a_page_are_printed() {
        let text = things_to_try(([127, 0, 0, 1], 8080).into(), "demo");
        assert_eq!(text.matches("  curl ").count(), 3);
        assert!(text.contains("open http://127.0.0.1:8080/demo/ in a browser"));
    }
}
