//! What a gateway says to the relay to be registered, and what the relay may answer.
use std::time::Duration;

use super::{Authority, Config, Error, authority, head::RESPONSE_FIELDS_MAX};
use crate::http::{Dialect, HEADERS_MAX, Parse, ResponseHead, domain, request, response::NotAResponse};

/// Wait after a 429 that does not say how long.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);

/// The registration request (see the wire description, dialects `PTTH/1.0` and `ptth`).
pub(super) fn request(config: &Config, relay: &Authority) -> Vec<u8> {
    let Config { domain, key, .. } = config;
    let mut head = match config.dialect {
        Dialect::Classic => {
            format!("POST /{domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: {relay}\r\n")
        }
        Dialect::Ptth => format!(
            "GET /{domain} HTTP/1.1\r\nHost: {relay}\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n"
        ),
    };
    if let Some(key) = key {
        head += &format!("Authorization: Bearer {key}\r\n");
    }
    if config.strip_prefix {
        head += "X-Relay-Strip-Prefix: 1\r\n";
    }
    head += "\r\n";
    head.into_bytes()
}

/// Checks that `domain` and `key` can stand in a registration: by the rules that the relay itself reads it with.
///
/// # Errors
/// [`Error::Domain`], [`Error::Key`].
pub(super) fn check(domain: &str, key: Option<&str>) -> Result<(), Error> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if key.is_some_and(|key| !plain(key)) {
        return Err(Error::Key);
    }
    let bad = || Error::Domain(domain.to_owned());
    let head = format!("GET /{domain} HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\n\r\n");
    let parsed = request::parse(head.as_bytes(), HEADERS_MAX);
    let Ok(Parse::Complete(parsed)) = parsed else {
        return Err(bad());
    };
    let mut names = domain::registered(head.as_bytes(), &parsed, &[]).map_err(|_| bad())?;
    match names.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(domain.as_bytes())) {
        true => Ok(()),
        false => Err(bad()),
    }
}

/// The relay's answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 101: registered (`ptth`), or a client has arrived (classic).
    Accepted {
        /// A key was sent, and the relay says that it asks for none.
        key_unchecked: bool,
    },
    /// 204: nothing happened, register again on the same connection (classic only).
    AskAgain,
    /// 307: another node has the domain.
    Moved(Authority),
    /// 401 or 403, with the reason, if the relay has given one.
    Unauthorized(Option<String>),
    /// 429, with the wait it asks for, and the reason.
    TooMany(Duration, String),
    /// Anything else; says what.
    Unexpected(String),
}

/// Reads the answer that begins `bytes`, whose head was parsed, and how long it is.
pub(super) fn answer(bytes: &[u8], head: Result<ResponseHead, NotAResponse>, dialect: Dialect) -> (Answer, usize) {
    let head = match head {
        Ok(head) => head,
        Err(error) => {
            return (Answer::Unexpected(format!("the relay's answer is not HTTP ({error:?})")), bytes.len());
        }
    };
    let len = usize::from(head.len);
    let field = |name| field(&bytes[..len], name);
    let answer = match (head.status, dialect) {
        (101, Dialect::Classic) => Answer::Accepted { key_unchecked: false },
        (101, Dialect::Ptth) => match field("ALPN") {
            // A relay that leaves the header out can only mean the one protocol that was offered.
            Some(other) if !other.eq_ignore_ascii_case("http%2F1.1") => {
                Answer::Unexpected(format!("the relay chose the protocol {other:?}, not http%2F1.1"))
            }
            _ => Answer::Accepted { key_unchecked: field("X-Relay-Key") == Some("unchecked") },
        },
        (204, Dialect::Classic) => Answer::AskAgain,
        (307, _) => match field("Location").map(authority::location) {
            Some(Ok(node)) => Answer::Moved(node),
            Some(Err(error)) => Answer::Unexpected(format!("cannot follow the relay's redirect: {error}")),
            None => Answer::Unexpected("the relay redirects without a Location".to_owned()),
        },
        (401 | 403, _) => Answer::Unauthorized(field("X-Relay-Error").map(str::to_owned)),
        (429, _) => {
            let seconds = field("Retry-After").and_then(|value| value.parse().ok());
            let reason = field("X-Relay-Error").unwrap_or("no reason given").to_owned();
            Answer::TooMany(seconds.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs), reason)
        }
        (status, _) => Answer::Unexpected(match field("X-Relay-Error") {
            Some(reason) => format!("the relay answered {status} ({reason})"),
            None => format!("the relay answered {status}"),
        }),
    };
    (answer, len)
}

/// The value of a header field of a response head, if it is there and is text.
pub(super) fn field<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let mut fields = [httparse::EMPTY_HEADER; RESPONSE_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(head).ok()?;
    let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Method, response};

    fn config(dialect: Dialect) -> Config {
        let relay = Authority { host: "relay.example".into(), port: 8080, secure: false };
        let target = Authority { host: "127.0.0.1".into(), port: 80, secure: false };
        Config { dialect, ..Config::new(relay, "my-domain".into(), target) }
    }

    fn said(config: &Config) -> String {
        String::from_utf8(request(config, &config.relay)).unwrap()
    }

    #[test]
    fn both_dialects_read_back_as_what_they_are() {
        for dialect in [Dialect::Classic, Dialect::Ptth] {
            let config = Config { key: Some("s3cret".into()), strip_prefix: true, ..config(dialect) };
            let bytes = said(&config).into_bytes();
            let Ok(Parse::Complete(head)) = request::parse(&bytes, HEADERS_MAX) else { panic!("{dialect:?}") };
            let registration = head.registration.unwrap();
            assert_eq!((registration.dialect, registration.strip_prefix), (dialect, true));
            assert!(registration.http11_offered);
            assert_eq!(head.credentials.unwrap().of(&bytes), b"Bearer s3cret");
            assert_eq!(usize::from(head.len), bytes.len());
        }
    }

    #[test]
    fn every_answer_is_understood() {
        let read = |text: &str, dialect| {
            let head = match response::parse(text.as_bytes(), Method::Get, HEADERS_MAX) {
                Ok(Parse::Partial) => return None,
                Ok(Parse::Complete(head)) => Ok(head),
                Err(error) => Err(error),
            };
            Some(answer(text.as_bytes(), head, dialect))
        };
        let node = Authority { host: "10.0.0.2".into(), port: 8081, secure: false };
        let classic = |text: &str| read(text, Dialect::Classic).unwrap().0;
        assert_eq!(read("HTTP/1.1 204 \r\n\r\n", Dialect::Classic), Some((Answer::AskAgain, 17)));
        let taken = "HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\nGET / HT";
        assert_eq!(read(taken, Dialect::Classic), Some((Answer::Accepted { key_unchecked: false }, 57)));
        assert_eq!(read(&taken[..56], Dialect::Classic), None);
        let moved = "HTTP/1.1 307 \r\nLocation: http://10.0.0.2:8081/my-domain\r\n\r\n";
        assert_eq!(classic(moved), Answer::Moved(node));
        assert_eq!(classic("HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n"), Answer::Unauthorized(None));
        let other = classic("HTTP/1.1 403 Forbidden\r\nX-Relay-Error: key-for-others\r\n\r\n");
        assert_eq!(other, Answer::Unauthorized(Some("key-for-others".to_owned())));
        let later = "HTTP/1.1 429 \r\nRetry-After: 7\r\nX-Relay-Error: because\r\n\r\n";
        assert_eq!(classic(later), Answer::TooMany(Duration::from_secs(7), "because".to_owned()));
        let bare = Answer::TooMany(RETRY_AFTER_DEFAULT, "no reason given".to_owned());
        assert_eq!(classic("HTTP/1.1 429 \r\n\r\n"), bare);
        for odd in ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 307 \r\nLocation: ftp://h/d\r\n\r\n"] {
            assert!(matches!(classic(odd), Answer::Unexpected(_)), "{odd}");
        }
        let ptth = |alpn: &str| {
            let head =
                format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: ptth\r\nConnection: upgrade\r\n{alpn}\r\n");
            read(&head, Dialect::Ptth).unwrap().0
        };
        assert_eq!(ptth("ALPN: http%2F1.1\r\n"), Answer::Accepted { key_unchecked: false });
        assert_eq!(ptth("X-Relay-Key: unchecked\r\n"), Answer::Accepted { key_unchecked: true });
        assert!(matches!(ptth("ALPN: h2\r\n"), Answer::Unexpected(_)));
        assert!(matches!(read("HTTP/1.1 204 \r\n\r\n", Dialect::Ptth).unwrap().0, Answer::Unexpected(_)));
    }

    #[test]
    fn domains_and_keys_are_checked_by_the_relays_rules() {
        assert!(check("gsiot-ffmq-ttd5", Some("abc.def~1=")).is_ok());
        for bad in ["", "relay_domain", "a/b", "a b", "a?b", "a\r\nX: y", &"x".repeat(256)] {
            assert!(matches!(check(bad, None), Err(Error::Domain(_))), "{bad:?}");
        }
        for bad in ["", "a b", "a\r\nX: y", "ä"] {
            assert!(matches!(check("d", Some(bad)), Err(Error::Key)), "{bad:?}");
        }
    }
}
