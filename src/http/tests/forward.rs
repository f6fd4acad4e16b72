use super::parsed;
use crate::http::forward::*;
use crate::http::{Dialect, Parts, Refusal, domain};
use proptest::prelude::*;
use std::net::IpAddr;

const CLASSIC: Gateway =
    Gateway { dialect: Dialect::Classic, strip_prefix: false, announce: false, hide_authorization: false };
const PTTH: Gateway =
    Gateway { dialect: Dialect::Ptth, strip_prefix: false, announce: false, hide_authorization: false };

/// What a gateway gets of a head from a client at 192.0.2.7.
fn sent(head: &str, gateway: &Gateway, trusted: bool) -> String {
    let hostnames = ["relay.example".to_owned()];
    let parsed = parsed(head);
    let named = domain::of(head.as_bytes(), &parsed, &hostnames).unwrap();
    let added = Added::new([192, 0, 2, 7].into(), trusted, false);
    let mut parts = Parts::new();
    request(head.as_bytes(), &parsed, &named, gateway, &added, &mut parts);
    let mut bytes = Vec::new();
    parts.copy(0, parts.len(), &mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// A `GET /dev/a` with `headers`, and what a `ptth` gateway gets of it behind the first two lines.
fn ptth(headers: &str, trusted: bool) -> String {
    let start = "GET /dev/a HTTP/1.1\r\nHost: relay\r\n";
    let sent = sent(&format!("{start}{headers}\r\n"), &PTTH, trusted);
    sent.strip_prefix(start).unwrap_or_else(|| panic!("{sent:?}")).strip_suffix("\r\n").unwrap().to_owned()
}

/// Addresses are written as the standard library writes them; an IPv4 one in IPv6's clothes as what it is.
#[test]
fn addresses_are_written_as_usual() {
    for address in ["0.0.0.0", "1.20.255.9", "100.10.0.199", "255.255.255.255", "::1", "2001:db8::ff00:42:8329"] {
        let added = written(address.parse().unwrap());
        assert_eq!(added, format!("X-Forwarded-For: {address}\r\nX-Forwarded-Proto: http\r\n"));
    }
    assert!(written("::ffff:10.1.2.3".parse().unwrap()).starts_with("X-Forwarded-For: 10.1.2.3\r\n"));
    let long: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    assert!(written(long).contains(&format!(": {long}\r\n")), "the longest has room");
}

/// The lines that a `ptth` gateway gets about a client that says nothing itself.
fn written(address: IpAddr) -> String {
    let head = "GET /dev HTTP/1.0\r\n\r\n";
    let named = domain::of(head.as_bytes(), &parsed(head), &[]).unwrap();
    let added = Added::new(address, false, false);
    let mut parts = Parts::new();
    request(head.as_bytes(), &parsed(head), &named, &PTTH, &added, &mut parts);
    let mut bytes = Vec::new();
    parts.copy(0, parts.len(), &mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    text.strip_prefix("GET /dev HTTP/1.0\r\n")
        .unwrap()
        .strip_suffix("Connection: keep-alive\r\n\r\n")
        .unwrap()
        .to_owned()
}

/// What is the relay's own does not go on, however many lines of it there are, and all else does.
#[test]
fn the_relays_own_credentials_stay_here() {
    for count in [0, 1, 2, 13, 32] {
        for (gateway, hide_authorization) in [(CLASSIC, false), (CLASSIC, true), (PTTH, false), (PTTH, true)] {
            let gateway = Gateway { hide_authorization, ..gateway };
            let lines = |relays: &str, own: &str| -> String {
                (0..count).map(|n| format!("{relays}{own}X-{n}: y\r\n")).collect()
            };
            let own = "AUTHORIZATION: Basic x\r\n";
            let start = "GET /dev/a HTTP/1.1\r\nHost: relay\r\n";
            let head = format!("{start}{}\r\n", lines("x-relay-Authorization: Bearer x\r\n", own));
            let kept = lines("", if hide_authorization { "" } else { own });
            let sent = sent(&head, &gateway, false);
            assert!(sent.starts_with(&(start.to_owned() + &kept)), "{sent}");
            assert!(!sent[start.len() + kept.len()..].to_ascii_lowercase().contains("authorization"), "{sent}");
        }
    }
}

/// A classic gateway gets every byte but the empty lines in front, behind the announcement if there is to be one.
#[test]
fn classic_gateways_get_the_head_as_it_is() {
    let head = "GET /dev/a HTTP/1.1\r\nHOST:relay\r\nTE: x\r\nX-Forwarded-For:  1\r\nConnection: te\r\n\r\n";
    assert_eq!(sent(head, &CLASSIC, true), head);
    assert_eq!(sent(&format!("\r\n\r\n{head}"), &CLASSIC, false), head);
    let announced = sent(head, &Gateway { announce: true, ..CLASSIC }, false);
    assert_eq!(announced.strip_suffix(head).unwrap().as_bytes(), crate::http::canned::CLASSIC_101);
    let stripped = sent(head, &Gateway { strip_prefix: true, ..CLASSIC }, false);
    assert_eq!(stripped, head.replace("/dev/a", "/a"));
}

/// A URL becomes a path for both dialects, and `Host` says what the URL said, once.
#[test]
fn urls_become_paths() {
    for (request, strip_prefix, line, host) in [
        ("GET http://relay/dev/x HTTP/1.1\r\nHost: relay\r\n", false, "GET /dev/x HTTP/1.1\r\n", "relay"),
        ("GET http://relay/dev//x HTTP/1.1\r\nHost: relay\r\n", true, "GET /x HTTP/1.1\r\n", "relay"),
        ("GET http://relay/dev HTTP/1.1\r\nHost: relay\r\n", true, "GET / HTTP/1.1\r\n", "relay"),
        ("GET HTTP://relay:80/dev?q HTTP/1.1\r\nhost: evil\r\n", true, "GET /?q HTTP/1.1\r\n", "relay:80"),
        ("\r\nGET http://dev.relay.example HTTP/1.1\r\nHost: x\r\n", true, "GET / HTTP/1.1\r\n", "dev.relay.example"),
        ("GET http://dev.relay.example?q HTTP/1.1\r\nHost: x\r\n", false, "GET /?q HTTP/1.1\r\n", "dev.relay.example"),
        (
            "OPTIONS http://dev.relay.example HTTP/1.1\r\nHost: x\r\n",
            false,
            "OPTIONS * HTTP/1.1\r\n",
            "dev.relay.example",
        ),
        (
            "OPTIONS http://dev.relay.example/ HTTP/1.1\r\nHost: x\r\n",
            false,
            "OPTIONS / HTTP/1.1\r\n",
            "dev.relay.example",
        ),
        ("GET http://relay/dev HTTP/1.0\r\n", false, "GET /dev HTTP/1.0\r\n", "relay"),
        ("GET http://relay/dev HTTP/1.1\r\nHost:\r\n", false, "GET /dev HTTP/1.1\r\n", "relay"),
    ] {
        let request = format!("{request}A: b\r\n\r\n");
        let classic = sent(&request, &Gateway { strip_prefix, ..CLASSIC }, false);
        assert_eq!(classic, format!("{line}Host: {host}\r\nA: b\r\n\r\n"));
        let ptth = sent(&request, &Gateway { strip_prefix, ..PTTH }, false);
        let keep = if line.contains("1.0") { "Connection: keep-alive\r\n" } else { "" };
        let by_path = strip_prefix && !host.contains("example");
        let prefix = if by_path { "X-Forwarded-Prefix: /dev\r\n" } else { "" };
        let claims =
            format!("X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\n{prefix}");
        assert_eq!(ptth, format!("{line}Host: {host}\r\nA: b\r\n{claims}{keep}\r\n"));
    }
}

/// Whatever a client claims is replaced by what is known of it.
#[test]
fn claims_are_replaced() {
    let known = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n";
    assert_eq!(ptth("A: b\r\n", false), format!("A: b\r\n{known}"));
    let claims = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nA: b\r\nx-forwarded-host: evil\r\n\
                  X-Forwarded-Port: 1\r\nX-Forwarded-For: 10.0.0.2\r\nX-FORWARDED-PROTO: https\r\nX-Forwarded-Prefix: /x\r\n";
    assert_eq!(ptth(claims, false), format!("A: b\r\n{known}"));
}

/// What a trusted peer claims is passed, and its own address goes behind those that it forwards for: in one line, even
/// if they came in several.
#[test]
fn trusted_claims_are_passed() {
    for (claims, seen) in [
        ("", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n"),
        (
            "x-forwarded-for: 10.0.0.1, 10.0.0.2\r\n",
            "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n",
        ),
        (
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nForwarded: for=x\r\n\
             X-Forwarded-For:\r\nX-Forwarded-Port: 443\r\nX-Forwarded-For:  10.0.0.2 \r\nX-Forwarded-Prefix: /p\r\n",
            "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\n\
             Forwarded: for=x\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\n",
        ),
        (
            "Connection: x-forwarded-for\r\nX-Forwarded-For: 10.0.0.1\r\n",
            "X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n",
        ),
    ] {
        assert_eq!(ptth(&format!("A: b\r\n{claims}C: d\r\n"), true), format!("A: b\r\nC: d\r\n{seen}"));
    }
}

/// What is stripped is said, behind what a trusted proxy says that it has stripped, and never what others claim.
#[test]
fn what_is_stripped_is_said() {
    let gateway = Gateway { strip_prefix: true, ..PTTH };
    for (claim, trusted, prefix) in [
        ("", false, "/dev"),
        ("X-Forwarded-Prefix: /x\r\n", false, "/dev"),
        ("X-Forwarded-Prefix: /x\r\n", true, "/x/dev"),
        ("X-Forwarded-Prefix: /\r\n", true, "/dev"),
        ("X-Forwarded-Proto: https\r\n", true, "/dev"),
    ] {
        let head = format!("GET /dev/a HTTP/1.1\r\nHost: relay\r\n{claim}\r\n");
        let passed = sent(&head, &gateway, trusted);
        let said: Vec<_> = passed.lines().filter(|line| line.starts_with("X-Forwarded-Prefix")).collect();
        assert_eq!(said, [format!("X-Forwarded-Prefix: {prefix}")], "{claim}, trusted {trusted}");
    }
}

/// More pieces than a send takes: all of them arrive.
#[test]
fn heads_in_many_pieces() {
    let known = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n";
    let headers = "TE: x\r\nA: b\r\n".repeat(45);
    assert_eq!(ptth(&headers, false), "A: b\r\n".repeat(45) + known);
}

/// An upgrade keeps its two fields.
#[test]
fn upgrades_are_passed() {
    let known = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n";
    let headers = "Connection: x, Upgrade\r\nX: y\r\nUpgrade: websocket\r\n";
    assert_eq!(ptth(headers, false), format!("Upgrade: websocket\r\n{known}Connection: upgrade\r\n"));
}

/// What 32 bits cannot count is not for classic gateways.
#[test]
fn lengths_for_classic_gateways() {
    let check = |length: u64, dialect| {
        let head = format!("PUT /dev HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\n\r\n");
        check_length(&parsed(&head), dialect)
    };
    assert_eq!(check(CLASSIC_LENGTH_MAX, Dialect::Classic), Ok(()));
    assert_eq!(check(CLASSIC_LENGTH_MAX + 1, Dialect::Classic), Err(Refusal::LengthForClassic));
    assert_eq!(check(CLASSIC_LENGTH_MAX + 1, Dialect::Ptth), Ok(()));
    assert_eq!(CLASSIC_LENGTH_MAX, 2_147_483_647);
}

proptest! {
    /// From whomever, with whatever claims in whatever order: one `X-Forwarded-For` goes out, the peer's address last;
    /// one `X-Forwarded-Proto` at least; nothing else is lost.
    #[test]
    fn one_line_goes_out(
        lines in prop::collection::vec(prop::sample::select(vec![
            "X-Forwarded-For: 10.0.0.1", "x-forwarded-for: ::1, 10.0.0.2", "X-Forwarded-For:", "X-Forwarded-Proto: https",
            "Forwarded: for=x", "A: b", "TE: x", "Connection: x-forwarded-for, a", "Keep-Alive: 1", "C: d",
        ]), 0..60),
        trusted in any::<bool>(),
    ) {
        let headers: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let seen = ptth(&headers, trusted);
        let named = |name: &str| seen.lines().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect::<Vec<_>>();
        let [forwarded_for] = named("x-forwarded-for:")[..] else { return Err(TestCaseError::fail(seen)) };
        prop_assert!(forwarded_for.ends_with(" 192.0.2.7"));
        let claimed: usize = lines.iter().filter(|line| line.to_ascii_lowercase().starts_with("x-forwarded-for:"))
            .map(|line| line.matches("10.0.0.").count()).sum();
        prop_assert_eq!(forwarded_for.matches("10.0.0.").count(), if trusted { claimed } else { 0 });
        let count = |line: &str| lines.iter().filter(|&&other| other == line).count();
        prop_assert_eq!(named("c: d").len(), count("C: d"));
        prop_assert_eq!(named("te:").len() + named("keep-alive:").len() + named("connection:").len(), 0);
        let a = if count("Connection: x-forwarded-for, a") > 0 { 0 } else { count("A: b") };
        prop_assert_eq!(named("a: b").len(), a);
        let proto = count("X-Forwarded-Proto: https");
        prop_assert_eq!(named("x-forwarded-proto:").len(), if trusted && proto > 0 { proto } else { 1 });
        prop_assert_eq!(named("forwarded:").len(), if trusted { count("Forwarded: for=x") } else { 0 });
    }
}
