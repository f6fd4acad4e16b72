//! The header lines of a complete head, one after the other, for the rare cases that have to look twice.
use super::Span;

/// One header line of a well-formed head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The whole line with its line end.
    pub bytes: &'a [u8],
    /// Where it lies in the head.
    pub span: Span,
}

impl<'a> Line<'a> {
    /// The field's name: all in front of the colon.
    pub fn name(&self) -> &'a [u8] {
        self.halves().0
    }

    /// The field's value, without the whitespace around it.
    pub fn value(&self) -> &'a [u8] {
        self.halves().1.trim_ascii()
    }

    fn halves(&self) -> (&'a [u8], &'a [u8]) {
        let colon = memchr::memchr(b':', self.bytes).unwrap_or(self.bytes.len());
        (&self.bytes[..colon], self.bytes.get(colon + 1..).unwrap_or_default())
    }
}

/// The header lines of `head`, which ends behind its blank line. Empty lines in front are not counted.
pub(super) fn of(head: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let start = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(head.len());
    let mut at = line_end(head, start);
    std::iter::from_fn(move || {
        let end = line_end(head, at);
        let bytes = &head[at..end];
        if matches!(bytes, [] | b"\n" | b"\r\n") {
            return None;
        }
        let span = Span { start: at as u16, end: end as u16 };
        at = end;
        Some(Line { bytes, span })
    })
}

/// One past the line end of the line at `at`.
fn line_end(head: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &head[at..]).map_or(head.len(), |lf| at + lf + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with either line end, up to the blank one.
    #[test]
    fn lines_are_told_apart() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nA: b:c \nD:\r\n\r\n";
        let lines: Vec<_> = of(head).map(|line| (line.name(), line.value())).collect();
        assert_eq!(lines, [(&b"A"[..], &b"b:c"[..]), (b"D", b"")]);
        assert!(of(head).all(|line| line.span.of(head) == line.bytes));
        assert_eq!(of(b"GET / HTTP/1.1\r\n\r\n").count(), 0);
    }
}
