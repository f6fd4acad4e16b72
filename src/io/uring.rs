//! The io_uring back end: one ring per shard, owned by the thread that created it.
use super::{
    Armed, End, Engine, Event, Interest, Key, Millis, Socket,
    company::Company,
    kernel::{Kernel, own},
    mailbox::Mailbox,
    pool::{GROUP, Pool},
    splice::Pipes,
};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{self, Shutdown},
};
use std::{
    io,
    os::fd::AsRawFd,
    ptr, thread,
    time::{Duration, Instant},
};

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Buffers in the pool.
    pub buffers: u16,
    /// Bytes per buffer.
    pub buffer_size: u32,
    /// Maximum pipes in use at a time.
    pub pipes: usize,
}

/// The ring flags that the kernel accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `SINGLE_ISSUER | DEFER_TASKRUN` (6.1): completions run only when the owner asks for them.
    DeferTaskrun,
    /// `COOP_TASKRUN` (5.19): completions run at the owner's next system call.
    CoopTaskrun,
    /// Neither: completions interrupt the owner.
    Plain,
}

/// Events with which a turn does not wait for more.
const COMPANY: usize = 64;
/// Submission queue entries. What does not fit is submitted at once, so this bounds nothing but batches.
const SQ_ENTRIES: u32 = 1024;
/// A full completion queue ends multishot operations, so it is far larger than a batch.
const CQ_ENTRIES: u32 = 16 * SQ_ENTRIES;
/// How long a start waits for locked memory, and how often it asks.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(2);
const MEMORY_WAIT: Duration = Duration::from_millis(20);

/// Maximum completions that one turn takes; the others are ready for the next.
const BATCH: usize = 1024;
/// The kernel runs about twenty deferred completions in one enter, in order. After so many there may be more.
const DEFERRED: usize = 16;

/// `IORING_ENTER_GETEVENTS`: deferred completions run only in an enter with it.
const ENTER_GETEVENTS: u32 = 1;

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

/// Builds a ring with the best flags that this kernel accepts.
///
/// # Errors
/// The error of `io_uring_setup` for the plainest of them.
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

/// A ring and its buffers. A process that has just ended gives its locked memory back a moment later: a relay that is
/// started again waits for that.
fn set_up(sizes: &Sizes) -> io::Result<(IoUring, Mode, Pool)> {
    let give_up = Instant::now() + MEMORY_WAIT_MAX;
    loop {
        let built = build_ring(SQ_ENTRIES, CQ_ENTRIES).and_then(|(ring, mode)| {
            let pool = Pool::new(&ring.submitter(), sizes.buffers, sizes.buffer_size)?;
            Ok((ring, mode, pool))
        });
        match built {
            Err(error) if is_memory(&error) && Instant::now() < give_up => thread::sleep(MEMORY_WAIT),
            built => return built,
        }
    }
}

fn is_memory(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOMEM)
}

/// Bytes of locked memory that the ring of one shard needs, with so many buffers: the kernel's own formula
/// (`rings_size` and `io_uring_setup`), and the ring of provided buffers.
pub(super) fn locked_bytes(buffers: u16) -> u64 {
    const SQE: u64 = 64;
    const CQE: u64 = 16;
    const SQ_INDEX: u64 = 4;
    let page = rustix::param::page_size() as u64;
    let pages = |bytes: u64| bytes.div_ceil(page) * page;
    let (submissions, completions) = (u64::from(SQ_ENTRIES), u64::from(CQ_ENTRIES));
    // The heads and tails of both rings come before the completions.
    let rings = page + completions * CQE + submissions * SQ_INDEX;
    pages(rings) + pages(submissions * SQE) + pages(Pool::ring_bytes(buffers) as u64)
}

/// A listener and its accept.
struct Listener {
    socket: OwnedFd,
    accept: Accept,
}

/// State of a listener's accept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    Idle,
    /// To be armed when the next turn begins: the shard may still pause it before.
    Due,
    Armed,
    /// It is being cancelled.
    Pausing,
    /// It is being cancelled, and is to be armed again after that.
    Resuming,
}

impl Listener {
    /// Its accept is not armed any more. Returns the error if it failed.
    fn accept_ended(&mut self, result: i32) -> Option<io::Error> {
        match self.accept {
            Accept::Pausing => self.accept = Accept::Idle,
            Accept::Resuming => self.accept = Accept::Due,
            // It took the one that it was armed for, or a full completion queue ended it.
            Accept::Armed if result >= 0 => self.accept = Accept::Due,
            Accept::Idle | Accept::Due => debug_assert!(false, "an accept that was not armed has ended"),
            Accept::Armed => {
                self.accept = Accept::Idle;
                return Some(Errno::from_raw_os_error(-result).into());
            }
        }
        None
    }
}

/// One shard's ring. Not `Send`: the kernel wants the thread that made it.
pub struct Uring<M> {
    // The ring is dropped before the memory it uses.
    ring: IoUring,
    kernel: Kernel,
    listeners: Vec<Listener>,
    accepting: bool,
    /// Whether each accept operation takes one connection only.
    one_by_one: bool,
    mailbox: Mailbox<M>,
    /// A submission that the kernel refused for good; the next turn reports it.
    broken: Option<io::Error>,
    epoch: Instant,
    now: Millis,
    mode: Mode,
    company: Company,
    _owner: std::marker::PhantomData<*const ()>,
}

impl<M> Uring<M> {
    /// Builds the ring of a shard. To be called on the thread that will own it.
    ///
    /// # Errors
    /// No ring, or no memory for its buffers: [`super::probe`] turns the error into advice.
    pub fn new(sizes: Sizes, listeners: Vec<OwnedFd>, mailbox: Mailbox<M>, epoch: Instant) -> io::Result<Uring<M>> {
        let (ring, mode, pool) = set_up(&sizes)?;
        // Saves a reference count an enter; kernels before 5.18 do without.
        let _ = ring.submitter().register_ring_fd();
        let now = epoch.elapsed().as_millis() as Millis;
        let pipes = Pipes::new(sizes.pipes);
        let listeners = listeners.into_iter().map(|socket| Listener { socket, accept: Accept::Idle }).collect();
        let mut uring = Uring {
            ring,
            kernel: Kernel { pool, pipes },
            listeners,
            accepting: true,
            one_by_one: false,
            mailbox,
            broken: None,
            epoch,
            now,
            mode,
            company: Company::default(),
            _owner: std::marker::PhantomData,
        };
        uring.arm_wake();
        Ok(uring)
    }

    /// Accepts one connection of each listener per turn at most. A multishot accept takes the whole backlog at once,
    /// which is too many where their rate is limited. To be called before the first accept.
    pub fn accept_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// Has a turn that is likely to have several events wait for them for so long, in microseconds.
    ///
    /// # Errors
    /// The kernel cannot (it can since 6.12).
    pub fn wait_for_company(&mut self, micros: u32) -> io::Result<()> {
        if micros > 0 && !self.ring.params().is_feature_min_timeout() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "Linux has it since 6.12"));
        }
        self.company = Company::new(micros);
        Ok(())
    }

    /// The flags that the kernel accepted.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn arm_wake(&mut self) {
        let fd = types::Fd(self.mailbox.wake_fd());
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
                // Nothing can go on. The next turn reports it, so that the process can end in order.
                self.broken = Some(error);
                return;
            }
        }
    }

    fn arm_accept(&mut self, listener: usize) {
        let fd = types::Fd(self.listeners[listener].socket.as_raw_fd());
        let entry = match self.one_by_one {
            true => opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).flags(SOCK_FLAGS).build(),
            false => opcode::AcceptMulti::new(fd).flags(SOCK_FLAGS).build(),
        };
        self.push(entry.user_data(OP_ACCEPT << 48 | listener as u64));
    }

    /// Submits what is to be submitted and runs the completions that are there, without waiting. A timeout of zero would
    /// do the same at the price of a timer.
    fn look(&mut self) -> io::Result<usize> {
        let entries = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed, and the entries were checked when they were pushed.
        unsafe { self.ring.submitter().enter::<()>(entries, 0, ENTER_GETEVENTS, None) }
    }

    /// Waits for so many completions until the time for that is up, and then for one, at most for so long altogether.
    fn wait_for_several(&mut self, wait: Option<Duration>) -> io::Result<usize> {
        let timeout = types::Timespec::from(wait.unwrap_or_default());
        let args = types::SubmitArgs::new().min_wait_usec(self.company.micros());
        let args = if wait.is_some() { args.timespec(&timeout) } else { args };
        self.ring.submitter().submit_with_args(COMPANY, &args)
    }

    /// The error of an enter, or of a submission before it, after which nothing can go on.
    fn fatal(&mut self, outcome: io::Result<usize>) -> io::Result<()> {
        if let Err(error) = outcome {
            match Errno::from_io_error(&error) {
                // Nothing in time, a signal, or completions to be collected first: all in a turn's work.
                Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => {}
                _ => return Err(error),
            }
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    fn collect(&mut self, events: &mut Vec<Event<M>>) {
        let (mut wake, mut rearm_wake) = (false, false);
        let Uring { ring, kernel, accepting, listeners, .. } = self;
        for cqe in ring.completion().take(BATCH) {
            match cqe.user_data() >> 48 {
                OP_WAKE => {
                    wake = true;
                    rearm_wake |= !cqueue::more(cqe.flags());
                }
                OP_ACCEPT => {
                    let listener = cqe.user_data() as u32 as usize;
                    if cqe.result() >= 0 {
                        let socket = Socket::new(cqe.result());
                        match accepting {
                            true => events.push(Event::Accepted { listener, socket }),
                            // Accepted while the listeners closed.
                            false => drop(own(socket)),
                        }
                    }
                    if !cqueue::more(cqe.flags())
                        && let Some(state) = listeners.get_mut(listener)
                        && let Some(error) = state.accept_ended(cqe.result())
                    {
                        events.push(Event::AcceptFailed { listener, error });
                    }
                }
                OP_CANCEL => {}
                _ => events.push(completed(&cqe, &mut kernel.pool)),
            }
        }
        if rearm_wake {
            self.arm_wake();
        }
        if wake {
            self.mailbox.clear();
            while let Some(mail) = self.mailbox.take() {
                events.push(Event::Mail(mail));
            }
        }
    }
}

const POLL_IN: u32 = 0x001 | 0x2000; // POLLIN | POLLRDHUP
const POLL_OUT: u32 = 0x004; // POLLOUT
const SOCK_FLAGS: i32 = 0o2000000 | 0o4000; // SOCK_CLOEXEC | SOCK_NONBLOCK

/// Whether so many watches and accepts have ended that others wait behind them, as when thousands come or go. Busy
/// connections have streams instead.
fn is_crowd<M>(events: &[Event<M>]) -> bool {
    let ends = |event: &&Event<M>| matches!(event, Event::Readable { .. } | Event::Accepted { .. });
    events.iter().filter(ends).count() >= DEFERRED
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
            Errno::NOBUFS => {
                pool.ran_dry();
                End::NoBuffers
            }
            Errno::CANCELED => End::Cancelled,
            _ => End::Failed,
        },
    };
    Event::Ended { key, end }
}

impl<M> Engine for Uring<M> {
    type Mail = M;
    type Calls = Kernel;

    fn calls(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    fn calls_ref(&self) -> &Kernel {
        &self.kernel
    }

    fn now(&self) -> Millis {
        self.now
    }

    fn turn(&mut self, until: Option<Millis>, events: &mut Vec<Event<M>>) -> io::Result<()> {
        for listener in 0..self.listeners.len() {
            if self.listeners[listener].accept == Accept::Due {
                self.listeners[listener].accept = Accept::Armed;
                self.arm_accept(listener);
            }
        }
        self.kernel.pool.publish();
        // Late by the time that the last turn took: asking the clock again in every turn costs more than that is worth.
        let wait = until.map(|until| Duration::from_millis(until.saturating_sub(self.now)));
        let outcome = match wait {
            Some(Duration::ZERO) => self.look(),
            wait if self.company.is_likely() => self.wait_for_several(wait),
            None => self.ring.submit_and_wait(1),
            Some(wait) => {
                let timeout = types::Timespec::from(wait);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
            }
        };
        self.fatal(outcome)?;
        self.now = self.epoch.elapsed().as_millis() as Millis;
        self.collect(events);
        // When thousands come or go at once, whoever is being served must not wait for as many turns as there are twenties
        // before him.
        let mut before = 0;
        while is_crowd(&events[before..]) && events.len() < BATCH {
            before = events.len();
            let outcome = self.look();
            self.fatal(outcome)?;
            self.collect(events);
        }
        self.company.came(events.len(), self.now);
        Ok(())
    }

    fn accept(&mut self, listener: usize) {
        if !self.accepting {
            return;
        }
        let state = &mut self.listeners[listener].accept;
        match *state {
            Accept::Idle => *state = Accept::Due,
            Accept::Pausing => *state = Accept::Resuming,
            Accept::Due | Accept::Armed | Accept::Resuming => {}
        }
    }

    fn pause_accepting(&mut self, listener: usize) {
        match self.listeners[listener].accept {
            Accept::Armed => {
                self.listeners[listener].accept = Accept::Pausing;
                let entry = opcode::AsyncCancel::new(OP_ACCEPT << 48 | listener as u64).build();
                self.push(entry.user_data(OP_CANCEL << 48));
            }
            Accept::Due => self.listeners[listener].accept = Accept::Idle,
            Accept::Resuming => self.listeners[listener].accept = Accept::Pausing,
            Accept::Idle | Accept::Pausing => {}
        }
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        for listener in &self.listeners {
            // Ends the multishot accept; a mere close would leave the ring holding the socket.
            let _ = net::shutdown(&listener.socket, Shutdown::Both);
        }
        self.listeners.clear();
    }

    fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        let (events, op) = match interest {
            Interest::Readable => (POLL_IN, OP_POLL_IN),
            Interest::Writable => (POLL_OUT, OP_POLL_OUT),
        };
        let entry = opcode::PollAdd::new(types::Fd(socket.number()), events).build();
        self.push(entry.user_data(user_data(op, key)));
    }

    fn stream(&mut self, socket: &Socket, key: Key) {
        let entry = opcode::RecvMulti::new(types::Fd(socket.number()), GROUP).build();
        self.push(entry.user_data(user_data(OP_STREAM, key)));
    }

    fn cancel(&mut self, key: Key, armed: Armed) {
        let op = match armed {
            Armed::Watch(Interest::Readable) => OP_POLL_IN,
            Armed::Watch(Interest::Writable) => OP_POLL_OUT,
            Armed::Stream => OP_STREAM,
        };
        let entry = opcode::AsyncCancel::new(user_data(op, key)).build();
        self.push(entry.user_data(OP_CANCEL << 48));
    }

    fn mail(&mut self, shard: usize, mail: M) -> Result<(), M> {
        self.mailbox.all.send(shard, mail)
    }
}
