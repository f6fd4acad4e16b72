//! Buffers and pipes on loan from a simulated shard's pools, every loan watched.
use super::super::{Buf, Pipe};
use std::collections::VecDeque;

/// What a buffer is filled with when it comes back, so that bytes used too late show.
const STALE: u8 = 0xdd;

/// The buffers of one shard.
pub(super) struct Pool {
    memory: Vec<u8>,
    size: usize,
    /// Length on loan, by buffer; `None` when it is in the pool.
    loans: Vec<Option<u32>>,
    /// At hand: neither on loan nor in the ring.
    free: VecDeque<u16>,
    /// In the kernel's ring: for streams only.
    ring: VecDeque<u16>,
    ring_target: usize,
}

impl Pool {
    pub(super) fn new(count: usize, size: usize, ring_target: usize) -> Pool {
        let mut pool = Pool {
            memory: vec![STALE; count * size],
            size,
            loans: vec![None; count],
            free: (0..count).map(|id| u16::try_from(id).expect("buffer numbers fit 16 bits")).collect(),
            ring: VecDeque::new(),
            ring_target,
        };
        pool.publish();
        pool
    }

    /// Fills the kernel's ring up to its target. Once a turn.
    pub(super) fn publish(&mut self) {
        while self.ring.len() < self.ring_target
            && let Some(id) = self.free.pop_back()
        {
            self.ring.push_back(id);
        }
    }

    /// Bytes a buffer holds.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn count(&self) -> usize {
        self.loans.len()
    }

    /// Neither on loan nor in the ring.
    pub(super) fn at_hand(&self) -> usize {
        self.free.len()
    }

    /// Not on loan.
    pub(super) fn free(&self) -> usize {
        self.free.len() + self.ring.len()
    }

    /// In the kernel's ring.
    pub(super) fn in_ring(&self) -> usize {
        self.ring.len()
    }

    /// Lends a buffer filled by `fill`, which is given `len` bytes. There must be one at hand.
    pub(super) fn lend(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Buf {
        let id = self.free.pop_front().expect("a buffer at hand");
        self.lend_this(id, len, fill)
    }

    /// The same, of the kernel's ring. There must be one in it.
    pub(super) fn lend_of_ring(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Buf {
        let id = self.ring.pop_front().expect("a buffer in the ring");
        self.lend_this(id, len, fill)
    }

    fn lend_this(&mut self, id: u16, len: usize, fill: impl FnOnce(&mut [u8])) -> Buf {
        assert!(len > 0 && len <= self.size, "a loan of {len} bytes");
        let at = usize::from(id) * self.size;
        fill(&mut self.memory[at..at + len]);
        self.loans[usize::from(id)] = Some(len as u32);
        Buf { id, start: 0, end: len as u32 }
    }

    pub(super) fn bytes(&self, buf: &Buf) -> Result<&[u8], String> {
        self.check(buf)?;
        let at = usize::from(buf.id) * self.size;
        Ok(&self.memory[at + buf.start as usize..at + buf.end as usize])
    }

    pub(super) fn release(&mut self, buf: Buf) -> Result<(), String> {
        self.check(&buf)?;
        let at = usize::from(buf.id) * self.size;
        let len = self.loans[usize::from(buf.id)].take().expect("checked");
        self.memory[at..at + len as usize].fill(STALE);
        self.free.push_back(buf.id);
        Ok(())
    }

    /// Numbers of the buffers on loan.
    pub(super) fn lent(&self) -> Vec<usize> {
        (0..self.loans.len()).filter(|&id| self.loans[id].is_some()).collect()
    }

    fn check(&self, buf: &Buf) -> Result<(), String> {
        match self.loans.get(usize::from(buf.id)) {
            None => Err(format!("buffer {} is none of this pool's {}", buf.id, self.loans.len())),
            Some(None) => Err(format!("buffer {} is not on loan: released twice, or another shard's", buf.id)),
            Some(&Some(len)) if buf.start > buf.end || buf.end > len => {
                Err(format!("buffer {} holds {len} bytes, not {}..{}", buf.id, buf.start, buf.end))
            }
            Some(Some(_)) => Ok(()),
        }
    }
}

/// The pipes of one shard.
pub(super) struct Pipes {
    /// What is in each; `None` when it is in the pool.
    held: Vec<Option<VecDeque<u8>>>,
    capacity: usize,
}

impl Pipes {
    pub(super) fn new(count: usize, capacity: usize) -> Pipes {
        Pipes { held: vec![None; count], capacity }
    }

    pub(super) fn held(&self) -> usize {
        self.held.iter().flatten().count()
    }

    pub(super) fn lend(&mut self) -> Option<Pipe> {
        let id = self.held.iter().position(Option::is_none)?;
        self.held[id] = Some(VecDeque::new());
        Some(Pipe(id as u16))
    }

    pub(super) fn release(&mut self, pipe: Pipe, empty: bool) -> Result<(), String> {
        let left = self.content(&pipe)?.len();
        if empty && left > 0 {
            return Err(format!("pipe {} came back as empty with {left} bytes in it", pipe.0));
        }
        self.held[usize::from(pipe.0)] = None;
        Ok(())
    }

    /// How many more bytes fit.
    pub(super) fn room(&mut self, pipe: &Pipe) -> Result<usize, String> {
        let capacity = self.capacity;
        Ok(capacity - self.content(pipe)?.len())
    }

    pub(super) fn content(&mut self, pipe: &Pipe) -> Result<&mut VecDeque<u8>, String> {
        let held = self.held.get_mut(usize::from(pipe.0)).and_then(Option::as_mut);
        held.ok_or_else(|| format!("pipe {} is not on loan", pipe.0))
    }
}
