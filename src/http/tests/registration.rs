use super::{get, parse, parsed};
use crate::http::{Body, Dialect, Parse, Refusal, Version, domain, request};
use proptest::prelude::*;

/// Registrations as existing devices send them, none of which follows the rules of HTTP.
const SLOPPY: &[&str] = &[
    "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: http://relay.example/\r\n\r\n",
    "POST /dev HTTP/1.1\nUpgrade: PTTH/1.0\nHost: relay\n\n",
    "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\nHost: relay\r\n\n",
    "\nPOST /dev HTTP/1.1\nUpgrade: PTTH/1.0\n\n",
    "POST http://relay/dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST https://relay/dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: relay\r\n\r\n",
    "POST http://u@relay/dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST /dev\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST  /dev\tHTTP/1.1 \r\nHost: relay\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade:\r\n PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nHost: relay\r\nX: y\r\n\tfolded\r\nUpgrade: PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nHost : relay\r\nUpgrade \t: PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade: TLS/1.0 PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nHost: relay\r\nX-Relay-Protocol: a PTTH/1.0,b\r\n\r\n",
    "POST /dev HTTP/1.1\r\nX-Relay-Protocol : PTTH/1.0\r\n\r\n",
    "POST /dev HTTP/1.0\r\nUpgrade: PTTH/1.0\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "POST /dev HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nContent-Length : 0\r\n\r\n",
];

/// Each of them registers the domain, whole; every beginning of it is waited for.
#[test]
fn sloppy_registrations_are_read() {
    for &bytes in SLOPPY {
        let head = parsed(bytes);
        let registration = head.registration.unwrap_or_else(|| panic!("{bytes:?}"));
        assert_eq!((registration.dialect, registration.body), (Dialect::Classic, 0), "{bytes:?}");
        assert_eq!(usize::from(head.len), bytes.len(), "{bytes:?}");
        let mut domains = domain::registered(bytes.as_bytes(), &head, &[]).unwrap();
        assert_eq!(domains.next().unwrap().as_bytes(), b"dev", "{bytes:?}");
        for len in 0..bytes.len() {
            assert_eq!(request::parse(&bytes.as_bytes()[..len], 100), Ok(Parse::Partial), "{:?}", &bytes[..len]);
        }
    }
}

/// What the head says besides is read, too: the key, the wish for short paths, the body to skip.
#[test]
fn details_of_sloppy_registrations() {
    let bytes = "POST /Dev HTTP/1.1\nupgrade : PTTH/1.0\nauthorization: Bearer k3y \nX-Relay-Strip-Prefix: 1\n\
                 Content-Length: 5\n\nhello";
    let head = parsed(bytes);
    let registration = head.registration.unwrap();
    assert_eq!(usize::from(head.len) + 5, bytes.len());
    assert_eq!((registration.body, head.body, head.version), (5, Body::Length(5), Version::Http11));
    assert_eq!(head.credentials.map(|span| span.of(bytes.as_bytes())), Some(&b"Bearer k3y"[..]));
    assert!(registration.strip_prefix && registration.http11_offered);
    let strict = get("Upgrade: PTTH/1.0\r\nContent-Length: 7\r\n");
    assert_eq!(parsed(&strict).registration.unwrap().body, 7, "also where nothing is sloppy");
    let chunked = get("Upgrade: PTTH/1.0\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(parsed(&chunked).registration.unwrap().body, 0);
}

/// Without the exact token nothing is read more kindly: each keeps the refusal that its fault has.
#[test]
fn others_keep_their_refusal() {
    for token in ["ptth/1.0", "PTTH/1.1", "XPTTH/1.0", "PTTH/1.0x", "ptth", "websocket", "PTTH/1.0;q=1"] {
        for &bytes in SLOPPY {
            let bytes = bytes.replace("PTTH/1.0", token);
            if let Ok(Parse::Complete(head)) = request::parse(bytes.as_bytes(), 100) {
                let dialect = head.registration.map(|registration| registration.dialect);
                assert!(dialect != Some(Dialect::Classic), "{bytes:?}");
            }
        }
    }
    use Refusal::*;
    for (bytes, refusal) in [
        ("POST /dev HTTP/1.1\r\nUpgrade: ptth\r\n\r\n", MissingHost),
        ("POST /dev HTTP/1.1\r\nUpgrade: ptth, PTTH/1.0\r\n\r\n", MissingHost),
        ("POST /dev HTTP/1.1\r\nX: PTTH/1.0\r\n\r\n", MissingHost),
        ("POST /dev HTTP/1.1\r\nX: y\r\n Upgrade: PTTH/1.0\r\n\r\n", ObsFold),
        ("POST /dev HTTP/1.1\nX: Upgrade: PTTH/1.0\n\n", BareLf),
        ("POST /PTTH/1.0\r\nHost: PTTH/1.0\r\n\r\n", BadRequestLine),
        ("POST /dev HTTP/1.1\r\n\r\nUpgrade: PTTH/1.0\r\n\r\n", MissingHost),
    ] {
        assert_eq!(parse(bytes), Err(refusal), "{bytes:?}");
    }
}

/// Even a registration has its limits: what no reader can make sense of, or what may hide where it ends.
#[test]
fn too_sloppy() {
    use Refusal::*;
    for (line, refusal) in [
        ("X: a\0b", Nul),
        ("X: a\rb", BareCr),
        ("X: a\x01b", BadHeaderValue),
        ("no colon", BadHeaderName),
        (": x", BadHeaderName),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndEncoding),
        ("Content-Length: five", BadLength),
        ("Content-Length: 5, 5", RepeatedLength),
        ("Content-Length: 5\r\nContent-Length: 6", DifferingLengths),
        ("Content-Length: 5\r\n 6", ObsFold),
        ("Content-Length: 99999999999999999999", BadLength),
    ] {
        let bytes = format!("POST /dev HTTP/1.1\r\nHost: relay\r\nUpgrade: PTTH/1.0\r\n{line}\r\n\r\n");
        assert_eq!(parse(&bytes), Err(refusal), "{line:?}");
    }
    let many = format!("POST /dev HTTP/1.1\r\nUpgrade : PTTH/1.0\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(parse(&many), Err(SpaceBeforeColon));
    let most = format!("POST /dev HTTP/1.1\r\nUpgrade : PTTH/1.0\r\n{}\r\n", "X: y\r\n".repeat(99));
    assert!(parse(&most).is_ok());
}

/// What can never become a registration is refused at the byte that shows it.
#[test]
fn the_rest_is_refused_at_once() {
    use Refusal::*;
    for (bytes, refusal) in [
        ("\x16\x03\x01\x02", BadRequestLine),
        ("G@T", BadRequestLine),
        (" GET", BadRequestLine),
        ("\tGET / PTTH", BadRequestLine),
        ("GET  x", BadRequestLine),
        ("GET /a b HTTP/1.1", BadRequestLine),
        ("GET / HTTQ", BadRequestLine),
        ("GET / HTTP/2.0\r\n", UnsupportedVersion),
        ("GET /\0", Nul),
        ("GET / HTTP/1.1\r\nno colon\r\n", BadHeaderName),
        ("GET / HTTP/1.1\r\nX: y\0", Nul),
        ("GET / HTTP/1.1\rX", BareCr),
    ] {
        assert_eq!(request::parse(bytes.as_bytes(), 100), Err(refusal), "{bytes:?}");
    }
}

proptest! {
    /// Whatever is done to a client's request, it is read as a registration only if the token stands in it, and a
    /// request that the rules allow is never read otherwise than by them.
    #[test]
    fn no_client_becomes_a_gateway(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "Upgrade", "X-Relay-Protocol", ":", " ", "\t", "\r\n", "\n", "ptth", "PTTH/1.", "1.0", "Host: h", "X: y", "TE : x",
        ]), 0..16),
        line in prop::sample::select(vec!["GET /d HTTP/1.1\r\n", "GET /d\r\n", "GET  /d HTTP/1.0\n", "POST http://h/d HTTP/1.1\r\n"]),
    ) {
        let text = format!("{line}{}\r\n\r\n", pieces.concat());
        let parsed = request::parse(text.as_bytes(), 100);
        if let Ok(Parse::Complete(head)) = parsed
            && let Some(registration) = head.registration
        {
            prop_assert!(registration.dialect == Dialect::Ptth || text.contains("PTTH/1.0"), "{:?}", text);
        }
    }
}
