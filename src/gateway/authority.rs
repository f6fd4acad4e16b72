//! Where to connect to, and whether by TLS: `host:port`, and the relay's URL.
use std::{fmt, str::FromStr};

use super::Error;

/// The port of a `http://` URL that names none (RFC 9110 §4.2.1).
const HTTP_PORT: u16 = 80;
/// The same of a `https://` URL (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// A host (name, IPv4, or IPv6 without brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub secure: bool,
}

impl Authority {
    /// Parses the authority of a URL: the port may be missing.
    fn with_default(text: &str, port: Option<u16>) -> Option<Authority> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(v6) => v6.split_once(']')?,
            None => match text.rfind(':') {
                Some(colon) => text.split_at(colon),
                None => (text, ""),
            },
        };
        let bracketed = text.starts_with('[');
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._%".contains(c) || (bracketed && c == ':');
        if host.is_empty() || !host.chars().all(fits) {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None if rest.is_empty() => port?,
            None => return None,
        };
        Some(Authority { host: host.to_owned(), port, secure: false })
    }
}

/// `host:port`, the port required; or a URL without a path, `https://` for TLS.
impl FromStr for Authority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Authority, Error> {
        let bad = || Error::Authority(text.to_owned());
        match text.contains("://") {
            true => relay_url(text).map_err(|_| bad()),
            false => Authority::with_default(text, None).ok_or_else(bad),
        }
    }
}

impl From<std::net::SocketAddr> for Authority {
    fn from(address: std::net::SocketAddr) -> Authority {
        Authority { host: address.ip().to_string(), port: address.port(), secure: false }
    }
}

/// As in a `Host` header: brackets around IPv6, no port when it is the scheme's own.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            HTTP_PORT if !self.secure => Ok(()),
            HTTPS_PORT if self.secure => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

/// Parses `http[s]://host[:port][/…]`; the path is the caller's business.
///
/// # Errors
/// [`Error::RelayUrl`] for everything that is no such URL.
fn url(text: &str) -> Result<(Authority, &str), Error> {
    let bad = || Error::RelayUrl(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err(bad());
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = if secure { HTTPS_PORT } else { HTTP_PORT };
    Authority::with_default(authority, Some(port)).map(|a| (Authority { secure, ..a }, path)).ok_or_else(bad)
}

/// Parses the relay's URL as the user gives it: `http[s]://host[:port]`, no path.
///
/// # Errors
/// [`Error::RelayUrl`] for everything that is no such URL.
pub fn relay_url(text: &str) -> Result<Authority, Error> {
    match url(text)? {
        (authority, "" | "/") => Ok(authority),
        _ => Err(Error::RelayUrl(text.to_owned())),
    }
}

/// Parses a `Location` that another node of the relay is named by. Its path is the relay domain again and is not
/// looked at.
///
/// # Errors
/// As [`relay_url`].
pub(super) fn location(text: &str) -> Result<Authority, Error> {
    url(text).map(|(authority, _)| authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_needs_a_host_and_a_port() {
        let parsed: Authority = "localhost:8080".parse().unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port), ("localhost", 8080));
        let v6: Authority = "[::1]:22".parse().unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("::1", 22));
        assert_eq!(v6.to_string(), "[::1]:22");
        for bad in ["localhost", ":80", "host:", "host:x", "host:70000", "::1:22", "a b:1", "[::1]", "host:+1"] {
            assert!(bad.parse::<Authority>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_relay_url_has_a_default_port_and_no_path() {
        assert_eq!(relay_url("http://relay.example").unwrap().to_string(), "relay.example");
        assert_eq!(relay_url("HTTP://relay.example:8080/").unwrap().port, 8080);
        let secure = relay_url("https://relay.example").unwrap();
        assert_eq!((secure.port, secure.secure, secure.to_string().as_str()), (443, true, "relay.example"));
        assert_eq!(relay_url("https://relay.example:80").unwrap().to_string(), "relay.example:80");
        assert!("https://target.example:8443".parse::<Authority>().unwrap().secure);
        for bad in ["relay.example", "ftp://relay.example", "http://", "http://u@h/", "http://h/path"] {
            assert!(matches!(relay_url(bad), Err(Error::RelayUrl(_))), "{bad}");
        }
    }

    #[test]
    fn a_location_keeps_only_the_authority() {
        assert_eq!(location("http://10.0.0.2:8081/my-domain").unwrap().to_string(), "10.0.0.2:8081");
    }
}
