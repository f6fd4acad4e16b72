//! Heads are read the same however they arrive.
use ringback::http::{
    Body, Method, Parse, RESPONSE_HEADERS_MAX, RequestHead, Span, domain, proxy_protocol as proxied, repair as sloppy,
    request, response,
};
use std::fmt::Debug;

/// Headers that a request may have here.
pub const HEADERS_MAX: usize = 100;
/// Heads up to this long are cut off at every byte, longer ones here and there.
const EVERY_CUT_MAX: usize = 256;

/// The shards' host names.
pub fn hostnames() -> [String; 1] {
    ["relay.test".to_owned()]
}

/// Where to cut `len` bytes off.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(EVERY_CUT_MAX).max(1))
}

/// Checks that what arrives in pieces is read as what arrives at once. `len` says how long a whole one is.
fn arrives<T: PartialEq + Debug, E: Debug>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<Parse<T>, E>,
    len: impl Fn(&T) -> usize,
) -> Option<T> {
    match parse(data) {
        Ok(Parse::Complete(whole)) => {
            let len = len(&whole);
            assert!(len <= data.len());
            match parse(&data[..len]) {
                Ok(Parse::Complete(again)) => assert_eq!(again, whole, "what is behind it changes it"),
                other => panic!("what is behind it makes it whole: {other:?}"),
            }
            for cut in cuts(len) {
                let part = parse(&data[..cut]);
                assert!(matches!(part, Ok(Parse::Partial)), "cut off at {cut}: {part:?}");
            }
            Some(whole)
        }
        Ok(Parse::Partial) => {
            for cut in cuts(data.len()) {
                let part = parse(&data[..cut]);
                assert!(matches!(part, Ok(Parse::Partial)), "cut off at {cut}: {part:?}");
            }
            None
        }
        Err(_) => {
            for cut in cuts(data.len()) {
                let part = parse(&data[..cut]);
                assert!(!matches!(part, Ok(Parse::Complete(_))), "whole when cut off at {cut}: {part:?}");
            }
            None
        }
    }
}

/// No beginning of a request head is whole, or wrong.
pub fn request_head(data: &[u8]) {
    let head = arrives(data, |bytes| request::parse(bytes, HEADERS_MAX), |head| usize::from(head.len));
    if let Some(head) = head {
        named(data, &head);
    }
}

/// A domain is a part of the head's own bytes, and lower case is final.
fn named(data: &[u8], head: &RequestHead) {
    let hostnames = hostnames();
    for hostnames in [&[][..], &hostnames[..]] {
        if let Ok(named) = domain::of(data, head, hostnames) {
            let name = named.name.of(data);
            let (mut once, mut twice) = ([0; domain::DOMAIN_BYTES_MAX], [0; domain::DOMAIN_BYTES_MAX]);
            let once = domain::lower(name, &mut once);
            assert_eq!(domain::lower(once, &mut twice), once);
            assert!(!once.is_empty());
        }
        let Ok(domains) = domain::registered(data, head, hostnames) else { continue };
        let names: Vec<_> = domains.collect();
        assert!((1..=domain::ORIGINS_MAX).contains(&names.len()), "{} names", names.len());
        for (at, name) in names.iter().enumerate() {
            let name = name.as_bytes();
            assert!((1..=domain::DOMAIN_BYTES_MAX).contains(&name.len()));
            assert!(name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/'), "{name:?}");
            assert!(!name.iter().any(u8::is_ascii_uppercase), "{name:?}");
            assert!(![&b"."[..], b"..", b".well-known", b"relay_domain"].contains(&name), "{name:?}");
            assert!(names[..at].iter().all(|other| other.as_bytes() != name), "{name:?} twice");
        }
    }
    if let Some(host) = domain::full_host(data, head) {
        assert!(!host.is_empty() && host != Span::default());
    }
}

/// No beginning of a response head is whole, or wrong.
pub fn response_head(data: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        for max in [20, RESPONSE_HEADERS_MAX] {
            arrives(data, |bytes| response::parse(bytes, method, max), |head| usize::from(head.len));
        }
    }
}

/// Any bytes as the name of a registration, in both dialects.
pub fn registration(data: &[u8]) {
    let classic =
        [b"POST /", data, b" HTTP/1.1\r\nHost: r\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n"].concat();
    let ptth =
        [b"GET /", data, b" HTTP/1.1\r\nHost: r\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"]
            .concat();
    for bytes in [&classic, &ptth] {
        request_head(bytes);
    }
}

/// A classic device's sloppy answer: read the same however it arrives, and what goes on instead is in order.
pub fn repair(data: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        let parse = |bytes: &[u8]| sloppy::parse(bytes, method);
        let Ok(Parse::Complete(whole)) = parse(data) else {
            arrives(data, parse, |repaired| repaired.len);
            continue;
        };
        // Where a line that is none begins the body, that shows by some of the body's own bytes.
        for cut in cuts(data.len()) {
            match parse(&data[..cut]) {
                Ok(Parse::Partial) => {}
                Ok(Parse::Complete(part)) => assert_eq!(part, whole, "cut off at {cut}"),
                Err(error) => panic!("cut off at {cut}: {error:?}"),
            }
        }
        assert!(whole.len <= data.len());
        let again = response::parse(&whole.head, method, RESPONSE_HEADERS_MAX);
        let Ok(Parse::Complete(head)) = again else {
            panic!("{again:?}: {}", whole.head.escape_ascii());
        };
        assert_eq!(usize::from(head.len), whole.head.len());
        assert_eq!(head.status, whole.status);
        // Of chunks the data alone goes on, up to the end of the connection.
        let body = if whole.body == Body::DECODED { Body::UntilClose } else { whole.body };
        assert_eq!(head.body, body);
        assert!(!head.rewrite, "not in order: {}", whole.head.escape_ascii());
        let tunnel = method == Method::Connect && head.status < 300;
        assert!(tunnel || head.close, "the client's connection is not ended: {}", whole.head.escape_ascii());
    }
}

/// A PROXY header is read the same however it arrives, and says the same when it is written anew.
pub fn proxy_protocol(data: &[u8]) {
    let proxied = match proxied::parse(data) {
        // Nothing of it is a header's.
        Ok(Parse::Complete(none)) if none.len == 0 => {
            assert_eq!(none.source, None);
            return;
        }
        _ => arrives(data, proxied::parse, |proxied| proxied.len),
    };
    let Some(source) = proxied.and_then(|proxied| proxied.source) else { return };
    let (kind, local) = if source.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
    let line = format!("PROXY {kind} {} {local} {} 80\r\n", source.ip(), source.port());
    let again = proxied::parse(line.as_bytes());
    assert_eq!(again, Ok(Parse::Complete(proxied::Proxied { len: line.len(), source: Some(source) })), "{line}");
}
