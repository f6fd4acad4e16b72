//! The io_uring back end: one ring a shard, owned by the thread that made it.
use super::{
    Armed, Buf, End, Event, Fd, Half, Io, Key, Millis, Pipe, Received, SEND_PARTS_MAX, Spliced,
    mail::Inbox,
    pool::{GROUP, Pool},
    splice::Pipes,
};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::{
    fd::{BorrowedFd, FromRawFd, OwnedFd},
    io::Errno,
    net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt},
};
use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Buffers in the pool.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_size: u32,
    /// Pipes that sessions may hold at a time.
    pub pipes: usize,
}

/// Which ring flags the kernel took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `SINGLE_ISSUER | DEFER_TASKRUN` (6.1): completions run only when the owner asks for them.
    DeferTaskrun,
    /// `COOP_TASKRUN` (5.19): completions run at the owner's next system call.
    CoopTaskrun,
    /// Neither: completions interrupt the owner.
    Plain,
}

/// Submission queue entries. What does not fit is submitted at once, so this bounds nothing but batches.
const SQ_ENTRIES: u32 = 1024;
/// A full completion queue ends multishot operations, so it is far larger than a batch.
const CQ_ENTRIES: u32 = 16 * SQ_ENTRIES;

/// Most completions that one turn takes; the others are there at once for the next.
const BATCH: usize = 1024;

/// Scattered bytes up to this many are gathered here and sent as one piece: cheaper than what the kernel does with
/// a list.
const GATHER_BYTES: usize = 1024;

const OP_ACCEPT: u64 = 1;
const OP_POLL_IN: u64 = 2;
const OP_POLL_OUT: u64 = 3;
const OP_STREAM: u64 = 4;
const OP_CANCEL: u64 = 5;
const OP_WAKE: u64 = 6;

fn user_data(op: u64, key: Key) -> u64 {
    op << 48 | u64::from(key.generation) << 32 | u64::from(key.slot)
}

fn key_of(user_data: u64) -> Key {
    Key { slot: user_data as u32, generation: (user_data >> 32) as u16 }
}

/// Builds a ring with the best flags this kernel takes.
///
/// # Errors
/// What `io_uring_setup` says to the plainest of them.
pub(super) fn build_ring(sq_entries: u32, cq_entries: u32) -> io::Result<(IoUring, Mode)> {
    let mut base = IoUring::builder();
    base.setup_submit_all().setup_clamp().setup_cqsize(cq_entries);
    let mut defer = base.clone();
    defer.setup_single_issuer().setup_defer_taskrun();
    match defer.build(sq_entries) {
        Ok(ring) => return Ok((ring, Mode::DeferTaskrun)),
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let mut coop = base.clone();
    coop.setup_coop_taskrun();
    if let Ok(ring) = coop.build(sq_entries) {
        return Ok((ring, Mode::CoopTaskrun));
    }
    let mut plain = IoUring::builder();
    plain.setup_clamp().setup_cqsize(cq_entries);
    Ok((plain.build(sq_entries)?, Mode::Plain))
}

/// One shard's ring. Not `Send`: the kernel wants the thread that made it.
pub struct Uring<M> {
    // The ring is dropped before the memory it uses.
    ring: IoUring,
    pool: Pool,
    pipes: Pipes,
    listeners: Vec<OwnedFd>,
    accepting: bool,
    inbox: Inbox<M>,
    epoch: Instant,
    now: Millis,
    mode: Mode,
    _owner: std::marker::PhantomData<*const ()>,
}

impl<M> Uring<M> {
    /// Builds the ring of a shard. To be called on the thread that will own it.
    ///
    /// # Errors
    /// No ring, or no memory for its buffers: [`super::probe`] turns the error into advice.
    pub fn new(sizes: Sizes, listeners: Vec<OwnedFd>, inbox: Inbox<M>, epoch: Instant) -> io::Result<Uring<M>> {
        let (ring, mode) = build_ring(SQ_ENTRIES, CQ_ENTRIES)?;
        let pool = Pool::new(&ring.submitter(), sizes.buffers, sizes.buffer_size)?;
        // Saves a reference count an enter; kernels before 5.18 do without.
        let _ = ring.submitter().register_ring_fd();
        let now = epoch.elapsed().as_millis() as Millis;
        let pipes = Pipes::new(sizes.pipes);
        let mut uring = Uring {
            ring,
            pool,
            pipes,
            listeners,
            accepting: true,
            inbox,
            epoch,
            now,
            mode,
            _owner: std::marker::PhantomData,
        };
        uring.arm_wake();
        Ok(uring)
    }

    /// Which flags the kernel took.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn arm_wake(&mut self) {
        let fd = types::Fd(self.inbox.wake_fd());
        let entry = opcode::PollAdd::new(fd, POLL_IN).multi(true).build();
        self.push(entry.user_data(OP_WAKE << 48));
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: every entry refers to descriptors by number and to memory (the pool) that outlives the ring.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // A full queue is handed over; a completion queue that is full too (EBUSY) is drained next turn,
            // and the kernel keeps what overflowed.
            if let Err(error) = self.ring.submit()
                && !matches!(Errno::from_io_error(&error), Some(Errno::BUSY | Errno::INTR | Errno::AGAIN))
            {
                panic!("io_uring_enter refused a submission: {error}");
            }
        }
    }

    fn collect(&mut self, events: &mut Vec<Event<M>>) {
        let mut wake = false;
        let mut rearm_wake = false;
        let Uring { ring, pool, .. } = self;
        for cqe in ring.completion().take(BATCH) {
            match cqe.user_data() >> 48 {
                OP_WAKE => {
                    wake = true;
                    rearm_wake |= !cqueue::more(cqe.flags());
                }
                OP_ACCEPT => accepted(&cqe, events),
                OP_CANCEL => {}
                _ => events.push(completed(&cqe, pool)),
            }
        }
        if rearm_wake {
            self.arm_wake();
        }
        if wake {
            self.inbox.clear();
            while let Some(mail) = self.inbox.take() {
                events.push(Event::Mail(mail));
            }
        }
        if !self.accepting {
            // Connections that were accepted while the listeners closed are nobody's.
            events.retain(|event| match event {
                Event::Accepted { fd } => {
                    drop(own(*fd));
                    false
                }
                _ => true,
            });
        }
    }
}

const POLL_IN: u32 = 0x001 | 0x2000; // POLLIN | POLLRDHUP
const POLL_OUT: u32 = 0x004; // POLLOUT
const SOCK_FLAGS: i32 = 0o2000000 | 0o4000; // SOCK_CLOEXEC | SOCK_NONBLOCK

fn accepted<M>(cqe: &cqueue::Entry, events: &mut Vec<Event<M>>) {
    let listener = cqe.user_data() as u32 as usize;
    match cqe.result() {
        fd if fd >= 0 => {
            events.push(Event::Accepted { fd: Fd(fd) });
            if !cqueue::more(cqe.flags()) {
                let error = Errno::AGAIN.into();
                events.push(Event::AcceptFailed { listener, error });
            }
        }
        // A connection that was gone before it was accepted is no reason to stop.
        errno => events.push(Event::AcceptFailed { listener, error: io::Error::from_raw_os_error(-errno) }),
    }
}

fn completed<M>(cqe: &cqueue::Entry, pool: &mut Pool) -> Event<M> {
    let key = key_of(cqe.user_data());
    match cqe.user_data() >> 48 {
        OP_POLL_IN => return Event::Readable { key },
        OP_POLL_OUT => return Event::Writable { key },
        op => debug_assert_eq!(op, OP_STREAM),
    }
    let buffer = cqueue::buffer_select(cqe.flags());
    match (cqe.result(), buffer) {
        (len, Some(id)) if len > 0 => {
            let buf = pool.filled(id, len as u32);
            return Event::Received { key, buf, more: cqueue::more(cqe.flags()) };
        }
        (_, Some(id)) => pool.returned(id),
        (_, None) => {}
    }
    let end = match cqe.result() {
        0 => End::Eof,
        errno => match Errno::from_raw_os_error(-errno) {
            Errno::NOBUFS => End::NoBuffers,
            Errno::CANCELED => End::Cancelled,
            _ => End::Failed,
        },
    };
    Event::Ended { key, end }
}

fn borrow<'a>(fd: Fd) -> BorrowedFd<'a> {
    // SAFETY: only the number is used, for the length of one system call. The shard closes a descriptor once, when
    // nothing is armed for it, and forgets it then; a stale number would be an error of logic, not of memory.
    unsafe { BorrowedFd::borrow_raw(fd.0) }
}

fn own(fd: Fd) -> OwnedFd {
    // SAFETY: the shard gives the descriptor up for good with this call.
    unsafe { OwnedFd::from_raw_fd(fd.0) }
}

impl<M> Io for Uring<M> {
    type Mail = M;

    fn now(&self) -> Millis {
        self.now
    }

    fn turn(&mut self, until: Option<Millis>, events: &mut Vec<Event<M>>) -> io::Result<()> {
        self.pool.publish();
        let outcome = match until {
            None => self.ring.submit_and_wait(1),
            Some(until) => {
                // A deadline in the past still enters the kernel: deferred completions run only there.
                let wait = Duration::from_millis(until.saturating_sub(self.now));
                let timeout = types::Timespec::from(wait);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
            }
        };
        if let Err(error) = outcome {
            match Errno::from_io_error(&error) {
                // Nothing in time, a signal, or completions to be collected first: all in a turn's work.
                Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => {}
                _ => return Err(error),
            }
        }
        self.now = self.epoch.elapsed().as_millis() as Millis;
        self.collect(events);
        Ok(())
    }

    fn accept(&mut self, listener: usize) {
        if self.accepting {
            let fd = types::Fd(self.listeners[listener].as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(SOCK_FLAGS).build();
            self.push(entry.user_data(OP_ACCEPT << 48 | listener as u64));
        }
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        for listener in &self.listeners {
            // Ends the multishot accept; a mere close would leave the ring holding the socket.
            let _ = net::shutdown(listener, Shutdown::Both);
        }
        self.listeners.clear();
    }

    fn poll_in(&mut self, fd: Fd, key: Key) {
        let entry = opcode::PollAdd::new(types::Fd(fd.0), POLL_IN).build();
        self.push(entry.user_data(user_data(OP_POLL_IN, key)));
    }

    fn poll_out(&mut self, fd: Fd, key: Key) {
        let entry = opcode::PollAdd::new(types::Fd(fd.0), POLL_OUT).build();
        self.push(entry.user_data(user_data(OP_POLL_OUT, key)));
    }

    fn stream(&mut self, fd: Fd, key: Key) {
        let entry = opcode::RecvMulti::new(types::Fd(fd.0), GROUP).build();
        self.push(entry.user_data(user_data(OP_STREAM, key)));
    }

    fn cancel(&mut self, key: Key, armed: Armed) {
        let op = match armed {
            Armed::PollIn => OP_POLL_IN,
            Armed::PollOut => OP_POLL_OUT,
            Armed::Stream => OP_STREAM,
        };
        let entry = opcode::AsyncCancel::new(user_data(op, key)).build();
        self.push(entry.user_data(OP_CANCEL << 48));
    }

    fn recv_at_most(&mut self, fd: Fd, max: usize) -> Received {
        let Some(mut buf) = self.pool.take() else { return Received::NoBuffers };
        buf.end = buf.end.min(u32::try_from(max).unwrap_or(u32::MAX));
        loop {
            match net::recv(borrow(fd), self.pool.bytes_mut(&mut buf), RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    self.pool.release(buf);
                    return Received::Eof;
                }
                Ok((len, _)) => {
                    buf.end = len as u32;
                    return Received::Bytes(buf);
                }
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    self.pool.release(buf);
                    return if errno == Errno::AGAIN { Received::Nothing } else { Received::Failed };
                }
            }
        }
    }

    fn send_with(&self, fd: Fd, parts: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
        debug_assert!(parts.len() <= SEND_PARTS_MAX);
        let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        flags.set(SendFlags::MORE, more);
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut gathered = [0; GATHER_BYTES];
        let small = parts.len() > 1 && total <= GATHER_BYTES;
        if small {
            let mut at = 0;
            for part in parts {
                gathered[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        }
        loop {
            let sent = match parts {
                [one] => net::send(borrow(fd), one, flags),
                _ if small => net::send(borrow(fd), &gathered[..total], flags),
                _ => net::sendmsg(borrow(fd), parts, &mut SendAncillaryBuffer::default(), flags),
            };
            match sent {
                Ok(n) => return Ok(n),
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn bytes(&self, buf: &Buf) -> &[u8] {
        self.pool.bytes(buf)
    }

    fn release(&mut self, buf: Buf) {
        self.pool.release(buf);
    }

    fn copy_in(&mut self, bytes: &[u8]) -> Option<Buf> {
        let mut buf = self.pool.take()?;
        let len = bytes.len().min(buf.len());
        buf.end = len as u32;
        self.pool.bytes_mut(&mut buf).copy_from_slice(&bytes[..len]);
        Some(buf)
    }

    fn buffer_size(&self) -> usize {
        self.pool.buffer_size()
    }

    fn buffers(&self) -> (usize, usize) {
        self.pool.counts()
    }

    fn at_hand(&self) -> usize {
        self.pool.at_hand()
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.pipes.take()
    }

    fn release_pipe(&mut self, pipe: Pipe, empty: bool) {
        self.pipes.release(pipe, empty);
    }

    fn pipes_held(&self) -> usize {
        self.pipes.held()
    }

    fn splice_in(&mut self, fd: Fd, pipe: Pipe, max: usize) -> Spliced {
        self.pipes.fill(borrow(fd), pipe, max)
    }

    fn splice_out(&mut self, pipe: Pipe, fd: Fd, max: usize, more: bool) -> Spliced {
        self.pipes.drain(pipe, borrow(fd), max, more)
    }

    fn shutdown(&mut self, fd: Fd, half: Half) {
        let how = match half {
            Half::Send => Shutdown::Write,
            Half::Both => Shutdown::Both,
        };
        let _ = net::shutdown(borrow(fd), how);
    }

    fn close(&mut self, fd: Fd) {
        drop(own(fd));
    }

    fn abort(&mut self, fd: Fd) {
        let _ = sockopt::set_socket_linger(borrow(fd), Some(Duration::ZERO));
        drop(own(fd));
    }

    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        net::getpeername(borrow(fd)).ok().flatten().and_then(|any| any.try_into().ok())
    }

    fn mail(&mut self, shard: usize, mail: M) {
        self.inbox.post.send(shard, mail);
    }
}
