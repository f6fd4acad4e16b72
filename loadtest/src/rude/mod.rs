//! Rude peers: clients and gateways that keep a relay as busy as they can, each kind in one way.
//!
//! They are what `scripts/fairness` puts beside a polite client. All of them block, on plain threads: they need no
//! speed of their own, and their number is bounded by the constants below. What they have done is counted, so that a
//! measurement beside peers that were held up themselves is seen to be one.

mod few;
mod many;
mod peer;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::runtime;
use few::{Body, Bulk};
use peer::Rude;

/// Flows of one kind of bulk.
const FLOWS: usize = 64;
/// Connections that send heads byte by byte.
const DRIPS: usize = 1_000;
/// Connections of one wave of a storm.
const STORM: usize = 2_000;
/// Clients that hardly read.
const SLOW: usize = 1_000;

/// In which way the peers are rude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One connection that pipelines requests for a domain that nobody serves
    Refused,
    /// One connection that pipelines small requests
    Served,
    /// One gateway that sends interim responses without end
    Interim,
    /// 64 transfers by length, half of them uploads
    BulkLength,
    /// The same in chunks of 64 bytes
    BulkSmallChunks,
    /// The same in chunks of 64 KiB
    BulkLargeChunks,
    /// The same in tunnels
    BulkTunnels,
    /// 1,000 connections that send long heads byte by byte
    Drips,
    /// 2,000 connections opened and closed at once, again and again
    Storm,
    /// 1,000 clients that hardly read what they asked for
    SlowReaders,
}

/// Arguments of `rude`.
#[derive(Args, Clone, Debug)]
pub struct RudeArgs {
    /// In which way
    #[arg(value_enum)]
    kind: Kind,
    /// Where the relay listens
    #[arg(long)]
    target: SocketAddr,
    /// Seconds to go on, unless standard input ends first
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// Starts the peers, prints `ready` once they are at it, and `done OPERATIONS BYTES SECONDS` when the time is up or
/// standard input ends.
///
/// # Errors
/// When the peers cannot be started: the relay refuses their gateways, or there are not enough open files.
pub fn run(args: &RudeArgs) -> io::Result<()> {
    runtime::raise_open_files();
    runtime::die_with_parent();
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let rude = Rude::new(args.target);
    match args.kind {
        Kind::Refused => few::pipelined(&rude, "nobody"),
        Kind::Served => few::served(&rude)?,
        Kind::Interim => few::interim(&rude)?,
        Kind::BulkLength => few::bulk(&rude, FLOWS, &Bulk::new(Body::Length))?,
        Kind::BulkSmallChunks => few::bulk(&rude, FLOWS, &Bulk::new(Body::Chunks(64)))?,
        Kind::BulkLargeChunks => few::bulk(&rude, FLOWS, &Bulk::new(Body::Chunks(64 << 10)))?,
        Kind::BulkTunnels => few::bulk(&rude, FLOWS, &Bulk::new(Body::Tunnel))?,
        Kind::Drips => many::drips(&rude, DRIPS),
        Kind::Storm => many::storm(&rude, STORM),
        Kind::SlowReaders => many::slow_readers(&rude, SLOW)?,
    }
    println!("ready");
    let began = Instant::now();
    let (operations, bytes) = (rude.operations(), rude.bytes());
    let (ended, end) = channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.recv_timeout(until.saturating_duration_since(began));
    // The threads end with the process.
    let seconds = began.elapsed().as_secs_f64();
    println!("done {} {} {seconds:.3}", rude.operations() - operations, rude.bytes() - bytes);
    Ok(())
}
