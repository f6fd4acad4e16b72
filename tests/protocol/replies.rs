//! What clients get of responses that cannot go on as they are.
use crate::support::{peers::*, *};
use ringback::relay::Config;

/// A request, a response to it, and what the client gets; the client's connection is kept, or not.
#[track_caller]
fn check(server: &Server, dialect: Dialect, request: &str, response: &str, expected: &str, kept: bool) {
    let mut gateway = server.gateway(dialect, "dev");
    let mut client = server.client(request);
    if dialect == Dialect::Classic {
        gateway.expect(CLASSIC_101);
    }
    gateway.head();
    gateway.send(response);
    client.expect(expected);
    if kept {
        client.expect_silence();
    } else {
        drop(gateway);
        client.expect_end();
    }
}

const GET: &str = "GET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n";

/// A length is said once and in its usual form, lines end in CR LF, and where a status allows no length there is none:
/// other readers than the relay's might find another end.
#[test]
fn one_length_and_whole_line_ends() {
    let server = Server::start(config());
    for dialect in BOTH {
        for (response, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\nContent-Length: 05\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello",
            ),
            (
                "HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\nhello",
                "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
            ),
            ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello"),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            ),
        ] {
            check(&server, dialect, GET, response, expected, true);
        }
    }
}

/// A front proxy that is trusted gets 100 and no other interim response: nginx takes those for the final one.
#[test]
fn proxies_get_no_hints() {
    let server = Server::start(Config { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..config() });
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let rest = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for dialect in BOTH {
        check(&server, dialect, GET, &format!("{hint}{rest}"), rest, true);
    }
}

/// A response of HTTP/1.0 goes to a client of HTTP/1.1 as one of HTTP/1.1, which then says what it has left unsaid.
#[test]
fn old_responses_are_promoted() {
    let server = Server::start(config());
    let until_close = "HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello";
    let length = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    for dialect in BOTH {
        let expected = "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nhello";
        check(&server, dialect, GET, until_close, expected, false);
    }
    check(&server, Dialect::Classic, GET, length, closing, false);
    check(&server, Dialect::Ptth, GET, length, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true);
}

/// A client of HTTP/1.0 gets the data of a chunked body, however long, and the end of its connection behind it.
#[test]
fn old_clients_get_no_chunks() {
    let server = Server::start(config());
    let request = "GET /dev/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let (mut chunks, mut data) = (String::new(), String::new());
    for n in 1..60 {
        let chunk = "0123456789abcdef".repeat(n * n);
        chunks += &format!("{:x};n={n}\r\n{chunk}\r\n", chunk.len());
        data += &chunk;
    }
    for dialect in BOTH {
        for (chunks, data) in [("5\r\nhello\r\n", "hello"), ("", ""), (&chunks, &data)] {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(request);
            if dialect == Dialect::Classic {
                gateway.expect(CLASSIC_101);
            }
            gateway.head();
            let mut sender = gateway.split();
            let response = format!("{head}{chunks}0\r\nA: b\r\n\r\n");
            let sending = std::thread::spawn(move || sender.send(response));
            client.expect(format!("{expected}{data}"));
            client.expect_end();
            sending.join().unwrap();
        }
    }
}

/// Applications set hundreds of cookies, and what they name in `Connection` does not go on, wherever it is.
#[test]
fn heads_of_many_headers() {
    let server = Server::start(config());
    let cookie = |n: usize| format!("Set-Cookie: c{n}={}\r\n", "x".repeat(100));
    let cookies: String = (0..400).map(cookie).collect();
    for dialect in BOTH {
        let response = format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 5\r\n\r\nhello");
        check(&server, dialect, GET, &response, &response, true);
    }
    let hops: String = (0..150).map(|n| cookie(n) + "Keep-Alive: x\r\nX-A: y\r\n").collect();
    let response = format!("HTTP/1.1 200 OK\r\n{hops}Connection: x-a\r\nContent-Length: 5\r\n\r\nhello");
    let left: String = (0..150).map(cookie).collect();
    let expected = format!("HTTP/1.1 200 OK\r\n{left}Content-Length: 5\r\n\r\nhello");
    check(&server, Dialect::Ptth, GET, &response, &expected, true);
}

/// What proxies behind the gateway say of themselves is for the client.
#[test]
fn proxy_status_passes() {
    let server = Server::start(config());
    let response = "HTTP/1.1 200 OK\r\nProxy-Status: a; error=x\r\nContent-Length: 0\r\n\r\n";
    for dialect in BOTH {
        check(&server, dialect, GET, response, response, true);
    }
}

/// A classic device's sloppy answer reaches the client as one clean one that ends with the connection, wherever it is
/// cut into packets. A front proxy that read the raw bytes could find another end in them, and give what follows to
/// its next user.
#[test]
fn sloppy_answers_are_repaired() {
    let server = Server::start(config());
    let before = server.held();
    let clean = "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nhello";
    for (answer, expected) in [
        (
            "\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        ("HTTP/2.0 200 OK\r\nA: b\r\n\r\nhello", clean),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\nhello", clean),
        ("HTTP/1.1 200 OK\r\nA:\r\n b\r\n\r\nhello", "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nhello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\nA: b\r\n\r\nhello", clean),
        ("HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: xchunked\r\n\r\nhello", clean),
        ("HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: gzip\r\n\r\nhello", clean),
        ("HTTP/1.1 200 OK\r\nA : b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", clean),
        (
            "HTTP/1.1 200 OK\r\nA: b\r\nhello\r\nworld",
            "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nhello\r\nworld",
        ),
        ("HTTP/1.1 200 OK\nA: b\n<html>: x", "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n<html>: x"),
    ] {
        for piece in [answer.len(), 1, 7] {
            let mut gateway = server.classic("dev");
            let mut client = server.client(GET);
            gateway.expect(CLASSIC_101);
            gateway.expect(GET);
            for bytes in answer.as_bytes().chunks(piece) {
                gateway.send(bytes);
            }
            // Behind such an answer nothing is asked of this device: it may be for another.
            client.send(get("/other/") + "\r\n");
            gateway.finish();
            client.expect(expected);
            client.expect_end();
            gateway.expect_gone();
            drop(client);
            server.await_held(before);
        }
    }
}

/// Also the answer that a tunnel begins with may be sloppy.
#[test]
fn a_sloppy_answer_may_open_a_tunnel() {
    let server = Server::start(config());
    let mut gateway = server.classic("dev");
    let head = "CONNECT /dev HTTP/1.1\r\nHost: relay\r\n\r\n";
    let mut client = server.client(head);
    gateway.expect(CLASSIC_101);
    gateway.expect(head);
    gateway.send("HTTP/1.1 200\nX : y\n\nSSH-2.0-server\r\n");
    client.expect("HTTP/1.1 200 \r\nX: y\r\n\r\nSSH-2.0-server\r\n");
    client.send("SSH-2.0-client\r\n");
    gateway.expect("SSH-2.0-client\r\n");
    drop(gateway);
    client.finish();
    client.expect_end();
}
