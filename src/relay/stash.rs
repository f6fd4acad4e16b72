//! Bytes that wait outside the pool while its buffers are short.
//!
//! What a connection has sent and nobody can take yet (a slow reader's answer, a pipelined request, the body of a
//! request that waits for a gateway) would otherwise hold buffers that everybody else needs. It is copied out, no more
//! than a direction may hold, and back when it can go on.
use super::{conn::flag, letter::Letter, shard::Shard};
use crate::io::{Buf, Io};
use std::collections::HashMap;

/// Received bytes outside the pool, by slot; they come behind those in the slot's chain.
#[derive(Default)]
pub(super) struct Stashes(HashMap<u32, Stash>);

struct Stash {
    bytes: Vec<u8>,
    /// How many of them are back in the pool.
    taken: usize,
}

impl<I: Io<Mail = Letter>> Shard<I> {
    /// The first buffer of what a connection has sent, brought back into the pool if it must be. None if there is
    /// nothing, or no buffer to bring it back to: then the connection is in the list of those that want one.
    pub(super) fn front(&mut self, slot: u32) -> Option<Buf> {
        let conn = &mut self.conns[slot];
        if conn.input.is_empty() && conn.is(flag::STASHED) {
            let stash = self.stashes.0.get_mut(&slot)?;
            let Some(buf) = self.io.copy_in(&stash.bytes[stash.taken..]) else {
                self.starve(slot);
                return None;
            };
            stash.taken += buf.len();
            let whole = stash.taken == stash.bytes.len();
            self.links.push(&mut conn.input, buf);
            if whole {
                conn.flags &= !flag::STASHED;
                self.stashes.0.remove(&slot);
            }
        }
        self.links.front(&self.conns[slot].input)
    }

    /// Takes a connection's bytes out of the pool, if buffers are short.
    pub(super) fn make_room(&mut self, slot: u32) {
        let (buffers, _) = self.io.buffers();
        if self.io.at_hand() <= buffers / 4 {
            let bytes = self.take_input(slot);
            self.stash(slot, bytes);
        }
    }

    /// Puts bytes behind what a connection has in the pool.
    pub(super) fn stash(&mut self, slot: u32, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.conns[slot].flags |= flag::STASHED;
            self.stashes.0.insert(slot, Stash { bytes, taken: 0 });
        }
    }

    /// Puts a received buffer behind all else that the connection has sent.
    pub(super) fn append(&mut self, slot: u32, buf: Buf) {
        let conn = &mut self.conns[slot];
        match self.stashes.0.get_mut(&slot) {
            Some(stash) if conn.is(flag::STASHED) => {
                stash.bytes.extend_from_slice(self.io.bytes(&buf));
                self.io.release(buf);
            }
            _ => self.links.push(&mut conn.input, buf),
        }
    }

    /// All that a connection has sent and nobody has taken, removed from it.
    pub(super) fn take_input(&mut self, slot: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(buf) = self.links.pop(&mut self.conns[slot].input) {
            bytes.extend_from_slice(self.io.bytes(&buf));
            self.io.release(buf);
        }
        if let Some(stash) = self.unstash(slot) {
            bytes.extend_from_slice(&stash.bytes[stash.taken..]);
        }
        bytes
    }

    fn unstash(&mut self, slot: u32) -> Option<Stash> {
        let conn = &mut self.conns[slot];
        if !conn.is(flag::STASHED) {
            return None;
        }
        conn.flags &= !flag::STASHED;
        self.stashes.0.remove(&slot)
    }

    /// Throws away what a connection has sent.
    pub(super) fn release_input(&mut self, slot: u32) {
        while let Some(buf) = self.links.pop(&mut self.conns[slot].input) {
            self.io.release(buf);
        }
        self.unstash(slot);
    }
}
