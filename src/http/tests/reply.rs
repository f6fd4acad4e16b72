use crate::http::reply::{Asked, Then};
use crate::http::{Body, Dialect, Method, Parse, Parts, RESPONSE_HEADERS_MAX, Reply, ResponseHead, response};
use proptest::prelude::*;

const GET: Asked = Asked {
    method: Method::Get,
    upgrade: false,
    http10: false,
    proxy: false,
    dialect: Dialect::Ptth,
    keep_client: true,
};
const CLASSIC: Asked = Asked { dialect: Dialect::Classic, ..GET };
const HTTP10: Asked = Asked { http10: true, keep_client: false, ..GET };

fn parsed(bytes: &[u8], method: Method) -> ResponseHead {
    match response::parse(bytes, method, RESPONSE_HEADERS_MAX) {
        Ok(Parse::Complete(head)) => head,
        other => panic!("{other:?}: {}", bytes.escape_ascii()),
    }
}

fn text(parts: &Parts<'_>) -> String {
    let mut out = Vec::new();
    parts.copy(0, parts.len(), &mut out);
    String::from_utf8(out).unwrap()
}

/// What the client gets of a head.
fn sent(bytes: &str, asked: &Asked) -> (Reply, String) {
    let head = parsed(bytes.as_bytes(), asked.method);
    let reply = Reply::new(&head, asked).unwrap();
    let (mut parts, mut room) = (Parts::new(), Vec::new());
    reply.push_head(&mut parts, bytes.as_bytes(), &head, &mut room);
    (reply, text(&parts))
}

#[track_caller]
fn check(asked: &Asked, response: &str, expected: &str) -> Reply {
    let (reply, text) = sent(&format!("HTTP/1.1 {response}\r\n"), asked);
    assert_eq!(text, format!("HTTP/1.1 {expected}\r\n"), "{response:?}");
    reply
}

/// An ordinary head goes on as it is, from where it lies.
#[test]
fn ordinary_heads() {
    let response = "200 OK\r\nX: y\r\nContent-Length: 5\r\n";
    for asked in [GET, CLASSIC] {
        let reply = check(&asked, response, response);
        assert_eq!((reply.then, reply.body), (Then::Body, Body::Length(5)));
        assert!(reply.keep_client && reply.keep_gateway);
    }
}

/// `Connection` is each hop's own, but for classic gateways, whose answers pass with theirs.
#[test]
fn connections_are_each_hops_own() {
    let length = "Content-Length: 0\r\n";
    let closing = Asked { keep_client: false, ..GET };
    let kept10 = Asked { keep_client: true, ..HTTP10 };
    let answer = format!("200 OK\r\n{length}");
    check(&closing, &answer, &format!("{answer}Connection: close\r\n"));
    check(&kept10, &answer, &format!("{answer}Connection: keep-alive\r\n"));
    let reply = check(&GET, "200 OK\r\nConnection: close\r\nContent-Length: 0\r\n", &answer);
    assert!(reply.keep_client && !reply.keep_gateway);
    let reply = check(&GET, "200 OK\r\nX: y\r\n", "200 OK\r\nX: y\r\nConnection: close\r\n");
    assert!(!reply.keep_client && !reply.keep_gateway);
    let upgrade = "426 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n";
    check(&GET, upgrade, "426 X\r\nUpgrade: h2c\r\nContent-Length: 0\r\nConnection: upgrade\r\n");
    check(&closing, upgrade, "426 X\r\nUpgrade: h2c\r\nContent-Length: 0\r\nConnection: upgrade, close\r\n");
    let own = "200 OK\r\nConnection: close, a\r\nA: b\r\nContent-Length: 0\r\n";
    assert!(!check(&CLASSIC, own, own).keep_client);
    assert!(!check(&CLASSIC, "200 OK\r\nX: y\r\n", "200 OK\r\nX: y\r\n").keep_client);
}

/// Interim responses and switches of protocols.
#[test]
fn what_follows() {
    let interim = "103 X\r\nLink: a\r\n";
    assert_eq!(check(&GET, interim, interim).then, Then::Another);
    assert_eq!(check(&HTTP10, interim, interim).then, Then::AnotherUnseen);
    let proxy = Asked { proxy: true, ..GET };
    assert_eq!(check(&proxy, interim, interim).then, Then::AnotherUnseen);
    assert_eq!(check(&proxy, "100 Continue\r\n", "100 Continue\r\n").then, Then::Another);
    let switch = "101 X\r\nConnection: upgrade\r\nUpgrade: a\r\nKeep-Alive: b\r\n";
    let asked = Asked { upgrade: true, ..GET };
    assert_eq!(check(&asked, switch, switch).then, Then::Tunnel);
    let head = parsed(format!("HTTP/1.1 {switch}\r\n").as_bytes(), Method::Get);
    assert!(Reply::new(&head, &GET).is_err());
    let connect = Asked { method: Method::Connect, ..GET };
    let reply = check(&connect, "200 X\r\nContent-Length: 5\r\nA: b\r\n", "200 X\r\nA: b\r\n");
    assert_eq!((reply.then, reply.body), (Then::Tunnel, Body::UntilClose));
}

/// A response of HTTP/1.0 goes to a client of HTTP/1.1 as one of HTTP/1.1 with the same end; to others as it is.
#[test]
fn old_responses_are_promoted() {
    for (asked, head, expected) in [
        (GET, "1.0 200 OK\r\nA: b\r\n\r\n", "1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"),
        (GET, "1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (CLASSIC, "1.0 200 OK\r\nA: b\r\n\r\n", "1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"),
        (
            CLASSIC,
            "1.0 200 OK\r\nConnection: keep-alive\r\nA: b\r\n\r\n",
            "1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n",
        ),
        (CLASSIC, "1.0 200 OK\r\nConnection: close\r\n\r\n", "1.1 200 OK\r\nConnection: close\r\n\r\n"),
        (
            CLASSIC,
            "1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
            "1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
        ),
        (HTTP10, "1.0 200 OK\r\nA: b\r\n\r\n", "1.0 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"),
    ] {
        let (reply, text) = sent(&format!("HTTP/{head}"), &asked);
        assert_eq!(text, format!("HTTP/{expected}"), "{head:?}");
        let ends = reply.body == Body::UntilClose || (asked.dialect == Dialect::Classic && !head.contains("keep"));
        assert_eq!(reply.keep_client, !ends && !asked.http10, "{head:?}");
    }
}

/// Clients of HTTP/1.0 do not know the chunked coding: they get the data, until close.
#[test]
fn chunks_are_decoded_for_old_clients() {
    let head = "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\nB: c\r\n";
    for keep_client in [false, true] {
        for dialect in [Dialect::Classic, Dialect::Ptth] {
            let asked = Asked { keep_client, dialect, ..HTTP10 };
            let reply = check(&asked, head, "200 OK\r\nB: c\r\nConnection: close\r\n");
            assert_eq!((reply.body, reply.keep_client, reply.keep_gateway), (Body::DECODED, false, true));
        }
    }
    let asked = Asked { keep_client: true, method: Method::Head, ..HTTP10 };
    let reply = check(&asked, head, "200 OK\r\nB: c\r\nConnection: keep-alive\r\n");
    assert_eq!((reply.body, reply.keep_client), (Body::EMPTY, true));
}

/// Lengths go on once and in their usual form, lines with CR LF, and none of either where the status allows none.
#[test]
fn what_is_written_anew() {
    for asked in [GET, CLASSIC] {
        for (head, expected) in [
            ("200 OK\r\nContent-Length: 05\r\nA: b\r\n", "200 OK\r\nContent-Length: 5\r\nA: b\r\n"),
            ("200 OK\r\ncontent-length: 5, 5\r\nA: b\r\n", "200 OK\r\nContent-Length: 5\r\nA: b\r\n"),
            (
                "200 OK\r\nContent-Length: 000\r\nA: b\r\nContent-Length: 0\r\n",
                "200 OK\r\nContent-Length: 0\r\nA: b\r\n",
            ),
            ("200 OK\nA: b\nContent-Length: 5\n", "200 OK\r\nA: b\r\nContent-Length: 5\r\n"),
            ("200\r\nContent-Length: 5\r\n", "200 \r\nContent-Length: 5\r\n"),
            ("103 X\r\nContent-Length: 5\r\nA: b\r\n", "103 X\r\nA: b\r\n"),
            ("100 X\r\nTransfer-Encoding: chunked\r\n", "100 X\r\n"),
            ("204 X\r\nA: b\r\nContent-Length: 5\r\n", "204 X\r\nA: b\r\n"),
            ("204 X\r\nTransfer-Encoding: chunked\r\nA: b\r\n", "204 X\r\nA: b\r\n"),
        ] {
            check(&asked, head, expected);
        }
    }
    let head =
        "200 OK\nContent-Length: 5\nConnection: a, upgrade\nA: b\nTE: c\nUpgrade: h2c\nProxy-Status: d\nProxy-X: e\n";
    check(&GET, head, "200 OK\r\nContent-Length: 5\r\nProxy-Status: d\r\n");
    check(&CLASSIC, head, &head.replace('\n', "\r\n"));
    let asked = Asked { upgrade: true, ..GET };
    check(
        &asked,
        "101 X\nConnection: upgrade\nUpgrade: a\nContent-Length: 0\n",
        "101 X\r\nConnection: upgrade\r\nUpgrade: a\r\n",
    );
}

/// A head of hundreds of lines goes on, without those of the hop, wherever they are.
#[test]
fn heads_of_many_lines() {
    let lines: String = (0..250).map(|n| format!("X-{n}: y\r\nKeep-Alive: z\r\n")).collect();
    let kept = lines.replace("Keep-Alive: z\r\n", "");
    let end = "Connection: x-200\r\nContent-Length: 5\r\n";
    let expected = format!("200 OK\r\n{}Content-Length: 5\r\n", kept.replace("X-200: y\r\n", ""));
    check(&GET, &format!("200 OK\r\n{lines}{end}"), &expected);
    let scattered: String = (0..20).map(|n| format!("X-{n}: y\r\nKeep-Alive: z\r\n")).collect();
    let named = "Connection: x-0, x-1, x-2, x-3, x-4, x-5, x-6, x-7, x-8, x-19\r\n";
    let left: String = (9..19).map(|n| format!("X-{n}: y\r\n")).collect();
    check(
        &GET,
        &format!("200 OK\r\n{scattered}{named}Content-Length: 5\r\n"),
        &format!("200 OK\r\n{left}Content-Length: 5\r\n"),
    );
}

/// Heads with everything that matters here, each in order by itself.
fn heads() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "A: b",
        "Connection: close",
        "Connection: a, Upgrade,x",
        "Keep-Alive: timeout=5",
        "Content-Length: 5",
        "Content-Length: 5, 05",
        "Transfer-Encoding: chunked",
        "Upgrade: h2c",
        "Proxy-Status: x",
        "Proxy-Authenticate: y",
        "Trailer: x",
        "X: \u{e9}",
        "Close: x",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    let status = prop::sample::select(vec!["200 OK", "204 ", "304 X", "103 X", "101 X", "426 X", "500"]);
    let version = prop::sample::select(vec!["1.1", "1.1", "1.0"]);
    (version, status, prop::collection::vec((line, end.clone()), 0..8), end).prop_map(
        |(version, status, lines, end)| {
            let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
            format!("HTTP/{version} {status}{end}{lines}{end}")
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = prop::sample::select(vec![Method::Get, Method::Head, Method::Connect]);
    let dialect = prop::sample::select(vec![Dialect::Classic, Dialect::Ptth]);
    (method, any::<bool>(), dialect, any::<bool>()).prop_map(|(method, http10, dialect, keep_client)| Asked {
        proxy: false,
        method,
        upgrade: true,
        http10,
        dialect,
        keep_client,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is passed on is read by the strictest reader, with the same end; nothing is left to be written anew,
    /// and a `Connection: close` is there when that is what happens to a response without a declared end.
    #[test]
    fn what_goes_on_is_strict(bytes in heads(), asked in asked()) {
        if let Ok(Parse::Complete(head)) = response::parse(bytes.as_bytes(), asked.method, RESPONSE_HEADERS_MAX) {
            let (reply, text) = sent(&bytes, &asked);
            let again = parsed(text.as_bytes(), asked.method);
            prop_assert_eq!((usize::from(again.len), again.status, again.rewrite), (text.len(), head.status, false));
            let body = if reply.body == Body::DECODED { Body::UntilClose } else { head.body };
            prop_assert_eq!(again.body, body, "{}", text);
            prop_assert!(!asked.http10 || !again.chunked);
            if asked.dialect == Dialect::Ptth && reply.then == Then::Body {
                prop_assert_eq!(again.close, !reply.keep_client, "{}", text);
            }
            if asked.dialect == Dialect::Ptth && head.status != 101 {
                for name in ["keep-alive:", "proxy-authenticate:"] {
                    prop_assert!(!text.to_ascii_lowercase().contains(name), "{}", text);
                }
            }
        }
    }

    /// Heads that need not be written anew come out the same if they are.
    #[test]
    fn both_ways_say_the_same(bytes in heads(), asked in asked()) {
        if let Ok(Parse::Complete(head)) = response::parse(bytes.as_bytes(), asked.method, RESPONSE_HEADERS_MAX) {
            let (_, text) = sent(&bytes, &asked);
            let reply = Reply::new(&ResponseHead { rewrite: true, ..head }, &asked).unwrap();
            let (mut parts, mut room) = (Parts::new(), Vec::new());
            reply.push_head(&mut parts, bytes.as_bytes(), &head, &mut room);
            let mut anew = Vec::new();
            parts.copy(0, parts.len(), &mut anew);
            prop_assert_eq!(text, String::from_utf8(anew).unwrap());
        }
    }
}
