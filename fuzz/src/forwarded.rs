//! What goes on of a head reads to the next one as it did to us.
use super::heads::{HEADERS_MAX, hostnames};
use ringback::http::{
    Body, Dialect, Method, Parse, Parts, RESPONSE_HEADERS_MAX, Reply, RequestHead, Version,
    domain::{self, Named},
    forward::{self as to_gateway, Added, Gateway},
    reply::{Asked, Then},
    request, response,
};
use std::net::{IpAddr, Ipv6Addr};

/// A field's name in lower case, and its value.
type Field = (Vec<u8>, Vec<u8>);

/// The fields of a head, line by line, without judging them.
fn fields(head: &[u8]) -> Vec<Field> {
    let lines = head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.skip_while(|line| line.is_empty()).skip(1).take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            (line[..colon].to_ascii_lowercase(), value.trim_ascii().to_vec())
        })
        .collect()
}

/// Everything in one piece.
fn joined(parts: &Parts<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts.copy(0, parts.len(), &mut bytes);
    bytes
}

/// What `Connection` names, in lower case.
fn options(fields: &[Field]) -> Vec<Vec<u8>> {
    let connections = fields.iter().filter(|(name, _)| name == b"connection");
    let options = connections.flat_map(|(_, value)| value.split(|&b| b == b','));
    options.map(|option| option.trim_ascii().to_ascii_lowercase()).filter(|option| !option.is_empty()).collect()
}

/// Whether a field is for one hop only, by its name.
fn is_hop(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"te" | b"upgrade")
        || (name.starts_with(b"proxy-") && name != b"proxy-status")
}

fn is_claim(name: &[u8]) -> bool {
    name == b"forwarded" || name.starts_with(b"x-forwarded-")
}

/// Fields that no `Connection` can name away.
fn is_vital(name: &[u8]) -> bool {
    matches!(name, b"host" | b"content-length" | b"transfer-encoding" | b"trailer" | b"authorization" | b"expect")
}

/// A request that goes on means the same to its gateway, whichever kind that is. The first byte says from whom it is.
pub fn forward(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let Ok(Parse::Complete(head)) = request::parse(data, HEADERS_MAX) else { return };
    // A registration goes no further.
    if head.registration.is_some() {
        return;
    }
    let Ok(named) = domain::of(data, &head, &hostnames()) else { return };
    let peer = if choice & 1 == 0 { IpAddr::from([192, 0, 2, 1]) } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
    let added = Added::new(peer, choice & 2 != 0, choice & 4 != 0);
    for dialect in [Dialect::Classic, Dialect::Ptth] {
        for strip_prefix in [false, true] {
            let gateway = Gateway { dialect, strip_prefix, announce: false, hide_authorization: false };
            let mut parts = Parts::new();
            to_gateway::request(data, &head, &named, &gateway, &added, &mut parts);
            let out = joined(&parts);
            same_request(data, &head, &named, &gateway, &out);
            if dialect == Dialect::Ptth {
                same_fields(data, &head, choice & 2 != 0, peer, &out);
            }
        }
    }
}

/// What a gateway reads is what the client wrote.
fn same_request(data: &[u8], head: &RequestHead, named: &Named, gateway: &Gateway, out: &[u8]) {
    // A few headers are added.
    let again = request::parse(out, HEADERS_MAX + 8);
    let Ok(Parse::Complete(read)) = again else { panic!("{again:?}: {}", out.escape_ascii()) };
    let text = || out.escape_ascii();
    assert_eq!(usize::from(read.len), out.len(), "{}", text());
    assert_eq!(read.registration, None, "a registration goes on: {}", text());
    assert_eq!(
        (read.start, read.method, read.version, read.body),
        (0, head.method, head.version, head.body),
        "{}",
        text()
    );
    assert_eq!(read.expect_continue, head.expect_continue, "{}", text());
    assert_eq!(read.upgrade, head.upgrade, "{}", text());
    assert!(!read.is_absolute && !read.host_differs, "{}", text());
    match gateway.dialect {
        Dialect::Classic => assert_eq!(read.keep_alive, head.keep_alive, "{}", text()),
        Dialect::Ptth => assert!(read.keep_alive || read.upgrade, "the gateway is told to close: {}", text()),
    }
    let authority = |head: &RequestHead, bytes: &[u8]| head.authority.map(|span| span.of(bytes).to_vec());
    assert_eq!(authority(&read, out), authority(head, data), "{}", text());
    let mut path = head.path.of(data).to_vec();
    if gateway.strip_prefix && !named.strip.is_empty() {
        let start = usize::from(head.path.start);
        path.drain(usize::from(named.strip.start) - start..usize::from(named.strip.end) - start);
    }
    let sent = read.path.of(out);
    match head.is_absolute && !path.starts_with(b"/") {
        true => {
            let behind = &data[usize::from(head.authority.expect("a URL has one").end)..];
            let query = behind.split(|&b| b == b' ').next().unwrap_or_default();
            assert!(sent.is_empty() && query.is_empty() || sent == [b"/", query].concat(), "{}", text());
        }
        false => assert_eq!(sent, path, "{}", text()),
    }
    assert!(!sent.starts_with(b"//") || head.path.of(data).starts_with(b"//"), "{}", text());
}

/// A `ptth` gateway sees every field but those of one hop, and claims of ours alone unless the client is trusted.
fn same_fields(data: &[u8], head: &RequestHead, trusted: bool, peer: IpAddr, out: &[u8]) {
    let (before, after) = (fields(&data[..usize::from(head.len)]), fields(out));
    let named = options(&before);
    let stays = |(name, _): &&Field| {
        let is_named = named.contains(name) && !is_vital(name);
        !is_hop(name) && !is_claim(name) && name != b"host" && !is_named
    };
    let expected: Vec<_> = before.iter().filter(stays).collect();
    let passed: Vec<_> = after.iter().filter(|(name, _)| !is_hop(name) && !is_claim(name) && name != b"host").collect();
    let missing = expected.iter().find(|field| !passed.contains(field));
    assert!(missing.is_none(), "{missing:?} is missing: {}", out.escape_ascii());
    let extra = passed.iter().find(|field| !expected.contains(field));
    assert!(extra.is_none(), "{extra:?} goes on: {}", out.escape_ascii());
    let sources: Vec<_> = after.iter().filter(|(name, _)| name == b"x-forwarded-for").collect();
    let [(_, sources)] = sources[..] else { panic!("who asks is said {} times", sources.len()) };
    let peer = peer.to_string();
    assert!(sources.ends_with(peer.as_bytes()), "{}", out.escape_ascii());
    assert!(trusted || sources == peer.as_bytes(), "{}", out.escape_ascii());
}

/// A response that goes on means the same to its client, whatever the client speaks. The first byte says what was
/// asked.
pub fn reply(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let method = [Method::Get, Method::Head, Method::Connect, Method::Unsafe][usize::from(choice % 4)];
    let asked = Asked {
        method,
        upgrade: choice & 4 != 0,
        http10: choice & 8 != 0,
        proxy: choice & 64 != 0,
        dialect: if choice & 16 != 0 { Dialect::Classic } else { Dialect::Ptth },
        keep_client: choice & 32 != 0,
    };
    let Ok(Parse::Complete(head)) = response::parse(data, method, RESPONSE_HEADERS_MAX) else { return };
    let Ok(reply) = Reply::new(&head, &asked) else { return };
    if reply.then == Then::AnotherUnseen {
        return;
    }
    let mut room = Vec::new();
    let mut parts = Parts::new();
    reply.push_head(&mut parts, data, &head, &mut room);
    let out = joined(&parts);
    drop(parts);
    let text = || out.escape_ascii();
    let again = response::parse(&out, method, RESPONSE_HEADERS_MAX);
    let Ok(Parse::Complete(read)) = again else { panic!("{again:?}: {}", text()) };
    assert_eq!((usize::from(read.len), read.status), (out.len(), head.status), "{}", text());
    // One with so many lines is always written anew; `Connection: close` may be the one too many.
    let many = fields(&out).len() > ringback::http::HEADERS_MAX;
    assert!(!read.rewrite || many, "not in order: {}", text());
    assert!(asked.http10 || read.version == Version::Http11, "{}", text());
    assert!(!(asked.http10 && read.chunked), "chunked for HTTP/1.0: {}", text());
    match reply.body {
        // The data alone goes on, up to the end of the connection.
        Body::Chunked(_) if reply.body == Body::DECODED => {
            assert_eq!(read.body, Body::UntilClose, "{}", text());
            assert!(!reply.keep_client);
        }
        body => assert_eq!(read.body, body, "{}", text()),
    }
    if reply.then != Then::Body {
        return;
    }
    if reply.keep_client {
        assert!(read.self_delimited && read.keep_alive, "the client is told to close: {}", text());
    } else if asked.dialect == Dialect::Ptth {
        assert!(read.close && !read.keep_alive, "the client is not told to close: {}", text());
    }
    if asked.dialect == Dialect::Ptth && head.status != 426 {
        let hop = fields(&out).into_iter().find(|(name, _)| is_hop(name) && name != b"connection");
        assert!(hop.is_none(), "{hop:?} goes on: {}", text());
    }
}
