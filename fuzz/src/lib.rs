//! What is fuzzed: functions that take any bytes and panic when a promise is broken.
//!
//! `cargo +nightly fuzz run NAME` feeds them for as long as one likes; `tests/fuzz_targets.rs` feeds the same ones a
//! bounded number of generated inputs, and everything in `corpus/`.

pub mod shard;

use ringback::http::{Body, Method, Parse, RequestHead, domain, request, response};

pub use shard::shard;

/// Headers that a head may have here.
const HEADERS_MAX: usize = 100;
/// Heads up to this long are cut off at every byte, longer ones here and there.
const EVERY_CUT_MAX: usize = 256;

/// Where to cut `len` bytes off.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(EVERY_CUT_MAX).max(1))
}

/// A request head is read the same however it arrives: no beginning of it is whole, or wrong.
pub fn request_head(data: &[u8]) {
    let whole = request::parse(data, HEADERS_MAX);
    let Ok(Parse::Complete(head)) = whole else { return };
    let len = usize::from(head.len);
    assert!(len <= data.len());
    assert_eq!(request::parse(&data[..len], HEADERS_MAX), whole, "what is behind a head changes it");
    for cut in cuts(len) {
        assert_eq!(request::parse(&data[..cut], HEADERS_MAX), Ok(Parse::Partial), "cut off at {cut}");
    }
    named(data, &head);
}

/// A domain is a part of the head's own bytes, and lower case is final.
fn named(data: &[u8], head: &RequestHead) {
    // Without a host name, with one, and as a registration: none may panic.
    let _ = domain::of(data, head, &[]);
    let _ = domain::of(data, head, &["relay.test".to_owned()]);
    if let Ok(name) = domain::registered(data, head) {
        let (mut once, mut twice) = ([0; domain::DOMAIN_BYTES_MAX], [0; domain::DOMAIN_BYTES_MAX]);
        let once = domain::lower(name.of(data), &mut once);
        assert_eq!(domain::lower(once, &mut twice), once);
        assert!(!once.is_empty());
    }
}

/// A response head is read the same however it arrives.
pub fn response_head(data: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        let whole = response::parse(data, method, HEADERS_MAX);
        let Ok(Parse::Complete(head)) = &whole else { continue };
        let len = usize::from(head.len);
        assert!(len <= data.len());
        assert_eq!(response::parse(&data[..len], method, HEADERS_MAX), whole, "what is behind a head changes it");
        for cut in cuts(len) {
            assert_eq!(response::parse(&data[..cut], method, HEADERS_MAX), Ok(Parse::Partial), "cut off at {cut}");
        }
    }
}

/// Chunked coding is read the same in one piece and in many. The first bytes say where it is split.
pub fn chunked(data: &[u8]) {
    let (splits, data) = data.split_at(data.len().min(4));
    let mut whole = Body::CHUNKED;
    let expected = whole.take(data);
    let mut body = Body::CHUNKED;
    let (mut at, mut turn) = (0, 0);
    let found = loop {
        let size = splits.get(turn % splits.len().max(1)).map_or(1, |split| usize::from(*split).max(1));
        let piece = &data[at..data.len().min(at + size)];
        match body.take(piece) {
            Err(refusal) => break Err(refusal),
            Ok(taken) => {
                at += taken;
                assert!(taken == piece.len() || body.is_done(), "bytes are left over before the end");
            }
        }
        if body.is_done() || at == data.len() {
            break Ok(at);
        }
        turn += 1;
    };
    assert_eq!(found, expected);
    if expected.is_ok() {
        assert_eq!(body, whole);
    }
}

/// Any bytes as the name of a registration, in both dialects.
pub fn registration(data: &[u8]) {
    let classic =
        [b"POST /", data, b" HTTP/1.1\r\nHost: r\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n"].concat();
    let ptth =
        [b"GET /", data, b" HTTP/1.1\r\nHost: r\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"]
            .concat();
    for bytes in [&classic, &ptth] {
        request_head(bytes);
        let Ok(Parse::Complete(head)) = request::parse(bytes, HEADERS_MAX) else { continue };
        if let (Some(_), Ok(name)) = (head.registration, domain::registered(bytes, &head)) {
            let name = name.of(bytes);
            assert!(name.len() <= domain::DOMAIN_BYTES_MAX);
            assert!(name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/'), "{name:?}");
        }
    }
}
