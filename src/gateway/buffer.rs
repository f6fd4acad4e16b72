//! Bytes on their way through the gateway.
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::link::Link;
use crate::http::HEAD_BYTES_MAX;

/// What one direction of a busy connection holds. Parked connections hold nothing.
const BUFFER_BYTES: usize = 16 * 1024;

/// The same while it carries bulk: fewer and larger pieces cost everybody on the way less.
const BULK_BYTES: usize = 256 * 1024;

/// A queue of bytes: filled from a socket at the back, consumed at the front.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Bytes at the front that are consumed already.
    consumed: usize,
    /// How many times in a row there was more than it had room for; at most [`BULK_AFTER`].
    brimful: u8,
}

/// So many times in a row count as bulk.
const BULK_AFTER: u8 = 2;

impl Buffer {
    /// The bytes that are waiting.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// The bytes that are waiting, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.consumed..]
    }

    /// Whether none are.
    pub fn is_empty(&self) -> bool {
        self.filled().is_empty()
    }

    /// Puts other bytes in the place of the first `n`.
    pub fn replace(&mut self, n: usize, with: &[u8]) {
        let from = self.consumed;
        self.bytes.splice(from..from + n, with.iter().copied());
    }

    /// Drops `n` bytes from the front.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.filled().len());
        self.consumed += n;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops all bytes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.consumed = 0;
    }

    /// Gives the memory back. Only for an empty buffer.
    pub fn release(&mut self) {
        debug_assert!(self.is_empty());
        *self = Buffer::default();
    }

    /// Waits for bytes from `source` and appends them; 0 at its end.
    ///
    /// # Errors
    /// Those of the source, and [`io::ErrorKind::InvalidData`] when a head grew too long.
    pub async fn fill(&mut self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room()?;
        let read = source.read_buf(&mut self.bytes).await?;
        self.note();
        Ok(read)
    }

    /// Appends what `source` has right now.
    ///
    /// # Errors
    /// As [`Buffer::fill`], and [`io::ErrorKind::WouldBlock`] when there is nothing.
    pub fn try_fill(&mut self, source: &Link) -> io::Result<usize> {
        self.make_room()?;
        let read = source.try_read_buf(&mut self.bytes)?;
        self.note();
        Ok(read)
    }

    /// Whether bytes come faster than they are consumed.
    pub fn is_bulk(&self) -> bool {
        self.brimful == BULK_AFTER
    }

    /// What comes from here on has to show again that it is bulk.
    pub fn forget_bulk(&mut self) {
        self.brimful = 0;
    }

    fn note(&mut self) {
        let brimful = self.bytes.len() == self.bytes.capacity();
        self.brimful = if brimful { BULK_AFTER.min(self.brimful + 1) } else { 0 };
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            let wanted = if self.is_bulk() { BULK_BYTES } else { BUFFER_BYTES };
            if self.bytes.capacity() < wanted {
                self.bytes = Vec::with_capacity(wanted);
            }
        }
        if self.bytes.len() == self.bytes.capacity() && self.consumed > 0 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        if self.filled().len() >= HEAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a head of more than 65,535 bytes"));
        }
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve_exact(self.bytes.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_found_at_the_front_before_the_buffer_grows() {
        let mut buffer = Buffer::default();
        let mut source = tokio::io::repeat(b'x');
        assert_eq!(buffer.fill(&mut source).await.unwrap(), BUFFER_BYTES);
        buffer.consume(100);
        assert_eq!(buffer.fill(&mut source).await.unwrap(), 100);
        assert_eq!(buffer.filled().len(), BUFFER_BYTES);
        assert_eq!(buffer.bytes.capacity(), BUFFER_BYTES);
    }

    #[tokio::test]
    async fn a_head_has_a_limit() {
        let mut buffer = Buffer::default();
        let mut source = tokio::io::repeat(b'x');
        let error = loop {
            if let Err(error) = buffer.fill(&mut source).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(buffer.filled().len() <= HEAD_BYTES_MAX + 1);
        buffer.consume(buffer.filled().len());
        buffer.release();
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
