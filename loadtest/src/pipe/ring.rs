//! The bare pipe's ring: the only unsafe code of this crate beside `pace`'s.
//!
//! Multishot accept and receive into a ring of provided buffers. Nothing is sent through it: a direct `send(2)`
//! measured the same and is simpler.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};
use rustix::event::PollFlags;

/// Submission queue entries.
const ENTRIES: u32 = 1024;
/// Completion queue entries: a full queue ends multishot operations.
const COMPLETIONS: u32 = 16_384;
/// The group all provided buffers belong to.
const GROUP: u16 = 0;
/// Alignment of the memory shared with the kernel.
const PAGE: usize = 4096;
/// Tag of operations whose completion nobody waits for.
const IGNORED: u64 = u64::MAX;

/// A provided buffer that the kernel has filled and this process has not given back.
#[derive(Debug)]
pub struct Lent(u16);

/// What has happened to an operation.
#[derive(Debug)]
pub struct Completion {
    /// What the operation was armed with.
    pub tag: u64,
    /// Bytes, a descriptor, or a negative errno.
    pub result: i32,
    /// The operation goes on.
    pub more: bool,
    /// Where the bytes are.
    pub buffer: Option<Lent>,
}

/// A ring with its provided buffers. It lives as long as the process.
pub struct Ring {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    /// The table of free buffers, shared with the kernel.
    table: NonNull<BufRingEntry>,
    /// The buffers, one after the other.
    memory: NonNull<u8>,
    /// Buffers in all, a power of two.
    count: u16,
    /// Bytes in one buffer.
    bytes: usize,
    /// Where the next free buffer is entered.
    tail: u16,
    /// Buffers the kernel may fill.
    free: u16,
}

impl Ring {
    /// A ring of this thread's own with `count` buffers (a power of two) of `bytes` bytes.
    ///
    /// # Errors
    /// What the kernel says to io_uring or to the buffers.
    pub fn new(count: u16, bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && bytes > 0 && u32::try_from(bytes).is_ok());
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)?;
        let table = pages::<BufRingEntry>(usize::from(count) * size_of::<BufRingEntry>());
        let memory = pages::<u8>(usize::from(count) * bytes);
        // SAFETY: the table is page-aligned, holds `count` entries, and is never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(table.as_ptr() as u64, count, GROUP, 0)?;
        }
        let (mut submitter, submissions, completions) = Box::leak(Box::new(ring)).split();
        // Saves a lookup an enter; done without where it is refused.
        let _ = submitter.register_ring_fd();
        let mut ring = Self { submitter, submissions, completions, table, memory, count, bytes, tail: 0, free: 0 };
        for id in 0..count {
            ring.give(id);
        }
        Ok(ring)
    }

    /// Accepts on `listener` until further notice.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, tag: u64) -> io::Result<()> {
        let fd = Fd(listener.as_raw_fd());
        self.push(&opcode::AcceptMulti::new(fd).build().user_data(tag))
    }

    /// The connection an accept has completed with.
    ///
    /// # Errors
    /// The errno it has completed with instead.
    pub fn accepted(&self, completion: &Completion) -> io::Result<OwnedFd> {
        let fd: RawFd = completion.result;
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(-fd));
        }
        // SAFETY: the caller passes an accept's completion, whose result is a descriptor made for this process and
        // taken by nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Receives from `socket` until further notice.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, tag: u64) -> io::Result<()> {
        let fd = Fd(socket.as_raw_fd());
        self.push(&opcode::RecvMulti::new(fd, GROUP).build().user_data(tag))
    }

    /// Waits once until `socket` can be written to.
    pub fn writable(&mut self, socket: BorrowedFd<'_>, tag: u64) -> io::Result<()> {
        let fd = Fd(socket.as_raw_fd());
        let wanted = u32::from(PollFlags::OUT.bits());
        self.push(&opcode::PollAdd::new(fd, wanted).build().user_data(tag))
    }

    /// Ends the operation armed with `tag`; its last completion still comes.
    pub fn cancel(&mut self, tag: u64) -> io::Result<()> {
        self.push(&opcode::AsyncCancel::new(tag).build().user_data(IGNORED))
    }

    /// Submits, waits for at least one completion, and puts all there are into `into`.
    ///
    /// # Errors
    /// What the kernel says to the wait.
    pub fn wait(&mut self, into: &mut Vec<Completion>) -> io::Result<()> {
        self.submissions.sync();
        match self.submitter.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => (),
        }
        self.completions.sync();
        for entry in &mut self.completions {
            let buffer = cqueue::buffer_select(entry.flags()).map(Lent);
            if buffer.is_some() {
                self.free -= 1;
            }
            if entry.user_data() != IGNORED {
                into.push(Completion {
                    tag: entry.user_data(),
                    result: entry.result(),
                    more: cqueue::more(entry.flags()),
                    buffer,
                });
            }
        }
        self.completions.sync();
        Ok(())
    }

    /// The first `length` bytes of a filled buffer.
    pub fn bytes(&self, buffer: &Lent, length: usize) -> &[u8] {
        assert!(length <= self.bytes);
        // SAFETY: the buffer lies within `memory`, all of which is initialised; the kernel does not write to it
        // before it is given back, which takes the `Lent` away from the caller.
        unsafe {
            let start = self.memory.as_ptr().add(usize::from(buffer.0) * self.bytes);
            std::slice::from_raw_parts(start, length)
        }
    }

    /// Gives a buffer back to the kernel.
    pub fn give_back(&mut self, buffer: Lent) {
        self.give(buffer.0);
    }

    /// Whether at least half of the buffers are free.
    pub fn has_room(&self) -> bool {
        self.free >= self.count / 2
    }

    fn give(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
        // SAFETY: the slot lies within the table and the address within `memory`; the kernel reads the slot only
        // after the tail says so, and the tail lies inside the table's first entry, where no field is set above.
        unsafe {
            let entry = &mut *self.table.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * self.bytes) as u64);
            entry.set_len(self.bytes as u32);
            entry.set_bid(id);
            let tail = BufRingEntry::tail(self.table.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the operations made here name a descriptor and nothing else in this process's memory; the
            // buffers they fill are in the registered group, which is never freed.
            if unsafe { self.submissions.push(entry) }.is_ok() {
                return Ok(());
            }
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
    }
}

/// Zeroed memory that is never freed.
fn pages<T>(bytes: usize) -> NonNull<T> {
    assert!(bytes > 0);
    let Ok(layout) = Layout::from_size_align(bytes, PAGE) else {
        panic!("{bytes} bytes are more than memory has");
    };
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc_zeroed(layout) };
    match NonNull::new(start.cast()) {
        Some(start) => start,
        None => handle_alloc_error(layout),
    }
}
