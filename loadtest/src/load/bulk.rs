//! Long transfers: downloads and uploads by length, in chunks, and through tunnels, their bytes counted.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::time::sleep;

use super::client::{Answer, Expected, Verdict, answer, exchange};
use super::{LoadArgs, Mode, Run, Workload};
use crate::conn::Conn;
use crate::framing::{Framing, LAST_CHUNK, chunk};
use crate::pace::Pace;

/// Payload of one write, in bytes, unless it is paced.
const PIECE: usize = 256 * 1024;
/// Payload of one chunk, in bytes, unless it is paced.
const CHUNK: usize = 64 * 1024;

/// What uploads are made of: what is written at a time, plain, and the same in chunks.
pub struct Payload {
    plain: &'static [u8],
    chunked: &'static [u8],
}

impl Payload {
    /// Prepares it; called once a process. Paced, it is small enough that what has been written tells what was sent.
    pub fn new(pace: Option<Pace>) -> Self {
        let at_most = |max: usize| pace.map_or(max, |pace| pace.piece(max));
        let plain = vec![b'u'; at_most(PIECE)];
        let chunked: Vec<u8> = plain.chunks(at_most(CHUNK)).flat_map(chunk).collect();
        Self { plain: plain.leak(), chunked: chunked.leak() }
    }
}

/// One stream: a transfer as soon as the one before is complete.
pub async fn stream(run: Rc<Run>, index: usize) {
    let tally = &run.tally;
    let domain = domain(&run, index);
    let mut conn = None;
    let mut in_tunnel = false;
    let mut started = false;
    let mut size = first_size(&run.args, index);
    while !run.over.get() {
        if conn.is_none() {
            conn = run.connect().await;
            in_tunnel = false;
        }
        if !std::mem::replace(&mut started, true) {
            run.has_started();
        }
        let Some(open) = &mut conn else { continue };
        let began = Instant::now();
        run.begin();
        let outcome = transfer(&run, open, (&domain, size), &mut in_tunnel).await;
        run.end();
        match outcome {
            Ok(answer) => {
                size = run.args.size;
                if answer.verdict == Verdict::Right && !run.over.get() {
                    tally.add(&tally.transfers, 1);
                }
                // Beside small requests, only theirs are in the histogram.
                if run.args.workload == Workload::Bulk || answer.verdict != Verdict::Right {
                    tally.answered(answer.verdict, began.elapsed());
                }
                if !answer.reusable {
                    conn = None;
                }
            }
            Err(_) => {
                tally.add(&tally.io_errors, 1);
                conn = None;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Bytes of a stream's first transfer: paced ones end one after the other, and so do those behind them.
fn first_size(args: &LoadArgs, index: usize) -> u64 {
    match args.pace {
        None => args.size,
        Some(_) => {
            let share = (index + 1) as f64 / args.connections.max(1) as f64;
            (args.size as f64 * share.min(1.0)).ceil() as u64
        }
    }
}

/// The domain of a stream: beside small requests, one that those do not ask for.
fn domain(run: &Run, index: usize) -> String {
    let number = match run.args.workload {
        Workload::Mixed => run.args.domain_offset + run.domains.len() + index,
        _ => run.args.domain_offset + index % run.domains.len(),
    };
    format!("d{number}")
}

/// One transfer with a domain, of a size, in the mode the arguments ask for.
async fn transfer(run: &Run, conn: &mut Conn, (domain, size): (&str, u64), in_tunnel: &mut bool) -> io::Result<Answer> {
    let host = run.args.target;
    match run.args.mode {
        Mode::Get => get(run, conn, &format!("/{domain}/bytes/{size}"), size).await,
        Mode::ChunkedGet => get(run, conn, &format!("/{domain}/chunked/{size}"), size).await,
        Mode::Put => {
            let head = format!("POST /{domain}/up HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n");
            conn.write(head.into_bytes()).await?;
            upload(run, conn, size).await?;
            answer(conn, Expected::Received(size), |_| ()).await
        }
        Mode::ChunkedPut => {
            let head = format!("POST /{domain}/up HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
            conn.write(head.into_bytes()).await?;
            upload_chunks(run, conn, size).await?;
            answer(conn, Expected::Received(size), |_| ()).await
        }
        Mode::TunnelGet | Mode::TunnelPut => {
            if !std::mem::replace(in_tunnel, true) {
                let refusal = open_tunnel(run, conn, domain).await?;
                if let Some(refusal) = refusal {
                    return Ok(refusal);
                }
            }
            through_tunnel(run, conn, size).await
        }
    }
}

/// Counts payload of a transfer in the measured part.
fn count(run: &Run, bytes: u64, incoming: bool) {
    let tally = &run.tally;
    if run.over.get() {
        return;
    }
    let direction = if incoming { &tally.bytes_in } else { &tally.bytes_out };
    tally.add(direction, bytes);
    tally.add(&tally.bulk_bytes, bytes);
}

async fn get(run: &Run, conn: &mut Conn, path: &str, size: u64) -> io::Result<Answer> {
    let host = run.args.target;
    let request = Rc::new(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    exchange(conn, request, Expected::Bytes(size), |bytes| count(run, bytes, true)).await
}

/// Writes a transfer's payload.
async fn upload(run: &Run, conn: &mut Conn, size: u64) -> io::Result<()> {
    let plain = run.payload.plain;
    let mut left = size;
    while left > 0 {
        let here = left.min(plain.len() as u64);
        conn.write(&plain[..here as usize]).await?;
        count(run, here, false);
        left -= here;
    }
    Ok(())
}

/// The same in chunks.
async fn upload_chunks(run: &Run, conn: &mut Conn, size: u64) -> io::Result<()> {
    let Payload { plain, chunked } = run.payload;
    let piece = plain.len() as u64;
    let mut left = size;
    while left >= piece {
        conn.write(chunked).await?;
        count(run, piece, false);
        left -= piece;
    }
    let mut rest = Vec::new();
    if left > 0 {
        rest.extend(chunk(&plain[..left as usize]));
    }
    rest.extend_from_slice(LAST_CHUNK);
    conn.write(rest).await?;
    count(run, left, false);
    Ok(())
}

/// Asks for a tunnel; what was said instead, if it was not granted.
async fn open_tunnel(run: &Run, conn: &mut Conn, domain: &str) -> io::Result<Option<Answer>> {
    let host = run.args.target;
    let request = format!("CONNECT /{domain} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    conn.write(request.into_bytes()).await?;
    let Some(head_len) = conn.head().await? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let status = conn.unread().get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status: u16 = status.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    conn.consume(head_len);
    Ok((status != 200).then_some(Answer { verdict: Verdict::Status(status), bytes: 0, reusable: false }))
}

/// One transfer through an open tunnel.
async fn through_tunnel(run: &Run, conn: &mut Conn, size: u64) -> io::Result<Answer> {
    let right = if run.args.mode == Mode::TunnelGet {
        conn.write(format!("GET {size}\n").into_bytes()).await?;
        let got = conn.body(Framing::Length(size), |piece| count(run, piece.len() as u64, true)).await?;
        got == size
    } else {
        conn.write(format!("PUT {size}\n").into_bytes()).await?;
        upload(run, conn, size).await?;
        conn.line().await?.as_deref() == Some(format!("OK {size}").as_str())
    };
    Ok(Answer { verdict: if right { Verdict::Right } else { Verdict::Wrong }, bytes: size, reusable: true })
}
