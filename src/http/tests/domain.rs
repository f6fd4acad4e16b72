use super::{parse, parsed};
use crate::http::domain::*;
use crate::http::{Refusal, RequestHead};
use proptest::prelude::*;

fn hostnames() -> Vec<String> {
    vec!["relay.example".into(), "eu.relay.example".into()]
}

/// Name and strip of a request with this target and host, as text.
fn named(method: &str, target: &str, host: &str) -> Result<(String, String), Refusal> {
    let bytes = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let head = parse(&bytes)?;
    let mut hostnames = hostnames();
    let named = of(bytes.as_bytes(), &head, &hostnames);
    hostnames.reverse();
    assert_eq!(of(bytes.as_bytes(), &head, &hostnames), named, "the order of hostnames matters");
    let named = named?;
    let text = |span: crate::http::Span| String::from_utf8(span.of(bytes.as_bytes()).to_vec()).unwrap();
    Ok((text(named.name), text(named.strip)))
}

/// Path form: the first segment, and a strip that leaves a path which starts with a slash.
#[test]
fn path_form() {
    for (target, name, strip) in [
        ("/dom/rest?q", "dom", "/dom"),
        ("/dom", "dom", "dom"),
        ("/dom?q=/x", "dom", "dom"),
        ("/dom/", "dom", "/dom"),
        ("/GSIOT-ffmq-TTD5/x", "GSIOT-ffmq-TTD5", "/GSIOT-ffmq-TTD5"),
        ("http://relay.example/dom/rest", "dom", "/dom"),
        ("/~a.b_%41!$&'()*+,;=/", "~a.b_%41!$&'()*+,;=", "/~a.b_%41!$&'()*+,;="),
    ] {
        assert_eq!(named("GET", target, "relay.example"), Ok((name.into(), strip.into())), "{target}");
        assert_eq!(named("GET", target, "10.0.0.1:8080"), Ok((name.into(), strip.into())), "{target}");
    }
}

/// Host form: labels left of the longest hostname, whatever case, port or trailing dot; nothing to strip.
#[test]
fn host_form() {
    for (host, name) in [
        ("dom.relay.example", "dom"),
        ("DOM.Relay.Example:8080", "DOM"),
        ("dom.relay.example.", "dom"),
        ("dom.relay.example.:80", "dom"),
        ("a.b.relay.example", "a.b"),
        ("dom.eu.relay.example", "dom"),
    ] {
        assert_eq!(named("GET", "/other/x", host), Ok((name.into(), String::new())), "{host}");
    }
    let absolute = named("GET", "http://dom.relay.example", "relay.example");
    assert_eq!(absolute, Ok(("dom".into(), String::new())), "the target's authority wins over Host");
}

/// A hostname itself, a name that merely ends like one, an address: the path counts.
#[test]
fn other_hosts_mean_path_form() {
    let hosts = [
        "relay.example",
        "RELAY.EXAMPLE.",
        "eu.relay.example:80",
        "norelay.example",
        ".relay.example",
        "x",
        "[::1]:80",
    ];
    for host in hosts {
        assert_eq!(named("GET", "/dom/", host).unwrap().0, "dom", "{host}");
    }
}

/// CONNECT: a path or a name below a hostname, and never anything to strip.
#[test]
fn connect_form() {
    let dom = Ok(("dom".into(), String::new()));
    assert_eq!(named("CONNECT", "/dom", "relay.example"), dom);
    assert_eq!(named("CONNECT", "/dom/x", "relay.example"), dom);
    assert_eq!(named("CONNECT", "dom.relay.example:22", "relay.example"), dom);
    assert_eq!(named("CONNECT", "relay.example:22", "relay.example"), Err(Refusal::NoDomain));
    assert_eq!(named("CONNECT", "elsewhere.example:22", "dom.relay.example"), Err(Refusal::NoDomain));
}

/// No name, bad names, long names.
#[test]
fn refused_names() {
    let long = format!("/{}", "a".repeat(256));
    for (method, target, refusal) in [
        ("GET", "/", Refusal::NoDomain),
        ("GET", "//x", Refusal::NoDomain),
        ("GET", "/?q", Refusal::NoDomain),
        ("OPTIONS", "*", Refusal::NoDomain),
        ("GET", "http://relay.example", Refusal::NoDomain),
        ("GET", "/a@b/", Refusal::BadDomain),
        ("GET", "/a:b", Refusal::BadDomain),
        ("GET", "/a#b", Refusal::BadDomain),
        ("GET", "/../x", Refusal::BadDomain),
        ("GET", "/./x", Refusal::BadDomain),
        ("GET", "/caf\u{e9}/", Refusal::BadDomain),
        ("GET", &long, Refusal::DomainTooLong),
    ] {
        assert_eq!(named(method, target, "relay.example"), Err(refusal), "{target}");
    }
    assert!(named("GET", &long[..256], "relay.example").is_ok(), "255 bytes are allowed");
}

/// Registrations use the path alone, whatever the host; the empty name and `relay_domain` are reserved.
#[test]
fn registrations() {
    let register = |path: &str| {
        let bytes = format!("POST {path} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nHost: dom.relay.example\r\n\r\n");
        let head: RequestHead = parsed(&bytes);
        registered(bytes.as_bytes(), &head).map(|span| span.of(bytes.as_bytes()).to_vec())
    };
    assert_eq!(register("/gsiot-ffmq-ttd5"), Ok(b"gsiot-ffmq-ttd5".to_vec()));
    assert_eq!(register("/a/b?c"), Ok(b"a".to_vec()));
    for reserved in ["/", "/relay_domain", "/Relay_Domain/x", "/?x"] {
        assert_eq!(register(reserved), Err(Refusal::ReservedDomain), "{reserved}");
    }
    assert_eq!(register("/a@b"), Err(Refusal::BadDomain));
    assert_eq!(register(&format!("/{}", "a".repeat(256))), Err(Refusal::DomainTooLong));
}

/// Lower-casing keeps everything but the case, up to the longest name.
#[test]
fn lowers() {
    let mut out = [0; DOMAIN_BYTES_MAX];
    assert_eq!(lower(b"GSIOT-Ffmq%4A", &mut out), b"gsiot-ffmq%4a");
    assert_eq!(lower(&[b'A'; 255], &mut out), [b'a'; 255]);
}

proptest! {
    /// Whatever the target: a strip lies in the path, and what it leaves is a path that starts with a slash.
    #[test]
    fn a_stripped_path_starts_with_a_slash(path in "/[a-zA-Z0-9/?%.~-]{0,20}") {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: relay.example\r\n\r\n");
        let head = parsed(&bytes);
        if let Ok(named) = of(bytes.as_bytes(), &head, &hostnames()) {
            let cut = usize::from(named.strip.start)..usize::from(named.strip.end);
            prop_assert!(usize::from(head.path.start) <= cut.start && cut.end <= usize::from(head.path.end));
            let mut stripped = bytes.clone();
            stripped.replace_range(cut, "");
            prop_assert!(stripped.starts_with("GET /"));
        }
    }
}
