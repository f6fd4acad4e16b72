//! Requests and responses: where they end, and what follows.
use crate::support::{peers::*, *};
use ringback::relay::Config;

/// A client of a gateway.
struct Pair {
    client: Peer,
    gateway: Peer,
    dialect: Dialect,
    fresh: bool,
}

impl Pair {
    fn new(server: &Server, dialect: Dialect) -> Pair {
        Pair { gateway: server.gateway(dialect, "dev"), client: server.connect(), dialect, fresh: true }
    }

    /// The client sends, the gateway receives.
    #[track_caller]
    fn ask(&mut self, head: &str, body: &str) {
        self.client.send(format!("{head}\r\n{body}"));
        self.seen(head, body);
    }

    #[track_caller]
    fn seen(&mut self, head: &str, body: &str) {
        self.gateway.expect(self.dialect.seen(head, std::mem::take(&mut self.fresh)));
        self.gateway.expect(body);
    }

    /// The gateway answers, the client receives.
    #[track_caller]
    fn answer(&mut self, response: &str) {
        self.gateway.send(response);
        self.client.expect(response);
    }

    /// Both connections are in order and serve another exchange.
    #[track_caller]
    fn go_on(&mut self) {
        self.ask(&get("/dev/next"), "");
        self.answer(&ok("next"));
    }
}

/// Every way a response may end that keeps both connections.
#[test]
fn responses_end_where_they_say() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        for (method, response) in [
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            ("GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\n\r\n"),
            ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            ),
            (
                "POST",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            ),
        ] {
            pair.ask(&format!("{method} /dev/ HTTP/1.1\r\nHost: relay\r\n"), "");
            pair.answer(response);
        }
        pair.go_on();
    }
}

/// A response without a declared end lasts until its gateway closes, and the client's connection ends with it.
#[test]
fn a_response_may_last_until_close() {
    let server = Server::start(config());
    for dialect in BOTH {
        // A reset cuts the body short; from a classic device it is how it ends, see below.
        for by_reset in [false, true].into_iter().take(if dialect == Dialect::Ptth { 2 } else { 1 }) {
            let mut pair = Pair::new(&server, dialect);
            pair.ask(&get("/dev/"), "");
            pair.gateway.send("HTTP/1.1 200 OK\r\nX: y\r\n\r\nsome");
            match dialect {
                Dialect::Classic => pair.client.expect("HTTP/1.1 200 OK\r\nX: y\r\n\r\nsome"),
                Dialect::Ptth => pair.client.expect("HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nsome"),
            }
            pair.answer(" more");
            if by_reset {
                pair.gateway.reset();
                let (rest, reset) = pair.client.until_gone();
                assert!(rest.is_empty() && reset, "a body cut short passes for whole");
            } else {
                drop(pair.gateway);
                pair.client.expect_end();
            }
        }
    }
}

/// A gateway that wants its connection closed after a response gets that, and the client does not notice.
#[test]
fn a_gateway_may_close_after_its_response() {
    let server = Server::start(config());
    let mut first = server.ptth("dev");
    let mut client = server.client(get("/dev/") + "\r\n");
    first.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    first.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
    client.expect(ok("x"));
    first.expect_end();
    let mut second = server.ptth("dev");
    client.send(get("/dev/") + "\r\n");
    second.expect(Dialect::Ptth.seen(&get("/dev/"), true));
    second.send(ok("y"));
    client.expect(ok("y"));
}

/// A client that wants its connection closed gets that, and a `ptth` gateway does not notice.
#[test]
fn a_client_may_ask_for_the_end() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        let head = "GET /dev/ HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n";
        pair.client.send(format!("{head}\r\n"));
        if dialect == Dialect::Classic {
            pair.seen(head, "");
            pair.answer(&ok("x"));
            pair.client.expect_end();
            pair.gateway.expect_end();
        } else {
            pair.seen(&get("/dev/"), "");
            pair.gateway.send(ok("x"));
            pair.client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
            pair.client.expect_end();
            server.await_parked(1);
        }
    }
}

/// Request bodies of either framing arrive as they are, and the next request after them.
#[test]
fn request_bodies_arrive_whole() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        for (headers, body) in [
            ("Content-Length: 5\r\n", "hello"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"),
            ("Transfer-Encoding: gzip, chunked\r\n", "0\r\nX-One: one\r\nOther: two\r\n\r\n"),
        ] {
            pair.ask(&format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\n{headers}"), body);
            pair.answer(&ok("stored"));
        }
        pair.go_on();
    }
}

/// Chunk extensions are for one hop and are read differently by different parsers: they go no further, either way.
#[test]
fn chunk_extensions_are_left_out() {
    let server = Server::start(config());
    let chunked = "1;a\r\nx\r\n5 ; a=b;c=\"d;\\\"e\"\r\nhello\r\n0;last\r\nX-End: y\r\n\r\n";
    let plain = "1\r\nx\r\n5\r\nhello\r\n0\r\nX-End: y\r\n\r\n";
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        let head = "PUT /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n";
        pair.client.send(format!("{head}\r\n{chunked}"));
        pair.seen(head, plain);
        pair.gateway.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"));
        pair.client.expect(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{plain}"));
        pair.go_on();
    }
}

/// Trailers that would change what the next hop makes of the message, and sizes that it cannot count, break the body:
/// what went before them is there, the end is not.
#[test]
fn trailers_must_not_frame_or_route() {
    let server = Server::start(config());
    for dialect in BOTH {
        for end in [
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
            "0\r\nset-cookie: a=b\r\n\r\n",
            "8000000000000000\r\n",
            "0;\r\n\r\n",
        ] {
            let mut pair = Pair::new(&server, dialect);
            let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            pair.ask(&get("/dev/"), "");
            pair.answer(response);
            pair.gateway.send(end);
            let (rest, reset) = pair.client.until_gone();
            assert!(b"0".starts_with(&rest) && reset, "{end:?}: {}", show(&rest));
        }
    }
}

/// A body waits for the gateway's word, which passes at once.
#[test]
fn expect_100_continue_passes() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        pair.ask("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nExpect: 100-continue\r\nContent-Length: 5\r\n", "");
        pair.answer("HTTP/1.1 100 Continue\r\n\r\n");
        pair.client.send("hello");
        pair.gateway.expect("hello");
        pair.answer(&ok("stored"));
        pair.go_on();
    }
}

/// A gateway may refuse a body before it has come; then the client's connection ends with the response.
#[test]
fn a_response_may_come_before_the_body() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        pair.ask("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 500\r\n", "hello");
        let response = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
        pair.gateway.send(response);
        let head = pair.client.head();
        assert!(head.starts_with("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n"), "{head}");
        pair.client.expect("no");
        pair.client.expect_end();
        pair.gateway.expect_gone();
    }
}

/// A response may begin before the body has come, and end after it: then both connections are kept.
#[test]
fn a_response_may_overlap_its_request() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        pair.ask("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 10\r\n", "hello");
        pair.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        pair.client.send("world");
        pair.gateway.expect("world");
        pair.answer("56789");
        pair.go_on();
    }
}

/// HTTP/1.0 clients get no interim responses, and the end of the connection unless they ask otherwise.
#[test]
fn http10_clients_are_served() {
    let server = Server::start(config());
    let mut gateway = server.ptth("dev");
    let seen =
        "GET /dev/ HTTP/1.0\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nConnection: keep-alive\r\n\r\n";
    let mut client = server.client("GET /dev/ HTTP/1.0\r\n\r\n");
    gateway.expect(seen);
    gateway.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    client.expect_end();
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /dev/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        gateway.expect(seen);
        gateway.send(ok("x"));
        client.expect("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx");
    }
    let mut gateway = server.classic("classic");
    let mut client = server.client("GET /classic/ HTTP/1.0\r\n\r\n");
    gateway.expect(CLASSIC_101);
    gateway.expect("GET /classic/ HTTP/1.0\r\n\r\n");
    gateway.send(ok("x"));
    client.expect(ok("x"));
    client.expect_end();
}

/// Requests that come together are answered one after the other, each when the one before has been.
#[test]
fn pipelined_requests_keep_their_order() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        let post = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n";
        let chunks = "3\r\none\r\n0\r\n\r\n";
        let put = "PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 3\r\n";
        let all = format!("{0}\r\n{post}\r\n{chunks}{put}\r\ntwo{0}\r\n", get("/dev/"));
        pair.client.send(all);
        for (head, body) in [(get("/dev/").as_str(), ""), (post, chunks), (put, "two"), (get("/dev/").as_str(), "")] {
            pair.seen(head, body);
            pair.gateway.expect_silence();
            pair.answer(&ok(head));
        }
        pair.go_on();
    }
}

/// Heads that straddle buffers, in both directions, and bodies larger than any buffer.
#[test]
fn messages_larger_than_buffers_pass() {
    let config = Config { buffer_size: 2048, max_head_bytes: 2048, buffers: 64, ..config() };
    let server = Server::start(config);
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        let padding = "p".repeat(700);
        let body = "0123456789abcdef".repeat(20_000);
        let head = format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\nX: {padding}\r\nContent-Length: {}\r\n", body.len());
        let response =
            format!("HTTP/1.1 200 OK\r\nX: {padding}{padding}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for _ in 0..4 {
            let mut sender = pair.client.split();
            let request = format!("{head}\r\n{body}");
            let sending = std::thread::spawn(move || sender.send(request));
            pair.seen(&head, &body);
            sending.join().unwrap();
            let mut sender = pair.gateway.split();
            let sent = response.clone();
            let sending = std::thread::spawn(move || sender.send(sent));
            pair.client.expect(&response);
            sending.join().unwrap();
        }
        pair.go_on();
    }
}

/// A device that answers without reading the request, and closes, is delivered whole; the end of a body with a length
/// is known, so that the client's connection is kept.
#[test]
fn a_device_that_does_not_read_is_delivered_whole() {
    let server = Server::start(config());
    for request in
        [get("/dev/") + "\r\n", "PUT /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\nsome body".to_string()]
    {
        let mut gateway = server.classic("dev");
        let mut client = server.client(&request);
        // Twelve bytes, as the sketches do.
        gateway.expect("HTTP/1.1 101");
        gateway.send(ok("all I say"));
        drop(gateway);
        client.expect(ok("all I say"));
        let mut gateway = server.classic("dev");
        client.send(&request);
        gateway.expect(CLASSIC_101);
        gateway.expect(&request);
        gateway.send(ok("and more"));
        client.expect(ok("and more"));
    }
}

/// A device that closes with unread bytes resets its connection. That is how sketches end, and an answer that lasts
/// until close must reach the client in order nonetheless.
#[test]
fn an_unread_request_does_not_turn_the_end_into_a_reset() {
    let server = Server::start(config());
    let mut gateway = server.classic("dev");
    let mut client = server.client(get("/dev/") + "\r\n");
    gateway.expect("HTTP/1.1 101");
    gateway.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall I say");
    drop(gateway);
    client.expect("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall I say");
    client.expect_end();
}

/// A client that finishes sending behind its request still gets its answer.
#[test]
fn a_client_may_finish_before_its_answer() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        pair.ask(&get("/dev/"), "");
        pair.client.finish();
        if dialect == Dialect::Classic {
            pair.gateway.expect_end();
        }
        pair.answer(&ok("x"));
        pair.client.expect_end();
    }
}

/// Every byte of an event stream is passed on when it comes.
#[test]
fn event_streams_are_not_held_back() {
    let server = Server::start(config());
    for dialect in BOTH {
        let mut pair = Pair::new(&server, dialect);
        pair.ask(&get("/dev/"), "");
        pair.answer("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..100 {
            let event = format!("data: {n}\n\n");
            pair.answer(&format!("{:x}\r\n{event}\r\n", event.len()));
        }
        for byte in "3\r\nabc\r\n0\r\n\r\n".chars() {
            pair.answer(&byte.to_string());
        }
        pair.go_on();
    }
}
