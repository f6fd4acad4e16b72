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
        ("GET HTTP://Other", "", "Other"),
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

/// Up to eight empty lines in front are counted; spans still count from the first byte.
#[test]
fn empty_lines_in_front() {
    for count in 0..=8 {
        let bytes = format!("{}GET /d HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n".repeat(count));
        let head = parsed(&bytes);
        assert_eq!((usize::from(head.len), usize::from(head.start)), (bytes.len(), 2 * count));
        assert_eq!(text(&bytes, head.path), "/d");
    }
    for bytes in ["", "\r", "\r\n", "\r\n\r", "\r\n\r\n"] {
        assert_eq!(request::parse(bytes.as_bytes(), 100), Ok(Parse::Partial), "{bytes:?}");
    }
}

/// Bodies: none, a length, chunked as the last coding.
#[test]
fn bodies() {
    for (headers, body) in [
        ("", Body::EMPTY),
        ("Content-Length: 0\r\n", Body::Length(0)),
        ("content-length:5\r\n", Body::Length(5)),
        ("Content-Length: \t 70 \r\n", Body::Length(70)),
        ("Content-Length: 9223372036854775807\r\n", Body::Length(i64::MAX as u64)),
        ("Transfer-Encoding: chunked\r\n", Body::CHUNKED),
        ("TRANSFER-ENCODING: Chunked\r\n", Body::CHUNKED),
        ("Transfer-Encoding: gzip;q=1 , chunked\r\n", Body::CHUNKED),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Body::CHUNKED),
    ] {
        assert_eq!(parsed(&get(headers)).body, body, "{headers:?}");
    }
    assert_eq!(parsed("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n").body, Body::EMPTY);
    let zero = "CONNECT /d HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(parsed(zero).body, Body::EMPTY, "as the original relay's tunnel client sends it");
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

/// An `Upgrade` that `Connection` does not list is told from one that it does, and from none.
#[test]
fn unlisted_upgrades() {
    let is_unlisted = |bytes: &str| parsed(bytes).upgrade_unlisted;
    assert!(is_unlisted(&get("Upgrade: websocket\r\n")));
    assert!(is_unlisted(&get("Connection: keep-alive\r\nUpgrade: websocket\r\n")));
    assert!(!is_unlisted(&get("Connection: upgrade\r\nUpgrade: websocket\r\n")));
    assert!(!is_unlisted(&get("Upgrade: PTTH/1.0\r\n")));
    assert!(!is_unlisted(&get("Upgrade:\r\n")));
    assert!(!is_unlisted("GET /d HTTP/1.0\r\nUpgrade: websocket\r\n\r\n"));
    assert_eq!(forwarded("Upgrade: websocket\r\nA: b\r\n"), "A: b\r\n", "not for those who go by the rules");
}

/// An empty `Host` is what a client sends that knows no host; it names no authority.
#[test]
fn empty_host() {
    for value in ["", " ", "\t "] {
        let head = parsed(&format!("GET /d HTTP/1.1\r\nHost:{value}\r\n\r\n"));
        assert_eq!((head.authority, head.host_differs), (None, false));
    }
}

/// Whether a URL as the target is at odds with `Host`.
#[test]
fn urls_and_host() {
    for (bytes, differs) in [
        ("GET http://h/d HTTP/1.1\r\nHost: h\r\n\r\n", false),
        ("GET http://h:80/d HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("GET http://h/d HTTP/1.1\r\nHost: i\r\n\r\n", true),
        ("GET http://h/d HTTP/1.1\r\nHost:\r\n\r\n", true),
        ("GET http://h/d HTTP/1.0\r\n\r\n", true),
    ] {
        let head = parsed(bytes);
        assert!(head.is_absolute && head.host_differs == differs, "{bytes}");
    }
    let head = parsed(&get(""));
    assert!(!head.is_absolute && !head.host_differs);
}

/// Claims about hops before this one are noticed, and cut.
#[test]
fn claims() {
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "x-forwarded-prefix",
    ] {
        let headers = format!("A: b\r\n{name}: x\r\n");
        assert!(parsed(&get(&headers)).claims, "{name}");
        assert_eq!(forwarded(&headers), "A: b\r\n");
    }
    assert!(!parsed(&get("X-Forwarded: x\r\nX-Forwarded-By: y\r\n")).claims);
}

/// However many names `Connection` has and however the fields lie, they are left out and nothing else is.
#[test]
fn many_hop_by_hop_fields() {
    let names: Vec<_> = (0..40).map(|n| format!("Hop-{n}")).collect();
    let apart: String = names.iter().map(|name| format!("{name}: x\r\nKept-{name}: y\r\n")).collect();
    let kept: String = names.iter().map(|name| format!("Kept-{name}: y\r\n")).collect();
    let (some, others) = names.split_at(15);
    let listed = format!("Connection: {}\r\n{apart}connection: {}\r\n", some.join(" , "), others.join(","));
    assert_eq!(forwarded(&listed), kept);
    assert_eq!(forwarded(&"TE: trailers\r\nX: y\r\n".repeat(40)), "X: y\r\n".repeat(40));
    assert_eq!(forwarded("Connection: a,b,c,d,e,f,g,h,i\r\nI: 1\r\nJ: 2\r\nH: 3\r\n"), "J: 2\r\n");
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
    let head = parsed(&bytes);
    let registration = head.registration.unwrap();
    assert_eq!(head.credentials.map(|span| text(&bytes, span)), Some("Bearer k3y"));
    assert!(registration.strip_prefix && registration.http11_offered);
    let bare = parsed(&get("Upgrade: PTTH/1.0\r\n"));
    assert_eq!((bare.credentials, bare.registration.unwrap().strip_prefix), (None, false));
    let own = get("Authorization: x\r\nX-Relay-Authorization: y\r\nX-Relay-Authorization: z\r\n");
    let head = parsed(&own);
    assert_eq!((head.credentials.map(|span| text(&own, span)), head.relay_credentials), (Some("y"), true));
    assert!(parse(&get("Authorization: x\r\n")).unwrap().registration.is_none());
}
