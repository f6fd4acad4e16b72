//! Charts drawn from JSON.

mod axes;
pub mod latency;
mod plot;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;

use crate::load::result::Series;

/// What a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Latency by percentile, from the JSON of `load`
    Latency,
    /// Lines: {title, x, y, series: [{label, points: [[x, y], …]}]}
    Lines,
    /// Bars: {title, y, series: [label], groups: [{label, values: [[median, lowest, highest] or null]}]}
    Bars,
}

/// Arguments of `chart`.
#[derive(Args, Debug)]
pub struct ChartArgs {
    /// What the chart shows
    #[arg(long, value_enum, default_value = "latency")]
    kind: Kind,
    /// SVG file to write
    #[arg(long)]
    out: PathBuf,
    /// Title of a latency chart
    #[arg(long, default_value = "Latency by percentile")]
    title: String,
    /// JSON to draw: several for latency, one for the others
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
}

/// Draws a chart.
///
/// # Errors
/// When a file cannot be read, understood or written.
pub fn run(args: &ChartArgs) -> io::Result<()> {
    let svg = match args.kind {
        Kind::Latency => {
            let series: io::Result<Vec<Series>> = args.inputs.iter().map(|path| read(path)).collect();
            latency::draw(&args.title, &series?)
        }
        Kind::Lines => plot::lines(&read(&args.inputs[0])?),
        Kind::Bars => plot::bars(&read(&args.inputs[0])?),
    };
    std::fs::write(&args.out, svg)
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}
