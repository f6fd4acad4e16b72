//! Promises about all heads, tested on generated ones.
use super::parsed;
use crate::http::domain::Named;
use crate::http::forward::{Added, Gateway};
use crate::http::{
    Body, Dialect, Method, Parse, Parts, Refusal, RequestHead, Version, domain, forward, request, response,
};
use proptest::prelude::*;

/// What a request head is built from.
#[derive(Clone, Debug)]
struct Made {
    method: &'static str,
    path: String,
    host: String,
    old: bool,
    /// Ordinary headers in front of, and behind, those of the framing.
    around: [Vec<(String, String)>; 2],
    body: MadeBody,
}

#[derive(Clone, Debug)]
enum MadeBody {
    None,
    Length(u64),
    Chunked,
}

impl Made {
    fn bytes(&self) -> String {
        let version = if self.old { "1.0" } else { "1.1" };
        let mut text = format!("{} {} HTTP/{version}\r\n", self.method, self.path);
        let [before, behind] = &self.around;
        let add = |text: &mut String, headers: &[(String, String)]| {
            for (name, value) in headers {
                *text += &format!("{name}: {value}\r\n");
            }
        };
        add(&mut text, before);
        text += &format!("Host: {}\r\n", self.host);
        match self.body {
            MadeBody::None => {}
            MadeBody::Length(length) => text += &format!("Content-Length: {length}\r\n"),
            MadeBody::Chunked => text += "Transfer-Encoding: chunked\r\n",
        }
        add(&mut text, behind);
        text + "\r\n"
    }
}

fn made() -> impl Strategy<Value = Made> {
    // The prefix keeps names apart from those that mean something.
    let headers = || prop::collection::vec(("Q-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..5);
    let length = 0..=i64::MAX as u64;
    let body = prop_oneof![Just(MadeBody::None), length.prop_map(MadeBody::Length), Just(MadeBody::Chunked)];
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH"]);
    (
        method,
        "/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{0,30}",
        "[a-z0-9.-]{1,20}(:[0-9]{1,4})?",
        any::<bool>(),
        [headers(), headers()],
        body,
    )
        .prop_map(|(method, path, host, old, around, body)| {
            let body = if old && matches!(body, MadeBody::Chunked) { MadeBody::None } else { body };
            Made { method, path, host, old, around, body }
        })
}

proptest! {
    /// A head says what it was built from.
    #[test]
    fn heads_say_what_they_were_built_from(made in made()) {
        let text = made.bytes();
        let bytes = text.as_bytes();
        let head = parsed(&text);
        prop_assert_eq!(usize::from(head.len), bytes.len());
        prop_assert_eq!(head.path.of(bytes), made.path.as_bytes());
        prop_assert_eq!(head.authority.unwrap().of(bytes), made.host.as_bytes());
        prop_assert_eq!(head.version == Version::Http10, made.old);
        prop_assert_eq!(head.keep_alive, !made.old);
        let body = match made.body {
            MadeBody::None => Body::EMPTY,
            MadeBody::Length(length) => Body::Length(length),
            MadeBody::Chunked => Body::CHUNKED,
        };
        prop_assert_eq!(head.body, body);
        prop_assert!(head.cuts.is_empty() && head.registration.is_none() && !head.upgrade);
    }

    /// A prefix of a valid head is incomplete, never wrong; what follows the head does not matter.
    #[test]
    fn prefixes_are_partial(made in made(), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let text = made.bytes();
        let bytes = text.as_bytes();
        for len in 0..bytes.len() {
            prop_assert_eq!(request::parse(&bytes[..len], 100), Ok(Parse::Partial), "{} bytes", len);
        }
        let more = [bytes, &behind].concat();
        prop_assert_eq!(request::parse(&more, 100), request::parse(bytes, 100));
    }

    /// The same for responses.
    #[test]
    fn prefixes_of_responses_are_partial(made in made(), status in 100u16..600, lf in any::<bool>()) {
        let text = made.bytes();
        let (_, headers) = text.split_once("\r\n").unwrap();
        let mut text = format!("HTTP/1.1 {status} {}\r\n{headers}", made.path);
        if lf {
            text = text.replace("\r\n", "\n");
        }
        let bytes = text.as_bytes();
        for len in 0..bytes.len() {
            prop_assert_eq!(response::parse(&bytes[..len], Method::Get, 100), Ok(Parse::Partial), "{} bytes", len);
        }
        match response::parse(bytes, Method::Get, 100) {
            Ok(Parse::Complete(head)) => prop_assert_eq!((usize::from(head.len), head.status), (bytes.len(), status)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// One byte of a valid head exchanged for any other: no panic anywhere, and spans stay inside.
    #[test]
    fn damaged_heads_never_panic(made in made(), at in any::<prop::sample::Index>(), b in any::<u8>(), hops in any::<bool>()) {
        let mut text = made.bytes();
        if hops {
            text = text.replace("Host:", "Connection: te, q-x, close\r\nTE: x\r\nUpgrade: ptth\r\nHost:");
        }
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = b;
        exercise(&bytes)?;
    }

    /// Arbitrary bytes, and arbitrary pieces of heads: no panic anywhere.
    #[test]
    fn arbitrary_bytes_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
    ) {
        exercise(&noise)?;
        let text = pieces.concat();
        exercise(text.as_bytes())?;
        exercise(format!("GET /d HTTP/1.1\r\nHost: h\r\n{text}").as_bytes())?;
        exercise(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes())?;
    }
}

const PIECES: &[&str] = &[
    "GET ",
    "CONNECT ",
    "/",
    "d",
    "*",
    "http://",
    "h:1",
    " ",
    "HTTP/1.1",
    "HTTP/1.0",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    "Host: h",
    "Content-Length: ",
    "5",
    "Transfer-Encoding: ",
    "chunked",
    ",",
    "Connection: ",
    "close",
    "upgrade",
    "Upgrade: ",
    "ptth",
    "PTTH/1.0",
    "TE: x",
    "ALPN: ",
    "http%2F1.1",
    "%",
    "X: y",
    "[::1]",
    "@",
    "Proxy-A: b",
    "X-Forwarded-For: 1",
    "Upgrade: PTTH/1.0",
    "/.well-known/ptth/",
    "http%3A%2F%2Fh",
    "\t",
];

/// What is sent to gateways of either dialect is a head that the strict parser reads, as the same request.
fn forwarded(bytes: &[u8], head: &RequestHead, named: &Named) -> Result<(), TestCaseError> {
    for (dialect, strip_prefix, trusted) in [
        (Dialect::Classic, false, false),
        (Dialect::Classic, true, false),
        (Dialect::Ptth, true, false),
        (Dialect::Ptth, false, true),
    ] {
        let added = Added::new([127, 0, 0, 1].into(), trusted, false);
        let gateway = Gateway { dialect, strip_prefix, announce: false, hide_authorization: false };
        let mut parts = Parts::new();
        forward::request(bytes, head, named, &gateway, &added, &mut parts);
        let mut sent = Vec::new();
        parts.copy(0, parts.len(), &mut sent);
        match request::parse(&sent, 128) {
            Ok(Parse::Complete(again)) => {
                prop_assert_eq!(usize::from(again.len), sent.len());
                prop_assert_eq!((again.method, again.version, again.body), (head.method, head.version, head.body));
                prop_assert!(again.start == 0 && !again.is_absolute && again.upgrade == head.upgrade);
                let host = |head: &RequestHead, bytes: &[u8]| head.authority.map(|host| host.of(bytes).to_vec());
                prop_assert_eq!(host(&again, &sent), host(head, bytes));
            }
            // A few lines more than there were.
            Err(Refusal::TooManyHeaders | Refusal::HeadTooLarge) => {}
            other => prop_assert!(false, "{:?}: {}", other, sent.escape_ascii()),
        }
    }
    Ok(())
}

/// Runs every parser over `bytes`, and everything that reads what they return.
fn exercise(bytes: &[u8]) -> Result<(), TestCaseError> {
    let hostnames = ["h".to_owned(), "relay.example".to_owned()];
    if let Ok(Parse::Complete(head)) = request::parse(bytes, 100) {
        prop_assert!(usize::from(head.len) <= bytes.len());
        let bytes = &bytes[..usize::from(head.len)];
        let _ = (head.path.of(bytes), head.authority.map(|span| span.of(bytes).len()));
        prop_assert!(head.cuts.spans(bytes).all(|cut| !cut.of(bytes).is_empty()));
        let named = domain::of(bytes, &head, &hostnames);
        if let Ok(named) = &named {
            let mut out = [0; domain::DOMAIN_BYTES_MAX];
            prop_assert!(!domain::lower(named.name.of(bytes), &mut out).is_empty());
        }
        if let Ok(domains) = domain::registered(bytes, &head, &hostnames) {
            let sizes: Vec<_> = domains.map(|domain| domain.as_bytes().len()).collect();
            prop_assert!((1..=domain::ORIGINS_MAX).contains(&sizes.len()) && !sizes.contains(&0));
        }
        prop_assert!(domain::full_host(bytes, &head).is_none_or(|host| !host.is_empty()));
        if let (Ok(named), None) = (named, head.registration) {
            forwarded(bytes, &head, &named)?;
        }
    }
    for method in [Method::Get, Method::Head, Method::Connect] {
        if let Ok(Parse::Complete(head)) = response::parse(bytes, method, 100) {
            prop_assert!(usize::from(head.len) <= bytes.len());
            let bytes = &bytes[..usize::from(head.len)];
            prop_assert!(head.cuts.spans(bytes).all(|cut| !cut.of(bytes).is_empty()));
        }
    }
    let mut body = Body::CHUNKED;
    if let Ok(n) = body.take(bytes) {
        prop_assert!(n <= bytes.len());
    }
    Ok(())
}
