//! However the network cuts a stream of bytes, both sides receive the same.
//!
//! `PROPTEST_CASES` says how many cases (64 unless told).
#[path = "../support/mod.rs"]
mod support;

mod held;

use proptest::{prelude::*, sample::Index, test_runner::Config as Cases};
use ringback::relay::Config;
use std::thread;
use support::{peers::*, *};

/// One exchange of a conversation.
#[derive(Clone, Debug)]
struct Exchange {
    request: Message,
    response: Message,
    method: &'static str,
    /// An interim response comes first.
    interim: bool,
}

#[derive(Clone, Debug)]
struct Message {
    body: String,
    framing: Framing,
    /// Bytes of a header that is there to be long.
    padding: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    /// In chunks of at most so many bytes.
    Chunked(usize),
    /// The same, with an extension in each chunk's line and a trailer.
    Trailers(usize),
}

impl Message {
    fn fields(&self) -> String {
        let padding = format!("X-Padding: {}\r\n", "p".repeat(self.padding));
        match self.framing {
            Framing::None => padding,
            Framing::Length => format!("{padding}Content-Length: {}\r\n", self.body.len()),
            Framing::Chunked(_) => format!("{padding}Transfer-Encoding: chunked\r\n"),
            Framing::Trailers(_) => format!("{padding}Trailer: X-End\r\nTransfer-Encoding: chunked\r\n"),
        }
    }

    /// The body as it is sent; chunks before trailers with `extension`.
    fn framed(&self, extension: &str) -> String {
        let (most, extension, trailer) = match self.framing {
            Framing::None => return String::new(),
            Framing::Length => return self.body.clone(),
            Framing::Chunked(most) => (most, "", ""),
            Framing::Trailers(most) => (most, extension, "X-End: here\r\n"),
        };
        let chunks = self
            .body
            .as_bytes()
            .chunks(most)
            .map(|chunk| format!("{:x}{extension}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
        chunks.collect::<String>() + &format!("0{extension}\r\n{trailer}\r\n")
    }
}

impl Exchange {
    fn head(&self, number: usize) -> String {
        format!("{} /dev/{number} HTTP/1.1\r\nHost: relay\r\n{}", self.method, self.request.fields())
    }

    fn request(&self, number: usize) -> String {
        format!("{}\r\n{}", self.head(number), self.request.framed(";a=b"))
    }

    fn response(&self, number: usize, extension: &str) -> String {
        let interim = if self.interim { "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" } else { "" };
        let (status, body) = match (self.method, self.response.framing) {
            ("HEAD", _) => ("200 OK", String::new()),
            (_, Framing::None) => ("204 No Content", String::new()),
            _ => ("200 OK", self.response.framed(extension)),
        };
        format!("{interim}HTTP/1.1 {status}\r\nX-Number: {number}\r\n{}\r\n{body}", self.response.fields())
    }

    /// What the gateway receives.
    fn seen(&self, dialect: Dialect, number: usize) -> Vec<u8> {
        [dialect.seen(&self.head(number), number == 0), self.request.framed("").into_bytes()].concat()
    }
}

fn message() -> impl Strategy<Value = Message> {
    let framing = prop_oneof![
        Just(Framing::None),
        Just(Framing::Length),
        (1..100usize).prop_map(Framing::Chunked),
        (1..2000usize).prop_map(Framing::Trailers),
    ];
    // Bodies from nothing to more than a buffer, now and then enough to be spliced.
    let body = prop_oneof![4 => 0..50usize, 4 => 0..5_000usize, 1 => 70_000..100_000usize];
    (framing, body, prop_oneof![3 => 0..20usize, 1 => 0..1500usize], any::<u8>()).prop_map(
        |(framing, len, padding, start)| {
            let letter = |n: usize| char::from(b'a' + ((n + usize::from(start)) % 26) as u8);
            Message { body: (0..len).map(letter).collect(), framing, padding }
        },
    )
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);
    (message(), message(), method, any::<bool>()).prop_map(|(request, response, method, interim)| Exchange {
        request,
        response,
        method,
        interim,
    })
}

/// Where a stream is cut. A cut in eight lets the others catch up first, so that it is a cut for sure.
type Splits = Vec<(Index, u8)>;

fn splits() -> impl Strategy<Value = Splits> {
    prop::collection::vec(any::<(Index, u8)>(), 0..30)
}

/// Sends bytes in pieces.
fn send_split(to: &mut Peer, server: &Server, bytes: &[u8], splits: &Splits) {
    let mut cuts: Vec<_> = splits.iter().map(|(index, kind)| (index.index(bytes.len() + 1), *kind)).collect();
    cuts.sort_unstable();
    let mut sent = 0;
    for (cut, kind) in cuts {
        to.send(&bytes[sent..cut]);
        sent = cut;
        if kind < 32 {
            // A shard answers between two turns: what was sent before has been received by then.
            let _ = server.held();
        }
    }
    to.send(&bytes[sent..]);
}

/// A conversation over one connection, all requests sent without waiting for answers.
fn holds(server: &Server, dialect: Dialect, exchanges: &[Exchange], up: &Splits, down: &[Splits]) {
    let mut gateway = server.gateway(dialect, "dev");
    let mut client = server.connect();
    let mut sender = client.split();
    let requests: String = exchanges.iter().enumerate().map(|(n, exchange)| exchange.request(n)).collect();
    thread::scope(|scope| {
        scope.spawn(move || send_split(&mut sender, server, requests.as_bytes(), up));
        scope.spawn(|| {
            for (n, (exchange, down)) in exchanges.iter().zip(down.iter().cycle()).enumerate() {
                gateway.expect(exchange.seen(dialect, n));
                send_split(&mut gateway, server, exchange.response(n, ";a=b").as_bytes(), down);
            }
        });
        for (n, exchange) in exchanges.iter().enumerate() {
            client.expect(exchange.response(n, ""));
        }
    });
    client.expect_silence();
    gateway.expect_silence();
    drop((client, gateway));
    server.await_held(ringback::relay::Snapshot::default());
}

fn prove(config: Config, dialect: Dialect) {
    let server = Server::start(config);
    let mut cases = Cases::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        cases.cases = 64;
    }
    cases.failure_persistence = None;
    let conversation = (prop::collection::vec(exchange(), 1..6), splits(), prop::collection::vec(splits(), 1..4));
    let outcome = proptest::test_runner::TestRunner::new(cases).run(&conversation, |(exchanges, up, down)| {
        holds(&server, dialect, &exchanges, &up, &down);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn splits_change_nothing_for_classic_gateways() {
    prove(config(), Dialect::Classic);
}

#[test]
fn splits_change_nothing_for_ptth_gateways() {
    prove(config(), Dialect::Ptth);
}

/// With buffers so small that every message fills several.
#[test]
fn splits_change_nothing_with_small_buffers() {
    for dialect in BOTH {
        let small = Config { buffer_size: 2048, max_head_bytes: 2048, buffers: 16, ..config() };
        prove(small, dialect);
    }
}

/// With a client that may have to be handed off first.
#[test]
fn splits_change_nothing_on_two_shards() {
    for dialect in BOTH {
        prove(two_shards(), dialect);
    }
}
