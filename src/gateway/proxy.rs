//! The way to the relay: straight, or through an HTTP proxy by `CONNECT` (RFC 9110 §9.3.6).
use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{Authority, Error, Trusted, buffer::Buffer, clock::within, head, link::Link, socket};
use crate::http::Method;

/// Which proxy leads to which relay.
#[derive(Clone, Default)]
pub struct Proxies {
    matcher: Option<Arc<Matcher>>,
    /// Whether they also lead to relays on this machine.
    even_here: bool,
}

/// A proxy, and what it wants to be told.
#[derive(Debug)]
struct Proxy {
    at: Authority,
    authorization: Option<Vec<u8>>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without passwords.
        f.write_str(if self.matcher.is_some() { "Proxies(…)" } else { "Proxies(none)" })
    }
}

impl Proxies {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, or their names in lower case. Those for HTTPS count, since the
    /// connection to a relay, too, is one that the proxy only carries. Addresses of this machine itself need no proxy.
    pub fn from_env() -> Proxies {
        Proxies { matcher: Some(Arc::new(Matcher::from_env())), even_here: false }
    }

    /// The variables that are set, and name no proxy that could be used: the first such, for a warning.
    pub fn unusable_in_env() -> Option<&'static str> {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find(|name| {
            std::env::var_os(name).is_some_and(|url| url.to_str().is_none_or(|url| Proxies::only(url).is_err()))
        })
    }

    /// One proxy for every relay, whatever the environment says; none for an empty `url`.
    ///
    /// # Errors
    /// [`Error::Proxy`].
    pub fn only(url: &str) -> Result<Proxies, Error> {
        if url.is_empty() {
            return Ok(Proxies::default());
        }
        let proxies = Proxies { matcher: Some(Arc::new(Matcher::builder().all(url).build())), even_here: true };
        let anywhere = Authority { host: "relay.example".to_owned(), port: 80, secure: false };
        match proxies.to(&anywhere)? {
            Some(_) => Ok(proxies),
            None => Err(Error::Proxy(without_login(url))),
        }
    }

    /// The proxy that leads to a relay, for the log.
    ///
    /// # Errors
    /// [`Error::Proxy`] if it is of a kind that is not supported.
    pub fn name(&self, relay: &Authority) -> Result<Option<String>, Error> {
        Ok(self.to(relay)?.map(|proxy| proxy.at.to_string()))
    }

    fn to(&self, relay: &Authority) -> Result<Option<Proxy>, Error> {
        let Some(matcher) = &self.matcher else { return Ok(None) };
        let here = relay.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) || relay.host == "localhost";
        let uri = format!("https://{}", whole(relay)).parse::<Uri>();
        let Some(found) = uri.ok().filter(|_| self.even_here || !here).and_then(|uri| matcher.intercept(&uri)) else {
            return Ok(None);
        };
        let uri = found.uri();
        let bad = || Error::Proxy(format!("{}://{}", uri.scheme_str().unwrap_or(""), uri.host().unwrap_or("")));
        if uri.scheme_str() != Some("http") {
            return Err(bad());
        }
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let at = Authority { host, port: uri.port_u16().unwrap_or(80), secure: false };
        Ok(Some(Proxy { at, authorization: found.basic_auth().map(|value| value.as_bytes().to_vec()) }))
    }
}

/// A proxy's URL as it may be told: without user and password.
fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((_, rest)) if scheme.is_empty() => rest.to_owned(),
        Some((_, rest)) => format!("{scheme}://{rest}"),
        None => url.to_owned(),
    }
}

/// Longest silence of the kernel of a relay, or of a proxy on the way to it, that is asked something: as long as a relay
/// itself has patience with a body. A parked connection, of which a NAT knows no more, is found to be gone after this time.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Interim responses of a proxy before its answer.
const INTERIM_MAX: usize = 10;

/// Host and port, the port also if it is HTTP's own.
fn whole(authority: &Authority) -> String {
    match authority.host.contains(':') {
        true => format!("[{}]:{}", authority.host, authority.port),
        false => format!("{}:{}", authority.host, authority.port),
    }
}

/// Connects, like [`socket::connect`], and by TLS if that is spoken there.
///
/// # Errors
/// Those of [`socket::connect`], and of the TLS handshake.
pub(super) async fn straight(
    to: &Authority,
    trust: Option<&Trusted>,
    timeout: Duration,
    idle: Duration,
) -> io::Result<Link> {
    secured(socket::connect(to, timeout, idle).await?, to, trust, timeout).await
}

async fn secured(stream: TcpStream, to: &Authority, trust: Option<&Trusted>, timeout: Duration) -> io::Result<Link> {
    match (to.secure, trust) {
        (false, _) => Ok(Link::plain(stream)),
        (true, Some(trust)) => within(timeout, Link::secure(stream, &trust.0, &to.host)).await,
        (true, None) => Err(io::Error::other("it speaks TLS, for which nothing was set up")),
    }
}

/// Connects to a relay, like [`straight`], through a proxy if there is one for it.
///
/// # Errors
/// Those of [`straight`], and what the proxy says.
pub(super) async fn connect(
    relay: &Authority,
    proxies: &Proxies,
    trust: Option<&Trusted>,
    timeout: Duration,
    idle: Duration,
) -> io::Result<Link> {
    let idle = idle.min(SILENCE_MAX);
    let Some(proxy) = proxies.to(relay).map_err(io::Error::other)? else {
        return straight(relay, trust, timeout, idle).await;
    };
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("the proxy {}: {error}", proxy.at));
    let mut stream = socket::connect(&proxy.at, timeout, idle).await.map_err(failed)?;
    within(timeout, ask(&mut stream, &proxy, relay)).await.map_err(failed)?;
    secured(stream, relay, trust, timeout).await
}

/// Asks a proxy for a way to the relay.
async fn ask(stream: &mut TcpStream, proxy: &Proxy, relay: &Authority) -> io::Result<()> {
    let to = whole(relay);
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let mut answer = Buffer::default();
    for _ in 0..INTERIM_MAX {
        let Some(head) = head::response(stream, &mut answer, Method::Connect).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let head = head.map_err(|_| io::Error::other("its answer is not HTTP; is it an HTTP proxy?"))?;
        answer.consume(usize::from(head.len));
        match head.status {
            100..=199 => {}
            // A relay does not speak first.
            200..=299 if answer.is_empty() => return Ok(()),
            200..=299 => return Err(io::Error::other("it sent something behind its answer")),
            407 => return Err(io::Error::other("it wants a name and a password (407): give them in its URL")),
            status => return Err(io::Error::other(format!("it answered {status} to CONNECT {to}"))),
        }
    }
    Err(io::Error::other("it goes on with interim responses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(host: &str) -> Authority {
        Authority { host: host.to_owned(), port: 80, secure: false }
    }

    /// A proxy has a host, a port, and perhaps a name and a password; relays on this machine need none, unless told.
    #[test]
    fn proxies_are_named() {
        let proxies = Proxies::only("http://user:p%40ss@proxy.example:3128").unwrap();
        let proxy = proxies.to(&relay("relay.example")).unwrap().unwrap();
        assert_eq!(proxy.at, Authority { host: "proxy.example".into(), port: 3128, secure: false });
        assert_eq!(proxy.authorization.as_deref(), Some(&b"Basic dXNlcjpwQHNz"[..]));
        assert!(!format!("{proxies:?}").contains("ss"));
        let from_env = Proxies { even_here: false, ..proxies.clone() };
        for here in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(from_env.name(&relay(here)).unwrap(), None);
            assert!(proxies.name(&relay(here)).unwrap().is_some());
        }
        assert!(from_env.name(&relay("relay.example")).unwrap().is_some());
        let proxy = Proxies::only("http://[::1]").unwrap().to(&relay("2001:db8::1")).unwrap().unwrap();
        assert_eq!(proxy.at, Authority { host: "::1".into(), port: 80, secure: false });
        assert_eq!(Proxies::only("").unwrap().name(&relay("relay.example")).unwrap(), None);
    }

    /// What is no HTTP proxy is refused by name.
    #[test]
    fn other_proxies_are_refused() {
        for bad in ["socks5://proxy.example", "https://proxy.example", "http://", "http://a b"] {
            assert!(Proxies::only(bad).is_err(), "{bad}");
        }
    }
}
