//! The fuzz targets of `fuzz/`, each with a bounded number of generated inputs and with all that is in its corpus.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use proptest::prelude::*;
use std::{fs, path::Path};

/// What heads and bodies are made of.
const WORDS: [&str; 44] = [
    "GET ",
    "POST ",
    "CONNECT ",
    "/",
    "d",
    "/d/",
    "http://relay.test/d",
    "relay.test",
    " HTTP/1.1",
    " HTTP/1.0",
    "HTTP/1.1 ",
    "HTTP/1.0 ",
    "200 OK",
    "204 ",
    "101 ",
    "103 ",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    ": ",
    ":",
    " ",
    "\t",
    "Host: r\r\n",
    "Content-Length: ",
    "5",
    "0",
    "Transfer-Encoding: ",
    "chunked",
    "gzip",
    ", ",
    "Connection: ",
    "close",
    "upgrade",
    "Upgrade: ",
    "ptth",
    "PTTH/1.0",
    "ALPN: http%2F1.1\r\n",
    ";a=b",
    "ffffffffffffffff",
    "0\r\n\r\n",
    "X-Y: z\r\n",
];

fn text(words: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        9 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, words).prop_map(|words| words.concat())
}

/// A head that is valid more often than not, with something put into it.
fn head(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec(
        prop::sample::select(vec![
            "Host: r",
            "X-Y: z",
            "Connection: close",
            "Connection: X-Y, upgrade",
            "Upgrade: ptth",
            "Upgrade: PTTH/1.0",
            "ALPN: http%2F1.1",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "X-Relay-Strip-Prefix: 1",
            "Keep-Alive: 5",
        ]),
        0..6,
    );
    (prop::sample::select(first), fields, prop::option::of((any::<prop::sample::Index>(), text(1..3))), text(0..3))
        .prop_map(|(first, fields, odd, behind)| {
            let mut head = format!("{first}\r\n").into_bytes();
            for field in fields {
                head.extend_from_slice(format!("{field}\r\n").as_bytes());
            }
            head.extend_from_slice(b"\r\n");
            if let Some((at, odd)) = odd {
                let at = at.index(head.len());
                head.splice(at..at, odd);
            }
            head.extend_from_slice(&behind);
            head
        })
}

const REQUESTS: &[&str] = &[
    "GET /d/x HTTP/1.1",
    "POST /d HTTP/1.1",
    "CONNECT /d HTTP/1.1",
    "GET http://d.relay.test/ HTTP/1.1",
    "HEAD /d/ HTTP/1.0",
];
const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 204 ",
    "HTTP/1.0 200",
    "HTTP/1.1 103 Early Hints",
    "HTTP/1.1 101 Switching Protocols",
];

const SLOPPY: &[&str] = &[
    "HTTP/1.1 200",
    "HTTP/1.1 200OK",
    "HTTP/1.0 404 Not Found",
    "HTTP/2.0 200 OK",
    "HTTP/1.1  204 ",
    "HTTP/1.1 600 No",
    "HTTP/1.1 200 OK\r\nno header",
    "HTTP/1.1 200 OK\r\nX-Y : z",
    "HTTP/1.1 200 OK\r\nX-Y: a\r\n b",
    "HTTP/1.1 200 OK\r\nContent-Length: 5 bytes",
];

/// Feeds a target what was found worth keeping.
fn corpus(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut fed = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        target(&fs::read(entry.unwrap().path()).unwrap());
        fed += 1;
    }
    assert!(fed > 0, "{} is empty", folder.display());
}

/// Every input that is kept keeps every promise.
#[test]
fn the_corpora_are_clean() {
    targets::TARGETS.into_iter().for_each(|(name, target)| corpus(name, target));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A request head is read the same however it arrives.
    #[test]
    fn request_heads(data in prop_oneof![3 => head(REQUESTS), 1 => text(0..30)]) {
        targets::request_head(&data);
    }

    /// A response head is read the same however it arrives.
    #[test]
    fn response_heads(data in prop_oneof![3 => head(RESPONSES), 1 => text(0..30)]) {
        targets::response_head(&data);
    }

    /// Chunked coding is read the same in one piece and in many.
    #[test]
    fn chunked(
        splits in any::<[u8; 4]>(),
        data in prop::collection::vec(prop::sample::select(vec![
            "5\r\nhello\r\n", "a\r\n0123456789\r\n", "1;a=b\r\nx\r\n", "0\r\n", "\r\n", "X-Sum: 1\r\n", "5", ";", "\n", "x", " ",
        ]), 0..12),
    ) {
        targets::chunked(&[&splits[..], data.concat().as_bytes()].concat());
    }

    /// A request that goes on means the same to its gateway.
    #[test]
    fn forwarded(choice in any::<u8>(), data in prop_oneof![5 => head(REQUESTS), 1 => text(0..30)]) {
        targets::forward(&[&[choice][..], &data].concat());
    }

    /// A response that goes on means the same to its client.
    #[test]
    fn replies(choice in any::<u8>(), data in prop_oneof![5 => head(RESPONSES), 1 => text(0..30)]) {
        targets::reply(&[&[choice][..], &data].concat());
    }

    /// What goes on instead of a sloppy answer is in order.
    #[test]
    fn repaired(
        first in prop::sample::select(&["", "\r\n", "\n\n"][..]),
        data in prop_oneof![5 => head(SLOPPY), 1 => text(0..30)],
        bare in any::<bool>(),
    ) {
        let mut data = [first.as_bytes(), &data].concat();
        if bare {
            data.retain(|&b| b != b'\r');
        }
        targets::repair(&data);
    }

    /// A PROXY header is read the same however it arrives.
    #[test]
    fn proxy_headers(
        data in prop::collection::vec(prop::sample::select(vec![
            &b"PROXY "[..], b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1 ", b"::1 ", b"::ffff:1.2.3.4 ", b"80", b" ", b"0",
            b"\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"\x20", b"\x21", b"\x11", b"\x21\x21", b"\0\x0c", b"\0\x24", b"0123456789ab",
        ]), 0..12),
    ) {
        targets::proxy_protocol(&data.concat());
    }

    /// Any bytes as the name of a registration.
    #[test]
    fn registrations(data in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), text(0..6)]) {
        targets::registration(&data);
    }

    /// A shard gives everything back, whatever its peers do.
    #[test]
    fn shards(seed in any::<[u8; 4]>(), steps in prop::collection::vec((step(), any::<u8>()), 0..200)) {
        // A gateway and a client to begin with.
        let mut data = [&seed[..], &[0; 4]].concat();
        data.extend(steps.iter().flat_map(|&(step, detail)| [step, detail]));
        targets::shard(&data);
    }
}

/// A step of the shard's peers: mostly one that says or hears something.
fn step() -> impl Strategy<Value = u8> {
    let frequent = (0..16_u8, 1..12_u8).prop_map(|(choice, what)| choice * 16 + what);
    prop_oneof![12 => frequent, 1 => any::<u8>()]
}
