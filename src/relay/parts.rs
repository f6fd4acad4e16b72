//! A scatter-gather list around the bytes of a head.
use crate::{http::Cuts, io::SEND_PARTS_MAX};
use std::io::IoSlice;

/// What is about to be sent, in pieces that stay where they are.
pub struct Parts<'a> {
    slices: [IoSlice<'a>; SEND_PARTS_MAX],
    count: usize,
    bytes: usize,
}

impl<'a> Parts<'a> {
    /// Nothing yet.
    pub fn new() -> Parts<'a> {
        Parts { slices: [IoSlice::new(&[]); SEND_PARTS_MAX], count: 0, bytes: 0 }
    }

    /// One more piece, if it is not empty.
    pub fn push(&mut self, piece: &'a [u8]) {
        if !piece.is_empty() {
            self.slices[self.count] = IoSlice::new(piece);
            self.count += 1;
            self.bytes += piece.len();
        }
    }

    /// The first `len` bytes of a head from `from` on, without what is cut.
    pub fn push_head(&mut self, head: &'a [u8], from: usize, len: usize, cuts: &Cuts) {
        let mut at = from;
        for cut in cuts.spans() {
            let (start, end) = (usize::from(cut.start), usize::from(cut.end).min(len));
            if start > at {
                self.push(&head[at..start]);
            }
            at = at.max(end);
        }
        if at < len {
            self.push(&head[at..len]);
        }
    }

    /// The pieces.
    pub fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.count]
    }

    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Appends the bytes in `from..to`, counted over all pieces, to `out`; none if that is backwards.
    pub fn copy(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        if from >= to {
            return;
        }
        let mut at = 0;
        for slice in self.slices() {
            let start = from.clamp(at, at + slice.len()) - at;
            let end = to.clamp(at, at + slice.len()) - at;
            out.extend_from_slice(&slice[start..end]);
            at += slice.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Span;

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
        let mut parts = Parts::new();
        parts.push_head(head, 0, 8, &cuts);
        assert_eq!(text(&parts), "01456");
        let mut parts = Parts::new();
        parts.push_head(head, 3, 10, &cuts);
        assert_eq!(text(&parts), "456");
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
}
