//! Parts of a head that are left out when it is sent on.
use super::{Span, lines};

/// What to leave out of a head: a few places as spans or, if there are too many of those, whole header lines by their
/// numbers. The latter takes a walk along the lines, and is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Ascending, non-overlapping; adjacent ones are merged. Unused places are empty spans, so that equal cuts compare
    /// equal.
    Places { spans: [Span; Cuts::MAX], len: u8 },
    /// One bit a header line, the first line's lowest.
    Lines([u64; 2]),
}

// Each head that is read carries one, by value.
const _: () = assert!(size_of::<Cuts>() <= 56);

impl Default for Cuts {
    fn default() -> Self {
        Cuts(Kind::Places { spans: [Span { start: 0, end: 0 }; Cuts::MAX], len: 0 })
    }
}

impl Cuts {
    /// More separate places than an ordinary head needs; each costs one more entry in a scatter-gather send.
    pub const MAX: usize = 12;

    /// Leaves out every header line whose bit is set.
    pub fn lines(bits: u128) -> Cuts {
        Cuts(Kind::Lines([bits as u64, (bits >> 64) as u64]))
    }

    /// Adds a span, wherever it lies; what it overlaps or touches becomes one with it. False, and nothing is
    /// changed, when there is no room left.
    #[must_use]
    pub fn add(&mut self, span: Span) -> bool {
        assert!(span.start <= span.end, "a span that ends before it starts: {span:?}");
        let Kind::Places { spans, len } = &mut self.0 else { return span.is_empty() };
        if span.is_empty() {
            return true;
        }
        let n = usize::from(*len);
        // Those from `first` to before `last` overlap or touch the new one.
        let first = spans[..n].partition_point(|s| s.end < span.start);
        let last = first + spans[first..n].partition_point(|s| s.start <= span.end);
        if first == last {
            if n == Cuts::MAX {
                return false;
            }
            spans.copy_within(first..n, first + 1);
            spans[first] = span;
            *len += 1;
            return true;
        }
        spans[first] = Span { start: spans[first].start.min(span.start), end: spans[last - 1].end.max(span.end) };
        spans.copy_within(last..n, first + 1);
        let left = n - (last - first - 1);
        spans[left..n].fill(Span::default());
        *len = left as u8;
        true
    }

    /// The same, and every header line whose name is `hidden`. `head` is the one that this was made for.
    #[cold]
    pub(super) fn and_lines(&self, head: &[u8], hidden: impl Fn(&[u8]) -> bool) -> Cuts {
        let mut bits = 0;
        for (index, line) in lines::of(head).enumerate().take(super::HEADERS_MAX) {
            let is_cut = self.spans(head).any(|span| span.start <= line.span.start && line.span.end <= span.end);
            bits |= u128::from(is_cut || hidden(line.name())) << index;
        }
        Cuts::lines(bits)
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Places { len: 0, .. } | Kind::Lines([0, 0]))
    }

    /// The spans that are left out of `head`, the one that this was made for, in order. None is empty.
    #[inline]
    pub fn spans<'a>(&'a self, head: &'a [u8]) -> impl Iterator<Item = Span> + 'a {
        let (places, bits) = match &self.0 {
            Kind::Places { spans, len } => (&spans[..usize::from(*len)], None),
            Kind::Lines(bits) => (&[][..], Some(*bits)),
        };
        places.iter().copied().chain(bits.into_iter().flat_map(|bits| marked(head, bits)))
    }
}

/// The header lines of `head` whose bits are set.
fn marked(head: &[u8], bits: [u64; 2]) -> impl Iterator<Item = Span> {
    let is_set = move |index: usize| bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
    lines::of(head).enumerate().filter(move |&(index, _)| is_set(index)).map(|(_, line)| line.span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: u16, end: u16) -> Span {
        Span { start, end }
    }

    fn spans(cuts: &Cuts) -> Vec<Span> {
        cuts.spans(b"").collect()
    }

    /// A span that reaches over several others swallows them all.
    #[test]
    fn a_bridge_merges_what_it_reaches() {
        let mut cuts = Cuts::default();
        for s in [span(0, 2), span(10, 12), span(20, 22), span(30, 32), span(11, 30)] {
            assert!(cuts.add(s));
        }
        assert_eq!(spans(&cuts), [span(0, 2), span(10, 32)]);
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
        assert_eq!(spans(&cuts).len(), Cuts::MAX - 1);
        assert!(cuts.add(span(1000, 1001)));
    }

    /// Lines by number: the spans are those lines, wherever they are, up to the last one that has a bit.
    #[test]
    fn lines_by_number() {
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", (0..130).map(|n| format!("X: {n}\r\n")).collect::<String>());
        let cuts = Cuts::lines(1 | 1 << 64 | 1 << 127);
        let cut: Vec<_> = cuts.spans(head.as_bytes()).map(|span| span.of(head.as_bytes())).collect();
        assert_eq!(cut, [b"X: 0\r\n".as_slice(), b"X: 64\r\n", b"X: 127\r\n"]);
        assert!(!cuts.is_empty() && Cuts::lines(0).is_empty());
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
                    prop_assert_eq!(spans(&cuts).len(), Cuts::MAX);
                }
            }
            let spans = spans(&cuts);
            prop_assert!(spans.iter().all(|s| s.start < s.end));
            prop_assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start));
            let mut cut = [false; 256];
            for s in spans {
                cut[usize::from(s.start)..usize::from(s.end)].fill(true);
            }
            prop_assert_eq!(cut, covered);
        }
    }
}
