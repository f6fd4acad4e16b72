//! Responses of a target that is unaware of the path under which clients see it: where they lead to one of its paths, the
//! part that the relay has stripped is put in front again.
use super::Config;

/// What the relay has stripped from the paths of one request.
pub(super) struct Stripped {
    /// With a slash in front and none behind.
    prefix: Vec<u8>,
    /// The authority that the client asked, which the target may put in front of its paths.
    host: Vec<u8>,
}

impl Stripped {
    /// As the relay says in a request's head; `None` if it has stripped nothing, or nothing like that was asked for.
    pub fn of(head: &[u8], config: &Config) -> Option<Stripped> {
        if !config.strip_prefix {
            return None;
        }
        let prefix = field(head, b"X-Forwarded-Prefix")?;
        let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
        let host = field(head, b"Host").unwrap_or_default();
        prefix.starts_with(b"/").then(|| Stripped { prefix: prefix.into(), host: host.into() })
    }

    /// A response's head with `Location`, `Content-Location` and the paths of cookies (RFC 6265 §5.2.4) below the prefix;
    /// `None` if all are there already.
    pub fn restore(&self, head: &[u8]) -> Option<Vec<u8>> {
        let mut restored = Vec::new();
        let mut done = 0;
        let mut line_at = 0;
        for line in head.split_inclusive(|&b| b == b'\n') {
            if let Some(at) = self.path_in(line) {
                let at = line_at + at;
                restored.extend_from_slice(&head[done..at]);
                restored.extend_from_slice(&self.prefix);
                done = at;
            }
            line_at += line.len();
        }
        if done == 0 {
            return None;
        }
        restored.extend_from_slice(&head[done..]);
        Some(restored)
    }

    /// Where in a field line a path of the target begins that lacks the prefix.
    fn path_in(&self, line: &[u8]) -> Option<usize> {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let at = match () {
            _ if name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location") => {
                self.path_of_reference(value)?
            }
            _ if name.eq_ignore_ascii_case(b"set-cookie") => path_of_cookie(value)?,
            _ => return None,
        };
        let path = &value[at..];
        let behind = path.strip_prefix(&*self.prefix);
        let has_prefix = behind.is_some_and(|rest| !matches!(rest.first(), Some(b) if !b"/?#; \t\r\n".contains(b)));
        (path.starts_with(b"/") && !path.starts_with(b"//") && !has_prefix).then_some(colon + 1 + at)
    }

    /// Where the path of a reference begins, if it leads to the target itself.
    fn path_of_reference(&self, value: &[u8]) -> Option<usize> {
        let start = value.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        for scheme in [&b"http://"[..], b"https://"] {
            let authority = start + scheme.len();
            if value.get(start..authority).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)) {
                let path = authority + memchr::memchr(b'/', &value[authority..])?;
                return value[authority..path].eq_ignore_ascii_case(&self.host).then_some(path);
            }
        }
        Some(start)
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
        let stripped = Stripped { prefix: b"/dev".to_vec(), host: b"relay:8080".to_vec() };
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
            "Set-Cookie: a=b; Path=",
            "X-Location: /x",
            "Link: </x>; rel=preload",
        ] {
            assert_eq!(restored(line), line);
        }
    }
}
