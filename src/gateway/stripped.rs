//! Responses of a target that is unaware of the path or the host under which clients see it: where they lead to one of
//! its paths, the part that the relay has stripped is put in front again, and a host that only the target knows is left
//! out.
use super::{Config, TargetHost};
use crate::http::Dialect;

/// What the target of one request does not know.
pub(super) struct Stripped {
    /// What was stripped from the path: with a slash in front and none behind, or empty.
    prefix: Vec<u8>,
    /// The authority that the target was asked by, which it may put in front of its paths.
    host: Vec<u8>,
    /// Whether that is another one than the client asked.
    readdressed: bool,
}

impl Stripped {
    /// As a request's head says that goes to the target; `None` if the target sees what the client sees.
    pub fn of(head: &[u8], config: &Config) -> Option<Stripped> {
        let readdressed = config.target_host != TargetHost::Client;
        // A classic relay passes requests on as they are, so that it would be the client's word.
        let prefix = if config.strip_prefix && config.dialect == Dialect::Ptth {
            field(head, b"X-Forwarded-Prefix")
        } else {
            None
        };
        let prefix = prefix.map(|prefix| prefix.strip_suffix(b"/").unwrap_or(prefix));
        let prefix = prefix.filter(|prefix| prefix.starts_with(b"/")).unwrap_or_default();
        if prefix.is_empty() && !readdressed {
            return None;
        }
        let host = field(head, b"Host").unwrap_or_default();
        Some(Stripped { prefix: prefix.into(), host: host.into(), readdressed })
    }

    /// A response's head with `Location`, `Content-Location` and the paths of cookies (RFC 6265 §5.2.4) below the prefix,
    /// and without the target's own host; `None` if it needs no change.
    pub fn restore(&self, head: &[u8]) -> Option<Vec<u8>> {
        let mut restored = Vec::new();
        let mut done = 0;
        let mut line_at = 0;
        for line in head.split_inclusive(|&b| b == b'\n') {
            if let Some((from, to, with)) = self.mend(line) {
                restored.extend_from_slice(&head[done..line_at + from]);
                restored.extend_from_slice(with);
                done = line_at + to;
            }
            line_at += line.len();
        }
        if done == 0 {
            return None;
        }
        restored.extend_from_slice(&head[done..]);
        Some(restored)
    }

    /// The part of a field line that must be another, and what it must be.
    fn mend(&self, line: &[u8]) -> Option<(usize, usize, &[u8])> {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let (from, path_at) = match () {
            _ if name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location") => {
                self.path_of_reference(value)?
            }
            _ if name.eq_ignore_ascii_case(b"set-cookie") => path_of_cookie(value).map(|at| (at, at))?,
            _ => return None,
        };
        let path = &value[path_at..];
        let behind = path.strip_prefix(&*self.prefix);
        let has_prefix = behind.is_some_and(|rest| !matches!(rest.first(), Some(b) if !b"/?#; \t\r\n".contains(b)));
        let with = if has_prefix { &[] } else { &*self.prefix };
        // Without a prefix in front, browsers would take what follows two slashes, or a backslash, for a host.
        let second = path.get(1).copied().unwrap_or(b' ');
        let is_one = !b"/\\".contains(&second);
        let is_path = path.starts_with(b"/") && is_one && (!second.is_ascii_control() || b"\r\n".contains(&second));
        let changes = from < path_at || !with.is_empty();
        (is_path && changes).then_some((colon + 1 + from, colon + 1 + path_at, with))
    }

    /// Where the path of a reference begins, if it leads to the target itself, and from where on it must be replaced.
    fn path_of_reference(&self, value: &[u8]) -> Option<(usize, usize)> {
        let start = value.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        for scheme in [&b"http://"[..], b"https://"] {
            let authority = start + scheme.len();
            if value.get(start..authority).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)) {
                let path = authority + memchr::memchr(b'/', &value[authority..])?;
                let own = value[authority..path].eq_ignore_ascii_case(&self.host);
                // A host that the client does not know is left out: a reference may be a path alone.
                return own.then_some((if self.readdressed { start } else { path }, path));
            }
        }
        Some((start, start))
    }
}

/// The value of a request's header field.
fn field<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|&b| b == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

/// Where the value of a cookie's last `Path` begins: that is the one that counts.
fn path_of_cookie(value: &[u8]) -> Option<usize> {
    let mut found = None;
    let mut at = 0;
    for attribute in value.split_inclusive(|&b| b == b';') {
        let blanks = attribute.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        if at > 0 && attribute.get(blanks..blanks + 5).is_some_and(|name| name.eq_ignore_ascii_case(b"path=")) {
            found = Some(at + blanks + 5);
        }
        at += attribute.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(lines: &str) -> String {
        restored_by(&Stripped { prefix: b"/dev".to_vec(), host: b"relay:8080".to_vec(), readdressed: false }, lines)
    }

    fn restored_by(stripped: &Stripped, lines: &str) -> String {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
        let whole = stripped.restore(head.as_bytes()).unwrap_or_else(|| head.clone().into_bytes());
        let whole = String::from_utf8(whole).unwrap();
        whole.strip_prefix("HTTP/1.1 200 OK\r\n").and_then(|rest| rest.strip_suffix("\r\n\r\n")).unwrap().to_owned()
    }

    /// What leads to the target's own paths gets the prefix, once.
    #[test]
    fn own_paths_get_the_prefix() {
        for (target, client) in [
            ("Location: /", "Location: /dev/"),
            ("location:/login?next=/", "location:/dev/login?next=/"),
            ("Location: http://relay:8080/login", "Location: http://relay:8080/dev/login"),
            ("LOCATION: HTTPS://Relay:8080/", "LOCATION: HTTPS://Relay:8080/dev/"),
            ("Content-Location: /a", "Content-Location: /dev/a"),
            ("Location: /devil", "Location: /dev/devil"),
            ("Set-Cookie: a=b; Path=/; Secure", "Set-Cookie: a=b; Path=/dev/; Secure"),
            ("Set-Cookie: a=b;path=/api", "Set-Cookie: a=b;path=/dev/api"),
            ("Set-Cookie: a=1; Path=/x; Path=/y", "Set-Cookie: a=1; Path=/x; Path=/dev/y"),
            (
                "A: b\r\nLocation: /x\r\nSet-Cookie: c=d; Path=/",
                "A: b\r\nLocation: /dev/x\r\nSet-Cookie: c=d; Path=/dev/",
            ),
        ] {
            assert_eq!(restored(target), client);
        }
    }

    /// A host that only the target knows is left out, with a prefix and without.
    #[test]
    fn hosts_of_the_target_are_left_out() {
        for (target, with_prefix, without) in [
            ("Location: http://printer:631/a", "Location: /dev/a", "Location: /a"),
            ("Location: https://Printer:631/dev/a", "Location: /dev/a", "Location: /dev/a"),
            ("Location: /a", "Location: /dev/a", "Location: /a"),
            ("Location: http://printer:631//a", "Location: http://printer:631//a", "Location: http://printer:631//a"),
            ("Location: http://printer/a", "Location: http://printer/a", "Location: http://printer/a"),
            (
                "Location: http://printer:631/\\a",
                "Location: http://printer:631/\\a",
                "Location: http://printer:631/\\a",
            ),
            (
                "Location: http://printer:631/\t/a",
                "Location: http://printer:631/\t/a",
                "Location: http://printer:631/\t/a",
            ),
            ("Set-Cookie: a=b; Path=/", "Set-Cookie: a=b; Path=/dev/", "Set-Cookie: a=b; Path=/"),
        ] {
            for (prefix, client) in [("/dev", with_prefix), ("", without)] {
                let host = b"printer:631".to_vec();
                let stripped = Stripped { prefix: prefix.into(), host, readdressed: true };
                assert_eq!(restored_by(&stripped, target), client);
            }
        }
    }

    /// Everything else stays as it is: other hosts, relative references, what has the prefix already.
    #[test]
    fn other_places_stay() {
        for line in [
            "Location: login",
            "Location: ./x/",
            "Location: //other/x",
            "Location: https://other/x",
            "Location: http://relay:8080",
            "Location: http://relay/x",
            "Location: ",
            "Location: /dev",
            "Location: /dev/x",
            "Location: /dev?x",
            "Set-Cookie: a=b",
            "Set-Cookie: path=/x",
            "Set-Cookie: a=b; Path=/dev",
            "Set-Cookie: a=b; Path=/dev; HttpOnly",
            "Location: /\\evil.example/",
            "Location: /\t/evil.example/",
            "Set-Cookie: a=b; Path=",
            "X-Location: /x",
            "Link: </x>; rel=preload",
        ] {
            assert_eq!(restored(line), line);
        }
    }
}
