use crate::http::repair::{Repaired, parse};
use crate::http::response::{self, NotAResponse};
use crate::http::{Body, Method, Parse, RESPONSE_HEADERS_MAX};
use proptest::prelude::*;

#[track_caller]
fn repaired(bytes: &[u8], method: Method) -> Repaired {
    match parse(bytes, method) {
        Ok(Parse::Complete(repaired)) => repaired,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

/// An answer with the body `body`, and what goes on of its head, without the start and what is always there.
#[track_caller]
fn check(answer: &str, expected: &str, body: Body) {
    let repaired = repaired(answer.as_bytes(), Method::Get);
    let (start, end) = ("HTTP/1.1 ", "Connection: close\r\n\r\n");
    assert_eq!(String::from_utf8(repaired.head).unwrap(), format!("{start}{expected}{end}"), "{answer:?}");
    assert_eq!(repaired.body, body, "{answer:?}");
    assert_eq!(&answer[repaired.len..], "body", "{answer:?}");
}

/// What devices get wrong, put right, each by itself and with a good field that stays.
#[test]
fn sloppy_answers() {
    use Body::UntilClose;
    for (answer, expected, body) in [
        ("\r\n\r\n\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200\r\nA: b\r\n\r\nbody", "200 \r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200OK\r\nA: b\r\n\r\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1  404\tNot  Found \r\nA: b\r\n\r\nbody", "404 Not  Found\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200 O\0K\r\nA: b\r\n\r\nbody", "200 \r\nA: b\r\n", UntilClose),
        ("HTTP/2.0 200 OK\r\nA: b\r\n\r\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/2 200\r\nA: b\r\n\r\nbody", "200 \r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200 OK\nA: b\n\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\r\nA:b\r\r\n\r\r\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nA: b,\r\n  c\r\n\td\r\nE: f\r\n\r\nbody", "200 OK\r\nA: b, c d\r\nE: f\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\n  x\r\nA: b\r\n\r\nbody", "200 OK\r\nA: b\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nA : b\r\nC\t: d\r\n\r\nbody", "200 OK\r\nA: b\r\nC: d\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\nC: d\re\r\n: f\r\nG:\r\n\r\nbody", "200 OK\r\nG: \r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\n\r\nbody", "200 OK\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody", "200 OK\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nbody", "200 OK\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nbody", "200 OK\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody", "200 OK\r\n", UntilClose),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\nbody", "200 OK\r\n", Body::DECODED),
        (
            "HTTP/1.1 200 OK\nA : b\nContent-length : 04\n\nbody",
            "200 OK\r\nA: b\r\nContent-Length: 4\r\n",
            Body::Length(4),
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nUpgrade: x\r\nTE: y\r\nA : b\r\n\r\nbody",
            "200 OK\r\nA: b\r\n",
            UntilClose,
        ),
    ] {
        check(answer, expected, body);
    }
}

/// A line that is no header line begins the body, as soon as it cannot be one; a length said before does not count.
#[test]
fn the_body_may_begin_without_a_blank_line() {
    for body in
        ["<html>", "hello world: x", "{\"a\": 1}", "one\n\ntwo", "one\r\nA: b\r\n", "\u{e9}", "a b", "a\0", "\ra"]
    {
        for lines in ["", "A: b\r\n", "A: b\r\n c\r\n", "A: b\nContent-Length: 5\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\n{lines}{body}");
            let repaired = repaired(answer.as_bytes(), Method::Get);
            assert_eq!((&answer[repaired.len..], repaired.body), (body, Body::UntilClose), "{answer:?}");
        }
    }
    let unknown = ["hello", "A", "A ", "\r", "A: b", " a"];
    for piece in unknown {
        let answer = format!("HTTP/1.1 200 OK\r\n{piece}");
        assert_eq!(parse(answer.as_bytes(), Method::Get), Ok(Parse::Partial), "{piece:?}");
    }
}

/// Answers without a body, and those that a tunnel begins with.
#[test]
fn answers_without_a_body() {
    let answer = |status: u16| format!("HTTP/1.1 {status}\nA : b\nContent-Length: 5\n\n").into_bytes();
    let head = |status: u16, method| {
        let repaired = repaired(&answer(status), method);
        (String::from_utf8(repaired.head).unwrap(), repaired.body)
    };
    let with_length = |status| format!("HTTP/1.1 {status} \r\nA: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
    assert_eq!(head(200, Method::Head), (with_length(200), Body::EMPTY));
    assert_eq!(head(304, Method::Get), (with_length(304), Body::EMPTY));
    assert_eq!(head(204, Method::Get), ("HTTP/1.1 204 \r\nA: b\r\nConnection: close\r\n\r\n".into(), Body::EMPTY));
    assert_eq!(head(200, Method::Connect), ("HTTP/1.1 200 \r\nA: b\r\n\r\n".into(), Body::UntilClose));
    assert_eq!(head(407, Method::Connect), (with_length(407), Body::Length(5)));
}

/// What is no answer, as soon as that can be told.
#[test]
fn what_cannot_be_repaired() {
    for bytes in [
        "X",
        "\r\nhello",
        "HTTX",
        "http/1.1 200 OK\r\n\r\n",
        "SSH-2.0-x",
        "\0",
        "HTTP 200 OK\r\n\r\n",
        "ICY 200 OK\r\n",
    ] {
        assert_eq!(parse(bytes.as_bytes(), Method::Get), Err(NotAResponse::NotHttp), "{bytes:?}");
    }
    for line in [
        "HTTP/",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 abc",
        "HTTP/1.1 2000 OK",
        "HTTP/x 200",
        "HTTP/ 200",
        "HTTP/1.1 199 X",
        "HTTP/1.1 101 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 000",
        "HTTP/1.1200 OK",
    ] {
        for end in ["\r\n\r\n", "\n\n", "\n<html>"] {
            let bytes = format!("{line}{end}");
            assert!(matches!(parse(bytes.as_bytes(), Method::Get), Err(NotAResponse::Bad(_))), "{bytes:?}");
        }
    }
    let head = |headers: usize| format!("HTTP/1.1 200\n{}\n", "A : b\n".repeat(headers));
    assert!(matches!(parse(head(512).as_bytes(), Method::Get), Ok(Parse::Complete(_))));
    assert!(matches!(parse(head(513).as_bytes(), Method::Get), Err(NotAResponse::Bad(_))));
    for long in [format!("HTTP/1.1 200 {}", "x".repeat(70_000)), "\r\n".repeat(40_000)] {
        assert_eq!(parse(long.as_bytes(), Method::Get), Err(NotAResponse::Bad("the head is too long")));
        assert_eq!(parse(&long.as_bytes()[..65_534], Method::Get), Ok(Parse::Partial));
    }
}

const PIECES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.0 404",
    "HTTP/",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "A: b",
    "A : b",
    " c",
    ":",
    "x",
    " ",
    "Content-Length: 5",
    "Content-Length: 5 bytes",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: x",
    "<html>",
    "\0",
    "Connection: close",
    "\u{e9}",
];

fn answers() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..16);
    (any::<bool>(), pieces).prop_map(|(good, pieces)| {
        let start = if good { "HTTP/1.1 200 OK\n" } else { "" };
        format!("{start}{}", pieces.concat()).into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever goes on is a head that the strict parser takes as it is, with the same end or an earlier one, and that
    /// says that the connection ends behind it.
    #[test]
    fn what_goes_on_is_strict(bytes in answers(), method in prop::sample::select(vec![Method::Get, Method::Head])) {
        if let Ok(Parse::Complete(repaired)) = parse(&bytes, method) {
            prop_assert!(repaired.len <= bytes.len());
            let head = response::parse(&repaired.head, method, RESPONSE_HEADERS_MAX);
            let Ok(Parse::Complete(head)) = head else { return Err(TestCaseError::fail(format!("{head:?}"))) };
            prop_assert_eq!(usize::from(head.len), repaired.head.len());
            prop_assert!(head.close && !head.rewrite && head.status == repaired.status);
            let body = if repaired.body == Body::DECODED { Body::UntilClose } else { repaired.body };
            prop_assert_eq!(head.body, body);
        }
    }

    /// What is said of the first bytes still holds when more have come.
    #[test]
    fn more_bytes_change_nothing(bytes in answers()) {
        let whole = parse(&bytes, Method::Get);
        for len in 0..bytes.len() {
            match parse(&bytes[..len], Method::Get) {
                Ok(Parse::Partial) => {}
                early => prop_assert_eq!(&early, &whole, "at {}", len),
            }
        }
    }
}
