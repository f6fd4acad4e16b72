//! `ringback tunnel`: raw TCP through a relay to a gateway's target.
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{
    console, failed,
    gateway::{ProxyUrl, key, log_to_stderr, runtime, trusted, way},
    signals::{Asks, Hangup},
    values,
};
use crate::gateway::{Authority, Proxies, relay_url, tunnel};

/// Carry raw TCP through a relay to the target of a gateway.
///
/// Runs until SIGTERM or Ctrl-C. SIGUSR1 writes the number of open tunnels to standard error; SIGHUP ends --stdio only.
///
/// For ssh: `ssh -o ProxyCommand='ringback tunnel --relay URL --domain NAME --stdio' user@NAME`
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("end").required(true).args(["listen", "stdio"])))]
pub struct Args {
    /// URL of the relay, as in https://relay.example or http://relay.example:8080
    #[arg(long, value_name = "URL", value_parser = relay_url)]
    pub relay: Authority,
    /// HTTP proxy on the way to the relay, as in http://proxy.example:3128; '' for none; without this option
    /// the one that HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY names the relay
    #[arg(long, value_name = "URL", value_parser = ProxyUrl)]
    pub proxy: Option<Proxies>,
    /// Trust only relays with certificates by the authorities in this PEM file, or with one that is itself in it, instead of
    /// this system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// Trust any certificate: what is sent can be read and changed on the way
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Relay domain of the gateway
    #[arg(long, value_name = "NAME")]
    pub domain: String,
    /// Address to listen on, each connection getting its own tunnel; port 0 takes a free port and prints it
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Tunnel standard input and output
    #[arg(long)]
    pub stdio: bool,
    /// Key for the domain; better given by --key-file, or in the environment as RINGBACK_KEY: `ps` does not show it there
    #[arg(long)]
    pub key: Option<String>,
    /// File with the key for the domain
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// Maximum time to connect to the relay
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub connect_timeout: Duration,
    /// Maximum time until the gateway answers
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub response_timeout: Duration,
    /// Maximum time without a byte in a tunnel that one side has closed
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub idle_timeout: Duration,
    /// Maximum time without a byte in a tunnel
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = values::duration)]
    pub tunnel_idle: Duration,
}

/// Runs the command until its tunnel has ended or it is interrupted.
pub fn run(args: Args) -> ExitCode {
    if args.listen.is_some() {
        log_to_stderr(false);
    }
    let proxies = match way(args.proxy, &args.relay) {
        Ok(proxies) => proxies,
        Err(error) => return failed(&error),
    };
    let trust = match trusted(args.relay.secure, args.ca, args.insecure) {
        Ok(trust) => trust,
        Err(error) => return failed(&error),
    };
    let key = match key(args.key, args.key_file) {
        Ok(key) => key,
        Err(error) => return failed(&error),
    };
    let config = tunnel::Config {
        proxies,
        trust,
        key,
        connect_timeout: args.connect_timeout,
        response_timeout: args.response_timeout,
        idle_timeout: args.idle_timeout,
        tunnel_idle: args.tunnel_idle,
        ..tunnel::Config::new(args.relay, args.domain)
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    // Where ssh has started it, it hangs up on it.
    let asks = Asks::watch(if args.stdio { Hangup::End } else { Hangup::GoOn });
    let mut asks = match asks {
        Ok(asks) => asks,
        Err(error) => return failed(&error),
    };
    let ended = match args.listen {
        Some(address) => runtime.block_on(listen(config, address, &mut asks)),
        None => runtime.block_on(stdio(config, &mut asks)),
    };
    // A thread that still reads standard input must not hold the exit back.
    runtime.shutdown_background();
    ended
}

async fn stdio(config: tunnel::Config, asks: &mut Asks) -> ExitCode {
    tokio::select! {
        ended = tunnel::stdio(&config) => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        () = asks.end(|| "ringback: one tunnel, on standard input and output\n".to_owned()) => ExitCode::SUCCESS,
    }
}

async fn listen(config: tunnel::Config, address: SocketAddr, asks: &mut Asks) -> ExitCode {
    let bound = match TcpListener::bind(address).await {
        Ok(listener) => listener.local_addr().map(|address| (listener, address)),
        Err(error) => Err(error),
    };
    let (listener, address) = match bound {
        Ok(bound) => bound,
        Err(error) => {
            return failed(&format!("cannot listen on {address}: {error}; give another --listen"));
        }
    };
    console::print(&format!("{address}\n"));
    let status = Arc::clone(&config.status);
    let report = || format!("ringback: {} tunnels\n", status.busy());
    tunnel::listen(config, listener, asks.end(report)).await;
    ExitCode::SUCCESS
}
