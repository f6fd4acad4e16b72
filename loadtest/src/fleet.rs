//! A fleet of gateways over several processes.
//!
//! The parent starts itself once for each share of the gateways and adds up what the shares report. It prints
//! `ready N MS` once all are registered. The line `storm` on its standard input kills every share at once, as a power
//! cut would, and starts them again; `ready N MS` is then printed again.

use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::origin::AnswerArgs;
use crate::runtime;

/// Gateways one process may hold: below the 20,000 open files of a usual limit.
const GATEWAYS_PER_PROCESS_MAX: usize = 19_000;

/// How a gateway registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// `Upgrade: ptth`: one connection, many requests.
    Ptth,
    /// `Upgrade: PTTH/1.0`: one connection a client.
    Classic,
}

/// Arguments of `fleet`.
#[derive(Args, Clone, Debug)]
pub struct FleetArgs {
    /// Where the relay listens
    #[arg(long)]
    pub relay: SocketAddr,
    /// How gateways register
    #[arg(long, value_enum, default_value = "ptth")]
    pub dialect: Dialect,
    /// Gateways in all
    #[arg(long, default_value_t = 10)]
    pub gateways: usize,
    /// Gateway i serves the domain d<i mod DOMAINS> [default: as many as gateways]
    #[arg(long)]
    pub domains: Option<usize>,
    /// Number of the first domain
    #[arg(long, default_value_t = 0)]
    pub domain_offset: usize,
    /// Processes to spread over
    #[arg(long, default_value_t = 1)]
    pub processes: usize,
    /// Registrations that one process may have under way at a time
    #[arg(long, default_value_t = 256)]
    pub concurrency: usize,
    /// CPU to run on
    #[arg(long)]
    pub core: Option<usize>,
    /// Process p connects from the loopback address 127.<storms so far>.<SOURCE_NET>.<p+1>
    #[arg(long)]
    pub source_net: Option<u8>,
    /// End after this many seconds [default: when killed]
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// What to answer
    #[command(flatten)]
    pub answer: AnswerArgs,
    /// Set by the parent: which gateways this process is
    #[arg(long, hide = true, num_args = 2, value_names = ["FIRST", "COUNT"])]
    pub share: Option<Vec<usize>>,
}

impl FleetArgs {
    /// The domain that gateway `index` serves.
    pub fn domain(&self, index: usize) -> String {
        let domains = self.domains.unwrap_or(self.gateways).max(1);
        format!("d{}", self.domain_offset + index % domains)
    }
}

/// What the parent waits for.
enum Event {
    /// A line from a share of this generation.
    Share { generation: usize, line: String },
    /// A line of standard input.
    Order(String),
}

/// Runs the fleet, or the share of it that the arguments name.
///
/// # Errors
/// When a process cannot be started or the kernel grants no ring.
pub fn run(args: &FleetArgs) -> io::Result<()> {
    runtime::raise_open_files();
    if let Some(share) = &args.share {
        runtime::die_with_parent();
        return crate::gateway::run(args, share[0], share[1]);
    }
    let per_process = args.gateways.div_ceil(args.processes.max(1));
    if per_process > GATEWAYS_PER_PROCESS_MAX {
        return Err(io::Error::other(format!(
            "{per_process} gateways in one process are more than its {GATEWAYS_PER_PROCESS_MAX}: raise --processes"
        )));
    }
    runtime::pin(args.core)?;
    let (sender, events) = channel();
    read_orders(sender.clone());
    supervise(args, per_process, &sender, &events)
}

/// Starts the shares and answers orders until the time is up.
fn supervise(args: &FleetArgs, per_process: usize, sender: &Sender<Event>, events: &Receiver<Event>) -> io::Result<()> {
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let mut generation = 0;
    let mut began = Instant::now();
    let mut shares = start(args, per_process, generation, sender)?;
    let mut ready = 0;
    loop {
        let wait = end.map_or(Duration::from_secs(3600), |end| end.saturating_duration_since(Instant::now()));
        match events.recv_timeout(wait) {
            Ok(Event::Share { generation: of, line }) if of == generation => {
                match line.strip_prefix("ready ").map(str::parse::<usize>) {
                    Some(Ok(count)) => ready += count,
                    _ => println!("{line}"),
                }
                if ready == args.gateways {
                    println!("ready {ready} {}", began.elapsed().as_millis());
                    // Said once a generation.
                    ready += 1;
                }
            }
            Ok(Event::Share { .. }) => (),
            Ok(Event::Order(order)) if order.trim() == "storm" => {
                generation += 1;
                ready = 0;
                stop(&mut shares);
                began = Instant::now();
                shares = start(args, per_process, generation, sender)?;
            }
            Ok(Event::Order(_)) => (),
            Err(RecvTimeoutError::Timeout) if end.is_none() => (),
            Err(_) => break,
        }
    }
    stop(&mut shares);
    Ok(())
}

fn start(args: &FleetArgs, per_process: usize, generation: usize, sender: &Sender<Event>) -> io::Result<Vec<Child>> {
    let mut shares = Vec::new();
    for (process, first) in (0..args.gateways).step_by(per_process.max(1)).enumerate() {
        let count = per_process.min(args.gateways - first);
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg("--share")
            .args([first.to_string(), count.to_string()])
            .env("RINGBACK_SHARE", format!("{} {}", generation % 256, process + 1))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(Event::Share { generation, line }).is_err() {
                        return;
                    }
                }
            });
        }
        shares.push(child);
    }
    Ok(shares)
}

/// Kills all first and reaps them afterwards, so that they go at once.
fn stop(shares: &mut Vec<Child>) {
    for share in shares.iter_mut() {
        let _ = share.kill();
    }
    for mut share in shares.drain(..) {
        let _ = share.wait();
    }
}

fn read_orders(sender: Sender<Event>) {
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(Event::Order(line)).is_err() {
                return;
            }
        }
    });
}

/// The source address of this share, if the fleet spreads over several.
pub fn source(args: &FleetArgs) -> Option<IpAddr> {
    let share = std::env::var("RINGBACK_SHARE").ok()?;
    let (generation, process) = share.split_once(' ')?;
    let (generation, process): (u8, u8) = (generation.parse().ok()?, process.parse().ok()?);
    Some(IpAddr::from([127, generation, args.source_net?, process]))
}
