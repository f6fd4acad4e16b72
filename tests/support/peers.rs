//! Gateways of both dialects, and clients.
use super::{Peer, Server, eventually};

pub const PTTH_101: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n";
pub const CLASSIC_101: &[u8] = b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n";
pub const CLASSIC_204: &[u8] = b"HTTP/1.1 204 \r\n\r\n";

/// How a gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Classic,
    Ptth,
}

pub const BOTH: [Dialect; 2] = [Dialect::Classic, Dialect::Ptth];

/// The bytes of a classic registration.
pub fn classic_post(domain: &str) -> String {
    format!("POST /{domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay\r\n\r\n")
}

/// The bytes of a `ptth` registration with more headers of one's own, each with its line end.
pub fn ptth_get(domain: &str, more: &str) -> String {
    format!(
        "GET /{domain} HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: h2, http%2F1.1\r\n{more}\r\n"
    )
}

impl Server {
    /// A gateway that is parked.
    pub fn gateway(&self, dialect: Dialect, domain: &str) -> Peer {
        match dialect {
            Dialect::Classic => self.classic(domain),
            Dialect::Ptth => self.ptth(domain),
        }
    }

    /// A parked `ptth` gateway.
    pub fn ptth(&self, domain: &str) -> Peer {
        let mut gateway = self.connect();
        gateway.send(ptth_get(domain, ""));
        gateway.expect(PTTH_101);
        gateway
    }

    /// A classic gateway that the relay knows of.
    pub fn classic(&self, domain: &str) -> Peer {
        let mut gateway = self.connect();
        self.post(&mut gateway, domain);
        gateway
    }

    /// Registers a classic gateway, and waits until that is done: there is no answer to wait for.
    pub fn post(&self, gateway: &mut Peer, domain: &str) {
        let before = self.count(|counters| counters.registered.value());
        gateway.send(classic_post(domain));
        eventually("a classic gateway is registered", || self.count(|counters| counters.registered.value()) > before);
    }

    /// A client that has sent these bytes.
    pub fn client(&self, bytes: impl AsRef<[u8]>) -> Peer {
        let mut client = self.connect();
        client.send(bytes);
        client
    }
}

impl Dialect {
    /// What a gateway receives for a client's request with `Host: relay`, whose head is all lines up to the blank one
    /// and has nothing in it that is meant for one hop. `first` is whether the gateway was parked before.
    pub fn seen(self, head: &str, first: bool) -> Vec<u8> {
        match self {
            Dialect::Classic if first => [CLASSIC_101, head.as_bytes(), b"\r\n"].concat(),
            Dialect::Classic => [head.as_bytes(), b"\r\n"].concat(),
            Dialect::Ptth => [head.as_bytes(), ADDED.as_bytes(), b"\r\n"].concat(),
        }
    }
}

/// What `ptth` gateways learn about a client at 127.0.0.1 that asked for `Host: relay`.
pub const ADDED: &str = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: relay\r\n";

/// A request's head up to its blank line, without that.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: relay\r\n")
}

/// A whole response.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
