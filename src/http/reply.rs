//! What a client gets of a response's head.
//!
//! Usually the head goes on from where it lies, with a few places left out and a line added. A head that is to be
//! written anew is copied line by line; both ways say the same of the same head.
use super::framing::decimal;
use super::response::{NotAResponse, is_tunnel, is_unframed};
use super::{Body, Dialect, Method, Parts, ResponseHead, Version, class, hops};

/// What is answered, over which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The request's method.
    pub method: Method,
    /// Whether the request asks to switch protocols.
    pub upgrade: bool,
    /// Whether the client speaks HTTP/1.0.
    pub http10: bool,
    /// Whether the client is a front proxy. Some (nginx 1.22) take an interim response other than 100 for the
    /// final one, and the final one for the response to the next request, which may be another user's.
    pub proxy: bool,
    /// How the gateway speaks.
    pub dialect: Dialect,
    /// Whether the client's connection may be kept behind the response, as far as is known without it.
    pub keep_client: bool,
}

/// What follows a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another response to the same request; this one is interim.
    Another,
    /// The same, but this one is not for the client: it does not know interim responses (RFC 9110 §15.2).
    AnotherUnseen,
    /// The body, and with it the exchange ends.
    Body,
    /// Raw bytes both ways.
    Tunnel,
}

/// A response on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What follows its head.
    pub then: Then,
    /// Its body, as the client gets it.
    pub body: Body,
    /// Whether the client's connection is kept.
    pub keep_client: bool,
    /// Whether the gateway's connection is kept.
    pub keep_gateway: bool,
    /// How the gateway speaks: hop-by-hop headers of a classic one pass.
    dialect: Dialect,
    /// The `Connection` line that is added, or nothing.
    connection: &'static [u8],
    /// Whether the client, which speaks HTTP/1.1, gets an HTTP/1.0 response.
    promoted: bool,
    /// Whether the client does not know the chunked coding.
    unchunked: bool,
    /// Neither `Content-Length` nor `Transfer-Encoding` has a meaning here.
    unframed: bool,
    /// Whether the head is written anew.
    anew: bool,
}

/// The start of a status line of ours.
const VERSION: &[u8] = b"HTTP/1.1";

impl Reply {
    /// Decides what becomes of a response.
    ///
    /// # Errors
    /// A switch of protocols that the client did not ask for.
    pub fn new(head: &ResponseHead, asked: &Asked) -> Result<Reply, NotAResponse> {
        if head.status == 101 && !asked.upgrade {
            return Err(NotAResponse::Bad("the switch of protocols was not asked for"));
        }
        let classic = asked.dialect == Dialect::Classic;
        let then = match head.status {
            _ if is_tunnel(asked.method, head.status) => Then::Tunnel,
            100..200 if asked.http10 || (asked.proxy && head.status != 100) => Then::AnotherUnseen,
            100..200 => Then::Another,
            _ => Then::Body,
        };
        let is_final = matches!(then, Then::Body | Then::Tunnel);
        let unchunked = asked.http10 && head.chunked;
        let body = match head.body {
            Body::Chunked(_) if unchunked => Body::DECODED,
            body => body,
        };
        let ends_with_close = matches!(body, Body::DECODED | Body::UntilClose);
        let keep_client = asked.keep_client && !(is_final && (ends_with_close || (classic && !head.keep_alive)));
        let promoted = head.version == Version::Http10 && !asked.http10;
        let connection = match then {
            Then::Another | Then::AnotherUnseen | Then::Tunnel => &b""[..],
            // What a classic gateway says of its connection stays, unless what it says here is no longer so.
            Then::Body if classic => match !keep_client && !head.close && (promoted || body == Body::DECODED) {
                true => &b"Connection: close\r\n"[..],
                false => b"",
            },
            Then::Body if head.status == 426 && keep_client => b"Connection: upgrade\r\n",
            Then::Body if head.status == 426 => b"Connection: upgrade, close\r\n",
            Then::Body if keep_client && asked.http10 => b"Connection: keep-alive\r\n",
            Then::Body if keep_client => b"",
            Then::Body => b"Connection: close\r\n",
        };
        Ok(Reply {
            then,
            body,
            keep_client,
            keep_gateway: head.keep_alive,
            dialect: asked.dialect,
            connection,
            promoted,
            unchunked,
            unframed: is_unframed(asked.method, head.status),
            anew: head.rewrite || unchunked || (classic && !connection.is_empty() && !head.cuts.is_empty()),
        })
    }

    /// Appends the head at the start of `bytes` to `parts`, as the client gets it. `room` is for a head that is
    /// written anew, and stays as it is for any other.
    pub fn push_head<'a>(&self, parts: &mut Parts<'a>, bytes: &'a [u8], head: &ResponseHead, room: &'a mut Vec<u8>) {
        let bytes = &bytes[..usize::from(head.len)];
        if self.anew {
            room.clear();
            self.write(bytes, head, room);
            return parts.push(room);
        }
        let from = if self.promoted { VERSION.len() } else { 0 };
        if self.promoted {
            parts.push(VERSION);
        }
        let none = super::Cuts::default();
        let cuts = if self.dialect == Dialect::Classic { &none } else { &head.cuts };
        if self.connection.is_empty() {
            return parts.push_head(bytes, from, bytes.len(), cuts);
        }
        parts.push_head(bytes, from, bytes.len() - b"\r\n".len(), cuts);
        parts.push(self.connection);
        parts.push(b"\r\n");
    }

    /// Writes a head anew.
    #[cold]
    fn write(&self, bytes: &[u8], head: &ResponseHead, out: &mut Vec<u8>) {
        out.reserve(bytes.len() + self.connection.len());
        let mut lines = lines(bytes);
        let status_line = lines.next().unwrap_or_default();
        let (version, status) = status_line.split_at(VERSION.len());
        out.extend_from_slice(if self.promoted { VERSION } else { version });
        out.extend_from_slice(status);
        if status.len() == b" 200".len() {
            out.push(b' ');
        }
        out.extend_from_slice(b"\r\n");
        let named = self.named(bytes, head);
        let mut length_seen = false;
        for line in lines {
            let (name, value) = field(line);
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if self.drops(name, head, &named) {
                continue;
            }
            if is("content-length") {
                let first = class::raw_elements(value).next().and_then(decimal);
                if let Some(length) = first.filter(|_| !std::mem::replace(&mut length_seen, true)) {
                    out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
                }
                continue;
            }
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(self.connection);
        out.extend_from_slice(b"\r\n");
    }

    /// What `Connection` names to be left out.
    fn named<'a>(&self, bytes: &'a [u8], head: &ResponseHead) -> Vec<&'a [u8]> {
        if self.dialect == Dialect::Classic || head.status == 101 {
            return Vec::new();
        }
        let fields = lines(bytes).skip(1).map(field);
        let connections = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
        let options = connections.flat_map(|(_, value)| class::elements(value));
        options.filter(|option| !hops::is_kept(option) && !option.eq_ignore_ascii_case(b"close")).collect()
    }

    /// Whether a field does not go on.
    fn drops(&self, name: &[u8], head: &ResponseHead, named: &[&[u8]]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("content-length") {
            return self.unframed;
        }
        if is("transfer-encoding") {
            return self.unframed || self.unchunked;
        }
        if is("trailer") && self.unchunked {
            return true;
        }
        match self.dialect {
            _ if head.status == 101 => false,
            Dialect::Classic => !self.connection.is_empty() && (is("connection") || is("keep-alive")),
            // Says which protocol the client is to switch to (RFC 9110 §15.5.22).
            Dialect::Ptth if is("upgrade") && head.status == 426 => false,
            Dialect::Ptth => {
                is("connection")
                    || is("upgrade")
                    || hops::always(name)
                    || named.iter().any(|option| option.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// The lines of a well-formed head without their line ends, up to the blank one.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.take_while(|line| !line.is_empty())
}

/// A field's name and value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    (&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii())
}
