//! Buffers on loan from the pool, and chains of them.

/// A pool buffer on loan, and which of its bytes count. It must be given back with [`super::Io::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a buffer must be given back to its pool"]
pub struct Buf {
    /// Number of the buffer in its pool.
    pub(super) id: u16,
    /// First byte that counts.
    pub start: u32,
    /// One past the last byte that counts.
    pub end: u32,
}

impl Buf {
    /// How many bytes count.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

const NONE: u16 = u16::MAX;

/// Buffers in the order their bytes arrived; the links live in [`Links`]. Four bytes when nothing waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    head: u16,
    tail: u16,
}

impl Default for Chain {
    fn default() -> Self {
        Chain { head: NONE, tail: NONE }
    }
}

impl Chain {
    /// Whether no bytes wait.
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

#[derive(Clone, Copy, Default)]
struct Link {
    start: u32,
    end: u32,
    next: u16,
}

/// Where chained buffers continue: one entry a buffer, allocated once.
pub struct Links(Vec<Link>);

impl Links {
    /// For a pool of `buffers` buffers.
    pub fn new(buffers: usize) -> Links {
        assert!(buffers < usize::from(NONE), "buffer numbers fit 16 bits");
        Links(vec![Link::default(); buffers])
    }

    /// Appends a buffer.
    pub fn push(&mut self, chain: &mut Chain, buf: Buf) {
        self.0[usize::from(buf.id)] = Link { start: buf.start, end: buf.end, next: NONE };
        if chain.head == NONE {
            chain.head = buf.id;
        } else {
            self.0[usize::from(chain.tail)].next = buf.id;
        }
        chain.tail = buf.id;
    }

    /// Puts a buffer before all others.
    pub fn push_front(&mut self, chain: &mut Chain, buf: Buf) {
        self.0[usize::from(buf.id)] = Link { start: buf.start, end: buf.end, next: chain.head };
        if chain.head == NONE {
            chain.tail = buf.id;
        }
        chain.head = buf.id;
    }

    /// Takes the first buffer.
    pub fn pop(&mut self, chain: &mut Chain) -> Option<Buf> {
        if chain.head == NONE {
            return None;
        }
        let id = chain.head;
        let link = self.0[usize::from(id)];
        chain.head = link.next;
        if chain.head == NONE {
            chain.tail = NONE;
        }
        Some(Buf { id, start: link.start, end: link.end })
    }

    /// A look at the first buffer; ownership stays with the chain.
    pub fn front(&self, chain: &Chain) -> Option<Buf> {
        self.iter(chain).next()
    }

    /// The first buffer's first `n` bytes are dealt with; more must be there than that, or the buffer is popped.
    pub fn trim_front(&mut self, chain: &Chain, n: usize) {
        let link = &mut self.0[usize::from(chain.head)];
        link.start += n as u32;
        debug_assert!(link.start < link.end, "an emptied buffer is popped, not trimmed");
    }

    /// The buffers in order, as copies to look at; ownership stays with the chain.
    pub fn iter(&self, chain: &Chain) -> impl Iterator<Item = Buf> + '_ {
        let mut at = chain.head;
        std::iter::from_fn(move || {
            let id = at;
            let link = (id != NONE).then(|| self.0[usize::from(id)])?;
            at = link.next;
            Some(Buf { id, start: link.start, end: link.end })
        })
    }
}
