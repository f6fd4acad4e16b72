use super::without_cuts;
use crate::http::response::{NotAResponse, RESPONSE_HEADERS_MAX, ResponseHead, parse};
use crate::http::{Body, Method, Parse, Version};

fn answer(bytes: &str, method: Method) -> Result<ResponseHead, NotAResponse> {
    match parse(bytes.as_bytes(), method, 100)? {
        Parse::Complete(head) => Ok(head),
        Parse::Partial => panic!("not complete: {bytes:?}"),
    }
}

fn answered(bytes: &str) -> ResponseHead {
    answer(bytes, Method::Get).unwrap_or_else(|error| panic!("{error:?}: {bytes:?}"))
}

/// An ordinary answer; what follows its head is not looked at.
#[test]
fn an_ordinary_head() {
    let bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
    let head = answered(bytes);
    assert_eq!(usize::from(head.len), bytes.len() - 5);
    assert_eq!((head.status, head.version, head.body), (200, Version::Http11, Body::Length(5)));
    assert!(head.keep_alive && head.self_delimited && head.cuts.is_empty());
}

/// What device sketches send and everybody understands.
#[test]
fn sloppy_heads() {
    for bytes in [
        "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length:5\n\r\n",
        "HTTP/1.1 200 Tr\u{e8}s bien\r\nContent-Length: 5\r\n\r\n",
    ] {
        let head = answered(bytes);
        assert_eq!((head.status, head.body, usize::from(head.len)), (200, Body::Length(5), bytes.len()), "{bytes:?}");
    }
}

/// RFC 9112 §6.3, case by case: body, whether its end is declared, whether the connection is kept.
#[test]
fn framing() {
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (method, status, headers, body, kept) in [
        (Method::Get, 200, length, Body::Length(5), true),
        (Method::Get, 200, chunked, Body::CHUNKED, true),
        (Method::Get, 200, "transfer-encoding: CHUNKED\r\n", Body::CHUNKED, true),
        (Method::Get, 200, "Content-Length: 5\r\nContent-Length: 05, 5\r\n", Body::Length(5), true),
        (Method::Get, 200, "", Body::UntilClose, false),
        (Method::Head, 200, length, Body::EMPTY, true),
        (Method::Head, 200, chunked, Body::EMPTY, true),
        (Method::Head, 200, "", Body::EMPTY, true),
        (Method::Get, 100, "", Body::EMPTY, true),
        (Method::Get, 103, length, Body::EMPTY, true),
        (Method::Get, 204, length, Body::EMPTY, true),
        (Method::Get, 304, length, Body::EMPTY, true),
        (Method::Get, 205, length, Body::Length(5), true),
        (Method::Get, 101, length, Body::UntilClose, false),
        (Method::Connect, 200, length, Body::UntilClose, false),
        (Method::Connect, 299, "", Body::UntilClose, false),
        (Method::Connect, 407, length, Body::Length(5), true),
        (Method::Get, 599, length, Body::Length(5), true),
    ] {
        let head = answer(&format!("HTTP/1.1 {status} X\r\n{headers}\r\n"), method).unwrap();
        let expected = (body, body != Body::UntilClose, kept);
        assert_eq!((head.body, head.self_delimited, head.keep_alive), expected, "{method:?} {status} {headers}");
    }
}

/// RFC 9112 §9.3, as for requests.
#[test]
fn keep_alive() {
    for (version, connection, kept) in
        [("1.1", "x", true), ("1.1", "close", false), ("1.0", "x", false), ("1.0", "keep-alive", true)]
    {
        let bytes = format!("HTTP/{version} 200 OK\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answered(&bytes).keep_alive, kept, "{version} {connection}");
    }
}

/// Not HTTP as soon as one byte differs; not yet known before.
#[test]
fn not_http() {
    for bytes in [
        "X",
        "HTTX",
        "HTTP/2.0 200\r\n\r\n",
        "HTTP/1,",
        "http/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1",
        "SSH-2.0-x\r\n",
        "\0",
    ] {
        assert_eq!(parse(bytes.as_bytes(), Method::Get, 100), Err(NotAResponse::NotHttp), "{bytes:?}");
    }
    for bytes in ["", "H", "HTTP/1.", "HTTP/1.1", "HTTP/1.1 200 OK\r\n"] {
        assert_eq!(parse(bytes.as_bytes(), Method::Get, 100), Ok(Parse::Partial), "{bytes:?}");
    }
}

/// HTTP, but broken: a message names what is wrong.
#[test]
fn bad_responses() {
    for (bytes, wrong) in [
        ("HTTP/1.2 200 OK\r\n\r\n", "version"),
        ("HTTP/1.1 abc\r\n\r\n", "status line"),
        ("HTTP/1.1  200 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "status line"),
        ("HTTP/1.1 099 X\r\n\r\n", "below 100"),
        ("HTTP/1.1 600 X\r\n\r\n", "above 599"),
        ("HTTP/1.1 999 X\r\n\r\n", "above 599"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", "status line"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "starts with whitespace"),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "whitespace between"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "name"),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "carriage return"),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "zero byte"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "together"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "differ"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "decimal"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "differ"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\n\r\n", "decimal"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", "decimal"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "Transfer-Encoding"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    ] {
        match answer(bytes, Method::Get) {
            Err(NotAResponse::Bad(text)) => assert!(text.contains(wrong), "{bytes:?}: {text}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
    let options = format!("HTTP/1.1 200 OK\r\nConnection: {}\r\n\r\n", ["x"; 129].join(","));
    assert_eq!(answer(&options, Method::Get), Err(NotAResponse::Bad("too many hop-by-hop headers")));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert!(parse(many.as_bytes(), Method::Get, RESPONSE_HEADERS_MAX).is_ok());
    assert_eq!(answer(&many, Method::Get), Err(NotAResponse::Bad("There are too many headers")));
    let mut long = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
    long.resize(70_000, b'a');
    assert_eq!(parse(&long, Method::Get, 100), Err(NotAResponse::Bad("the head is too long")));
}

/// A head of many headers and nearly as long as spans reach is read, with what its last lines say; one more is not.
#[test]
fn large_heads() {
    let head = |headers: usize| {
        let padding = "x".repeat(110);
        let end = "connection: close\r\nContent-Length: 5\r\n";
        format!("HTTP/1.1 200 OK\r\n{}{end}\r\n", format!("Set-Cookie: {padding}\r\n").repeat(headers - 2))
    };
    for count in [100, 128, 129, 512] {
        let bytes = head(count);
        let Ok(Parse::Complete(read)) = parse(bytes.as_bytes(), Method::Get, 600) else { panic!("{count} headers") };
        assert_eq!((usize::from(read.len), read.body, read.close), (bytes.len(), Body::Length(5), true), "{count}");
        assert_eq!(read.rewrite, count > 128, "{count}");
    }
    let many = Err(NotAResponse::Bad("There are too many headers"));
    assert_eq!(parse(head(513).as_bytes(), Method::Get, 600), many);
}

/// What cannot go on as it stands is to be written anew; an ordinary head is not.
#[test]
fn heads_to_be_written_anew() {
    for (bytes, anew) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false),
        ("HTTP/1.1 200 \r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 200\r\n\r\n", true),
        ("HTTP/1.1 200 OK\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\n", true),
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 101 X\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", false),
    ] {
        assert_eq!(answered(bytes).rewrite, anew, "{bytes:?}");
    }
}

/// Hop-by-hop lines go; a switch of protocols passes whole.
#[test]
fn cuts() {
    for (head, left) in [
        ("200 X\r\nConnection: close, a\r\nA: b\r\nC: d\r\n\r\n", "200 X\r\nC: d\r\n\r\n"),
        ("200 X\r\nC: d\r\nKeep-Alive: timeout=5\r\n\r\n", "200 X\r\nC: d\r\n\r\n"),
        ("200 X\r\nProxy-Status: a\r\nProxy-Connection: close\r\n\r\n", "200 X\r\nProxy-Status: a\r\n\r\n"),
        ("407 X\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\r\n", "407 X\r\n\r\n"),
        ("426 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "426 X\r\nUpgrade: h2c\r\n\r\n"),
        (
            "101 X\r\nConnection: upgrade\r\nUpgrade: a\r\nTE: x\r\n\r\n",
            "101 X\r\nConnection: upgrade\r\nUpgrade: a\r\nTE: x\r\n\r\n",
        ),
        ("200 X\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n", "200 X\r\nContent-Length: 5\r\n\r\n"),
    ] {
        let bytes = format!("HTTP/1.1 {head}");
        let expected = format!("HTTP/1.1 {left}");
        assert_eq!(without_cuts(bytes.as_bytes(), &answered(&bytes).cuts), expected.as_bytes(), "{head:?}");
    }
}
