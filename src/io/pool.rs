//! The buffers of one core: a single mapping, some of it provided to the kernel's ring, the rest at hand.
//!
//! Only a few buffers are in the kernel's ring at a time. The ring is first in, first out, so all buffers in it are
//! touched in turn. The others are kept last in, first out, so that a core with little to do works in the same few
//! cache-warm pages, however large its pool is.
use super::Buf;
use io_uring::{Submitter, types::BufRingEntry};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    ffi::c_void,
    io,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU16, Ordering},
};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Minimum number of buffers in the kernel's ring, as long as there are any.
const RING_LEAST: u16 = 2;

/// An anonymous mapping, unmapped on drop.
struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh private mapping at an address of the kernel's choice aliases nothing.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner drops the ring that used it first (see the field order of
        // `Uring`).
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}

/// The buffers of one ring.
pub(super) struct Pool {
    entries: Mapping,
    memory: Mapping,
    buffer_size: u32,
    buffers: u16,
    ring_mask: u16,
    /// Target number of buffers in the kernel's ring.
    ring_target: u16,
    /// Number of buffers in the kernel's ring.
    in_ring: u16,
    /// The ring's tail as last published, and as it is now.
    published: u16,
    tail: u16,
    /// Maximum of that target. With more streams than buffers in the ring, some streams end for want of one.
    ring_most: u16,
    /// At hand: neither on loan nor in the ring.
    at_hand: Vec<u16>,
    /// Whether each buffer is on loan.
    lent: Box<[bool]>,
}

impl Pool {
    /// How many of so many buffers are in the kernel's ring at first, and at most. The others are for immediate receives,
    /// and for bytes that cannot be passed on at once.
    fn ring_sizes(buffers: u16) -> (u16, u16) {
        let target = (buffers / 4).clamp(2, 256);
        (target, (buffers / 2).max(target))
    }

    /// Bytes of that ring.
    pub(super) fn ring_bytes(buffers: u16) -> usize {
        usize::from(Pool::ring_sizes(buffers).1.next_power_of_two()) * size_of::<BufRingEntry>()
    }

    /// Maps the buffers and registers the ring that provides them.
    pub(super) fn new(submitter: &Submitter<'_>, buffers: u16, buffer_size: u32) -> io::Result<Pool> {
        assert!(buffers >= 4, "fewer than four buffers cannot carry two directions");
        let (ring_target, ring_most) = Pool::ring_sizes(buffers);
        let ring_entries = ring_most.next_power_of_two();
        let entries = Mapping::new(Pool::ring_bytes(buffers))?;
        let memory = Mapping::new(usize::from(buffers) * buffer_size as usize)?;
        // SAFETY: the entries live in a page-aligned mapping of the right size that outlives the ring.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.start.as_ptr() as u64, ring_entries, GROUP, 0)?;
        }
        let mut pool = Pool {
            entries,
            memory,
            buffer_size,
            buffers,
            ring_mask: ring_entries - 1,
            ring_target,
            ring_most,
            in_ring: 0,
            published: 0,
            tail: 0,
            at_hand: (0..buffers).rev().collect(),
            lent: vec![false; usize::from(buffers)].into(),
        };
        pool.publish();
        Ok(pool)
    }

    fn start_of(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.buffers, "buffer {id} is not of this pool");
        // SAFETY: within the mapping, as just asserted.
        unsafe { self.memory.start.cast::<u8>().add(usize::from(id) * self.buffer_size as usize) }
    }

    /// Fills the kernel's ring up to its target and makes it visible. Called once per turn.
    pub(super) fn publish(&mut self) {
        while self.in_ring < self.ring_target {
            // Polled connections must find some, too, and a stream needs no more than one.
            if self.in_ring >= RING_LEAST && self.at_hand.len() <= usize::from(self.buffers / 8) {
                break;
            }
            let Some(id) = self.at_hand.pop() else { break };
            let address = self.start_of(id).as_ptr() as u64;
            // SAFETY: the index is masked to the mapping's entries, and the kernel does not read this one
            // before the tail moves past it.
            let entry = unsafe {
                &mut *self.entries.start.cast::<BufRingEntry>().as_ptr().add(usize::from(self.tail & self.ring_mask))
            };
            entry.set_addr(address);
            entry.set_len(self.buffer_size);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            self.in_ring += 1;
        }
        if self.tail != self.published {
            // SAFETY: the tail shares the first entry's reserved bytes, 2-aligned, and both sides access it
            // atomically.
            let tail =
                unsafe { &*BufRingEntry::tail(self.entries.start.cast::<BufRingEntry>().as_ptr()).cast::<AtomicU16>() };
            tail.store(self.tail, Ordering::Release);
            self.published = self.tail;
        }
    }

    /// The kernel has filled a buffer from its ring.
    pub(super) fn filled(&mut self, id: u16, len: u32) -> Buf {
        self.in_ring -= 1;
        self.lend(id);
        Buf { id, start: 0, end: len }
    }

    /// The kernel has taken a buffer from its ring and put nothing in it.
    pub(super) fn returned(&mut self, id: u16) {
        self.in_ring -= 1;
        self.at_hand.push(id);
    }

    /// Takes a whole buffer from those at hand.
    pub(super) fn take(&mut self) -> Option<Buf> {
        let id = self.at_hand.pop()?;
        self.lend(id);
        Some(Buf { id, start: 0, end: self.buffer_size })
    }

    /// A stream found the kernel's ring empty: more buffers go into it from now on.
    pub(super) fn ran_dry(&mut self) {
        self.ring_target = self.ring_target.saturating_mul(2).min(self.ring_most);
    }

    fn lend(&mut self, id: u16) {
        assert!(!std::mem::replace(&mut self.lent[usize::from(id)], true), "buffer {id} is on loan already");
    }

    pub(super) fn release(&mut self, buf: Buf) {
        let lent = std::mem::replace(&mut self.lent[usize::from(buf.id)], false);
        assert!(lent, "buffer {} is not on loan", buf.id);
        self.at_hand.push(buf.id);
    }

    pub(super) fn bytes(&self, buf: &Buf) -> &[u8] {
        assert!(buf.start <= buf.end && buf.end <= self.buffer_size);
        // SAFETY: within the buffer, as just asserted; it is on loan, so the kernel does not write to it, and
        // fresh anonymous memory is initialised.
        unsafe { std::slice::from_raw_parts(self.start_of(buf.id).as_ptr().add(buf.start as usize), buf.len()) }
    }

    pub(super) fn bytes_mut(&mut self, buf: &mut Buf) -> &mut [u8] {
        assert!(buf.start <= buf.end && buf.end <= self.buffer_size);
        // SAFETY: as for `bytes`; `&mut self` and the loan make it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start_of(buf.id).as_ptr().add(buf.start as usize), buf.len()) }
    }

    pub(super) fn buffer_size(&self) -> usize {
        self.buffer_size as usize
    }

    /// Buffers neither on loan nor in the ring.
    pub(super) fn at_hand(&self) -> usize {
        self.at_hand.len()
    }

    /// Buffers in total, and those not on loan.
    pub(super) fn counts(&self) -> (usize, usize) {
        (usize::from(self.buffers), self.at_hand.len() + usize::from(self.in_ring))
    }
}
