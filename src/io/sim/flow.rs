//! One direction of a simulated connection: bytes in order, some arrived, some still under way.
use super::super::Millis;
use std::collections::VecDeque;

/// How a kernel keeps back what is less than a segment when more was announced.
#[derive(Clone, Copy)]
pub(super) struct Cork {
    pub(super) segment_bytes: usize,
    /// It goes without more by then.
    pub(super) until: Millis,
}

/// A bounded queue of bytes with a delay, and the end of stream behind them.
pub(super) struct Flow {
    /// Sent and not yet received, in order.
    bytes: VecDeque<u8>,
    /// How many of `bytes`, from the first, the receiver may have by now.
    arrived: usize,
    /// Those behind: when how many more arrive. Times never go down.
    under_way: VecDeque<(Millis, usize)>,
    /// The last of `bytes`, which the sending kernel keeps back, and until when.
    held: Option<(usize, Millis)>,
    /// Most bytes in `bytes`: both sockets' buffers together.
    capacity: usize,
    /// When the end of stream arrives, once it was sent.
    fin: Option<Millis>,
    /// Whether it has arrived (it may still be behind bytes).
    fin_arrived: bool,
}

impl Flow {
    pub(super) fn new(capacity: usize) -> Flow {
        let (bytes, under_way) = (VecDeque::new(), VecDeque::new());
        Flow { bytes, arrived: 0, under_way, held: None, capacity, fin: None, fin_arrived: false }
    }

    /// Lets everything arrive that is due.
    pub(super) fn settle(&mut self, now: Millis) {
        if let Some((_, until)) = self.held.filter(|held| held.1 <= now) {
            self.let_go(until);
        }
        while let Some(&(at, count)) = self.under_way.front()
            && at <= now
        {
            self.arrived += count;
            self.under_way.pop_front();
        }
        self.fin_arrived |= self.fin.is_some_and(|at| at <= now);
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many more bytes fit.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.bytes.len().min(self.capacity)
    }

    /// Whether a poll says that there is room: Linux keeps silent until a third of the buffer is free
    /// (`sk_stream_is_writeable`).
    pub(super) fn has_much_room(&self) -> bool {
        self.room() > 0 && self.room() >= self.bytes.len().min(self.capacity) / 2
    }

    /// Appends bytes that arrive at `at`, or behind those before them, but for what `cork` keeps back. Returns when.
    pub(super) fn push(&mut self, now: Millis, at: Millis, bytes: &[u8], cork: Option<Cork>) -> Millis {
        debug_assert!(bytes.len() <= self.room());
        let (held, until) = self.held.take().unwrap_or((0, Millis::MAX));
        let whole = held + bytes.len();
        let keep = cork.map_or(0, |cork| whole % cork.segment_bytes);
        self.bytes.extend(bytes);
        if let Some(cork) = cork.filter(|_| keep > 0) {
            // The kernel's timer is not set anew as long as nothing goes.
            self.held = Some((keep, if keep == whole { until.min(cork.until) } else { cork.until }));
        }
        self.deliver(now, at, whole - keep)
    }

    /// So many of the bytes arrive at `at`, or behind those before them. Returns when.
    fn deliver(&mut self, now: Millis, at: Millis, count: usize) -> Millis {
        let at = at.max(self.under_way.back().map_or(0, |last| last.0));
        if at <= now && self.under_way.is_empty() {
            self.arrived += count;
        } else if count > 0 {
            self.under_way.push_back((at, count));
        }
        at
    }

    /// Until when something is kept back.
    pub(super) fn held_until(&self) -> Option<Millis> {
        self.held.map(|held| held.1)
    }

    /// What is kept back goes, to arrive at `at`.
    pub(super) fn let_go(&mut self, at: Millis) {
        if let Some((count, _)) = self.held.take() {
            let at = at.max(self.under_way.back().map_or(0, |last| last.0));
            self.under_way.push_back((at, count));
        }
    }

    /// Puts the end of stream behind the bytes. Returns when it arrives.
    pub(super) fn finish(&mut self, at: Millis) -> Millis {
        self.let_go(at);
        let at = at.max(self.under_way.back().map_or(0, |last| last.0));
        *self.fin.get_or_insert(at)
    }

    /// Bytes that can be received now.
    pub(super) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Whether nothing is left to receive but the end.
    pub(super) fn at_end(&self) -> bool {
        self.fin_arrived && self.bytes.is_empty()
    }

    /// Whether the end has arrived, if behind bytes.
    pub(super) fn has_its_end(&self) -> bool {
        self.fin_arrived
    }

    /// Whether bytes were sent that nobody has received.
    pub(super) fn has_unread(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Receives the first `out.len()` bytes, which must have arrived.
    pub(super) fn pop(&mut self, out: &mut [u8]) {
        debug_assert!(out.len() <= self.arrived);
        let (front, back) = self.bytes.as_slices();
        let split = front.len().min(out.len());
        out[..split].copy_from_slice(&front[..split]);
        let rest = out.len() - split;
        out[split..].copy_from_slice(&back[..rest]);
        self.bytes.drain(..out.len());
        self.arrived -= out.len();
    }

    /// Loses what is still under way; what has arrived stays.
    pub(super) fn cut(&mut self) {
        self.bytes.truncate(self.arrived);
        self.under_way.clear();
        self.held = None;
        self.fin = None;
    }

    /// Loses everything.
    pub(super) fn clear(&mut self) {
        self.cut();
        self.bytes.clear();
        self.arrived = 0;
    }
}
