//! Buffers on loan from the pool, and chains of them.

/// A pool buffer on loan, and which of its bytes are valid. It must be given back with [`super::Calls::release`]. It
/// cannot be copied, so its holder is its only owner.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a buffer must be given back to its pool"]
pub struct Buf {
    /// Number of the buffer in its pool.
    pub(super) id: u16,
    /// First valid byte.
    pub(super) start: u32,
    /// One past the last valid byte.
    pub(super) end: u32,
}

impl Buf {
    /// Number of valid bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether no byte is valid.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

const NONE: u16 = u16::MAX;

/// Buffers in the order their bytes arrived; the buffers themselves are kept in [`Links`]. Four bytes.
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

#[derive(Default)]
struct Link {
    buf: Option<Buf>,
    next: u16,
}

/// Storage for chained buffers: one entry per pool buffer, allocated once.
pub struct Links(Vec<Link>);

impl Links {
    /// For a pool of `buffers` buffers.
    pub fn new(buffers: usize) -> Links {
        assert!(buffers < usize::from(NONE), "buffer numbers fit 16 bits");
        let mut links = Vec::new();
        links.resize_with(buffers, Link::default);
        Links(links)
    }

    /// Appends a buffer.
    pub fn push(&mut self, chain: &mut Chain, buf: Buf) {
        let id = buf.id;
        let link = &mut self.0[usize::from(id)];
        assert!(link.buf.is_none(), "buffer {id} is in a chain already");
        *link = Link { buf: Some(buf), next: NONE };
        if chain.head == NONE {
            chain.head = id;
        } else {
            self.0[usize::from(chain.tail)].next = id;
        }
        chain.tail = id;
    }

    /// Takes the first buffer.
    pub fn pop(&mut self, chain: &mut Chain) -> Option<Buf> {
        let link = self.0.get_mut(usize::from(chain.head))?;
        let buf = link.buf.take();
        chain.head = link.next;
        if chain.head == NONE {
            chain.tail = NONE;
        }
        buf
    }

    /// The first buffer, without removing it.
    pub fn front(&self, chain: &Chain) -> Option<&Buf> {
        self.0.get(usize::from(chain.head))?.buf.as_ref()
    }

    /// Drops the first `n` bytes of the first buffer, which must have more than that; otherwise it is popped instead.
    pub fn trim_front(&mut self, chain: &Chain, n: usize) {
        if let Some(buf) = self.0[usize::from(chain.head)].buf.as_mut() {
            buf.start += n as u32;
            assert!(buf.start < buf.end, "an emptied buffer is popped, not trimmed");
        }
    }

    /// The buffers in order.
    pub fn iter(&self, chain: &Chain) -> impl Iterator<Item = &Buf> + '_ {
        let mut at = chain.head;
        std::iter::from_fn(move || {
            let link = self.0.get(usize::from(at))?;
            at = link.next;
            link.buf.as_ref()
        })
    }
}
