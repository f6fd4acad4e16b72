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
        ("/dom//x", "dom", "/dom/"),
        ("/dom////", "dom", "/dom///"),
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
    assert_eq!(
        named("CONNECT", "/dom:22", "relay.example"),
        dom,
        "as corkscrew, connect-proxy and proxytunnel write it"
    );
    assert_eq!(named("CONNECT", "/dom:5900/x", "relay.example"), dom);
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
        ("GET", "/caf\u{e9}/", Refusal::BadTargetCharacter),
        ("GET", "/dom:22/", Refusal::BadDomain),
        ("CONNECT", "/dom:0", Refusal::BadDomain),
        ("CONNECT", "/dom:65536", Refusal::BadDomain),
        ("CONNECT", "/dom:", Refusal::BadDomain),
        ("CONNECT", "/dom:22:22", Refusal::BadDomain),
        ("CONNECT", "/:22", Refusal::BadDomain),
        ("GET", "/.well-known/ptth/https%3A%2F%2Fa.example/", Refusal::NoDomain),
        ("GET", "/.Well-Known", Refusal::NoDomain),
        ("CONNECT", "/.well-known", Refusal::NoDomain),
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
        registered(bytes.as_bytes(), &head, &hostnames()).map(texts)
    };
    assert_eq!(register("/Gsiot-ffmq-ttd5"), Ok(vec!["gsiot-ffmq-ttd5".to_owned()]));
    assert_eq!(register("/a/b?c"), Ok(vec!["a".to_owned()]));
    for reserved in [
        "/",
        "/relay_domain",
        "/Relay_Domain/x",
        "/?x",
        "/.well-known",
        "/.Well-Known/",
        "/.well-known/ptth",
        "/.well-known/other/https%3A%2F%2Fa.example/",
        "/.well-known/ptth/https%3A%2F%2Fa.example/more",
    ] {
        assert_eq!(register(reserved), Err(Refusal::ReservedDomain), "{reserved}");
    }
    assert_eq!(register("/a@b"), Err(Refusal::BadDomain));
    assert_eq!(register(&format!("/{}", "a".repeat(256))), Err(Refusal::DomainTooLong));
}

fn texts(domains: Domains<'_>) -> Vec<String> {
    domains.map(|domain| String::from_utf8(domain.as_bytes().to_vec()).unwrap()).collect()
}

/// What a registration for `list` in the place of origins registers.
fn origins(list: &str) -> Result<Vec<String>, Refusal> {
    let bytes = format!("GET /.well-known/ptth/{list} HTTP/1.1\r\nHost: relay.example\r\nUpgrade: ptth\r\n\r\n");
    registered(bytes.as_bytes(), &parsed(&bytes), &hostnames()).map(texts)
}

/// Origins: the labels left of a hostname or else the whole host, in lower case, each once.
#[test]
fn registrations_by_origin() {
    for (list, domains) in [
        ("https%3A%2F%2Fbackend.example.com/", &["backend.example.com"][..]),
        ("https%3a%2f%2fBackend.Example.com%3A8443", &["backend.example.com"]),
        ("http://backend.example.com", &[]),
        ("http%3A%2F%2Fdom.relay.example/?x", &["dom"]),
        ("https%3A%2F%2FA.b.EU.relay.example.%3A443?x", &["a.b"]),
        (
            "https%3A%2F%2Fone.example,http%3A%2F%2Ftwo.example%3A8080,https%3A%2F%2Fone.example%3A8443/",
            &["one.example", "two.example"],
        ),
        ("h%74tp%3A%2F%2F%64om.relay.example", &["dom"]),
    ] {
        let expected = domains.iter().map(|&domain| domain.to_owned()).collect::<Vec<_>>();
        match domains {
            // Not percent-encoded: two more segments.
            [] => assert_eq!(origins(list), Err(Refusal::ReservedDomain), "{list}"),
            _ => assert_eq!(origins(list), Ok(expected), "{list}"),
        }
    }
}

/// Malformed origins, reserved ones, and too many of them.
#[test]
fn origins_that_are_refused() {
    let long = format!("https%3A%2F%2F{}", "a".repeat(256));
    for (list, refusal) in [
        ("", Refusal::BadOrigin),
        ("/", Refusal::BadOrigin),
        ("backend.example", Refusal::BadOrigin),
        ("https%3A%2F%2F", Refusal::BadOrigin),
        ("https%3A%2F%2Fa.example,", Refusal::BadOrigin),
        ("https%3A%2F%2Fa.example%2Fx", Refusal::BadOrigin),
        ("https%3A%2F%2Fu%40a.example", Refusal::BadOrigin),
        ("https%3A%2F%2Fa.example%3Ax", Refusal::BadOrigin),
        ("https%3A%2F%2Fa.example%", Refusal::BadOrigin),
        ("https%3A%2F%2Fa.example%0", Refusal::BadOrigin),
        ("wss%3A%2F%2Fa.example", Refusal::BadOrigin),
        ("https%3A%2F%2F%5B::1%5D", Refusal::BadDomain),
        ("https%3A%2F%2Frelay.example", Refusal::ReservedDomain),
        ("https%3A%2F%2Frelay_domain", Refusal::ReservedDomain),
        ("https%3A%2F%2F.Well-Known", Refusal::ReservedDomain),
        ("https%3A%2F%2Fa.example,https%3A%2F%2F..", Refusal::BadDomain),
        (long.as_str(), Refusal::DomainTooLong),
    ] {
        assert_eq!(origins(list), Err(refusal), "{list}");
    }
    let list = |count: usize| (0..count).map(|n| format!("https%3A%2F%2F{n}.example")).collect::<Vec<_>>().join(",");
    assert_eq!(origins(&list(ORIGINS_MAX)).map(|domains| domains.len()), Ok(ORIGINS_MAX));
    assert_eq!(origins(&list(ORIGINS_MAX + 1)), Err(Refusal::TooManyOrigins));
    let same = |count: usize| vec!["https%3A%2F%2Fa.example"; count].join(",");
    assert_eq!(origins(&same(ORIGINS_MAX)), Ok(vec!["a.example".to_owned()]));
    assert_eq!(origins(&same(2000)), Err(Refusal::TooManyOrigins), "a long list is not searched for what it repeats");
}

/// The host alone, as an origin has it.
#[test]
fn full_hosts() {
    for (target, host, full) in [
        ("/x", "Backend.example.com:8443", Some("Backend.example.com")),
        ("/x", "backend.example.com.", Some("backend.example.com")),
        ("http://other.example:80/x", "backend.example.com", Some("other.example")),
        ("/x", "[::1]:80", Some("[::1]")),
        ("/x", "", None),
        ("/x", ".", None),
        ("/x", &"a".repeat(256), None),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let span = full_host(bytes.as_bytes(), &parsed(&bytes));
        assert_eq!(span.map(|span| span.of(bytes.as_bytes())), full.map(str::as_bytes), "{host}");
    }
}

/// Lower-casing keeps everything but the case, up to the longest name.
#[test]
fn lowers() {
    let mut out = [0; DOMAIN_BYTES_MAX];
    assert_eq!(lower(b"GSIOT-Ffmq%4A", &mut out), b"gsiot-ffmq%4a");
    assert_eq!(lower(&[b'A'; 255], &mut out), [b'a'; 255]);
}

proptest! {
    /// Whatever the target: a strip lies in the path, and what it leaves is a path that starts with one slash.
    #[test]
    fn a_stripped_path_starts_with_one_slash(path in "/[a-zA-Z0-9/?%.~-]{0,20}") {
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: relay.example\r\n\r\n");
        let head = parsed(&bytes);
        if let Ok(named) = of(bytes.as_bytes(), &head, &hostnames()) {
            let cut = usize::from(named.strip.start)..usize::from(named.strip.end);
            prop_assert!(usize::from(head.path.start) <= cut.start && cut.end <= usize::from(head.path.end));
            let mut stripped = bytes.clone();
            stripped.replace_range(cut, "");
            prop_assert!(stripped.starts_with("GET /") && !stripped.starts_with("GET //"));
        }
    }
}
