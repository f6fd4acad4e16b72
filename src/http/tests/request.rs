use super::{get, parse, parsed, without_cuts};
use crate::http::framing::Body;
use crate::http::{Dialect, Method, Parse, RequestHead, Version, request};

/// A span of a head as text.
fn text(bytes: &str, span: crate::http::Span) -> &str {
    std::str::from_utf8(span.of(bytes.as_bytes())).unwrap()
}

/// What `ptth` gateways get of a GET with `headers`.
fn forwarded(headers: &str) -> String {
    let bytes = get(headers);
    let left = String::from_utf8(without_cuts(bytes.as_bytes(), &parsed(&bytes).cuts)).unwrap();
    let start = "GET /dom/x HTTP/1.1\r\nHost: h\r\n";
    left.strip_prefix(start).unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

/// An ordinary head, every field looked at; what follows it is not.
#[test]
fn an_ordinary_head() {
    let bytes = "GET /dom/x?y=z HTTP/1.1\r\nHost: relay.example:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\nGET";
    let head = parsed(bytes);
    assert_eq!(usize::from(head.len), bytes.len() - 3);
    assert_eq!((head.method, head.version), (Method::Get, Version::Http11));
    assert_eq!(text(bytes, head.path), "/dom/x?y=z");
    assert_eq!(head.authority.map(|span| text(bytes, span)), Some("relay.example:8080"));
    assert_eq!((head.body, head.keep_alive, head.upgrade), (Body::EMPTY, true, false));
    assert_eq!((head.expect_continue, head.registration), (false, None));
    assert!(head.cuts.is_empty());
}

/// Methods are case-sensitive and sorted by what matters to a relay.
#[test]
fn methods() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("OPTIONS", Method::OtherSafe),
        ("TRACE", Method::OtherSafe),
        ("POST", Method::Unsafe),
        ("get", Method::Unsafe),
        ("M-SEARCH", Method::Unsafe),
        ("CONNECT", Method::Connect),
    ] {
        assert_eq!(parsed(&format!("{name} /d HTTP/1.1\r\nHost: h\r\n\r\n")).method, method);
    }
}

/// The four forms of targets, and whose authority counts.
#[test]
fn targets() {
    for (line, path, authority) in [
        ("GET /d", "/d", "h"),
        ("GET //d", "//d", "h"),
        ("OPTIONS *", "", "h"),
        ("GET http://other:80/d?x", "/d?x", "other:80"),
        ("GET HTTPS://Other", "", "Other"),
        ("GET http://other?x", "", "other"),
        ("CONNECT d.h:22", "", "d.h:22"),
        ("CONNECT /d", "/d", "h"),
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = parsed(&bytes);
        assert_eq!(text(&bytes, head.path), path, "{line}");
        assert_eq!(text(&bytes, head.authority.unwrap()), authority, "{line}");
    }
    assert_eq!(parsed("GET / HTTP/1.0\r\n\r\n").authority, None);
}

/// One or two empty lines in front are counted and cut; spans still count from the first byte.
#[test]
fn empty_lines_in_front() {
    for lines in ["\r\n", "\r\n\r\n"] {
        let bytes = format!("{lines}GET /d HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = parsed(&bytes);
        assert_eq!(usize::from(head.len), bytes.len());
        assert_eq!(text(&bytes, head.path), "/d");
        assert!(without_cuts(bytes.as_bytes(), &head.cuts).starts_with(b"GET /d"));
    }
    for bytes in ["", "\r", "\r\n", "\r\n\r", "\r\n\r\n"] {
        assert_eq!(request::parse(bytes.as_bytes(), 100), Ok(Parse::Partial), "{bytes:?}");
    }
}

/// Bodies: none, a length (repeated alike or not), chunked as the last coding.
#[test]
fn bodies() {
    for (headers, body) in [
        ("", Body::EMPTY),
        ("Content-Length: 0\r\n", Body::Length(0)),
        ("content-length:5\r\n", Body::Length(5)),
        ("Content-Length: \t 007 \r\n", Body::Length(7)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Body::Length(5)),
        ("Content-Length: 5, 5\r\n", Body::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Body::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Body::CHUNKED),
        ("TRANSFER-ENCODING: Chunked\r\n", Body::CHUNKED),
        ("Transfer-Encoding: gzip;q=1 , chunked\r\n", Body::CHUNKED),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Body::CHUNKED),
    ] {
        assert_eq!(parsed(&get(headers)).body, body, "{headers:?}");
    }
    assert_eq!(parsed("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").body, Body::EMPTY);
}

/// RFC 9112 §9.3: 1.1 keeps unless told otherwise, 1.0 does not unless told otherwise; close wins.
#[test]
fn keep_alive() {
    for (version, connection, kept) in [
        ("1.1", "x", true),
        ("1.1", "Close", false),
        ("1.1", "keep-alive, close", false),
        ("1.0", "x", false),
        ("1.0", "Keep-Alive", true),
        ("1.0", "keep-alive, close", false),
    ] {
        let bytes = format!("GET /d HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n");
        assert_eq!(parsed(&bytes).keep_alive, kept, "{version} {connection}");
    }
    assert!(!parsed(&get("Connection: x\r\nConnection: close\r\n")).keep_alive, "a second Connection counts");
}

/// `Expect: 100-continue`, which HTTP/1.0 does not know.
#[test]
fn expect_continue() {
    assert!(parsed(&get("expect: 100-Continue\r\n")).expect_continue);
    assert!(!parsed(&get("Expect: 200-ok\r\n")).expect_continue);
    assert!(!parsed("GET /d HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
}

/// An upgrade takes HTTP/1.1, `Connection: upgrade`, and an `Upgrade` that is no registration.
#[test]
fn upgrades() {
    let asks = |bytes: &str| parsed(bytes).upgrade;
    assert!(asks(&get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n")));
    assert!(!asks(&get("Upgrade: websocket\r\n")));
    assert!(!asks(&get("Connection: upgrade\r\n")));
    assert!(!asks(&get("Connection: upgrade\r\nUpgrade:\r\n")));
    assert!(!asks(&get("Connection: upgrade\r\nUpgrade: PTTH/1.0\r\n")));
    assert!(!asks("GET /d HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
    assert!(!asks("CONNECT /d HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
}

/// Hop-by-hop headers and the client's own claims do not pass; everything else does, line for line.
#[test]
fn cuts() {
    for (headers, left) in [
        ("A: b\r\n", "A: b\r\n"),
        ("Connection: close\r\nA: b\r\n", "A: b\r\n"),
        ("A: b\r\nkeep-alive: timeout=5\r\n", "A: b\r\n"),
        ("Proxy-Connection: x\r\nPROXY-Authorization: y\r\nProxy-: z\r\nProxyX: k\r\n", "ProxyX: k\r\n"),
        ("TE: trailers\r\nA: b\r\nUpgrade: h2c\r\nC: d\r\n", "A: b\r\nC: d\r\n"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 1\r\n", "X-Forwarded-For: 1\r\n"),
        ("A: b  \r\nConnection: a, c\r\nB: x\r\nC:\r\n", "B: x\r\n"),
        ("Connection: C\r\nB: x\r\nc: \t \r\n", "B: x\r\n"),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nA: b\r\n", "Upgrade: websocket\r\nA: b\r\n"),
        ("Connection: content-length, host, expect\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n"),
        ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n"),
        (
            "Connection: authorization, trailer\r\nAuthorization: x\r\nTrailer: y\r\n",
            "Authorization: x\r\nTrailer: y\r\n",
        ),
    ] {
        assert_eq!(forwarded(headers), left, "{headers:?}");
    }
    let old = "GET /d HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(without_cuts(old.as_bytes(), &parsed(old).cuts), b"GET /d HTTP/1.0\r\n\r\n");
}

/// Which dialect a head registers for, if any.
fn dialect(head: &str) -> Option<Dialect> {
    parsed(head).registration.map(|registration| registration.dialect)
}

/// The classic token counts exactly, in either header, whatever the method, version or `Connection`.
#[test]
fn classic_registrations() {
    for headers in [
        "Upgrade: PTTH/1.0\r\n",
        "upgrade: websocket, PTTH/1.0\r\n",
        "X-Relay-Protocol: PTTH/1.0\r\n",
        "Upgrade: h2c\r\nUpgrade: PTTH/1.0, ptth\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\nX-Relay-Protocol: PTTH/1.0\r\n",
    ] {
        assert_eq!(dialect(&get(headers)), Some(Dialect::Classic), "{headers}");
        let old = format!("POST /d HTTP/1.0\r\n{headers}\r\n");
        assert_eq!(dialect(&old), Some(Dialect::Classic), "{headers}");
    }
    for headers in
        ["Upgrade: ptth/1.0\r\n", "Upgrade: PTTH/1.1\r\n", "Upgrade: XPTTH/1.0\r\n", "X-Relay-Protocol: ptth\r\n"]
    {
        assert_eq!(dialect(&get(headers)), None, "{headers}");
    }
}

/// The token without a version, in any case; HTTP/1.0 cannot upgrade, and what comes first wins.
#[test]
fn ptth_registrations() {
    assert_eq!(dialect(&get("Upgrade: ptth\r\n")), Some(Dialect::Ptth));
    assert_eq!(dialect(&get("Upgrade: PTTH\r\n")), Some(Dialect::Ptth));
    assert_eq!(dialect(&get("Upgrade: ptth, PTTH/1.0\r\n")), Some(Dialect::Ptth));
    assert_eq!(dialect(&get("Upgrade: PTTH/1.0, ptth\r\n")), Some(Dialect::Classic));
    assert_eq!(dialect("GET /d HTTP/1.0\r\nUpgrade: ptth\r\n\r\n"), None);
    let both = "GET /d HTTP/1.0\r\nUpgrade: ptth, PTTH/1.0\r\n\r\n";
    assert_eq!(dialect(both), Some(Dialect::Classic), "the classic dialect never asked for a version");
}

/// ALPN offers, percent-encoded in either case, anywhere in any list.
#[test]
fn alpn_offers() {
    let offered = |alpn: &str| {
        let head: RequestHead = parsed(&get(&format!("Upgrade: ptth\r\n{alpn}")));
        head.registration.unwrap().http11_offered
    };
    for alpn in [
        "ALPN: http%2F1.1\r\n",
        "ALPN: h2, http%2f1.1\r\n",
        "ALPN: h2\r\nalpn: %68ttp%2F1%2E1\r\n",
        "ALPN: http/1.1\r\n",
    ] {
        assert!(offered(alpn), "{alpn}");
    }
    for alpn in [
        "",
        "ALPN: h2\r\n",
        "ALPN: http%2F1.10\r\n",
        "ALPN: http%2F1.\r\n",
        "ALPN: http%2\r\n",
        "ALPN: HTTP%2F1.1\r\n",
        "ALPN: http%zz1.1\r\n",
    ] {
        assert!(!offered(alpn), "{alpn}");
    }
}

/// Key and strip wish of a registration.
#[test]
fn registration_details() {
    let bytes = get("Upgrade: PTTH/1.0\r\nAuthorization: Bearer k3y\r\nX-Relay-Strip-Prefix: 1\r\n");
    let registration = parsed(&bytes).registration.unwrap();
    assert_eq!(registration.authorization.map(|span| text(&bytes, span)), Some("Bearer k3y"));
    assert!(registration.strip_prefix && registration.http11_offered);
    let bare = parsed(&get("Upgrade: PTTH/1.0\r\n")).registration.unwrap();
    assert_eq!((bare.authorization, bare.strip_prefix), (None, false));
    assert!(parse(&get("Authorization: x\r\n")).unwrap().registration.is_none());
}
