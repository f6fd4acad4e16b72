//! `ringback relay`: the relay itself.
use super::{
    check, console, failed,
    keys::KeyFile,
    report,
    signals::{Asked, Hangup, Watch},
    values,
};
use crate::{
    io::{probe, uring::Mode},
    relay::{Config, Relay, access::Rules, config::GoneClients, denials::Denial, network::Network},
    transport::certificates::{self, Certificates},
};
use rustix::process::DumpableBehavior;
use std::{
    fmt::Write,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Run a relay
///
/// Gateways register and clients send requests on the same port. SIGTERM or Ctrl-C drains: no new connections, and
/// requests in progress may finish; another one, a second later or more, stops at once. SIGUSR1 writes what each core
/// holds, and its counters, to standard error. SIGHUP has certificates and keys read again.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on, as in 127.0.0.1:8080, localhost:8080 or :8080, which is all addresses; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = values::addresses)]
    listen: Vec<values::Addresses>,
    /// Address for gateways only: they register there and nowhere else, and clients are not served there; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = values::addresses)]
    listen_gateways: Vec<values::Addresses>,
    /// Address to serve clients and gateways at by TLS, as in :8443; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = values::addresses)]
    listen_tls: Vec<values::Addresses>,
    /// Certificate for --listen-tls, a PEM file with the server's own first; may be repeated, and is chosen by the name that
    /// the client asks for
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// Private key of the --cert in the same place, a PEM file
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Make a certificate for localhost and each --hostname at the start, signed by itself: to try --listen-tls
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    tls_self_signed: bool,
    /// Serve clients that use TLS also by gateways that do not and are not on this machine: what they encrypt then goes over
    /// the network as it is
    #[arg(long)]
    allow_plain_gateways: bool,
    /// File of keys and rules: who may register gateways of which relay domains, and who may call them; see `ringback key`.
    /// Without it, gateways register from this machine only
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Without --keys: let gateways register from anywhere, for any relay domain
    #[arg(long, conflicts_with = "keys")]
    allow_any_gateway: bool,
    /// Number of cores to use, or a list of CPUs: 2, or 0,1, or 2-5; a single CPU is 3-3
    #[arg(long, value_name = "N|LIST", default_value = "all")]
    cores: String,
    /// Bytes per buffer: the most that one receive takes
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    buffer_size: u64,
    /// Buffers per core
    #[arg(long, value_name = "N", default_value_t = Config::default().buffers)]
    buffers: u16,
    /// Maximum pipes for bulk transfers, per core
    #[arg(long, value_name = "N", default_value_t = Config::default().pipes)]
    pipes: usize,
    /// Host name of the relay: <DOMAIN>.<NAME> reaches a domain without a path prefix; may be repeated
    #[arg(long, value_name = "NAME", value_parser = values::hostname)]
    hostname: Vec<String>,
    /// Answer the first registration on a classic gateway's connection with 204 at once
    #[arg(long)]
    early_204: bool,
    /// Maximum time that a client waits for a gateway that is busy
    #[arg(long, alias = "park-wait", value_name = "DUR", default_value = "2s", value_parser = values::duration)]
    client_wait: Duration,
    /// Maximum time that a client waits for a gateway that has recently gone, or that may be on its way to a relay that has
    /// just started; not less than --client-wait
    #[arg(long, value_name = "DUR", default_value = "15s", value_parser = values::duration)]
    absent_wait: Duration,
    /// Time after the relay's start during which clients wait for domains that have not registered yet
    #[arg(long, value_name = "DUR", default_value = "15s", value_parser = values::duration)]
    start_grace: Duration,
    /// Time after a domain's last gateway has gone during which clients still wait for it
    #[arg(long, alias = "domain-memory", value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    domain_grace: Duration,
    /// Time after which a waiting classic gateway is told to register again; at most 70s
    #[arg(long, alias = "park-time", value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    classic_poll_interval: Duration,
    /// Maximum time until a classic gateway has then registered again
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    repost_timeout: Duration,
    /// Maximum time for a request's head to arrive
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = values::duration)]
    head_timeout: Duration,
    /// Maximum time until a gateway begins its response
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    response_timeout: Duration,
    /// Maximum idle time of a client's connection between requests
    #[arg(long, value_name = "DUR", default_value = "75s", value_parser = values::duration)]
    client_idle: Duration,
    /// Maximum time without progress of a body
    #[arg(long, value_name = "DUR", default_value = "1m", value_parser = values::duration)]
    session_idle: Duration,
    /// Maximum time without a byte in a tunnel
    #[arg(long, value_name = "DUR", default_value = "1h", value_parser = values::duration)]
    tunnel_idle: Duration,
    /// Maximum time that the relay waits for the peer to close after its last response; six times as long while the peer
    /// goes on sending
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = values::duration)]
    linger: Duration,
    /// Maximum time for requests in progress to finish after SIGTERM
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    drain: Duration,
    /// Maximum time for tunnels and upgraded connections, such as WebSockets, to go on after SIGTERM; at most --drain
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = values::duration)]
    drain_tunnels: Duration,
    /// Maximum bytes of a request's head; at most --buffer-size
    #[arg(long, alias = "head-bytes-max", value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    max_head_bytes: u64,
    /// Maximum header fields of a request's head
    #[arg(long, alias = "headers-max", value_name = "N", default_value_t = Config::default().max_headers)]
    max_headers: usize,
    /// Maximum connections of the relay; 0 for as many as open files allow
    #[arg(long, alias = "connections-max", value_name = "N", default_value_t = Config::default().max_connections)]
    max_connections: usize,
    /// Maximum connections from one source address (IPv6: /64 network); 0 for no limit
    #[arg(long, alias = "connections-per-address", value_name = "N", default_value_t = Config::default().max_connections_per_address)]
    max_connections_per_address: u32,
    /// Maximum new connections per second from one source address (IPv6: /64 network); 0 for no limit
    #[arg(long, alias = "accepts-per-address", value_name = "N", default_value_t = Config::default().max_accepts_per_address)]
    max_accepts_per_address: u32,
    /// Maximum new connections per second; 0 for no limit; the others wait in the backlog
    #[arg(long, alias = "accepts-per-second", value_name = "N", default_value_t = Config::default().max_accepts_per_second)]
    max_accepts_per_second: u32,
    /// Maximum TLS handshakes in progress; 0 for no limit; further connections are reset
    #[arg(long, value_name = "N", default_value_t = Config::default().max_handshakes)]
    max_handshakes: u32,
    /// Maximum registrations of gateways per second; 0 for no limit
    #[arg(long, alias = "registrations-per-second", value_name = "N", default_value_t = Config::default().max_registrations_per_second)]
    max_registrations_per_second: u32,
    /// Maximum gateway connections of one domain; 0 for no limit
    #[arg(long, alias = "gateways-per-domain", value_name = "N", default_value_t = Config::default().max_gateways_per_domain)]
    max_gateways_per_domain: u32,
    /// Maximum bytes of a response's head; at most 65535
    #[arg(long, value_name = "BYTES", default_value = "65535", value_parser = values::bytes)]
    max_response_head_bytes: u64,
    /// Maximum header fields of a response's head; at most 512
    #[arg(long, value_name = "N", default_value_t = Config::default().max_response_headers)]
    max_response_headers: usize,
    /// Maximum received bytes held outside the buffer pools, over all cores; 0 for no limit
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = values::bytes)]
    max_memory: u64,
    /// Whether a client that has sent its whole request and then a FIN counts as gone
    #[arg(long, value_name = "WHEN", default_value = "closing")]
    gone_clients: Gone,
    /// Minimum rate, in bytes per second, at which a client sends its body and takes its response; a slower one loses
    /// its gateway to a client that waits for one; 0 for none
    #[arg(long, value_name = "BYTES", default_value = "500", value_parser = values::bytes)]
    min_rate: u64,
    /// Time for which a client may move nothing before --min-rate applies; a client at half the rate has twice as long
    #[arg(long, value_name = "DUR", default_value = "20s", value_parser = values::duration)]
    min_rate_after: Duration,
    /// Pass responses of classic gateways that are not HTTP through as they are; unsafe behind a proxy that shares its
    /// connections among users
    #[arg(long)]
    opaque_answers: bool,
    /// Allow request bodies longer than 2147483647 bytes to classic gateways
    #[arg(long)]
    classic_long_lengths: bool,
    /// Addresses or networks of proxies whose X-Forwarded-*, Forwarded and PROXY protocol are trusted; may be repeated
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// Bodies with at least this many bytes to go are spliced
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = values::bytes)]
    splice_min: u64,
    /// Maximum bytes that one connection moves before others get their turn
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = values::bytes)]
    turn_bytes: u64,
    /// Maximum buffers that one direction holds before the relay stops receiving
    #[arg(long, value_name = "N", default_value_t = Config::default().held_buffers)]
    held_buffers: usize,
    /// Idle time before the first TCP keep-alive probe; choose less than the idle timeouts of NATs and load balancers
    #[arg(long, value_name = "DUR", default_value = "45s", value_parser = values::duration)]
    tcp_keepalive: Duration,
    /// Maximum time that sent bytes may stay unacknowledged before a connection counts as dead
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = values::duration)]
    tcp_user_timeout: Duration,
    /// Time that received bytes of a long body wait for more, so that many packets cost one wake-up, rounded up to 8ms; 0s for
    /// not at all
    #[arg(long, value_name = "DUR", default_value = "20ms", value_parser = values::duration)]
    bulk_delay: Duration,
    /// Time that a busy shard waits for further events, so that it handles many at once: less CPU, and up to twice as much
    /// more latency; 0s for none
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = values::fine_duration)]
    batch_wait: Duration,
    /// Maximum connections in the listen backlog
    #[arg(long, value_name = "N", default_value_t = Config::default().backlog)]
    backlog: i32,
    /// TCP congestion control of the relay's sockets: cubic, bbr, ... [default: the system's]
    #[arg(long, value_name = "NAME")]
    congestion_control: Option<String>,
}

/// Whether a client that has sent its whole request and then a FIN counts as gone.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Gone {
    /// Never: it gets its response
    Never,
    /// If it asked for its connection to be closed, or if other clients wait for the gateway that it holds
    Closing,
    /// Always, for HTTP/1.1
    Always,
}

impl From<Gone> for GoneClients {
    fn from(gone: Gone) -> GoneClients {
        match gone {
            Gone::Never => GoneClients::Never,
            Gone::Closing => GoneClients::Closing,
            Gone::Always => GoneClients::Always,
        }
    }
}

impl Args {
    /// The configuration, without what files say.
    fn config(self) -> Result<Config, String> {
        let all = |given: Vec<values::Addresses>| given.into_iter().flat_map(|values::Addresses(list)| list).collect();
        let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(Config {
            certificates: certificates(self.cert, self.key, self.tls_self_signed, &self.hostname)?,
            listen_tls: all(self.listen_tls),
            allow_plain_gateways: self.allow_plain_gateways,
            rules: None,
            allow_any_gateway: self.allow_any_gateway,
            listen: all(self.listen),
            listen_gateways: all(self.listen_gateways),
            cores: cores(&self.cores, &probe::available_cpus())?,
            buffer_size: small(self.buffer_size),
            buffers: self.buffers,
            pipes: self.pipes,
            hostnames: self.hostname,
            early_204: self.early_204,
            client_wait: self.client_wait,
            absent_wait: self.absent_wait,
            start_grace: self.start_grace,
            domain_grace: self.domain_grace,
            classic_poll_interval: self.classic_poll_interval,
            repost_timeout: self.repost_timeout,
            head_timeout: self.head_timeout,
            response_timeout: self.response_timeout,
            client_idle: self.client_idle,
            session_idle: self.session_idle,
            tunnel_idle: self.tunnel_idle,
            linger: self.linger,
            drain: self.drain,
            drain_tunnels: self.drain_tunnels,
            max_head_bytes: small(self.max_head_bytes),
            max_headers: self.max_headers,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            max_accepts_per_address: self.max_accepts_per_address,
            max_accepts_per_second: self.max_accepts_per_second,
            max_handshakes: self.max_handshakes,
            max_registrations_per_second: self.max_registrations_per_second,
            max_gateways_per_domain: self.max_gateways_per_domain,
            max_response_head_bytes: small(self.max_response_head_bytes),
            max_response_headers: self.max_response_headers,
            max_memory: self.max_memory,
            gone_clients: self.gone_clients.into(),
            min_rate: small(self.min_rate),
            min_rate_after: self.min_rate_after,
            opaque_answers: self.opaque_answers,
            classic_long_lengths: self.classic_long_lengths,
            trusted_proxies: self.trusted_proxies,
            splice_min: self.splice_min,
            turn_bytes: usize::try_from(self.turn_bytes).unwrap_or(usize::MAX),
            held_buffers: self.held_buffers,
            tcp_keepalive: self.tcp_keepalive,
            tcp_user_timeout: self.tcp_user_timeout,
            bulk_delay: self.bulk_delay,
            batch_wait: self.batch_wait,
            backlog: self.backlog,
            congestion_control: self.congestion_control,
        })
    }
}

/// Where the certificates are from, if there are any.
fn certificates(
    files: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    self_signed: bool,
    hostnames: &[String],
) -> Result<Option<Certificates>, String> {
    let files = certificates::pair(files, keys)?;
    if self_signed {
        let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        names.extend(hostnames.iter().flat_map(|name| [name.clone(), format!("*.{name}")]));
        return Ok(Some(Certificates::SelfSigned(names)));
    }
    Ok(Some(files).filter(|files| !files.is_empty()).map(Certificates::Files))
}

/// Which CPUs `--cores` means.
pub(super) fn cores(wanted: &str, usable: &[usize]) -> Result<Vec<usize>, String> {
    if wanted == "all" {
        return Ok(usable.iter().copied().take(64).collect());
    }
    let bad = || {
        format!(
            "--cores {wanted}: give `all`, a number of cores up to {}, or CPUs of {}",
            usable.len(),
            probe::list(usable)
        )
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
    let keys = match args.keys.clone().map(Keys::read).transpose() {
        Ok(keys) => keys,
        Err(error) => return failed(&error),
    };
    let mut config = match args.config() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    config.rules = keys.as_ref().map(Keys::rules);
    if let Err(invalid) = config.validate() {
        return failed(&invalid);
    }
    if let Some(refusal) = check::refusal(&config) {
        return failed(&refusal);
    }
    give_up_privileges(config.certificates.is_some());
    let open_files = probe::raise_open_files();
    if config.max_connections == 0 {
        config.max_connections = probe::connections_for(open_files, config.cores.len(), config.pipes);
    }
    let hangup = if config.certificates.is_some() || keys.is_some() { Hangup::Reload } else { Hangup::GoOn };
    let mut signals = match Watch::start(hangup) {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let mut relay = match Relay::start(config.clone()) {
        Ok(relay) => relay,
        Err(error) => return failed(&error),
    };
    console::print(&greeting(&relay, &config, open_files));
    attend(&relay, &mut signals, &config, keys.map(Mutex::new).as_ref());
    match relay.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Whatever takes this process over gets no further: nothing that it starts has more rights than it has itself, and where it
/// has private keys, no core file holds them, and no process of the same user can read its memory.
fn give_up_privileges(has_secrets: bool) {
    let _on_kernels_that_can = rustix::thread::set_no_new_privs(true);
    if has_secrets {
        let _on_kernels_that_can = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// The file of keys, and when rules were last made of it.
struct Keys {
    path: PathBuf,
    file: KeyFile,
    at: SystemTime,
}

impl Keys {
    fn read(path: PathBuf) -> Result<Keys, String> {
        Ok(Keys { file: KeyFile::read(&path)?, path, at: SystemTime::now() })
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::new(self.file.rules(self.at).expect("a file that was read has sound rules"))
    }

    /// Reads the file again.
    fn reload(&mut self, relay: &Relay) -> Result<(usize, usize), String> {
        *self = Keys::read(self.path.clone())?;
        let rules = self.rules();
        relay.set_rules(&rules);
        Ok(rules.len())
    }

    /// Keys expire.
    fn go_on(&mut self, relay: &Relay) {
        let now = SystemTime::now();
        if self.file.changes(self.at, now) {
            self.at = now;
            relay.set_rules(&self.rules());
        }
    }
}

/// Reads files again: certificates, and the file of keys.
fn reload(relay: &Relay, certificates: bool, keys: Option<&Mutex<Keys>>) {
    if certificates {
        match relay.reload_certificates() {
            Ok(()) => console::say("ringback: SIGHUP: certificates were read again\n"),
            Err(error) => console::say(&format!("ringback: SIGHUP: {error}; those from before stay in use\n")),
        }
    }
    if let Some(mut keys) = keys.and_then(|keys| keys.lock().ok()) {
        match keys.reload(relay) {
            Ok((keys, rules)) => {
                console::say(&format!("ringback: SIGHUP: {keys} keys and {rules} rules were read again\n"));
            }
            Err(error) => console::say(&format!("ringback: SIGHUP: {error}; those from before stay in use\n")),
        }
    }
}

/// Does what signals ask for, until the relay has ended.
fn attend(relay: &Relay, signals: &mut Watch, config: &Config, keys: Option<&Mutex<Keys>>) {
    let handle = signals.handle();
    let (over, ends) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            relay.wait();
            handle.close();
        });
        scope.spawn(move || watch(relay, config.max_connections, keys, &ends));
        while let Some(asked) = signals.next() {
            match asked {
                Asked::Report => console::say(&report::lines(relay)),
                Asked::End(signal) => {
                    console::say(&format!("ringback: stopping on {signal}; once more stops at once\n"));
                    relay.drain();
                }
                Asked::Reload => reload(relay, config.certificates.is_some(), keys),
                Asked::EndNow => {
                    console::say("ringback: stopping at once\n");
                    relay.stop();
                }
            }
        }
        drop(over);
    });
}

/// How often the relay's limit of connections is looked at, and how long after the last refusal it counts as over.
const LIMIT_LOOK: Duration = Duration::from_secs(1);
const LIMIT_OVER: Duration = Duration::from_secs(10);

/// Says when new connections begin to be refused for want of room, and when that is over; and, once a gateway has sent a
/// key, that keys are not checked here.
fn watch(relay: &Relay, most: usize, keys: Option<&Mutex<Keys>>, ends: &mpsc::Receiver<()>) {
    let refused = || -> u64 {
        relay.counters().iter().map(|counters| counters.over_connections.value() + counters.accept_failed.value()).sum()
    };
    // The relay has been serving since before this began.
    let unchecked = || -> u64 { relay.counters().iter().map(|counters| counters.keys_unchecked.value()).sum() };
    let mut told = false;
    let (mut before, mut last) = (0, None::<Instant>);
    while ends.recv_timeout(LIMIT_LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = refused();
        if now > before {
            if last.replace(Instant::now()).is_none() {
                console::say(&format!(
                    "ringback: {} connections of at most {most}: further ones get a 503; raise --max-connections, or \
                     `ulimit -n` (LimitNOFILE= in systemd)\n",
                    relay.connections()
                ));
            }
        } else if last.take_if(|last| last.elapsed() >= LIMIT_OVER).is_some() {
            console::say(&format!(
                "ringback: {} connections of at most {most}: there is room again\n",
                relay.connections()
            ));
        }
        before = now;
        tell_denials(relay);
        if let Some(mut keys) = keys.and_then(|keys| keys.lock().ok()) {
            keys.go_on(relay);
        }
        if keys.is_none() && !told && unchecked() > 0 {
            told = true;
            console::say(
                "ringback: a gateway has sent a key, but this relay asks for none: whoever reaches it can register any \
                 domain; give it --keys\n",
            );
        }
    }
}

/// Says who was kept out in the last second, without their keys.
fn tell_denials(relay: &Relay) {
    let (denials, further) = relay.take_denials();
    let mut lines = String::new();
    for Denial { address, domain, refusal, times } in denials {
        let domain = domain.escape_ascii();
        let times = if times == 1 { String::new() } else { format!(", {times} times") };
        let _ = writeln!(lines, "ringback: refused {address} at {domain}{times}: {refusal} ({})", refusal.reason());
    }
    if further > 0 {
        let _ = writeln!(lines, "ringback: refused {further} more in that second");
    }
    if !lines.is_empty() {
        console::say(&lines);
    }
}

fn greeting(relay: &Relay, config: &Config, open_files: u64) -> String {
    let (clients, others) = relay.addresses().split_at(config.listen.len());
    let (gateways, tls) = others.split_at(config.listen_gateways.len());
    let list = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let mut addresses = list(clients);
    if !gateways.is_empty() {
        addresses += &format!("\nfor clients; gateways register at {}", list(gateways));
    }
    if !tls.is_empty() {
        addresses += &format!("\nby TLS at {}", list(tls));
    }
    let mode = match relay.mode() {
        Mode::DeferTaskrun => "single issuer, deferred task run",
        Mode::CoopTaskrun => "cooperative task run",
        Mode::Plain => "no task-run flags",
    };
    format!(
        "ringback {version} listens on {addresses}
{shards} on CPU {cpus}, each with {buffers} buffers of {size} bytes
io_uring: {mode}, multishot accept and receive, provided buffers; splice for bulk
up to {connections} connections, with {open_files} open files
",
        connections = config.max_connections,
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
        let parse = |wanted| cores(wanted, &usable);
        assert_eq!(parse("all"), Ok(vec![0, 1, 4, 5]));
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
