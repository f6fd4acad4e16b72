//! Raw bytes both ways, for tunnels and upgraded connections.
use std::{future::Future, io, pin::pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Stdin, Stdout},
    net::TcpStream,
};

use super::{buffer::Buffer, clock::Clock, link::End, pipe::Pipe};

/// A source or a sink, which may be a socket.
pub(super) trait Port {
    /// The socket, if it is one whose bytes need not be looked at.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl Port for End<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        self.0.bare()
    }
}

impl Port for Stdin {}

impl Port for Stdout {}

/// One direction: a source, a sink, and the bytes that were read from the source before.
pub(super) struct Way<'b, R, W> {
    pub from: R,
    pub to: W,
    pub early: &'b mut Buffer,
}

/// How long nothing may move, either way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While both ways are open.
    pub open: Duration,
    /// When one way has ended: its peer may be gone without having said so.
    pub half_closed: Duration,
}

/// Passes bytes both ways until both sources have ended; the end of one is passed on as a half-close while the other
/// way goes on.
///
/// # Errors
/// A source that breaks ends both ways, and so does silence for longer than `patience`. A sink that takes nothing any
/// more ends its own way only: what its peer had to say before it closed is still delivered.
pub(super) async fn both<A, B, C, D>(there: Way<'_, A, B>, back: Way<'_, C, D>, patience: Patience) -> io::Result<()>
where
    A: AsyncRead + Port + Unpin,
    B: AsyncWrite + Port + Unpin,
    C: AsyncRead + Port + Unpin,
    D: AsyncWrite + Port + Unpin,
{
    let clock = &Clock::start();
    join(one(there, clock), one(back, clock), clock, patience).await
}

/// Runs two ways that move `clock` until both have ended.
///
/// # Errors
/// As [`both`].
pub(super) async fn join(
    there: impl Future<Output = io::Result<()>>,
    back: impl Future<Output = io::Result<()>>,
    clock: &Clock,
    patience: Patience,
) -> io::Result<()> {
    let (mut there, mut back) = (pin!(there), pin!(back));
    let first = async {
        tokio::select! {
            ended = &mut there => ended.map(|()| true),
            ended = &mut back => ended.map(|()| false),
        }
    };
    let there_has_ended = clock.limit(patience.open, first).await?;
    clock.moved();
    match there_has_ended {
        true => clock.limit(patience.half_closed, back).await,
        false => clock.limit(patience.half_closed, there).await,
    }
}

/// Passes one way's bytes until its source has ended, then the end.
///
/// # Errors
/// Those of the source.
pub(super) async fn one<R, W>(way: Way<'_, R, W>, clock: &Clock) -> io::Result<()>
where
    R: AsyncRead + Port + Unpin,
    W: AsyncWrite + Port + Unpin,
{
    let Way { mut from, mut to, early: buffer } = way;
    loop {
        while !buffer.is_empty() {
            match to.write(buffer.filled()).await {
                Ok(written @ 1..) => buffer.consume(written),
                _ => {
                    buffer.clear();
                    return Ok(());
                }
            }
            clock.moved();
        }
        // Standard output keeps lines back until it is flushed; sockets have nothing to flush.
        if to.flush().await.is_err() {
            return Ok(());
        }
        if buffer.is_bulk()
            && let (Some(from), Some(to)) = (from.socket(), to.socket())
            && let Some(pipe) = Pipe::open()
        {
            buffer.forget_bulk();
            if !splice(pipe, from, to, clock).await? {
                return Ok(());
            }
        }
        if buffer.fill(&mut from).await? == 0 {
            let _gone_is_as_good = to.shutdown().await;
            return Ok(());
        }
        clock.moved();
    }
}

/// Passes bulk through a pipe, until only little comes at a time or the source has ended. False when the sink takes
/// nothing any more.
///
/// # Errors
/// Those of the source.
async fn splice(mut pipe: Pipe, from: &TcpStream, to: &TcpStream, clock: &Clock) -> io::Result<bool> {
    while pipe.is_worth_it() && pipe.fill(from, u64::MAX).await? > 0 {
        clock.moved();
        while !pipe.is_empty() {
            if pipe.drain(to).await.is_err() {
                return Ok(false);
            }
            clock.moved();
        }
    }
    Ok(true)
}
