//! Raw bytes both ways, for tunnels and upgraded connections.
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::Buffer;

/// One direction: a source, a sink, and the bytes that were read from the source before.
pub(super) struct Way<'b, R, W> {
    pub from: R,
    pub to: W,
    pub early: &'b mut Buffer,
}

/// Passes bytes both ways until both sources have ended; the end of one is passed on as a half-close while the other
/// way goes on.
///
/// # Errors
/// A source that breaks ends both ways. A sink that takes nothing any more ends its own way only: what its peer had
/// to say before it closed is still delivered.
pub(super) async fn both<A, B, C, D>(there: Way<'_, A, B>, back: Way<'_, C, D>) -> io::Result<()>
where
    A: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
    C: AsyncRead + Unpin,
    D: AsyncWrite + Unpin,
{
    tokio::try_join!(one(there), one(back)).map(|_| ())
}

/// Passes one way's bytes until its source has ended, then the end.
///
/// # Errors
/// Those of the source.
pub(super) async fn one<R, W>(way: Way<'_, R, W>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Way { mut from, mut to, early: buffer } = way;
    loop {
        if !buffer.is_empty() {
            let written = to.write_all(buffer.filled()).await;
            buffer.clear();
            // Standard output keeps lines back until it is flushed; sockets have nothing to flush.
            if written.is_err() || to.flush().await.is_err() {
                return Ok(());
            }
        }
        if buffer.fill(&mut from).await? == 0 {
            let _gone_is_as_good = to.shutdown().await;
            return Ok(());
        }
    }
}
