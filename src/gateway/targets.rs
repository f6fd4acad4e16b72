//! Where requests go: one target, or several by path, and the name that they are asked by.
use super::{Authority, Error};
use crate::http::{HEADERS_MAX, Parse, request};

/// The targets of one relay domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Those with the longest paths first.
    routes: Vec<Route>,
}

/// Requests for a path and everything below it go to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    /// Without a slash at its end; empty for all paths.
    path: String,
    to: Authority,
}

/// The `Host` that targets get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TargetHost {
    /// The client's.
    #[default]
    Client,
    /// The target's own host and port.
    Target,
    /// This one.
    Fixed(String),
}

impl From<Authority> for Targets {
    fn from(to: Authority) -> Targets {
        Targets { routes: vec![Route { path: String::new(), to }] }
    }
}

impl Targets {
    /// Targets by the paths that they see: a request goes to the one with the longest path that its own begins with,
    /// whole segments compared as they are.
    ///
    /// # Errors
    /// [`Error::TargetPath`] for a path that does not begin with a slash, or has something else in it than a path has;
    /// [`Error::TargetTwice`].
    pub fn by_path(targets: impl IntoIterator<Item = (String, Authority)>) -> Result<Targets, Error> {
        let mut routes = Vec::<Route>::new();
        for (given, to) in targets {
            let path = given.strip_suffix('/').unwrap_or(&given).to_owned();
            let is_path = given.starts_with('/') && given.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b));
            if !is_path && !given.is_empty() {
                return Err(Error::TargetPath(given));
            }
            if routes.iter().any(|route| route.path == path) {
                return Err(Error::TargetTwice(if path.is_empty() { "/".to_owned() } else { path }));
            }
            routes.push(Route { path, to });
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        Ok(Targets { routes })
    }

    /// The target of a request with this target in its request line.
    pub(super) fn of(&self, request_target: &[u8]) -> Option<&Authority> {
        let path = path_of(request_target);
        let below = |route: &&Route| {
            let rest = path.strip_prefix(route.path.as_bytes());
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
        };
        self.routes.iter().find(below).map(|route| &route.to)
    }

    /// The target of requests without a path: tunnels.
    pub(super) fn of_tunnels(&self) -> Option<&Authority> {
        self.of(b"/")
    }
}

impl TargetHost {
    /// As given by a user: `target`, or a host with or without a port.
    ///
    /// # Errors
    /// [`Error::TargetHost`].
    pub fn parse(text: &str) -> Result<TargetHost, Error> {
        if text == "target" {
            return Ok(TargetHost::Target);
        }
        // By the rules that it will be read by.
        let head = format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n");
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        match request::parse(head.as_bytes(), HEADERS_MAX) {
            Ok(Parse::Complete(_)) if plain => Ok(TargetHost::Fixed(text.to_owned())),
            _ => Err(Error::TargetHost(text.to_owned())),
        }
    }

    /// The `Host` for a target, if it is not the client's.
    pub(super) fn of(&self, target: &Authority) -> Option<String> {
        match self {
            TargetHost::Client => None,
            TargetHost::Target => Some(target.to_string()),
            TargetHost::Fixed(host) => Some(host.clone()),
        }
    }
}

/// The path, and what follows it, of a request target in origin or absolute form (RFC 9112 §3.2).
fn path_of(request_target: &[u8]) -> &[u8] {
    if request_target.starts_with(b"/") {
        return request_target;
    }
    let behind_scheme = memchr::memmem::find(request_target, b"://").map_or(0, |at| at + 3);
    let authority = &request_target[behind_scheme..];
    let path = authority.iter().position(|&b| b"/?#".contains(&b));
    path.map_or(b"/", |at| &authority[at..])
}

/// The request target of a head.
pub(super) fn request_target(head: &[u8]) -> &[u8] {
    let mut words = head.trim_ascii_start().split(|&b| b == b' ');
    words.nth(1).unwrap_or_default()
}

/// A request's head with another `Host`.
pub(super) fn with_host(head: &[u8], host: &str) -> Vec<u8> {
    let line = |own: &mut Vec<u8>| {
        own.extend_from_slice(b"Host: ");
        own.extend_from_slice(host.as_bytes());
        own.extend_from_slice(b"\r\n");
    };
    let mut own = Vec::with_capacity(head.len() + host.len() + 8);
    let mut named = false;
    let blanks = head.len() - head.trim_ascii_start().len();
    for (nth, text) in head[blanks..].split_inclusive(|&b| b == b'\n').enumerate() {
        let name = text.split(|&b| b == b':').next().unwrap_or_default();
        match () {
            _ if nth > 0 && name.eq_ignore_ascii_case(b"host") => {
                if !named {
                    line(&mut own);
                }
                named = true;
                continue;
            }
            // HTTP/1.0 may come without.
            _ if text.trim_ascii().is_empty() && !named => line(&mut own),
            _ => {}
        }
        own.extend_from_slice(text);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(list: &[(&str, u16)]) -> Result<Targets, Error> {
        Targets::by_path(
            list.iter().map(|&(path, port)| (path.to_owned(), Authority { host: "h".into(), port, secure: false })),
        )
    }

    /// The longest path wins, at a boundary of segments only, whatever the order; what no path begins goes nowhere.
    #[test]
    fn the_longest_path_wins() {
        for list in [&[("", 1), ("/api", 2), ("/api/v2/", 3)][..], &[("/api/v2", 3), ("/api/", 2), ("/", 1)]] {
            let targets = targets(list).unwrap();
            for (asked, port) in [
                ("/", 1),
                ("/apis", 1),
                ("/x/api", 1),
                ("?x", 1),
                ("/API", 1),
                ("/api", 2),
                ("/api?x=/api/v2", 2),
                ("/api/", 2),
                ("/api/v20", 2),
                ("/api/v2", 3),
                ("/api/v2/x", 3),
                ("http://relay/api/v2", 3),
                ("http://relay:8080", 1),
                ("*", 1),
            ] {
                assert_eq!(targets.of(asked.as_bytes()).map(|to| to.port), Some(port), "{asked}");
            }
        }
        let only = targets(&[("/api", 2)]).unwrap();
        assert_eq!((only.of(b"/"), only.of_tunnels()), (None, None));
    }

    /// What is no path, and what is there twice, is refused by name.
    #[test]
    fn bad_paths_are_named() {
        for bad in ["api", "/a b", "/a?b", "/\u{e4}"] {
            assert!(targets(&[(bad, 1)]).is_err_and(|error| error.to_string().contains(bad)), "{bad}");
        }
        assert!(targets(&[("", 1), ("/", 2)]).is_err());
        assert!(targets(&[("/a", 1), ("/a/", 2)]).is_err_and(|error| error.to_string().contains("/a")));
        for bad in ["", "a b", "a\r\nb", "http://a", "a:b", "a:b:c", "[", "a%zz", "[::1", "::1", ":80", "a:99999", "x]"]
        {
            assert!(TargetHost::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// One Host, and only that, is another; one that is missing is added.
    #[test]
    fn the_host_is_replaced() {
        for (head, own) in [
            (
                "GET / HTTP/1.1\r\nA: b\r\nhost: c\r\nHosts: d\r\n\r\n",
                "GET / HTTP/1.1\r\nA: b\r\nHost: x:1\r\nHosts: d\r\n\r\n",
            ),
            ("GET / HTTP/1.0\r\nA: b\r\n\r\n", "GET / HTTP/1.0\r\nA: b\r\nHost: x:1\r\n\r\n"),
            ("\r\nGET Host:/ HTTP/1.1\nHost: c\n\n", "GET Host:/ HTTP/1.1\nHost: x:1\r\n\n"),
        ] {
            assert_eq!(String::from_utf8(with_host(head.as_bytes(), "x:1")).unwrap(), own);
        }
        assert_eq!(request_target(b"\r\nGET /a?b HTTP/1.1\r\n"), b"/a?b");
    }
}
