//! The bare pipe for bulk: readiness by epoll, bytes by `splice(2)`, nothing parsed.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes a kernel pipe may hold, and most that one splice moves.
const PIPE_BYTES: usize = 1 << 20;
/// Rounds one pair may take before the others have their turn.
const ROUNDS_PER_TURN: usize = 2;
/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// What epoll says about the listener.
const LISTENER: u64 = u64::MAX;

/// One direction of a pair.
struct Direction {
    pipe_out: OwnedFd,
    pipe_in: OwnedFd,
    /// Bytes in the pipe.
    held: usize,
    /// The sending side has ended.
    ended: bool,
    /// The end has been passed on.
    passed_on: bool,
}

impl Direction {
    fn new() -> io::Result<Self> {
        let (pipe_out, pipe_in) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&pipe_in, PIPE_BYTES)?;
        Ok(Self { pipe_out, pipe_in, held: 0, ended: false, passed_on: false })
    }

    /// Moves what it can in one round; whether anything moved.
    fn round(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<bool> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let mut moved = false;
        if !self.ended && self.held < PIPE_BYTES {
            match splice(from, None, &self.pipe_in, None, PIPE_BYTES, flags) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.held += count;
                    moved = true;
                }
                Err(Errno::AGAIN | Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        if self.held > 0 {
            match splice(&self.pipe_out, None, to, None, self.held, flags) {
                Ok(count) => {
                    self.held -= count;
                    moved |= count > 0;
                }
                Err(Errno::AGAIN | Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        if self.ended && self.held == 0 && !self.passed_on {
            self.passed_on = true;
            // The other side may be gone already.
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
        Ok(moved)
    }
}

/// A client, its backend, and a direction each way.
struct Pair {
    client: TcpStream,
    backend: TcpStream,
    up: Direction,
    down: Direction,
    /// Waiting for its next turn.
    queued: bool,
}

impl Pair {
    /// One turn; whether there is more to do at once.
    fn turn(&mut self) -> io::Result<bool> {
        for _ in 0..ROUNDS_PER_TURN {
            let up = self.up.round(&self.client, &self.backend)?;
            let down = self.down.round(&self.backend, &self.client)?;
            if !up && !down {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.up.passed_on && self.down.passed_on
    }
}

/// Listens on `listen` and joins each client to a connection of its own to `to`, until killed.
///
/// # Errors
/// When the address cannot be bound, or the kernel refuses to wait.
pub fn run(listen: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    println!("ready {}", listener.local_addr()?);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut turns: VecDeque<usize> = VecDeque::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        let at_once = Duration::ZERO.try_into().ok();
        let wait = if turns.is_empty() { None } else { at_once.as_ref() };
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), wait) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => accept(&listener, to, poll.as_fd(), &mut pairs, &mut free),
                index => queue(&mut pairs, &mut turns, index as usize),
            }
        }
        for _ in 0..turns.len() {
            let Some(index) = turns.pop_front() else {
                break;
            };
            let Some(pair) = pairs.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            pair.queued = false;
            let more = pair.turn();
            if more.is_err() || pair.is_over() {
                pairs[index] = None;
                free.push(index);
            } else if let Ok(true) = more {
                queue(&mut pairs, &mut turns, index);
            }
        }
    }
}

fn queue(pairs: &mut [Option<Pair>], turns: &mut VecDeque<usize>, index: usize) {
    if let Some(Some(pair)) = pairs.get_mut(index)
        && !std::mem::replace(&mut pair.queued, true)
    {
        turns.push_back(index);
    }
}

/// Takes all waiting clients; those whose backend cannot be reached are dropped.
fn accept(
    listener: &TcpListener,
    to: SocketAddr,
    poll: rustix::fd::BorrowedFd<'_>,
    pairs: &mut Vec<Option<Pair>>,
    free: &mut Vec<usize>,
) {
    while let Ok((client, _)) = listener.accept() {
        let Ok(pair) = join(client, to) else { continue };
        let index = free.pop().unwrap_or_else(|| {
            pairs.push(None);
            pairs.len() - 1
        });
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(index as u64);
        let added =
            epoll::add(poll, &pair.client, data, wanted).and_then(|()| epoll::add(poll, &pair.backend, data, wanted));
        match added {
            Ok(()) => pairs[index] = Some(pair),
            Err(_) => free.push(index),
        }
    }
}

fn join(client: TcpStream, to: SocketAddr) -> io::Result<Pair> {
    let backend = TcpStream::connect(to)?;
    for stream in [&client, &backend] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
    }
    Ok(Pair { client, backend, up: Direction::new()?, down: Direction::new()?, queued: false })
}
