use super::{get, parse};
use crate::http::{Refusal, request};

/// Each fault of form has its own refusal.
#[test]
fn each_fault_has_its_name() {
    use Refusal::*;
    for (bytes, refusal) in [
        ("GET / HTTP/2.0\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/0.9\r\n\r\n", UnsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        ("GET / HTTQ/1.1\r\n\r\n", BadRequestLine),
        ("GET /\r\n\r\n", BadRequestLine),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", BadRequestLine),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
        ("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
        ("\x16\x03\x01\x02\x00\x01", Nul),
        ("\x16\x03\x01\x02", BadRequestLine),
        ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", Nul),
        ("GET /\rx HTTP/1.1\r\nHost: h\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\rHost: h\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\nX:\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", BareLf),
        ("GET / HTTP/1.0\n\r\n", BareLf),
        ("GET / HTTP/1.0\r\n\n", BareLf),
        ("GET / HTTP/1.0\n\n", BareLf),
        ("\nGET / HTTP/1.0\r\n\r\n", BareLf),
        ("\r\n\nGET / HTTP/1.0\r\n\r\n", BareLf),
        ("\rGET / HTTP/1.0\r\n\r\n", BareCr),
        (&("\r\n".repeat(9) + "GET / HTTP/1.0\r\n\r\n"), BadRequestLine),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\nX:\rb\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\r: b\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\n\rX: b\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", Nul),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\0: b\r\n\r\n", Nul),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n", BadHeaderValue),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n", BadHeaderValue),
        ("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: h\r\n\tfolded: x\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length\t : 5\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nX(y): x\r\n\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\u{e9}: x\r\n\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\n\r\n", MissingHost),
        ("GET http://h/ HTTP/1.1\r\n\r\n", MissingHost),
        ("GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", RepeatedHost),
        ("GET / HTTP/1.0\r\nHost: h\r\nHOST: i\r\n\r\n", RepeatedHost),
        ("GET / HTTP/1.1\r\nHost: user@h\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadHost),
        ("GET / HTTP/1.0\r\nHost: h/x\r\n\r\n", BadHost),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", EncodingInHttp10),
        ("CONNECT h:22 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", ConnectWithBody),
        ("CONNECT h:22 HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 0\r\n\r\n", RepeatedLength),
        ("CONNECT /d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", ConnectWithBody),
    ] {
        assert_eq!(parse(bytes), Err(refusal), "{bytes:?}");
    }
}

/// Targets that are of no form, or of one that their method does not allow.
#[test]
fn bad_targets() {
    for line in [
        "GET x",
        "GET *",
        "GET h:80",
        "GET ftp://h/",
        "GET http://",
        "GET http:///x",
        "GET http://u@h/",
        "GET http://h:x/",
        "GET http://h#x",
        "TRACE *",
        "CONNECT h",
        "CONNECT h:",
        "CONNECT h:0",
        "CONNECT :22",
        "CONNECT http://h/",
        "CONNECT *",
        "CONNECT u@h:22",
        "GET ?x",
        "options *",
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parse(&bytes), Err(Refusal::BadTarget), "{line}");
    }
}

/// Characters that no target may have, wherever they are; and what may be there.
#[test]
fn characters_in_targets() {
    for b in 0x21..=0xff_u8 {
        let bytes = [b"GET /d/a?", &[b][..], b"z HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        let parsed = request::parse(&bytes, 100);
        if b >= 0x80 || b"\"<>\\^`{|}".contains(&b) {
            assert_eq!(parsed, Err(Refusal::BadTargetCharacter), "{b:#x}");
        } else if b != 0x7f {
            assert!(parsed.is_ok(), "{b:#x}");
        }
    }
    for target in ["/caf\u{e9}", "http://h/\u{e9}", "/a|b", "/\"", "h\"", "{"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parse(&bytes), Err(Refusal::BadTargetCharacter), "{target}");
    }
}

/// A URL of the other scheme was meant for another server, or came the wrong way.
#[test]
fn https_urls_are_misdirected() {
    for target in ["https://h/d", "HTTPS://h", "https://"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(parse(&bytes), Err(Refusal::Misdirected), "{target}");
    }
    assert_eq!(Refusal::Misdirected.status(), 421);
}

/// Lengths and codings that leave any doubt about where the message ends.
#[test]
fn ambiguous_framing() {
    use Refusal::*;
    for (headers, refusal) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        ("transfer-encoding: chunked\r\ncontent-length: 0\r\n", LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", DifferingLengths),
        ("Content-Length: 5\r\nContent-Length: 05\r\n", BadLength),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", RepeatedLength),
        ("Content-Length: 42, 42\r\n", RepeatedLength),
        ("Content-Length: 007\r\n", BadLength),
        ("Content-Length: 00\r\n", BadLength),
        ("Content-Length: 9223372036854775808\r\n", BadLength),
        ("Content-Length: 5, 6\r\n", DifferingLengths),
        ("Content-Length: 5\r\nContent-Length: x\r\n", BadLength),
        ("Content-Length: 5,\r\n", BadLength),
        ("Content-Length:\r\n", BadLength),
        ("Content-Length: +5\r\n", BadLength),
        ("Content-Length: -1\r\n", BadLength),
        ("Content-Length: 0x5\r\n", BadLength),
        ("Content-Length: 5 5\r\n", BadLength),
        ("Content-Length: 5;\r\n", BadLength),
        ("Content-Length: 9223372036854775808\r\n", BadLength),
        ("Content-Length: 99999999999999999999999\r\n", BadLength),
        ("Transfer-Encoding: gzip\r\n", BadTransferEncoding),
        ("Transfer-Encoding: identity\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", BadTransferEncoding),
        ("Transfer-Encoding: , chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding:\r\n", BadTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", BadTransferEncoding),
        ("Transfer-Encoding: gzip chunked\r\n", BadTransferEncoding),
    ] {
        assert_eq!(parse(&get(headers)), Err(refusal), "{headers:?}");
    }
}

/// Header counts: as many as allowed pass, one more does not; 128 is the most whatever is asked for.
#[test]
fn header_counts() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(request::parse(head(10).as_bytes(), 10).is_ok());
    assert_eq!(request::parse(head(11).as_bytes(), 10), Err(Refusal::TooManyHeaders));
    assert!(request::parse(head(128).as_bytes(), 1000).is_ok());
    assert_eq!(request::parse(head(129).as_bytes(), 1000), Err(Refusal::TooManyHeaders));
}

/// More options than a message can have headers are not looked for.
#[test]
fn too_many_hop_by_hop() {
    let options = |count: usize| get(&format!("Connection: {}\r\n", vec!["x"; count].join(",")));
    assert!(parse(&options(128)).is_ok());
    assert_eq!(parse(&options(129)), Err(Refusal::TooManyHopByHop));
    let lines = |count: usize| get(&"Connection: x,x\r\n".repeat(count));
    assert!(parse(&lines(64)).is_ok());
    assert_eq!(parse(&lines(65)), Err(Refusal::TooManyHopByHop));
}

/// A head that has not ended within the bytes a span can reach never will.
#[test]
fn longer_than_spans_reach() {
    let mut bytes = get("").into_bytes();
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b"X: ");
    bytes.resize(70_000, b'a');
    assert_eq!(request::parse(&bytes, 100), Err(Refusal::HeadTooLarge));
    let end = 65_535 - 4;
    bytes[end..end + 4].copy_from_slice(b"\r\n\r\n");
    assert!(matches!(request::parse(&bytes, 100), Ok(crate::http::Parse::Complete(head)) if head.len == 65_535));
}
