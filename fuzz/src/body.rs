//! Chunked bodies are read the same in one piece and in many, and what goes on is in order for everybody.
use ringback::http::{Body, Piece, Refusal};

/// What became of a body's bytes.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What went on.
    passed: Vec<u8>,
    /// Bytes that belonged to it.
    taken: usize,
    done: bool,
}

/// Feeds `data` to a body in pieces of so many bytes. With `blind`, what may pass unseen does.
fn feed(mut body: Body, data: &[u8], mut size: impl FnMut() -> usize, blind: bool) -> Result<(Outcome, Body), Refusal> {
    let (mut passed, mut at) = (Vec::new(), 0);
    while at < data.len() && !body.is_done() {
        let piece = &data[at..data.len().min(at.saturating_add(size().max(1)))];
        let opaque = usize::try_from(body.opaque()).unwrap_or(usize::MAX).min(piece.len());
        if blind && opaque > 0 {
            body.skip(opaque as u64);
            passed.extend_from_slice(&piece[..opaque]);
            at += opaque;
            continue;
        }
        let Piece { pass, drop } = body.next(piece)?;
        assert!(pass + drop > 0, "nothing becomes of {} bytes", piece.len());
        passed.extend_from_slice(&piece[..pass]);
        at += pass + drop;
    }
    Ok((Outcome { passed, taken: at, done: body.is_done() }, body))
}

/// What a plain reader makes of chunks without extensions: the data, and what is behind the last one's size line.
fn plain(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut data = Vec::new();
    loop {
        let line = bytes.windows(2).position(|two| two == b"\r\n")?;
        let digits = std::str::from_utf8(&bytes[..line]).ok()?;
        assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()), "a size line goes on as {digits:?}");
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("a size goes on as {digits:?}"));
        bytes = &bytes[line + 2..];
        if size == 0 {
            return Some((data, bytes));
        }
        data.extend_from_slice(bytes.get(..size)?);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
}

/// What goes on of a whole body reads as its data to whoever knows no extensions, and its trailers are fields.
fn in_order(passed: &[u8], data: &[u8]) {
    let (plain, trailers) = plain(passed).expect("what goes on ends like a body");
    assert_eq!(plain, data, "the data is another");
    let trailers = trailers.strip_suffix(b"\r\n").expect("the blank line goes on");
    for line in trailers.split_inclusive(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("a trailer's line end");
        let colon = line.iter().position(|&b| b == b':').expect("a trailer's colon");
        let name = line[..colon].to_ascii_lowercase();
        assert!(name.iter().all(|b| b.is_ascii_graphic()), "{}", name.escape_ascii());
        let framing = [&b"content-length"[..], b"transfer-encoding", b"host", b"connection", b"trailer"];
        assert!(!framing.contains(&&*name), "a trailer {}", name.escape_ascii());
    }
}

/// Chunked coding is read the same in one piece, in many, and where bytes of it pass unseen. The first bytes say where
/// it is split.
pub fn chunked(data: &[u8]) {
    let (splits, data) = data.split_at(data.len().min(4));
    let mut turn = 0;
    let mut sizes = || {
        turn += 1;
        splits.get(turn % splits.len().max(1)).map_or(1, |&split| usize::from(split))
    };
    let mut taken = Body::CHUNKED;
    let count = taken.take(data);
    for start in [Body::CHUNKED, Body::DECODED] {
        let whole = feed(start, data, || usize::MAX, false);
        for blind in [false, true] {
            assert_eq!(feed(start, data, &mut sizes, blind), whole, "in pieces, unseen: {blind}");
        }
        assert_eq!(whole.as_ref().map(|(outcome, _)| outcome.taken).map_err(|&refusal| refusal), count);
    }
    let (Ok((outcome, _)), Ok((decoded, _))) =
        (feed(Body::CHUNKED, data, || usize::MAX, false), feed(Body::DECODED, data, || usize::MAX, false))
    else {
        return;
    };
    // What goes on once goes on unchanged the next time.
    let again = feed(Body::CHUNKED, &outcome.passed, || usize::MAX, false);
    let (again, _) = again.expect("what goes on is in order");
    assert_eq!((&again.passed, again.done), (&outcome.passed, outcome.done));
    if outcome.done {
        in_order(&outcome.passed, &decoded.passed);
    }
}
