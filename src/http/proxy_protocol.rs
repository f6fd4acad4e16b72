//! The PROXY protocol, versions 1 and 2: a proxy in front says whom it speaks for, before the first byte of HTTP.
//!
//! Only for connections from proxies that the relay trusts: anybody can write such a header.
//! See HAProxy's `doc/proxy-protocol.txt`, sections 2.1 and 2.2.
use super::{Parse, Refusal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a PROXY header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Bytes of the header; 0 if there is none, and HTTP begins at once.
    pub len: usize,
    /// The client. `None` if the proxy speaks for itself, does not know, or names no TCP connection.
    pub source: Option<SocketAddr>,
}

/// What version 1 begins with.
const V1_START: &[u8] = b"PROXY ";

/// Longest line of version 1, in bytes, its line end included (§2.1).
const V1_BYTES_MAX: usize = 107;

/// What version 2 begins with. No HTTP message does.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 up to the addresses.
const V2_FIXED: usize = 16;

/// Longest header of version 2 that is taken, in bytes. Addresses take at most 216; the rest is for a proxy's own
/// remarks (§2.2.7), of which a certificate's name is the longest.
pub const V2_BYTES_MAX: usize = 2048;

/// Reads the PROXY header at the start of `bytes`, if there is one.
///
/// # Errors
/// [`Refusal::BadProxyHeader`] for one that is malformed or too long.
pub fn parse(bytes: &[u8]) -> Result<Parse<Proxied>, Refusal> {
    match bytes {
        _ if bytes.starts_with(V1_START) => version_1(bytes),
        _ if bytes.starts_with(V2_START) => version_2(bytes),
        _ if V1_START.starts_with(bytes) || V2_START.starts_with(bytes) => Ok(Parse::Partial),
        _ => Ok(Parse::Complete(Proxied { len: 0, source: None })),
    }
}

/// `PROXY TCP4 source destination port port`, or `PROXY UNKNOWN` and whatever.
fn version_1(bytes: &[u8]) -> Result<Parse<Proxied>, Refusal> {
    let seen = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(lf) = memchr::memchr(b'\n', seen) else {
        let is_over = seen.len() == V1_BYTES_MAX;
        return if is_over { Err(Refusal::BadProxyHeader) } else { Ok(Parse::Partial) };
    };
    let line = seen[..lf].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let source = line.and_then(source_in_line).ok_or(Refusal::BadProxyHeader)?;
    Ok(Parse::Complete(Proxied { len: lf + 1, source }))
}

/// The source in a line of version 1. `None` if the line is malformed.
fn source_in_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let (_, protocol) = (words.next()?, words.next()?);
    let read: fn(&str) -> Option<IpAddr> = match protocol {
        "UNKNOWN" => return Some(None),
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (source, _) = (read(words.next()?)?, read(words.next()?)?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(SocketAddr::new(source, source_port)))
}

/// Digits, without leading zeros (§2.1).
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

/// Signature, version and command, family and protocol, length, addresses, remarks.
fn version_2(bytes: &[u8]) -> Result<Parse<Proxied>, Refusal> {
    let Some(&[command, family, high, low]) = bytes.get(V2_START.len()..V2_FIXED) else {
        return Ok(Parse::Partial);
    };
    let len = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > V2_BYTES_MAX {
        return Err(Refusal::BadProxyHeader);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Refusal::BadProxyHeader),
    };
    let Some(header) = bytes.get(..len) else {
        return Ok(Parse::Partial);
    };
    let addresses = &header[V2_FIXED..];
    let source = match family {
        // A proxy that asks for itself, to see whether we are there: the addresses mean nothing (§2.2).
        _ if is_local => None,
        0x11 => Some(source_v4(addresses).ok_or(Refusal::BadProxyHeader)?),
        0x21 => Some(source_v6(addresses).ok_or(Refusal::BadProxyHeader)?),
        // Unspecified, datagrams, and Unix sockets: known, and no TCP connection.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err(Refusal::BadProxyHeader),
    };
    Ok(Parse::Complete(Proxied { len, source }))
}

/// Both addresses, then both ports.
fn source_v4(addresses: &[u8]) -> Option<SocketAddr> {
    let (octets, port) = (addresses.first_chunk::<4>()?, addresses.get(8..12)?);
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(*octets)), u16::from_be_bytes([port[0], port[1]])))
}

fn source_v6(addresses: &[u8]) -> Option<SocketAddr> {
    let (octets, port) = (addresses.first_chunk::<16>()?, addresses.get(32..36)?);
    Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*octets)), u16::from_be_bytes([port[0], port[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn complete(bytes: &[u8]) -> Option<Proxied> {
        match parse(bytes) {
            Ok(Parse::Complete(proxied)) => Some(proxied),
            _ => None,
        }
    }

    /// A header of version 2 for `source`, with `remarks` behind its addresses.
    fn v2(source: SocketAddr, remarks: &[u8]) -> Vec<u8> {
        let mut rest = match source.ip() {
            IpAddr::V4(ip) => [ip.octets(), [10, 0, 0, 1]].concat(),
            IpAddr::V6(ip) => [ip.octets(), [7; 16]].concat(),
        };
        rest.extend(source.port().to_be_bytes());
        rest.extend([0, 80]);
        rest.extend_from_slice(remarks);
        let family = if source.is_ipv4() { 0x11 } else { 0x21 };
        let len = (rest.len() as u16).to_be_bytes();
        [V2_START, &[0x21, family], &len, &rest].concat()
    }

    /// Lines of version 1, the longest included.
    #[test]
    fn lines() {
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (line, source) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443".into(), Some("192.0.2.7:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 65535".into(), Some("[2001:db8::1]:1")),
            (format!("PROXY TCP6 {full} {full} 65535 65535"), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
            ("PROXY UNKNOWN".into(), None),
            (format!("PROXY UNKNOWN {full} {full} 65535 65535"), None),
        ] {
            let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
            let expected = Proxied { len: line.len() + 2, source: source.map(|source| source.parse().unwrap()) };
            assert_eq!(complete(bytes.as_bytes()), Some(expected), "{line}");
        }
    }

    /// Malformed headers of either version.
    #[test]
    fn malformed() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY unknown\r\n",
            &long,
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Refusal::BadProxyHeader), "{line:?}");
        }
        let good = v2("192.0.2.7:1".parse().unwrap(), b"");
        for (at, byte) in [(12, 0x22), (12, 0x11), (13, 0x41), (13, 0x13), (14, 8), (15, 11)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(parse(&bad), Err(Refusal::BadProxyHeader), "{byte:#x} at {at}");
        }
    }

    /// LOCAL, unspecified and Unix connections name nobody, whatever follows.
    #[test]
    fn nobody_named() {
        for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x20, 0x77), (0x21, 0x00), (0x21, 0x31), (0x21, 0x12)] {
            let bytes = [V2_START, &[command, family, 0, 3], b"abcGET / HTTP/1.1"].concat();
            assert_eq!(complete(&bytes), Some(Proxied { len: 19, source: None }), "{command:#x} {family:#x}");
        }
    }

    /// What begins otherwise is no header at all, known at the first byte that differs.
    #[test]
    fn plain_http() {
        for bytes in ["GET /", "POST /", "PR/", "PROXY/", "\r\nGET", "\r\n\r\nG", "\n", "\x16\x03"] {
            assert_eq!(complete(bytes.as_bytes()), Some(Proxied { len: 0, source: None }), "{bytes:?}");
        }
        for bytes in ["", "P", "PROXY", "\r", "\r\n\r\n", "PROXY TCP4 1"] {
            assert_eq!(parse(bytes.as_bytes()), Ok(Parse::Partial), "{bytes:?}");
        }
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from),];
        (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        /// Both versions say what they were made from, every prefix is partial, and what follows does not matter.
        #[test]
        fn headers_say_what_they_were_made_from(
            source in address(),
            remarks in prop::collection::vec(any::<u8>(), 0..300),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (protocol, to) = if source.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "::") };
            let line = format!("PROXY {protocol} {} {to} {} 80\r\n", source.ip(), source.port());
            for header in [line.into_bytes(), v2(source, &remarks)] {
                for len in 0..header.len() {
                    prop_assert_eq!(parse(&header[..len]), Ok(Parse::Partial), "{} bytes", len);
                }
                let expected = Proxied { len: header.len(), source: Some(source) };
                prop_assert_eq!(complete(&[&header[..], &behind].concat()), Some(expected));
            }
        }

        /// Arbitrary bytes behind either start: no panic, and never more taken than there is.
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200), zero in any::<bool>()) {
            for start in [V1_START, V2_START, &[V2_START, &[0x21, 0x11, 0]].concat(), b""] {
                let mut bytes = [start, &noise].concat();
                if zero && bytes.len() > 14 {
                    bytes[14] = 0;
                }
                if let Ok(Parse::Complete(proxied)) = parse(&bytes) {
                    prop_assert!(proxied.len <= bytes.len());
                }
            }
        }
    }
}
