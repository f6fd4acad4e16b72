//! Clients: closed loops and open ones, small requests and long transfers, every answer checked.

mod bulk;
mod client;
pub mod result;
mod schedule;
mod small;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use monoio::time::sleep;

use crate::conn::Conn;
use crate::pace::Pace;
use crate::runtime;
use crate::watch::Sample;
use result::{Progress, Report, Tally, write_json};
use schedule::Schedule;

/// How long answers may take after the measured part.
const GRACE: Duration = Duration::from_secs(10);
/// First connections under way at a time.
const CONNECTING_MAX: usize = 256;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Small requests on kept connections, each to its own domain
    Small,
    /// Long transfers; see --mode
    Bulk,
    /// One request each, then silence, then one more
    Idle,
    /// A connection for each request
    Churn,
    /// A few small requests per second on domains of their own while a fleet comes back
    Storm,
    /// Small requests beside --streams long transfers
    Mixed,
    /// All connections to one domain
    Hot,
    /// Each connection goes round the domains
    Many,
}

/// How long transfers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Download by length
    Get,
    /// Upload by length
    Put,
    /// Download in chunks
    ChunkedGet,
    /// Upload in chunks
    ChunkedPut,
    /// Download through CONNECT
    TunnelGet,
    /// Upload through CONNECT
    TunnelPut,
}

/// Arguments of `load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// What the clients do
    #[arg(long, value_enum, default_value = "small")]
    workload: Workload,
    /// Where the relay listens
    #[arg(long)]
    target: SocketAddr,
    /// Domains to ask for: d0, d1, …
    #[arg(long, default_value_t = 10)]
    domains: usize,
    /// Number of the first domain
    #[arg(long, default_value_t = 0)]
    domain_offset: usize,
    /// Client connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before measuring
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Requests per second, sent by the clock (open loop) [default: each as soon as the one before is answered]
    #[arg(long)]
    rate: Option<f64>,
    /// How long transfers are made
    #[arg(long, value_enum, default_value = "get")]
    mode: Mode,
    /// Bytes of one transfer
    #[arg(long, default_value_t = 256 << 20)]
    size: u64,
    /// Rate that each connection's uploads keep to, and that its downloads are expected at: the first transfers are
    /// shortened, each by another amount, so that they do not all end at once [default: as fast as they are taken]
    #[arg(long, value_name = "BYTES_PER_SECOND")]
    pace: Option<Pace>,
    /// Transfers beside the small requests of `mixed`; stream k uses the k-th domain behind those of the requests
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Process whose CPU and memory are read before and after: the relay
    #[arg(long)]
    watch: Option<u32>,
    /// Another one, such as the gateway behind the relay
    #[arg(long)]
    watch_gateway: Option<u32>,
    /// Name of the run in charts
    #[arg(long, default_value = "")]
    label: String,
    /// Write everything as JSON; `-` is standard output
    #[arg(long)]
    json: Option<String>,
    /// Write the latency curve as JSON, for `chart`
    #[arg(long)]
    latency_json: Option<String>,
    /// Draw the latency curve
    #[arg(long)]
    svg: Option<String>,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// Address to connect from, such as 127.0.9.1, when the usual one's ports are all taken
    #[arg(long)]
    source: Option<IpAddr>,
}

/// What all clients of a run share.
pub struct Run {
    args: LoadArgs,
    tally: Tally,
    /// The open loop's; for `idle`, what ends the silence.
    schedule: Schedule,
    /// The measured part is over.
    over: Cell<bool>,
    /// Clients that have tried their first connection.
    started: Cell<usize>,
    /// Domains and the requests for them.
    domains: Vec<(String, Rc<Vec<u8>>)>,
    /// What uploads are made of.
    payload: bulk::Payload,
}

impl Run {
    fn new(args: LoadArgs) -> Self {
        let count = match args.workload {
            Workload::Hot => 1,
            _ => args.domains.max(1),
        };
        let close = match args.workload {
            Workload::Churn => "Connection: close\r\n",
            _ => "",
        };
        let domains = (args.domain_offset..args.domain_offset + count).map(|number| {
            let (domain, target) = (format!("d{number}"), args.target);
            let request = format!("GET /{domain}/x HTTP/1.1\r\nHost: {target}\r\n{close}\r\n");
            (domain, Rc::new(request.into_bytes()))
        });
        Self {
            domains: domains.collect(),
            payload: bulk::Payload::new(args.pace),
            tally: Tally::default(),
            schedule: Schedule::default(),
            over: Cell::new(false),
            started: Cell::new(0),
            args,
        }
    }

    /// Opens a connection, counting the failure if there is one.
    async fn connect(&self) -> Option<Conn> {
        let opened = Conn::connect(self.args.target, self.args.source).await.and_then(|conn| {
            self.args.pace.map_or(Ok(()), |pace| conn.keep_to(pace))?;
            Ok(conn)
        });
        match opened {
            Ok(conn) => Some(conn),
            Err(_) => {
                self.tally.add(&self.tally.connect_errors, 1);
                sleep(Duration::from_millis(10)).await;
                None
            }
        }
    }

    /// A client has got past its first connection, or has failed to.
    fn has_started(&self) {
        self.started.set(self.started.get() + 1);
    }

    fn begin(&self) {
        self.tally.under_way.set(self.tally.under_way.get() + 1);
    }

    fn end(&self) {
        self.tally.under_way.set(self.tally.under_way.get() - 1);
    }
}

/// Runs the load and tells what came of it.
///
/// # Errors
/// When the kernel grants no ring, there is no process to watch, or a file cannot be written.
pub fn run(args: LoadArgs) -> io::Result<()> {
    runtime::raise_open_files();
    runtime::pin(args.core)?;
    let run = Rc::new(Run::new(args));
    let report = runtime::run(measure(run.clone()))??;
    report.print();
    if let Some(path) = &run.args.json {
        write_json(path, &report)?;
    }
    if let Some(path) = &run.args.latency_json {
        write_json(path, &report.series)?;
    }
    if let Some(path) = &run.args.svg {
        let series = std::slice::from_ref(&report.series);
        std::fs::write(path, crate::chart::latency::draw("Latency by percentile", series))?;
    }
    Ok(())
}

/// Starts the clients, warms up, measures, and waits for the last answers.
async fn measure(run: Rc<Run>) -> io::Result<Report> {
    let look = || -> io::Result<[Option<Sample>; 2]> {
        let at = |pid: Option<u32>| pid.map(Sample::of).transpose();
        Ok([at(run.args.watch)?, at(run.args.watch_gateway)?])
    };
    let mut before = look()?;
    start(&run).await;
    let idle = run.args.workload == Workload::Idle;
    if idle {
        println!("idle {}", run.args.connections);
    } else {
        if let Some(rate) = rate(&run.args) {
            let run = run.clone();
            monoio::spawn(async move {
                if let Err(error) = run.schedule.run(rate).await {
                    eprintln!("ringback-loadtest: no timer for the open loop: {error}");
                }
            });
        }
        sleep(Duration::from_secs_f64(run.args.warmup)).await;
        before = look()?;
    }
    let began = Instant::now();
    run.tally.measuring.set(true);
    let mut progress = Progress::new();
    let length = Duration::from_secs_f64(run.args.seconds);
    while began.elapsed() < length {
        sleep((length - began.elapsed()).min(Duration::from_secs(1))).await;
        progress.tell(&run.tally);
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut after = look()?;
    // An open loop's and the idle ones' last answers still count.
    run.tally.measuring.set(idle || rate(&run.args).is_some());
    run.over.set(true);
    run.schedule.end();
    let unanswered = drain(&run).await;
    if rate(&run.args).is_some() {
        // What its last answers have cost counts, too: many, if it asks for more than there is.
        after = look()?;
    }
    let mut report = blank(&run.args);
    report.drain_seconds = began.elapsed().as_secs_f64() - seconds;
    report.measured(&run.tally, seconds, unanswered);
    let [relay, gateway] = std::array::from_fn(|index| Some(after[index].as_ref()?.since(before[index].as_ref()?)));
    report.relay = relay.map(|usage| report.of_each(usage));
    report.gateway = gateway.map(|usage| report.of_each(usage));
    Ok(report)
}

/// The open loop's rate; a storm's canary always has one.
fn rate(args: &LoadArgs) -> Option<f64> {
    let default = (args.workload == Workload::Storm).then_some(200.0);
    args.rate.or(default).filter(|rate| *rate > 0.0)
}

/// Starts all clients, a few at a time, and waits until each has tried its first connection.
async fn start(run: &Rc<Run>) {
    let small = match run.args.workload {
        Workload::Bulk => 0,
        _ => run.args.connections,
    };
    let streams = match run.args.workload {
        Workload::Bulk => run.args.connections,
        Workload::Mixed => run.args.streams,
        _ => 0,
    };
    for index in 0..small + streams {
        while index - run.started.get() >= CONNECTING_MAX {
            sleep(Duration::from_millis(1)).await;
        }
        let run = run.clone();
        if index >= small {
            monoio::spawn(bulk::stream(run, index - small));
        } else if run.args.workload == Workload::Idle {
            monoio::spawn(small::idler(run, index));
        } else {
            monoio::spawn(small::client(run, index));
        }
    }
    while run.started.get() < small + streams {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for the last answers; how many have not come.
async fn drain(run: &Run) -> u64 {
    let began = Instant::now();
    loop {
        let left = run.tally.under_way.get() + run.schedule.left();
        if left == 0 || began.elapsed() > GRACE {
            return left;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// A report that says what was asked for and nothing yet of what came of it.
fn blank(args: &LoadArgs) -> Report {
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let mut label = args.label.clone();
    if label.is_empty() {
        label = name(&args.workload);
    }
    let bulk = matches!(args.workload, Workload::Bulk | Workload::Mixed);
    Report::new(
        label,
        name(&args.workload),
        bulk.then(|| args.mode.to_possible_value().map_or(String::new(), |v| v.get_name().into())),
        args.target.to_string(),
        (args.connections, args.domains),
        rate(args),
    )
}
