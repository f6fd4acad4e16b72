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

    /// Adds a span, wherever it lies; what it overlaps or touches becomes one with it. False, and nothing is
    /// changed, when there is no room left.
    #[must_use]
    pub fn add(&mut self, span: Span) -> bool {
        assert!(span.start <= span.end, "a span that ends before it starts: {span:?}");
        if span.is_empty() {
            return true;
        }
        let n = usize::from(self.len);
        // Those from `first` to before `last` overlap or touch the new one.
        let first = self.spans[..n].partition_point(|s| s.end < span.start);
        let last = first + self.spans[first..n].partition_point(|s| s.start <= span.end);
        if first == last {
            if n == Cuts::MAX {
                return false;
            }
            self.spans.copy_within(first..n, first + 1);
            self.spans[first] = span;
            self.len += 1;
            return true;
        }
        self.spans[first] =
            Span { start: self.spans[first].start.min(span.start), end: self.spans[last - 1].end.max(span.end) };
        self.spans.copy_within(last..n, first + 1);
        self.forget(last - first - 1);
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

    /// Drops the last `count` spans. Unused places are empty spans, so that equal cuts compare equal.
    fn forget(&mut self, count: usize) {
        let n = usize::from(self.len);
        self.spans[n - count..n].fill(Span::default());
        self.len -= count as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    /// A span that reaches over several others swallows them all.
    #[test]
    fn a_bridge_merges_what_it_reaches() {
        let mut cuts = Cuts::default();
        for s in [span(0, 2), span(10, 12), span(20, 22), span(30, 32), span(11, 30)] {
            assert!(cuts.add(s));
        }
        assert_eq!(cuts.spans(), [span(0, 2), span(10, 32)]);
    }

    /// The thirteenth separate place is refused and changes nothing; a merge still finds room.
    #[test]
    fn full_means_full() {
        let mut cuts = Cuts::default();
        for i in 0..Cuts::MAX as u16 {
            assert!(cuts.add(span(i * 10, i * 10 + 5)));
        }
        let before = cuts;
        assert!(!cuts.add(span(1000, 1001)));
        assert_eq!(cuts, before);
        assert!(cuts.add(span(5, 10)));
        assert_eq!(cuts.spans().len(), Cuts::MAX - 1);
        assert!(cuts.add(span(1000, 1001)));
    }

    proptest! {
        /// Whatever the order: ascending, disjoint, not even touching, and covering exactly what was added.
        #[test]
        fn spans_stay_ascending_and_disjoint(added in prop::collection::vec((0u16..200, 0u16..30), 0..40)) {
            let mut cuts = Cuts::default();
            let mut covered = [false; 256];
            for (start, len) in added {
                let s = span(start, start + len);
                if cuts.add(s) {
                    covered[usize::from(s.start)..usize::from(s.end)].fill(true);
                } else {
                    prop_assert_eq!(cuts.spans().len(), Cuts::MAX);
                }
            }
            prop_assert!(cuts.spans().iter().all(|s| s.start < s.end));
            prop_assert!(cuts.spans().windows(2).all(|pair| pair[0].end < pair[1].start));
            let mut cut = [false; 256];
            for s in cuts.spans() {
                cut[usize::from(s.start)..usize::from(s.end)].fill(true);
            }
            prop_assert_eq!(cut, covered);
        }
    }
}
