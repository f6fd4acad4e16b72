//! A scatter-gather list around the bytes of a head.
use super::Cuts;
use std::io::IoSlice;

/// Most pieces that are sent from where they lie. An honest head with all its cuts and additions stays far below.
pub const PIECES_MAX: usize = 24;

/// What is about to be sent, in pieces that stay where they are.
///
/// More than [`PIECES_MAX`] pieces are copied together: a head that needs so many is rare, and must be served all the
/// same.
pub struct Parts<'a> {
    slices: [IoSlice<'a>; PIECES_MAX],
    count: usize,
    bytes: usize,
    /// Every byte, once there were too many pieces. Allocates nothing until then.
    gathered: Vec<u8>,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Parts::new()
    }
}

impl<'a> Parts<'a> {
    /// Nothing yet.
    pub fn new() -> Parts<'a> {
        Parts { slices: [IoSlice::new(&[]); PIECES_MAX], count: 0, bytes: 0, gathered: Vec::new() }
    }

    /// One more piece, if it is not empty.
    #[inline]
    pub fn push(&mut self, piece: &'a [u8]) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len();
        match self.slices.get_mut(self.count) {
            Some(free) => {
                *free = IoSlice::new(piece);
                self.count += 1;
            }
            None => self.gather(piece),
        }
    }

    /// Room has run out, now or before: `piece` goes behind a copy of all the others.
    #[cold]
    fn gather(&mut self, piece: &[u8]) {
        if self.gathered.is_empty() {
            self.gathered.reserve(self.bytes);
            for slice in &self.slices {
                self.gathered.extend_from_slice(slice);
            }
        }
        self.gathered.extend_from_slice(piece);
    }

    /// The first `len` bytes of a head from `from` on, without what is cut.
    pub fn push_head(&mut self, head: &'a [u8], from: usize, len: usize, cuts: &Cuts) {
        let mut at = from;
        for cut in cuts.spans(head) {
            let (start, end) = (usize::from(cut.start).min(len), usize::from(cut.end).min(len));
            if start > at {
                self.push(&head[at..start]);
            }
            at = at.max(end);
        }
        if at < len {
            self.push(&head[at..len]);
        }
    }

    /// Hands the pieces to `send`: where they lie or, if there are too many, as one.
    #[inline]
    pub fn with_slices<T>(&self, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        match self.gathered.as_slice() {
            [] => send(&self.slices[..self.count]),
            gathered => send(&[IoSlice::new(gathered)]),
        }
    }

    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends the bytes in `from..to`, counted over all pieces, to `out`; none if that is backwards.
    pub fn copy(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        if from >= to {
            return;
        }
        self.with_slices(|slices| {
            let mut at = 0;
            for slice in slices {
                let start = from.clamp(at, at + slice.len()) - at;
                let end = to.clamp(at, at + slice.len()) - at;
                out.extend_from_slice(&slice[start..end]);
                at += slice.len();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Span;
    use proptest::prelude::*;

    fn text(parts: &Parts<'_>) -> String {
        let mut out = Vec::new();
        parts.copy(0, parts.len(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What is cut is left out, wherever it is, and nothing else.
    #[test]
    fn cuts_are_left_out() {
        let head = b"0123456789";
        let mut cuts = Cuts::default();
        for (start, end) in [(2, 4), (7, 10)] {
            assert!(cuts.add(Span { start, end }));
        }
        for (from, len, left) in [(0, 8, "01456"), (3, 10, "456"), (0, 5, "014")] {
            let mut parts = Parts::new();
            parts.push_head(head, from, len, &cuts);
            assert_eq!(text(&parts), left);
        }
    }

    /// Any range over all pieces can be copied out.
    #[test]
    fn ranges_cross_pieces() {
        let mut parts = Parts::new();
        for piece in ["ab", "", "cde", "f"] {
            parts.push(piece.as_bytes());
        }
        let mut out = Vec::new();
        parts.copy(1, 5, &mut out);
        parts.copy(5, 2, &mut out);
        assert_eq!((out.as_slice(), parts.len()), (b"bcde".as_slice(), 6));
    }

    proptest! {
        /// However many pieces there are, all their bytes go out in order, in no more slices than a send takes, and
        /// ranges of them are the same ranges.
        #[test]
        fn pieces_without_number(pieces in prop::collection::vec("[a-z]{0,5}", 0..80), from in 0usize..200, to in 0usize..200) {
            let mut parts = Parts::new();
            for piece in &pieces {
                parts.push(piece.as_bytes());
            }
            let whole = pieces.concat();
            prop_assert_eq!(text(&parts), whole.as_str());
            prop_assert_eq!((parts.len(), parts.is_empty()), (whole.len(), whole.is_empty()));
            let sent = parts.with_slices(|slices| {
                assert!(slices.len() <= PIECES_MAX);
                slices.iter().map(|slice| slice.to_vec()).collect::<Vec<_>>().concat()
            });
            prop_assert_eq!(sent, whole.as_bytes());
            let (from, to) = (from.min(whole.len()), to.min(whole.len()));
            let mut out = Vec::new();
            parts.copy(from, to, &mut out);
            prop_assert_eq!(out, whole.get(from..to).unwrap_or("").as_bytes());
        }
    }
}
