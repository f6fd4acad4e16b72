//! Heads that arrive in pieces: when it is worth parsing one again.

/// A head up to this long is parsed again with every line that arrives, so that a fault in it is reported at once.
const EAGER_BYTES: usize = 1024;

/// Whether a head that arrives in pieces should be parsed, now that `new` follows `so_far`. Parsing it with every piece
/// would take quadratic time, so it is parsed when a blank line has arrived, or else when its length has doubled, and
/// never without a new line end.
pub fn may_parse(parse_at: &mut u32, so_far: &[u8], new: &[u8]) -> bool {
    if memchr::memchr(b'\n', new).is_none() {
        return false;
    }
    let whole = so_far.len() + new.len();
    if whole > EAGER_BYTES && whole < *parse_at as usize && !brings_blank_line(so_far, new) {
        return false;
    }
    *parse_at = 2 * whole as u32;
    true
}

/// Whether a line end in `new` follows another, with at most a CR between.
fn brings_blank_line(so_far: &[u8], new: &[u8]) -> bool {
    let before = |at: usize, back: usize| match at.checked_sub(back) {
        Some(at) => new.get(at).copied(),
        None => so_far.get((so_far.len() + at).wrapping_sub(back)).copied(),
    };
    memchr::memchr_iter(b'\n', new).any(|at| match before(at, 1) {
        Some(b'\n') => true,
        Some(b'\r') => before(at, 2) == Some(b'\n'),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a long head is cut, it is parsed when its blank line is there, and only a few times before.
    #[test]
    fn long_heads_are_parsed_seldom_but_in_time() {
        let lines = "X-Header: value\r\n".repeat(3000);
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n").into_bytes();
        for step in [1, 2, 3, 17, 1000] {
            let (mut parse_at, mut parses, mut last) = (0, 0, false);
            for start in (0..head.len()).step_by(step) {
                let end = (start + step).min(head.len());
                last = may_parse(&mut parse_at, &head[..start], &head[start..end]);
                parses += usize::from(last);
            }
            assert!(last, "{step}: not parsed at the end");
            assert!(parses < 80, "{step}: parsed {parses} times");
        }
    }

    /// A blank line is seen wherever the pieces are cut, with CR or without.
    #[test]
    fn blank_lines_are_seen_across_pieces() {
        for whole in ["a\n\nb", "a\r\n\r\nb", "\n\n", "\r\n\r\n"] {
            let whole = whole.as_bytes();
            let end = whole.iter().rposition(|&b| b == b'\n').unwrap() + 1;
            assert!((0..end).all(|cut| brings_blank_line(&whole[..cut], &whole[cut..])), "{whole:?}");
        }
        assert!(!brings_blank_line(b"a\n", b"b\r\nc\n"));
        assert!(!brings_blank_line(b"", b"\n"));
        assert!(!brings_blank_line(b"", b"\r\n"));
    }
}
