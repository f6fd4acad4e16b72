//! Parts of a head that are left out when it is sent on.
use super::Span;

/// Up to [`Cuts::MAX`] ascending, non-overlapping spans of a head. Adjacent ones are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    spans: [Span; Cuts::MAX],
    len: u8,
}

impl Default for Cuts {
    fn default() -> Self {
        Cuts { spans: [Span { start: 0, end: 0 }; Cuts::MAX], len: 0 }
    }
}

impl Cuts {
    /// More separate places than any honest head needs; each costs one more entry in a scatter-gather send.
    pub const MAX: usize = 12;

    /// Adds a span behind or before those already there. False when there is no room left.
    pub fn add(&mut self, span: Span) -> bool {
        if span.is_empty() {
            return true;
        }
        let n = usize::from(self.len);
        let at = self.spans[..n].partition_point(|s| s.end < span.start);
        if at < n && self.spans[at].start <= span.end {
            let s = &mut self.spans[at];
            s.start = s.start.min(span.start);
            s.end = s.end.max(span.end);
            return true;
        }
        if n == Cuts::MAX {
            return false;
        }
        self.spans.copy_within(at..n, at + 1);
        self.spans[at] = span;
        self.len += 1;
        true
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The spans, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans[..usize::from(self.len)]
    }
}
