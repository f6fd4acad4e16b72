//! `ringback gateway`: makes a web server behind a firewall reachable through a relay.
use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{
    console, failed,
    signals::{Asks, Hangup},
    values,
};
use crate::{
    gateway::{self, Authority, Config, Proxies, TargetHost, Targets, Trust, Trusted, relay_url},
    http::Dialect,
};

/// Make a server behind a firewall reachable through a relay.
///
/// Dials out to the relay and passes the requests that arrive there for a relay domain to a server that this machine
/// can reach. Reconnects by itself, and runs until SIGTERM or Ctrl-C. SIGUSR1 writes how it stands to standard error;
/// SIGHUP changes nothing. RUST_LOG=debug logs more, as -v does, and RUST_LOG=warn less.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// URL of the relay, as in https://relay.example or http://relay.example:8080
    #[arg(long, value_name = "URL", value_parser = relay_url)]
    pub relay: Authority,
    /// HTTP proxy on the way to the relay, as in http://proxy.example:3128; '' for none; without this option
    /// the one that HTTPS_PROXY or ALL_PROXY names, unless NO_PROXY names the relay
    #[arg(long, value_name = "URL", value_parser = ProxyUrl)]
    pub proxy: Option<Proxies>,
    /// Trust only relays and targets with certificates by the authorities in this PEM file, or with one that is itself in it,
    /// instead of this system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// Trust any certificate: what is sent can be read and changed on the way
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Relay domain: clients reach the target at <URL>/<NAME>/; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    pub domain: Vec<String>,
    /// Server that gets the requests; may be repeated with a domain, a path or both in front, as in
    /// camera=10.0.0.7:80, /api=localhost:3000 or camera/api=localhost:3000: the longest path that a request begins
    /// with, as the target sees it, decides
    #[arg(long, value_name = "[[NAME][/PATH]=][https://]HOST:PORT", required = true, value_parser = TargetFor::parse)]
    pub target: Vec<TargetFor>,
    /// Host header that the target gets instead of the client's: a name, or `target` for its own HOST:PORT
    #[arg(long, value_name = "HOST", value_parser = TargetHost::parse)]
    pub target_host: Option<TargetHost>,
    /// Protocol to the relay: ptth keeps its connections, classic works with the original relay
    #[arg(long, default_value = "ptth", value_parser = dialect())]
    pub dialect: Dialect,
    /// Connections to keep waiting at the relay
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub connections: usize,
    /// Maximum connections open at the relay: that many clients are served at the same time
    #[arg(long, alias = "connections-max", value_name = "M", default_value_t = 64)]
    pub max_connections: usize,
    /// Key for the domain; better given by --key-file, or in the environment as RINGBACK_KEY: `ps` does not show it there
    #[arg(long)]
    pub key: Option<String>,
    /// File with the key for the domain
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// Have the relay strip /<NAME> from the paths that the target sees; redirects and cookies of the target get it again,
    /// with the ptth protocol
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
    let configs = match args.configs() {
        Ok(configs) => configs,
        Err(error) => return failed(&error),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let stand: Vec<_> = configs.iter().map(|config| (config.domain.clone(), Arc::clone(&config.status))).collect();
    let report = || stand.iter().map(|(domain, status)| format!("ringback: gateway of {domain}: {status}\n")).collect();
    let ended = runtime.block_on(gateway::run_all(configs, asks.end(report)));
    // A name that is still being looked up must not hold the exit back.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

impl Args {
    /// One gateway for each domain.
    fn configs(self) -> Result<Vec<Config>, String> {
        let is = |name: &str, domain: &String| name.eq_ignore_ascii_case(domain);
        if let Some(stray) =
            self.target.iter().find(|to| !to.name.is_empty() && !self.domain.iter().any(|domain| is(&to.name, domain)))
        {
            return Err(format!("--target {0}=…: there is no --domain {0}", stray.name));
        }
        let secure = self.relay.secure || self.target.iter().any(|target| target.to.secure);
        let trust = trusted(secure, self.ca, self.insecure)?;
        let (key, proxies) = (key(self.key, self.key_file)?, way(self.proxy, &self.relay)?);
        let config = |domain: String| {
            // A target of the domain's own goes before one that is for all domains.
            let own = |path: &str| self.target.iter().any(|to| is(&to.name, &domain) && to.path == path);
            let targets = self.target.iter().filter(|to| is(&to.name, &domain) || to.name.is_empty() && !own(&to.path));
            let targets: Vec<_> = targets.map(|to| (to.path.clone(), to.to.clone())).collect();
            if targets.is_empty() {
                return Err(format!("no --target for the domain {domain}: give one for all, or {domain}=HOST:PORT"));
            }
            let targets = Targets::by_path(targets).map_err(|error| error.to_string())?;
            Ok(Config {
                proxies: proxies.clone(),
                trust: trust.clone(),
                target_host: self.target_host.clone().unwrap_or_default(),
                dialect: self.dialect,
                connections: self.connections,
                max_connections: self.max_connections,
                key: key.clone(),
                strip_prefix: self.strip_prefix,
                connect_timeout: self.connect_timeout,
                response_timeout: self.response_timeout,
                idle_timeout: self.idle_timeout,
                tunnel_idle: self.tunnel_idle,
                surplus_after: self.surplus_after,
                ..Config::new(self.relay.clone(), domain, targets)
            })
        };
        self.domain.iter().cloned().map(config).collect()
    }
}

/// A target, and what it is for.
#[derive(Clone, Debug)]
pub struct TargetFor {
    /// The domain; empty for all.
    name: String,
    /// The path, with its slash; empty for all.
    path: String,
    to: Authority,
}

impl TargetFor {
    fn parse(text: &str) -> Result<TargetFor, gateway::Error> {
        let (place, to) = text.rsplit_once('=').unwrap_or(("", text));
        let (name, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let path = path.strip_suffix('/').unwrap_or(path);
        Ok(TargetFor { name: name.to_owned(), path: path.to_owned(), to: to.parse()? })
    }
}

fn dialect() -> impl TypedValueParser<Value = Dialect> {
    PossibleValuesParser::new(["ptth", "classic"]).map(|name| match name.as_str() {
        "classic" => Dialect::Classic,
        _ => Dialect::Ptth,
    })
}

/// Reads `--proxy`. Errors do not repeat the value, which may have a password in it.
#[derive(Clone)]
pub(super) struct ProxyUrl;

impl TypedValueParser for ProxyUrl {
    type Value = Proxies;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Proxies, clap::Error> {
        let wrong = |what: String| command.clone().error(clap::error::ErrorKind::ValueValidation, what);
        let url = value.to_str().ok_or_else(|| wrong("--proxy: this is no text".to_owned()))?;
        Proxies::only(url).map_err(|error| wrong(format!("--proxy: {error}")))
    }
}

/// The way to the relay, from the command line or else from the environment. A proxy on it is logged.
pub(super) fn way(given: Option<Proxies>, relay: &Authority) -> Result<Proxies, String> {
    let by_env = given.is_none();
    let proxies = given.unwrap_or_else(Proxies::from_env);
    match proxies.name(relay).map_err(|error| error.to_string())? {
        Some(proxy) => tracing::info!("reaching the relay through the proxy {proxy}"),
        None if by_env => {
            if let Some(name) = Proxies::unusable_in_env() {
                tracing::warn!(
                    "{name} is not used: it is no URL of an HTTP proxy, as http://proxy.example:3128 is one"
                );
            }
        }
        None => {}
    }
    Ok(proxies)
}

/// Whom to trust, if TLS is spoken at all.
pub(super) fn trusted(secure: bool, ca: Vec<PathBuf>, insecure: bool) -> Result<Option<Trusted>, String> {
    if !secure {
        return Ok(None);
    }
    if insecure {
        tracing::warn!(
            "--insecure: certificates are not checked, and whoever is on the way can read and change everything"
        );
    }
    let trust = match (insecure, ca.is_empty()) {
        (true, _) => Trust::Anybody,
        (false, false) => Trust::Only(ca),
        (false, true) => Trust::System,
    };
    trust.establish().map(Some).map_err(|error| error.to_string())
}

/// The key from the command line or a file, else from the environment.
pub(super) fn key(given: Option<String>, file: Option<PathBuf>) -> Result<Option<String>, String> {
    if let Some(file) = file {
        let bad =
            |error: &dyn std::fmt::Display| format!("cannot read a key from {} of --key-file: {error}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|error| bad(&error))?;
        // As `ringback key new` without --keys writes it: the table of the key is for the relay.
        let key = text.lines().next().map(str::trim).filter(|key| !key.is_empty());
        return key.map(|key| Some(key.to_owned())).ok_or_else(|| bad(&"its first line is empty"));
    }
    Ok(given.or_else(|| std::env::var("RINGBACK_KEY").ok().filter(|key| !key.is_empty())))
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
