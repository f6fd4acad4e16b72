use crate::http::framing::*;
use crate::http::{Piece, Refusal};
use proptest::prelude::*;

/// What the whole of `bytes` does to a fresh chunked body.
fn chunked(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
    let mut body = Body::CHUNKED;
    body.take(bytes).map(|n| (n, body.is_done()))
}

/// What goes on of a body that `bytes` begin with.
fn passed_on(mut body: Body, bytes: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    loop {
        let Piece { pass, drop } = body.next(&bytes[at..]).unwrap();
        if pass + drop == 0 {
            return out;
        }
        out.extend_from_slice(&bytes[at..at + pass]);
        at += pass + drop;
    }
}

/// Lengths: exactly as many bytes as declared, whatever follows.
#[test]
fn lengths_end_where_declared() {
    let mut body = Body::Length(5);
    assert_eq!((body.take(b"ab"), body.is_done(), body.opaque()), (Ok(2), false, 3));
    body.skip(1);
    assert_eq!((body.take(b"cdNEXT"), body.is_done(), body.opaque()), (Ok(2), true, 0));
    assert_eq!(body.take(b"NEXT"), Ok(0));
    assert!(Body::EMPTY.is_done());
}

/// Until close: everything, never done, no limit.
#[test]
fn until_close_takes_everything() {
    let mut body = Body::UntilClose;
    body.skip(u64::MAX);
    assert_eq!((body.take(b"abc"), body.is_done(), body.opaque()), (Ok(3), false, u64::MAX));
}

/// Valid chunked bodies, each followed by the next message, end where they end, and go on without extensions.
#[test]
fn chunked_bodies_end_where_they_end() {
    for (body, passed, data) in [
        ("0\r\n\r\n", "0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;ext\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5 \t;a=b;c=\"d;\\\"e\"\r\nhello\r\n000;last\r\n\r\n", "5\r\nhello\r\n000\r\n\r\n", "hello"),
        ("1; a = b ; c = \"\" ;d\r\nx\r\n0\r\n\r\n", "1\r\nx\r\n0\r\n\r\n", "x"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
        (
            "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\nServer-Timing: x\r\nY:\r\nZ: \u{e9}\r\n\r\n",
            "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\nServer-Timing: x\r\nY:\r\nZ: \u{e9}\r\n\r\n",
            "01234567890123456789a",
        ),
        ("2\r\n\r\n\r\n0\r\n\r\n", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ] {
        let bytes = format!("{body}GET / HTTP/1.1\r\n");
        assert_eq!(chunked(bytes.as_bytes()), Ok((body.len(), true)), "{body:?}");
        assert_eq!(passed_on(Body::CHUNKED, bytes.as_bytes()), passed.as_bytes(), "{body:?}");
        assert_eq!(passed_on(Body::DECODED, bytes.as_bytes()), data.as_bytes(), "{body:?}");
    }
}

/// Whatever is not exactly the grammar is refused.
#[test]
fn bad_chunks_are_refused() {
    use Refusal::*;
    for (bytes, refusal) in [
        ("\r\n", BadChunkSize),
        ("g\r\n", BadChunkSize),
        ("0x5\r\n", BadChunkSize),
        ("-1\r\n", BadChunkSize),
        ("+1\r\n", BadChunkSize),
        (" 5\r\n", BadChunkSize),
        ("5 \r\n", BadChunkSize),
        ("5 5\r\n", BadChunkSize),
        (";x\r\n", BadChunkSize),
        ("5\n", BadChunkSize),
        ("5\rx", BadChunkSize),
        ("5;a\n", BadChunkSize),
        ("5;a\rb", BadChunkSize),
        ("5;a\0", BadChunkSize),
        ("00000000000000005\r\n", BadChunkSize),
        ("10000000000000000\r\n", BadChunkSize),
        ("8000000000000000\r\n", BadChunkSize),
        ("FFFFFFFFFFFFFFFF\r\n", BadChunkSize),
        ("5;\r\n", BadChunkSize),
        ("5;a \r\n", BadChunkSize),
        ("5 ;a=\r\n", BadChunkSize),
        ("5;;a\r\n", BadChunkSize),
        ("5;=b\r\n", BadChunkSize),
        ("5;a=b=c\r\n", BadChunkSize),
        ("5;a=b c\r\n", BadChunkSize),
        ("5;a b\r\n", BadChunkSize),
        ("5;a=\"b\r\n", BadChunkSize),
        ("5;a=\"b\\\r\n", BadChunkSize),
        ("5;a=\"b\"c\r\n", BadChunkSize),
        ("5;a=\"b\n\"\r\n", BadChunkSize),
        ("5;\u{e9}\r\n", BadChunkSize),
        ("5;a\n5\r\n", BadChunkSize),
        ("1\r\nab", BadChunkEnd),
        ("1\r\na\n", BadChunkEnd),
        ("1\r\na\rb", BadChunkEnd),
        ("1\r\n\r\n0", BadChunkEnd),
        ("0\r\n\n", BadTrailer),
        ("0\r\n\rx", BadTrailer),
        ("0\r\n X: y\r\n", BadTrailer),
        ("0\r\n: y\r\n", BadTrailer),
        ("0\r\nX : y\r\n", BadTrailer),
        ("0\r\nX\r\n", BadTrailer),
        ("0\r\nX: y\n", BadTrailer),
        ("0\r\nX: y\rz", BadTrailer),
        ("0\r\nX: \0", BadTrailer),
    ] {
        assert_eq!(chunked(bytes.as_bytes()), Err(refusal), "{bytes:?}");
    }
}

/// The largest chunk that recipients can count is a number like any other.
#[test]
fn the_largest_chunk() {
    let mut body = Body::CHUNKED;
    assert_eq!(body.take(b"7FFFFFFFFFFFFFFF\r\n"), Ok(18));
    assert_eq!(body.opaque(), BODY_BYTES_MAX);
    body.skip(BODY_BYTES_MAX - 1);
    assert_eq!(body.take(b"x\r\n0\r\n\r\n"), Ok(8));
    assert!(body.is_done());
}

/// What passes and what does not comes one behind the other, and nothing comes of no bytes or behind the end.
#[test]
fn pieces_of_a_chunked_body() {
    let bytes = b"5;a=b\r\nhello\r\n0 ;c\r\n\r\nNEXT";
    let mut body = Body::CHUNKED;
    let mut at = 0;
    for (pass, drop) in [(1, 4), (10, 3), (4, 0), (0, 0)] {
        assert_eq!(body.next(&bytes[at..]), Ok(Piece { pass, drop }), "at {at}");
        assert_eq!(body.next(&[]), Ok(Piece { pass: 0, drop: 0 }));
        at += pass + drop;
    }
    assert!(body.is_done() && &bytes[at..] == b"NEXT");
    let mut body = Body::DECODED;
    at = 0;
    for (pass, drop) in [(0, 7), (5, 10), (0, 0)] {
        assert_eq!(body.next(&bytes[at..]), Ok(Piece { pass, drop }), "at {at}");
        at += pass + drop;
    }
    assert!(body.is_done() && &bytes[at..] == b"NEXT");
}

/// A decoded body's data may pass unseen like any other.
#[test]
fn decoded_data_is_opaque() {
    let mut body = Body::DECODED;
    assert_eq!((body.next(b"400\r\n"), body.opaque()), (Ok(Piece { pass: 0, drop: 5 }), 1024));
    body.skip(1024);
    assert_eq!(body.next(b"\r\n0\r\n\r\n"), Ok(Piece { pass: 0, drop: 7 }));
    assert!(body.is_done());
}

/// RFC 9110 §6.5.1: whatever would change the meaning of a message that has been forwarded is no trailer, in any case
/// of letters; names that only resemble those are.
#[test]
fn forbidden_trailers() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "HOST",
        "Connection",
        "Trailer",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Authorization",
        "Set-Cookie",
        "Cache-Control",
        "Expect",
        "Max-Forwards",
        "Range",
        "TE",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-",
        "proxy-connection",
        "Proxy-Statu",
        "Proxy-Status-",
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-Proto",
        "Cookie",
    ] {
        let body = format!("0\r\nA: b\r\n{name}: x\r\n\r\n");
        assert_eq!(chunked(body.as_bytes()), Err(Refusal::ForbiddenTrailer), "{name}");
    }
    for name in
        ["Content-Digest", "Proxy-Status", "Hos", "Hosts", "T", "TEE", "Grpc-Status", "ETag", "X-Proxy-", "Proxy"]
    {
        let body = format!("0\r\n{name}: x\r\nB: c\r\n\r\n");
        assert_eq!(chunked(body.as_bytes()), Ok((body.len(), true)), "{name}");
    }
}

/// Size lines and trailer sections have an end, and lines count anew for each chunk.
#[test]
fn lines_and_trailers_are_bounded() {
    let line = |len: usize| format!("1;{}\r\n", "x".repeat(len - 4));
    let max = usize::from(CHUNK_LINE_BYTES_MAX);
    let twice = format!("{0}a\r\n{0}a\r\n", line(max));
    assert_eq!(chunked(twice.as_bytes()), Ok((twice.len(), false)));
    assert_eq!(chunked(line(max + 1).as_bytes()), Err(Refusal::ChunkLineTooLong));
    let trailers = |len: usize| format!("0\r\nX:{}\r\n\r\n", "x".repeat(len - 6));
    let max = usize::from(TRAILER_BYTES_MAX);
    assert_eq!(chunked(trailers(max).as_bytes()), Ok((max + 3, true)));
    assert_eq!(chunked(trailers(max + 1).as_bytes()), Err(Refusal::TrailersTooLarge));
    let many = format!("0\r\n{}", "X: y\r\n".repeat(max));
    assert_eq!(chunked(many.as_bytes()), Err(Refusal::TrailersTooLarge));
}

/// Only chunk data may pass unseen, and not a byte more of it than there is.
#[test]
#[should_panic(expected = "passed unseen")]
fn framing_is_never_opaque() {
    let mut body = Body::CHUNKED;
    assert_eq!((body.take(b"5\r\n"), body.opaque()), (Ok(3), 5));
    body.skip(5);
    assert_eq!(body.opaque(), 0);
    body.skip(1);
}

/// A valid chunked body.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (prop::collection::vec(any::<u8>(), 1..300), "(;[a-z]{1,5}(=[a-z0-9]{1,5})?){0,2}", any::<bool>());
    let trailers = prop::collection::vec("X[A-Z]{1,8}: ?[ -~]{0,20}\r\n", 0..3);
    (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Vec::new();
        for (data, extension, upper) in chunks {
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:04x}", data.len()) };
            body.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0\r\n{}\r\n", trailers.concat()).as_bytes());
        body
    })
}

proptest! {
    /// However the bytes are split, and whether data is looked at or passes unseen, the body ends at the same byte
    /// and what follows is not touched.
    #[test]
    fn splits_do_not_matter(body in valid(), decoded: bool,
                             steps in prop::collection::vec((1usize..50, any::<bool>()), 1..200)) {
        let mut bytes = body.clone();
        bytes.extend_from_slice(b"GET /next HTTP/1.1\r\n\r\n");
        prop_assert_eq!(chunked(&bytes), Ok((body.len(), true)));
        let (mut state, whole) = match decoded {
            true => (Body::DECODED, passed_on(Body::DECODED, &bytes)),
            false => (Body::CHUNKED, passed_on(Body::CHUNKED, &bytes)),
        };
        let (mut at, mut out) = (0, Vec::new());
        for (len, unseen) in steps.into_iter().cycle() {
            if state.is_done() {
                break;
            }
            prop_assert!(at < body.len());
            if unseen && state.opaque() > 0 {
                let n = state.opaque().min(len as u64);
                state.skip(n);
                out.extend_from_slice(&bytes[at..at + n as usize]);
                at += n as usize;
            } else {
                let end = bytes.len().min(at + len);
                let Piece { pass, drop } = state.next(&bytes[at..end]).unwrap();
                prop_assert!(pass + drop > 0);
                out.extend_from_slice(&bytes[at..at + pass]);
                at += pass + drop;
            }
        }
        prop_assert_eq!(out, whole);
        prop_assert_eq!(at, body.len());
        prop_assert_eq!(state.take(&bytes[at..]), Ok(0));
    }

    /// Arbitrary bytes never panic, and never more is taken than there was.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(prop::sample::select(b"0123abF;=\r\n:x\t \0".to_vec()), 0..80)) {
        let mut body = Body::CHUNKED;
        if let Ok(n) = body.take(&bytes) {
            prop_assert!(n <= bytes.len() && (n == bytes.len() || body.is_done()));
        }
    }
}

proptest! {
    /// What goes on is the same body again, without a trace of an extension; reading it once more changes nothing.
    #[test]
    fn what_goes_on_is_canonical(body in valid()) {
        let passed = passed_on(Body::CHUNKED, &body);
        prop_assert_eq!(chunked(&passed), Ok((passed.len(), true)));
        prop_assert_eq!(&passed_on(Body::CHUNKED, &passed), &passed);
        prop_assert_eq!(passed_on(Body::DECODED, &passed), passed_on(Body::DECODED, &body));
    }
}
