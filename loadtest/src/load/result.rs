//! What a run has counted and measured, and how it is told: a line a second, a table, JSON.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::client::Verdict;
use crate::watch::Usage;

/// The longest latency told apart from longer ones, in nanoseconds: two minutes.
const LATENCY_MAX: u64 = 120_000_000_000;

/// Counters and histograms of the part of the run that is measured.
pub struct Tally {
    /// Nothing is counted before and after the measured part.
    pub measuring: Cell<bool>,
    /// Answers that were right.
    pub right: Cell<u64>,
    /// Answers with status 200 that were not what was asked for.
    pub wrong: Cell<u64>,
    /// Connections that could not be opened.
    pub connect_errors: Cell<u64>,
    /// Exchanges that the connection's end cut off.
    pub io_errors: Cell<u64>,
    /// Answers by status other than 200.
    pub statuses: RefCell<BTreeMap<u16, u64>>,
    /// Payload bytes received.
    pub bytes_in: Cell<u64>,
    /// Payload bytes sent.
    pub bytes_out: Cell<u64>,
    /// Those of `bytes_in` and `bytes_out` that belong to bulk transfers.
    pub bulk_bytes: Cell<u64>,
    /// Bulk transfers completed.
    pub transfers: Cell<u64>,
    /// Exchanges begun and not ended.
    pub under_way: Cell<u64>,
    /// Time from when a request was meant to be sent to its answer's end, in nanoseconds.
    pub latency: RefCell<Histogram<u64>>,
    /// The same since the last line of progress.
    pub recent: RefCell<Histogram<u64>>,
    /// Time from when a request was meant to be sent to when it was, in nanoseconds.
    pub lateness: RefCell<Histogram<u64>>,
}

fn histogram() -> RefCell<Histogram<u64>> {
    RefCell::new(Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("bounds are constants"))
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            measuring: Cell::new(false),
            right: Cell::new(0),
            wrong: Cell::new(0),
            connect_errors: Cell::new(0),
            io_errors: Cell::new(0),
            statuses: RefCell::default(),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            bulk_bytes: Cell::new(0),
            transfers: Cell::new(0),
            under_way: Cell::new(0),
            latency: histogram(),
            recent: histogram(),
            lateness: histogram(),
        }
    }
}

impl Tally {
    /// Adds to one of the counters, if this is the measured part.
    pub fn add(&self, counter: &Cell<u64>, count: u64) {
        if self.measuring.get() {
            counter.set(counter.get() + count);
        }
    }

    /// Counts an answer and, if it is right, how long it took.
    pub fn answered(&self, verdict: Verdict, took: Duration) {
        match verdict {
            Verdict::Right => {
                self.add(&self.right, 1);
                self.record(&self.latency, took);
                self.record(&self.recent, took);
            }
            Verdict::Wrong => self.add(&self.wrong, 1),
            Verdict::Status(status) if self.measuring.get() => {
                *self.statuses.borrow_mut().entry(status).or_default() += 1;
            }
            Verdict::Status(_) => (),
        }
    }

    /// Records a duration, if this is the measured part.
    pub fn record(&self, into: &RefCell<Histogram<u64>>, took: Duration) {
        if self.measuring.get() {
            into.borrow_mut().saturating_record(took.as_nanos() as u64);
        }
    }

    /// Everything that went wrong, except what is still under way.
    pub fn errors(&self) -> u64 {
        let statuses: u64 = self.statuses.borrow().values().sum();
        self.wrong.get() + self.connect_errors.get() + self.io_errors.get() + statuses
    }
}

/// What the last line of progress has seen.
pub struct Progress {
    began: Instant,
    at: Instant,
    right: u64,
    bytes: u64,
}

impl Progress {
    /// Begins now.
    pub fn new() -> Self {
        Self { began: Instant::now(), at: Instant::now(), right: 0, bytes: 0 }
    }

    /// Prints a line about the time since the one before.
    pub fn tell(&mut self, tally: &Tally) {
        let seconds = self.at.elapsed().as_secs_f64();
        let bytes = tally.bytes_in.get() + tally.bytes_out.get();
        let mut recent = tally.recent.borrow_mut();
        eprintln!(
            "{:4.0} s {:9.0} req/s {:8.1} MB/s   p50 {:>9} p99 {:>9}   errors {}",
            self.began.elapsed().as_secs_f64(),
            (tally.right.get() - self.right) as f64 / seconds,
            (bytes - self.bytes) as f64 / seconds / 1e6,
            human(recent.value_at_quantile(0.5) as f64 / 1e3),
            human(recent.value_at_quantile(0.99) as f64 / 1e3),
            tally.errors(),
        );
        recent.reset();
        self.at = Instant::now();
        self.right = tally.right.get();
        self.bytes = bytes;
    }
}

/// Percentiles in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    pub mean: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max() as f64 / 1e3,
            mean: histogram.mean() / 1e3,
        }
    }
}

/// A latency curve: what a chart needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// Who was measured.
    pub label: String,
    /// Quantile and microseconds.
    pub percentiles: Vec<(f64, f64)>,
}

/// What a process has used, by itself and for each unit of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UsageOfEach {
    /// CPU and memory.
    #[serde(flatten)]
    pub usage: Usage,
    /// CPU for each right answer, in microseconds.
    pub us_per_request: Option<f64>,
    /// CPU for each 10⁹ bytes of payload, in seconds.
    pub cpu_seconds_per_gb: Option<f64>,
}

/// Everything about a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of Tally, divided by time where they say so")]
pub struct Report {
    #[serde(flatten)]
    pub series: Series,
    pub workload: String,
    pub mode: Option<String>,
    pub target: String,
    pub connections: usize,
    pub domains: usize,
    pub rate: Option<f64>,
    pub seconds: f64,
    /// How long the last answers took to come after that.
    pub drain_seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    pub errors: u64,
    pub wrong: u64,
    pub connect_errors: u64,
    pub io_errors: u64,
    /// Requests begun or due whose answer has not come by the end.
    pub unanswered: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub bytes_per_second: f64,
    pub transfers: u64,
    pub bulk_bytes: u64,
    pub bulk_bytes_per_second: f64,
    pub latency_us: Percentiles,
    pub lateness_us: Percentiles,
    /// What the relay's process has used.
    pub relay: Option<UsageOfEach>,
    /// The same of the gateway's.
    pub gateway: Option<UsageOfEach>,
}

impl Report {
    /// What was asked for; `clients` are connections and domains.
    pub fn new(
        label: String,
        workload: String,
        mode: Option<String>,
        target: String,
        clients: (usize, usize),
        rate: Option<f64>,
    ) -> Self {
        Self {
            series: Series { label, ..Series::default() },
            workload,
            mode,
            target,
            connections: clients.0,
            domains: clients.1,
            rate,
            ..Self::default()
        }
    }

    /// Fills in what a tally has counted in `seconds`.
    pub fn measured(&mut self, tally: &Tally, seconds: f64, unanswered: u64) {
        let latency = tally.latency.borrow();
        self.series.percentiles = curve(&latency);
        self.seconds = seconds;
        self.requests = tally.right.get();
        self.requests_per_second = self.requests as f64 / seconds;
        self.errors = tally.errors() + unanswered;
        self.wrong = tally.wrong.get();
        self.connect_errors = tally.connect_errors.get();
        self.io_errors = tally.io_errors.get();
        self.unanswered = unanswered;
        self.statuses = tally.statuses.borrow().clone();
        self.bytes_in = tally.bytes_in.get();
        self.bytes_out = tally.bytes_out.get();
        self.bytes_per_second = (self.bytes_in + self.bytes_out) as f64 / seconds;
        self.transfers = tally.transfers.get();
        self.bulk_bytes = tally.bulk_bytes.get();
        self.bulk_bytes_per_second = self.bulk_bytes as f64 / seconds;
        self.latency_us = Percentiles::of(&latency);
        self.lateness_us = Percentiles::of(&tally.lateness.borrow());
    }

    /// What a process has used meanwhile, for each answer and each byte too.
    pub fn of_each(&self, usage: Usage) -> UsageOfEach {
        let cpu = usage.cpu_seconds;
        let payload = self.bytes_in + self.bytes_out;
        UsageOfEach {
            us_per_request: (self.requests > 0).then(|| cpu * 1e6 / self.requests as f64),
            cpu_seconds_per_gb: (payload > 0).then(|| cpu * 1e9 / payload as f64),
            usage,
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        let row = |name: &str, value: String| println!("{name:<24}{value}");
        row("workload", self.workload.clone());
        row("requests", self.requests.to_string());
        row("requests/s", format!("{:.0}", self.requests_per_second));
        row(
            "errors",
            format!(
                "{} (wrong {}, connect {}, cut off {}, unanswered {}, statuses {:?})",
                self.errors, self.wrong, self.connect_errors, self.io_errors, self.unanswered, self.statuses
            ),
        );
        row("payload MB/s", format!("{:.1}", self.bytes_per_second / 1e6));
        if self.transfers > 0 {
            let speed = self.bulk_bytes_per_second / 1e6;
            row("bulk MB/s", format!("{speed:.1} ({} transfers)", self.transfers));
        }
        for (name, percentiles) in [("latency", &self.latency_us), ("sent late by", &self.lateness_us)] {
            row(
                name,
                format!(
                    "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                    human(percentiles.p50),
                    human(percentiles.p90),
                    human(percentiles.p99),
                    human(percentiles.p99_9),
                    human(percentiles.max)
                ),
            );
        }
        for (name, used) in [("relay", &self.relay), ("gateway", &self.gateway)] {
            let Some(used) = used else { continue };
            let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
            row(&format!("{name} CPU s"), format!("{:.3}", used.usage.cpu_seconds));
            row(&format!("{name} CPU µs/request"), number(used.us_per_request));
            row(&format!("{name} CPU s/GB"), number(used.cpu_seconds_per_gb));
            let (before, after) = (used.usage.rss_before >> 10, used.usage.rss_after >> 10);
            row(&format!("{name} RSS KiB"), format!("{before} → {after}"));
        }
    }
}

/// Points of the latency curve, closer together towards the slowest.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    histogram
        .iter_quantiles(5)
        .map(|step| (step.quantile_iterated_to(), step.value_iterated_to() as f64 / 1e3))
        .collect()
}

/// Microseconds for people.
pub fn human(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Writes JSON to a file, or to standard output when the path is `-`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(path: &str, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    if path == "-" {
        println!("{text}");
        return Ok(());
    }
    std::fs::write(path, text + "\n")
}
