//! splice(2), called directly, and the pipes that it needs, pooled and bounded in number.
//!
//! `IORING_OP_SPLICE` always runs on a worker thread and costs twenty times as much; see `docs/journal/`.
use super::{Pipe, Spliced};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};

/// Size requested for each pipe; the kernel may give an unprivileged user less.
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// Empty pipes kept open for the next bulk transfer: an empty pipe costs about 2.4 KB of kernel memory.
const IDLE_MAX: usize = 16;

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    /// Whether it holds less than was asked for: past the user's soft limit (`pipe-user-pages-soft`) the kernel refuses
    /// to grow a pipe, but it may allow it later.
    small: bool,
}

impl Ends {
    fn grow(&mut self) {
        self.small = !fcntl_setpipe_size(&self.write, PIPE_BYTES).is_ok_and(|size| size >= PIPE_BYTES);
    }
}

/// The pipes of one core.
pub(super) struct Pipes {
    ends: Vec<Option<Ends>>,
    idle: Vec<u16>,
    vacant: Vec<u16>,
    held: usize,
    max: usize,
}

impl Pipes {
    pub(super) fn new(max: usize) -> Pipes {
        let max = max.min(usize::from(u16::MAX));
        Pipes { ends: Vec::new(), idle: Vec::new(), vacant: Vec::new(), held: 0, max }
    }

    pub(super) fn take(&mut self) -> Option<Pipe> {
        if self.held >= self.max {
            return None;
        }
        let id = match self.idle.pop() {
            Some(id) => {
                if let Some(ends) = self.ends[usize::from(id)].as_mut()
                    && ends.small
                {
                    ends.grow();
                }
                id
            }
            None => self.open()?,
        };
        self.held += 1;
        Some(Pipe(id))
    }

    fn open(&mut self) -> Option<u16> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let mut ends = Ends { read, write, small: true };
        ends.grow();
        let ends = Some(ends);
        Some(match self.vacant.pop() {
            Some(id) => {
                self.ends[usize::from(id)] = ends;
                id
            }
            None => {
                self.ends.push(ends);
                (self.ends.len() - 1) as u16
            }
        })
    }

    pub(super) fn release(&mut self, pipe: Pipe, empty: bool) {
        self.held -= 1;
        if empty && self.idle.len() < IDLE_MAX {
            self.idle.push(pipe.0);
        } else {
            self.ends[usize::from(pipe.0)] = None;
            self.vacant.push(pipe.0);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn ends(&self, pipe: &Pipe) -> &Ends {
        self.ends[usize::from(pipe.0)].as_ref().expect("a pipe on loan is open")
    }

    pub(super) fn fill(&self, from: BorrowedFd<'_>, pipe: &Pipe, max: usize) -> Spliced {
        outcome(move_bytes(from, self.ends(pipe).write.as_fd(), max, false))
    }

    pub(super) fn drain(&self, pipe: &Pipe, to: BorrowedFd<'_>, max: usize, more: bool) -> Spliced {
        outcome(move_bytes(self.ends(pipe).read.as_fd(), to, max, more))
    }
}

fn move_bytes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, max: usize, more: bool) -> Result<usize, Errno> {
    let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    if more {
        flags |= SpliceFlags::MORE;
    }
    splice(from, None, to, None, max, flags)
}

fn outcome(moved: Result<usize, Errno>) -> Spliced {
    match moved {
        Ok(0) => Spliced::Eof,
        Ok(n) => Spliced::Moved(n),
        Err(Errno::AGAIN | Errno::INTR) => Spliced::Blocked,
        Err(_) => Spliced::Failed,
    }
}
