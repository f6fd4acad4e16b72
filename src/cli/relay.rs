//! `ringback relay`: the relay itself.
use super::{check, failed, report, values};
use crate::{
    io::{probe, uring::Mode},
    relay::{Config, Relay},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};
use std::{net::SocketAddr, process::ExitCode, thread, time::Duration};

/// Run a relay
///
/// Gateways register and clients ask on the same port. SIGTERM or Ctrl-C stops accepting and lets sessions finish;
/// a second one stops at once. SIGUSR1 makes each shard say on standard error what it holds and has done.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; may be repeated
    #[arg(long, value_name = "ADDR", default_values_t = Config::default().listen)]
    listen: Vec<SocketAddr>,
    /// How many cores to use, or which: 2, or 0,1, or 2-5; one certain CPU is 3-3 [default: all]
    #[arg(long, value_name = "N|LIST")]
    cores: Option<String>,
    /// Bytes of a buffer: the most that is received at once
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    buffer_size: u64,
    /// Buffers a core
    #[arg(long, value_name = "N", default_value_t = Config::default().buffers)]
    buffers: u16,
    /// Pipes that a core's bulk transfers may hold
    #[arg(long, value_name = "N", default_value_t = Config::default().pipes)]
    pipes: usize,
    /// The relay's own name: <DOMAIN>.<NAME> reaches a domain without a path prefix; may be repeated
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,
    /// Answer a classic gateway's first POST on a connection with 204 at once
    #[arg(long)]
    early_204: bool,
    /// How long a client waits for a gateway that is busy, or was lately there
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = values::duration)]
    park_wait: Duration,
    /// How long a domain counts as lately there
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    domain_memory: Duration,
    /// How long a classic gateway waits before it is told to ask again; 70s at most
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    park_time: Duration,
    /// How soon a classic gateway must then ask again
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    repost_timeout: Duration,
    /// How long a request's head may take
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = values::duration)]
    head_timeout: Duration,
    /// How long a gateway may take to begin its response
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    response_timeout: Duration,
    /// How long a client's connection may be idle between requests
    #[arg(long, value_name = "DUR", default_value = "75s", value_parser = values::duration)]
    client_idle: Duration,
    /// How long a body may stand still
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    session_idle: Duration,
    /// How long a tunnel may be silent
    #[arg(long, value_name = "DUR", default_value = "1h", value_parser = values::duration)]
    tunnel_idle: Duration,
    /// How long the relay waits for the other end to close after its last answer
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = values::duration)]
    linger: Duration,
    /// How long sessions may go on after SIGTERM
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    drain: Duration,
    /// Most bytes of a head; at most --buffer-size
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    head_bytes_max: u64,
    /// Most header fields of a head
    #[arg(long, value_name = "N", default_value_t = Config::default().headers_max)]
    headers_max: usize,
    /// Most connections; 0 for as many as open files allow
    #[arg(long, value_name = "N", default_value_t = Config::default().connections_max)]
    connections_max: usize,
    /// Most connections from one source address and core; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Config::default().connections_per_address)]
    connections_per_address: u32,
    /// Most new connections a second from one source address and core; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Config::default().accepts_per_address)]
    accepts_per_address: u32,
    /// Most new connections a second and core; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Config::default().accepts_per_second)]
    accepts_per_second: u32,
    /// Most registrations of gateways a second and core; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Config::default().registrations_per_second)]
    registrations_per_second: u32,
    /// Most gateway connections of one domain and core; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = Config::default().gateways_per_domain)]
    gateways_per_domain: u32,
    /// Bodies with at least this much to go are spliced
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    splice_min: u64,
    /// Most bytes one connection moves before the others get their turn
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = values::bytes)]
    turn_bytes: u64,
    /// Most buffers a direction holds before receiving stops
    #[arg(long, value_name = "N", default_value_t = Config::default().held_buffers)]
    held_buffers: usize,
    /// First TCP keep-alive probe after this much silence; below what NATs and load balancers allow
    #[arg(long, value_name = "DUR", default_value = "45s", value_parser = values::duration)]
    tcp_keepalive: Duration,
    /// How long sent bytes may stay unacknowledged before the peer counts as dead
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    tcp_user_timeout: Duration,
    /// Connections that may wait to be accepted
    #[arg(long, value_name = "N", default_value_t = Config::default().backlog)]
    backlog: i32,
    /// TCP congestion control of the relay's own sockets: cubic, bbr, ... [default: the system's]
    #[arg(long, value_name = "NAME")]
    congestion_control: Option<String>,
}

impl Args {
    fn config(self) -> Result<Config, String> {
        let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(Config {
            listen: self.listen,
            cores: cores(self.cores.as_deref(), &probe::available_cpus())?,
            buffer_size: small(self.buffer_size),
            buffers: self.buffers,
            pipes: self.pipes,
            hostnames: self.hostname.iter().map(|name| name.to_ascii_lowercase()).collect(),
            early_204: self.early_204,
            park_wait: self.park_wait,
            domain_memory: self.domain_memory,
            park_time: self.park_time,
            repost_timeout: self.repost_timeout,
            head_timeout: self.head_timeout,
            response_timeout: self.response_timeout,
            client_idle: self.client_idle,
            session_idle: self.session_idle,
            tunnel_idle: self.tunnel_idle,
            linger: self.linger,
            drain: self.drain,
            head_bytes_max: small(self.head_bytes_max),
            headers_max: self.headers_max,
            connections_max: self.connections_max,
            connections_per_address: self.connections_per_address,
            accepts_per_address: self.accepts_per_address,
            accepts_per_second: self.accepts_per_second,
            registrations_per_second: self.registrations_per_second,
            gateways_per_domain: self.gateways_per_domain,
            splice_min: self.splice_min,
            turn_bytes: usize::try_from(self.turn_bytes).unwrap_or(usize::MAX),
            held_buffers: self.held_buffers,
            tcp_keepalive: self.tcp_keepalive,
            tcp_user_timeout: self.tcp_user_timeout,
            backlog: self.backlog,
            congestion_control: self.congestion_control,
        })
    }
}

/// Which CPUs `--cores` means.
fn cores(wanted: Option<&str>, usable: &[usize]) -> Result<Vec<usize>, String> {
    let Some(wanted) = wanted else { return Ok(usable.iter().copied().take(64).collect()) };
    let bad = || {
        format!("--cores {wanted}: give a number of cores up to {}, or CPUs of {}", usable.len(), probe::list(usable))
    };
    if let Ok(count) = wanted.parse::<usize>() {
        return usable.get(..count).filter(|cpus| !cpus.is_empty()).map(<[usize]>::to_vec).ok_or_else(bad);
    }
    let mut cpus = Vec::new();
    for part in wanted.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return Err(bad()) };
        if last.saturating_sub(first) > 1024 {
            return Err(bad());
        }
        cpus.extend(first..=last);
    }
    let mut distinct = cpus.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let fine = !cpus.is_empty() && distinct.len() == cpus.len() && cpus.iter().all(|cpu| usable.contains(cpu));
    fine.then_some(cpus).ok_or_else(bad)
}

/// Runs the relay until it is told to stop.
pub fn run(args: Args) -> ExitCode {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    if let Err(invalid) = config.validate() {
        return failed(&invalid);
    }
    if let Some(refusal) = check::refusal(config.backlog) {
        return failed(&refusal);
    }
    let open_files = probe::raise_open_files();
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("cannot watch for signals: {error}")),
    };
    let mut relay = match Relay::start(config.clone()) {
        Ok(relay) => relay,
        Err(error) => return failed(&error),
    };
    print!("{}", greeting(&relay, &config, open_files));
    let handle = signals.handle();
    thread::scope(|scope| {
        let ended = scope.spawn(|| wait_for_end(&relay, handle));
        let mut asked = false;
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                eprint!("{}", report::lines(&relay));
                continue;
            }
            match asked {
                false => eprintln!("ringback: stopping on {}; once more stops at once", name(signal)),
                true => eprintln!("ringback: stopping at once"),
            }
            if asked {
                relay.stop()
            } else {
                relay.drain()
            }
            asked = true;
        }
        let _ = ended.join();
    });
    match relay.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("a shard ended: {error}")),
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}

/// Ends the wait for signals when the shards have ended, by themselves or not.
fn wait_for_end(relay: &Relay, signals: signal_hook::iterator::Handle) {
    relay.wait();
    signals.close();
}

fn greeting(relay: &Relay, config: &Config, open_files: u64) -> String {
    let addresses = relay.addresses().iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let mode = match relay.mode() {
        Mode::DeferTaskrun => "single issuer, deferred task run",
        Mode::CoopTaskrun => "cooperative task run",
        Mode::Plain => "no task-run flags",
    };
    format!(
        "ringback {version} listens on {addresses}
{shards} on CPU {cpus}, each with {buffers} buffers of {size} bytes
io_uring: {mode}, multishot accept and receive, provided buffers; splice for bulk
up to {open_files} open files
",
        version = env!("CARGO_PKG_VERSION"),
        shards = if config.cores.len() == 1 { "1 shard".to_string() } else { format!("{} shards", config.cores.len()) },
        cpus = probe::list(&config.cores),
        buffers = config.buffers,
        size = config.buffer_size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number takes that many, a list or range takes those, anything else is named in the error.
    #[test]
    fn cores_are_a_number_or_a_list() {
        let usable = [0, 1, 4, 5];
        let parse = |wanted| cores(Some(wanted), &usable);
        assert_eq!(cores(None, &usable), Ok(vec![0, 1, 4, 5]));
        assert_eq!(parse("3"), Ok(vec![0, 1, 4]));
        assert_eq!(parse("4,1"), Ok(vec![4, 1]));
        assert_eq!(parse("4-5"), Ok(vec![4, 5]));
        assert_eq!(parse("5-5"), Ok(vec![5]));
        for bad in ["0", "5", "", "a", "1,1", "2-3", "0-999999", "1-0"] {
            assert!(parse(bad).is_err_and(|error| error.contains(bad)), "{bad}");
        }
    }

    /// The options' defaults are the configuration's: what `--help` shows is what one gets.
    #[test]
    fn defaults_agree() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let config = Line::parse_from(["relay", "--cores", "1"]).args.config().unwrap();
        let expected = Config { cores: config.cores.clone(), ..Config::default() };
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    }
}
