//! The bare pipe: what it costs to move bytes between two sockets when nothing is looked at.
//!
//! Each client connection has one backend connection. What one side sends is written to the other at once; what
//! does not fit waits in its buffers, and the sender is not read from until it has gone.

mod ring;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use clap::Args;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::{runtime, splice};
use ring::{Completion, Lent, Ring};

/// Provided buffers.
const BUFFERS: u16 = 1024;
/// Buffers that may wait for one slow receiver before its sender is no longer read from.
const WAITING_MAX: usize = 4;

/// What an operation was for; the lowest bits of its tag, below the side and the pair.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const WRITABLE: u64 = 2;

/// Arguments of `pipe`.
#[derive(Args, Debug)]
pub struct PipeArgs {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// Where each client is joined to
    #[arg(long)]
    to: SocketAddr,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    /// Move bytes by splice(2), for bulk
    #[arg(long)]
    splice: bool,
    /// Bytes in one of the ring's buffers
    #[arg(long, default_value_t = 8192)]
    buffer_bytes: usize,
}

/// Runs the pipe until it is killed.
///
/// # Errors
/// When the address cannot be bound or the kernel grants no ring.
pub fn run(args: &PipeArgs) -> io::Result<()> {
    runtime::raise_open_files();
    runtime::pin(args.core)?;
    if args.splice {
        return splice::run(args.listen, args.to);
    }
    let socket = socket2::Socket::new(socket2::Domain::for_address(args.listen), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&args.listen.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from(socket);
    println!("ready {}", listener.local_addr()?);
    let mut pipe = Pipe {
        ring: Ring::new(BUFFERS, args.buffer_bytes)?,
        listener,
        to: args.to,
        pairs: Vec::new(),
        free: Vec::new(),
        starved: Vec::new(),
    };
    pipe.ring.accept(pipe.listener.as_fd(), ACCEPT)?;
    let mut completions = Vec::new();
    loop {
        pipe.ring.wait(&mut completions)?;
        for completion in completions.drain(..) {
            pipe.completed(completion)?;
        }
        pipe.feed_starved()?;
    }
}

/// One of a pair's two connections.
struct End {
    socket: TcpStream,
    /// What this end has yet to be sent: buffer, bytes sent of it, bytes in it.
    waiting: VecDeque<(Lent, usize, usize)>,
    /// A receive is armed.
    receiving: bool,
    /// Its cancellation has been asked for, or it is not to be armed again until the other end is drained.
    held: bool,
    /// A wait for writability is armed.
    polling: bool,
    /// This end has sent its last byte.
    ended: bool,
}

impl End {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self { socket, waiting: VecDeque::new(), receiving: false, held: false, polling: false, ended: false })
    }
}

/// A client and its backend.
struct Pair {
    ends: [End; 2],
    /// Both connections are shut down and wait for their last completions.
    dying: bool,
}

/// The listener and all pairs.
struct Pipe {
    ring: Ring,
    listener: TcpListener,
    to: SocketAddr,
    pairs: Vec<Option<Pair>>,
    /// Places in `pairs` that are empty.
    free: Vec<usize>,
    /// Ends (pair, side) whose receive found no buffer.
    starved: Vec<(usize, usize)>,
}

fn tag(kind: u64, index: usize, side: usize) -> u64 {
    kind | (side as u64) << 2 | (index as u64) << 3
}

impl Pipe {
    fn completed(&mut self, completion: Completion) -> io::Result<()> {
        let index = (completion.tag >> 3) as usize;
        let side = (completion.tag >> 2 & 1) as usize;
        match completion.tag & 3 {
            RECEIVE => self.received(completion, index, side),
            WRITABLE => self.drained(index, side),
            _ => self.accepted(&completion),
        }
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<()> {
        if let Ok(client) = self.ring.accepted(completion) {
            // The backend is on this machine and its backlog is deep: connecting takes microseconds.
            if let Ok(backend) = TcpStream::connect(self.to) {
                self.join(client.into(), backend)?;
            }
        }
        if !completion.more {
            self.ring.accept(self.listener.as_fd(), ACCEPT)?;
        }
        Ok(())
    }

    fn join(&mut self, client: TcpStream, backend: TcpStream) -> io::Result<()> {
        let (Ok(client), Ok(backend)) = (End::new(client), End::new(backend)) else {
            return Ok(());
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        self.pairs[index] = Some(Pair { ends: [client, backend], dying: false });
        self.receive(index, 0)?;
        self.receive(index, 1)
    }

    /// Arms a receive, unless there is one or there must be none.
    fn receive(&mut self, index: usize, side: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let end = &mut pair.ends[side];
        if pair.dying || end.receiving || end.held || end.ended {
            return Ok(());
        }
        end.receiving = true;
        self.ring.receive(end.socket.as_fd(), tag(RECEIVE, index, side))
    }

    fn received(&mut self, completion: Completion, index: usize, side: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        if !completion.more {
            pair.ends[side].receiving = false;
        }
        match (completion.result, completion.buffer) {
            (length @ 1.., Some(buffer)) if !pair.dying => {
                self.forward(index, side, buffer, length as usize)?;
            }
            (0, buffer) => {
                pair.ends[side].ended = true;
                self.recycle(buffer);
                self.pass_end_on(index, 1 - side);
            }
            (result, buffer) => {
                self.recycle(buffer);
                match Errno::from_raw_os_error(-result) {
                    Errno::NOBUFS => self.starved.push((index, side)),
                    Errno::CANCELED | Errno::AGAIN | Errno::INTR => (),
                    _ => self.kill(index),
                }
                if result == -Errno::NOBUFS.raw_os_error() {
                    return self.bury(index);
                }
            }
        }
        self.receive(index, side)?;
        self.bury(index)
    }

    fn recycle(&mut self, buffer: Option<Lent>) {
        if let Some(buffer) = buffer {
            self.ring.give_back(buffer);
        }
    }

    /// Sends what `side` has received to the other side, or lets it wait there.
    fn forward(&mut self, index: usize, side: usize, buffer: Lent, length: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let to = &mut pair.ends[1 - side];
        let mut sent = 0;
        if to.waiting.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&to.socket, self.ring.bytes(&buffer, length), flags) {
                Ok(count) if count == length => {
                    self.ring.give_back(buffer);
                    return Ok(());
                }
                Ok(count) => sent = count,
                Err(Errno::AGAIN | Errno::INTR) => (),
                Err(_) => {
                    self.ring.give_back(buffer);
                    self.kill(index);
                    return Ok(());
                }
            }
        }
        to.waiting.push_back((buffer, sent, length));
        if !to.polling {
            to.polling = true;
            self.ring.writable(to.socket.as_fd(), tag(WRITABLE, index, 1 - side))?;
        }
        let full = to.waiting.len() >= WAITING_MAX;
        let from = &mut pair.ends[side];
        if full && !from.held {
            from.held = true;
            if from.receiving {
                self.ring.cancel(tag(RECEIVE, index, side))?;
            }
        }
        Ok(())
    }

    /// `side` can be written to again.
    fn drained(&mut self, index: usize, side: usize) -> io::Result<()> {
        let Some(pair) = &mut self.pairs[index] else {
            return Ok(());
        };
        let end = &mut pair.ends[side];
        end.polling = false;
        while let Some((buffer, sent, length)) = end.waiting.pop_front() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let now = match send(&end.socket, &self.ring.bytes(&buffer, length)[sent..], flags) {
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => {
                    self.ring.give_back(buffer);
                    self.kill(index);
                    return self.bury(index);
                }
            };
            if sent + now < length {
                end.waiting.push_front((buffer, sent + now, length));
                end.polling = true;
                let tag = tag(WRITABLE, index, side);
                return self.ring.writable(end.socket.as_fd(), tag);
            }
            self.ring.give_back(buffer);
        }
        pair.ends[1 - side].held = false;
        self.pass_end_on(index, side);
        self.receive(index, 1 - side)?;
        self.bury(index)
    }

    /// Once `side` has been sent everything its ended peer had, says so to it.
    fn pass_end_on(&mut self, index: usize, side: usize) {
        let Some(pair) = &mut self.pairs[index] else {
            return;
        };
        if pair.ends[1 - side].ended && pair.ends[side].waiting.is_empty() {
            let _ = pair.ends[side].socket.shutdown(Shutdown::Write);
        }
        let over = |side: usize| pair.ends[1 - side].ended && pair.ends[side].waiting.is_empty();
        if over(0) && over(1) {
            pair.dying = true;
        }
    }

    /// Gives a pair up. Its operations end because both sockets do.
    fn kill(&mut self, index: usize) {
        let Some(pair) = &mut self.pairs[index] else {
            return;
        };
        pair.dying = true;
        for end in &mut pair.ends {
            let _ = end.socket.shutdown(Shutdown::Both);
            for (buffer, _, _) in end.waiting.drain(..) {
                self.ring.give_back(buffer);
            }
        }
    }

    /// Closes a dying pair whose operations have all ended, and frees its place.
    fn bury(&mut self, index: usize) -> io::Result<()> {
        if let Some(pair) = &self.pairs[index] {
            let busy = pair.ends.iter().any(|end| end.receiving || end.polling);
            if pair.dying && !busy {
                self.pairs[index] = None;
                self.free.push(index);
            }
        }
        Ok(())
    }

    /// Receives again where there was no buffer, once half of them are free.
    fn feed_starved(&mut self) -> io::Result<()> {
        if !self.starved.is_empty() && self.ring.has_room() {
            for (index, side) in std::mem::take(&mut self.starved) {
                self.receive(index, side)?;
            }
        }
        Ok(())
    }
}
