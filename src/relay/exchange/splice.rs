//! Bulk bytes by splice: from socket to pipe to socket, and across the boundaries of chunks.
use super::direction::{Flow, Stop};
use crate::{
    http::Body,
    io::{Calls, Received, Spliced},
    relay::{
        conn::{Arms, Conn, Flags, watch},
        desk::Desk,
    },
};
use std::io::IoSlice;

/// Number of whole buffers in a row after which a stream of unknown length is spliced.
const WHOLE_READS_OF_A_STREAM: u8 = 3;
/// A splice of a stream of unknown length that moves less than this is the last.
const DRY: usize = 4096;
/// Chunks with less than this to go are received: handling the bytes between chunks would cost more than splicing
/// saves.
const CHUNK_MIN: u64 = 16 << 10;
/// What is received where one spliced chunk ends and the next begins: its line end and the next one's size, and
/// little of its data.
const BOUNDARY_BYTES: usize = 64;
/// Maximum bytes of one splice; a pipe holds no more.
const SPLICE_MAX: usize = 1 << 20;

fn chunk_min<C>(desk: &Desk<'_, C>) -> u64 {
    CHUNK_MIN.min(desk.config.splice_min)
}

/// Whether a direction should be spliced from here on.
pub(super) fn is_worth_it<C: Calls>(flow: &Flow, source: &Conn, desk: &Desk<'_, C>) -> bool {
    if source.whole == 0 {
        return false;
    }
    match flow.body {
        Body::UntilClose => source.whole >= WHOLE_READS_OF_A_STREAM,
        Body::Chunked(_) => flow.body.opaque() >= chunk_min(desk),
        Body::Length(_) => flow.body.opaque() >= desk.config.splice_min,
    }
}

/// One step of splicing, with everything received before already sent.
pub(super) fn advance<C: Calls>(
    flow: &mut Flow,
    source: &mut Conn,
    sink: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Result<(), Stop> {
    if !flow.bulk {
        if !source.transport().may_splice() || !sink.transport().may_splice() {
            source.whole = 0;
            return Ok(());
        }
        desk.counters.spliced.bump();
        flow.bulk = true;
        // What comes after the bulk may make it hot at once.
        source.heat = source.heat.min(watch::HEAT_NEEDED);
    }
    // A stream that is being stopped still delivers bytes, and they come first.
    if source.arms.intersects(Arms::STREAM | Arms::READ) || !source.is(Flags::READABLE) {
        return Err(Stop::Idle);
    }
    if desk.budget.is_spent() {
        return Err(Stop::Spent);
    }
    if flow.pipe.is_none() {
        flow.pipe = desk.calls.pipe();
    }
    if flow.pipe.is_none() {
        desk.counters.no_pipe.bump();
        flow.stop_splicing(source, desk);
        return Ok(());
    }
    if flow.body.opaque() == 0 {
        return cross_boundary(flow, source, sink, desk);
    }
    let max = usize::try_from(flow.body.opaque()).unwrap_or(usize::MAX).min(SPLICE_MAX).min(desk.budget.bytes());
    let moved = fill(flow, source, desk, max)?;
    // More is known to follow only if the source had as much as was asked for.
    let more = moved == max && !flow.body.is_done();
    desk.budget.spend(moved);
    drain(flow, sink, desk, more)?;
    if moved < DRY && flow.body == Body::UntilClose {
        flow.stop_splicing(source, desk);
    } else if moved < max && source.arms.contains(Arms::MARK) {
        // What has come since then would cost as much as all that the mark waits for.
        source.flags.remove(Flags::READABLE);
    }
    Ok(())
}

/// Fills the pipe from the source. Returns how many bytes it got.
fn fill<C: Calls>(flow: &mut Flow, source: &mut Conn, desk: &mut Desk<'_, C>, max: usize) -> Result<usize, Stop> {
    let Some(pipe) = &flow.pipe else { return Err(Stop::Idle) };
    match source.transport().splice_in(desk.calls, pipe, max) {
        Spliced::Moved(moved) => {
            source.active = desk.tick;
            flow.body.skip(moved as u64);
            flow.piped += moved as u32;
            Ok(moved)
        }
        Spliced::Blocked => {
            source.flags.remove(Flags::READABLE);
            Err(Stop::Idle)
        }
        Spliced::Eof => {
            source.flags.insert(Flags::EOF);
            Err(Stop::Idle)
        }
        Spliced::Failed => {
            source.flags.insert(Flags::FAILED);
            Err(Stop::Idle)
        }
    }
}

/// Empties the pipe into the sink. `more` if further bytes are known to follow at once.
pub(super) fn drain<C: Calls>(
    flow: &mut Flow,
    sink: &mut Conn,
    desk: &mut Desk<'_, C>,
    more: bool,
) -> Result<(), Stop> {
    while flow.piped > 0 {
        let Some(pipe) = &flow.pipe else { return Err(Stop::Refused) };
        match sink.transport().splice_out(desk.calls, pipe, flow.piped as usize, more) {
            Spliced::Moved(n) => {
                flow.piped -= n as u32;
                flow.corked = more;
                desk.budget.spend(0);
                flow.moved += n as u32;
            }
            Spliced::Blocked => return Err(Stop::Blocked),
            Spliced::Eof | Spliced::Failed => return Err(Stop::Refused),
        }
    }
    Ok(())
}

/// Whether the source has sent a chunk completely and probably the beginning of the next one: it could be received
/// without waiting, so far.
pub(super) fn is_between_chunks(flow: &Flow, source: &Conn) -> bool {
    flow.bulk && flow.body.opaque() == 0 && !flow.body.is_done() && source.is(Flags::READABLE)
}

/// From one chunk to the next.
fn cross_boundary<C: Calls>(
    flow: &mut Flow,
    source: &mut Conn,
    sink: &mut Conn,
    desk: &mut Desk<'_, C>,
) -> Result<(), Stop> {
    if flow.body.is_done() {
        flow.stop_splicing(source, desk);
        return Err(Stop::Idle);
    }
    let buf = match source.transport().receive(desk.calls, desk.sessions, BOUNDARY_BYTES) {
        Received::Bytes(buf) => buf,
        other => {
            match other {
                Received::NoBuffers => {
                    desk.counters.starved.bump();
                    source.flags.insert(Flags::STARVED);
                }
                Received::Eof => source.flags.insert(Flags::EOF),
                Received::Failed => source.flags.insert(Flags::FAILED),
                Received::Nothing | Received::Bytes(_) => source.flags.remove(Flags::READABLE),
            }
            return Err(Stop::Idle);
        }
    };
    source.has_received(buf.len() == BOUNDARY_BYTES, desk.tick);
    let received = buf.len();
    let mut body = flow.body;
    let bytes = desk.calls.bytes(&buf);
    let passes = body.next(bytes).is_ok_and(|piece| piece.pass == bytes.len());
    if !passes || body.opaque() < chunk_min(desk) {
        // The end, an error, something to leave out, or small chunks: back to buffers, these bytes first.
        desk.budget.spend(received);
        desk.inboxes.append(&mut source.inbox, buf, desk.calls);
        flow.stop_splicing(source, desk);
        return Ok(());
    }
    // The next data are fetched before the boundary is sent, so that it need not be sent alone.
    flow.body = body;
    let max = usize::try_from(body.opaque()).unwrap_or(usize::MAX).min(SPLICE_MAX).min(desk.budget.bytes());
    // If none could be fetched, that is noted in the flow and the source.
    let moved = match source.is(Flags::READABLE) {
        true => fill(flow, source, desk, max).unwrap_or(0),
        false => 0,
    };
    // Crossing a boundary is one operation, although it takes three calls: chunks are sent as often as whole bodies.
    desk.budget.spend(received + moved);
    let bytes = desk.calls.bytes(&buf);
    let len = bytes.len();
    let sent = sink.transport().send(&*desk.calls, desk.sessions, &[IoSlice::new(bytes)], flow.piped > 0);
    if let Ok(sent) = sent {
        flow.out.extend(&mut desk.inboxes.account, &desk.calls.bytes(&buf)[sent..]);
    }
    desk.calls.release(buf);
    let sent = sent.map_err(|_| Stop::Refused)?;
    flow.corked = flow.piped > 0;
    flow.moved += sent as u32;
    if sent < len { Err(Stop::Blocked) } else { Ok(()) }
}
