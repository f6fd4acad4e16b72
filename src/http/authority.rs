//! Authorities: `host [":" port]` as in `Host` and in request targets (RFC 3986 §3.2, RFC 9110 §7.2).
use super::class;

/// A well-formed authority without user information, which no request may carry (RFC 9110 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// The host as it stands; never empty (RFC 9110 §4.2.1). An IPv6 address keeps its brackets.
    pub host: &'a [u8],
    /// The port, if there is a colon. `host:` is well-formed (RFC 3986 §3.2.3) and has none either.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Takes `text` apart. `None` when it is not `host [":" port]`.
    pub fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let host_len = match text.first()? {
            b'[' => literal_len(text)?,
            _ => name_len(text)?,
        };
        let (host, rest) = text.split_at(host_len);
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Authority { host, port })
    }
}

/// Length of the `reg-name` or IPv4 address at the start of `text`, which reaches to its end or to a colon.
fn name_len(text: &[u8]) -> Option<usize> {
    let len = text.iter().position(|&b| !class::is_name(b)).unwrap_or(text.len());
    let mut rest = &text[..len];
    while let Some(percent) = memchr::memchr(b'%', rest) {
        let digits = rest.get(percent + 1..percent + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = &rest[percent + 3..];
    }
    (len > 0).then_some(len)
}

/// Length of the bracketed address at the start of `text`. Which address it is concerns nobody here.
fn literal_len(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let address = &text[1..end];
    let fits = |&b: &u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    (!address.is_empty() && address.iter().all(fits)).then_some(end + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    // Five digits hold every port; no honest port has more leading zeros than that.
    if digits.len() > 5 {
        return None;
    }
    digits.iter().try_fold(0u16, |port, &b| {
        let digit = b.is_ascii_digit().then(|| u16::from(b - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts, ports and addresses that are well-formed are taken apart at the right place.
    #[test]
    fn takes_well_formed_authorities_apart() {
        for (text, host, port) in [
            ("relay.example", "relay.example", None),
            ("relay.example:8080", "relay.example", Some(8080)),
            ("relay.example:", "relay.example", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
            ("10.0.0.1:65535", "10.0.0.1", Some(65535)),
            ("a_b~%41!$&'()*+,;=", "a_b~%41!$&'()*+,;=", None),
        ] {
            let parsed = Authority::parse(text.as_bytes());
            assert_eq!(parsed, Some(Authority { host: host.as_bytes(), port }), "{text}");
        }
    }

    /// Anything else is refused, user information and empty hosts above all.
    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":80",
            "user@host",
            "a b",
            "a/b",
            "a?b",
            "a:b",
            "a:-1",
            "a:65536",
            "a:000080",
            "a:80:80",
            "[::1",
            "[]",
            "[::1]x",
            "[v1.x]",
            "a%4",
            "a%zz",
            "a%",
            "caf\u{e9}",
            "a\"b",
            "a#b",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }
}
