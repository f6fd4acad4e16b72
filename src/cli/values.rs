//! Values that several commands take: durations, byte counts, addresses and host names.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    time::Duration,
};

/// Parses a duration: numbers, whole or with a decimal point, each with `ms`, `s`, `m` or `h`, as in `1.5s` or `1m30s`.
///
/// # Errors
/// The message for the user: what was given, and an example.
pub fn duration(s: &str) -> Result<Duration, String> {
    // To the millisecond, since most clocks here count no finer.
    sum_of_units(s, 1000.0, "500ms, 1.5s, 1m30s or 1h")
}

/// The same to the microsecond, for what is that short.
///
/// # Errors
/// The message for the user: what was given, and an example.
pub fn fine_duration(s: &str) -> Result<Duration, String> {
    sum_of_units(s, 1e6, "100us, 0.5ms or 0s")
}

/// A sum of numbers with units, rounded to so many parts of a second.
fn sum_of_units(s: &str, parts: f64, examples: &str) -> Result<Duration, String> {
    let bad = || format!("{s:?} is not a duration: write it as in {examples}");
    let (mut rest, mut sum) = (s, Duration::ZERO);
    while !rest.is_empty() || s.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let seconds = match unit {
            "us" if parts > 1000.0 => 1e-6,
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        let number = number.parse::<f64>().ok().filter(|_| number.starts_with(|c: char| c.is_ascii_digit()));
        let whole = number.map(|number| (number * seconds * parts).round()).filter(|&whole| whole < 1e15);
        let part = Duration::from_micros(whole.ok_or_else(bad)? as u64 * (1e6 / parts) as u64);
        sum = sum.checked_add(part).ok_or_else(bad)?;
        rest = behind;
    }
    Ok(sum)
}

/// Parses a number of bytes: a whole number, alone or with `K`, `M` or `G` (also `KiB`, `MiB`, `GiB`), powers of 1024.
///
/// # Errors
/// The message for the user: what was given, and an example.
#[cfg(any(feature = "relay", test))]
pub fn bytes(s: &str) -> Result<u64, String> {
    let bad = || format!("{s:?} is not a number of bytes: write it as in 65536, 16K or 1MiB");
    let (number, unit) = split(s).ok_or_else(bad)?;
    let factor: u64 = match unit {
        "" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).ok_or_else(bad)
}

/// The number and what follows it.
fn split(s: &str) -> Option<(u64, &str)> {
    let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (number, unit) = s.split_at(digits);
    number.parse().ok().map(|number| (number, unit))
}

/// Parses addresses to listen on: `address:port`; `name:port`, which means each of the name's addresses; a port alone,
/// with or without a colon before it, which means all addresses of this machine.
///
/// # Errors
/// The message for the user: what was given, and an example.
pub fn addresses(s: &str) -> Result<Addresses, String> {
    let (host, port) = s.rsplit_once(':').unwrap_or(match s.bytes().all(|b| b.is_ascii_digit()) {
        true => ("", s),
        false => (s, ""),
    });
    if port.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(format!("{s:?} has no port: write it as in 127.0.0.1:8080, [::1]:8080 or :8080"));
    }
    let whole = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    let Ok(port) = port.parse::<u16>() else {
        let range = if whole(port) { "is out of range, give 0 to 65535" } else { "is not a number" };
        return Err(format!("the port of {s:?} {range}"));
    };
    if host.is_empty() {
        // Takes IPv4, too; but not every machine has it.
        let all: IpAddr = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
            Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
            Err(_) => Ipv4Addr::UNSPECIFIED.into(),
        };
        return Ok(Addresses(vec![SocketAddr::from((all, port))]));
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = (host, port).to_socket_addrs();
    let mut found: Vec<_> = found.map_err(|error| format!("cannot find the address of {host:?}: {error}"))?.collect();
    found.dedup();
    Ok(Addresses(found))
}

/// Addresses that one value names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<SocketAddr>);

/// Parses a host name: lower-cased, without a final dot.
///
/// # Errors
/// The message for the user: what was given, and what to give instead.
#[cfg(feature = "relay")]
pub fn hostname(s: &str) -> Result<String, String> {
    if let Some((_, rest)) = s.split_once("://") {
        let name = rest.split(['/', ':']).next().unwrap_or_default();
        return Err(format!("{s:?} is a URL: give the host name alone, as in {name}"));
    }
    if s.parse::<IpAddr>().is_ok() || s.starts_with('[') {
        return Err(format!("{s:?} is an address, to the left of which no name can stand: give a host name"));
    }
    if let Some((name, _)) = s.split_once(':') {
        return Err(format!("{s:?} has a port: give the host name alone, as in {name}"));
    }
    let name = s.strip_suffix('.').unwrap_or(s);
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..64).contains(&label.len()) && label.chars().all(fits)
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(format!("{s:?} is not a host name: write it as in relay.example.com"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let millis = |s| duration(s).map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("2s"), Ok(2000));
        assert_eq!(millis("1m"), Ok(60_000));
        assert_eq!(millis("1h"), Ok(3_600_000));
        assert_eq!(millis("0s"), Ok(0));
        assert_eq!(millis("1.5s"), Ok(1500));
        assert_eq!(millis("1m30s"), Ok(90_000));
        assert_eq!(millis("1h0.5m250ms"), Ok(3_630_250));
        for bad in
            ["", "2", "s", "-1s", "1 s", "1d", "99999999999999999h", ".5s", "1..5s", "1m30", "1m s", "1e3s", "1,5s"]
        {
            let message = duration(bad).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")) && message.contains("500ms"), "{message}");
        }
        assert!(duration("1us").is_err());
        assert_eq!(fine_duration("1.5ms20us"), Ok(Duration::from_micros(1520)));
        assert!(fine_duration("1").unwrap_err().contains("100us"));
    }

    /// A port alone is one of all addresses, a name means its addresses, and whatever cannot be one is named.
    #[test]
    fn addresses_may_be_short() {
        let parse = |s| addresses(s).map(|Addresses(list)| list);
        assert_eq!(parse("127.0.0.1:8080"), Ok(vec![([127, 0, 0, 1], 8080).into()]));
        assert_eq!(parse("[::1]:8080"), Ok(vec![(Ipv6Addr::LOCALHOST, 8080).into()]));
        for all in ["8080", ":8080"] {
            let list = parse(all).unwrap();
            assert!(list.len() == 1 && list[0].ip().is_unspecified() && list[0].port() == 8080, "{all}: {list:?}");
        }
        let list = parse("localhost:8080").unwrap();
        assert!(!list.is_empty() && list.iter().all(|one| one.ip().is_loopback() && one.port() == 8080), "{list:?}");
        for (bad, why) in [
            ("127.0.0.1", "no port"),
            ("127.0.0.1:", "no port"),
            ("::1", "no port"),
            ("::1:8080", "no port"),
            ("nowhere", "no port"),
            ("127.0.0.1:99999", "out of range"),
            ("99999", "out of range"),
            ("127.0.0.1:http", "not a number"),
        ] {
            let message = parse(bad).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")) && message.contains(why), "{message}");
        }
    }

    /// A host name is brought to one form; a URL, a port or an address is refused with words.
    #[cfg(feature = "relay")]
    #[test]
    fn host_names_have_one_form() {
        assert_eq!(hostname("Relay.Example.COM."), Ok("relay.example.com".to_owned()));
        assert_eq!(hostname("localhost"), Ok("localhost".to_owned()));
        for (bad, why) in [
            ("", "not a host name"),
            (".", "not a host name"),
            ("a..b", "not a host name"),
            ("a b", "not a host name"),
            ("http://x", "as in x"),
            ("https://x.example:8080/y", "as in x.example"),
            ("x.example:8080", "as in x.example"),
            ("127.0.0.1", "an address"),
            ("::1", "an address"),
            ("[::1]:80", "an address"),
        ] {
            let message = hostname(bad).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")) && message.contains(why), "{message}");
        }
    }

    #[test]
    fn bytes_may_have_a_binary_unit() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("16K"), Ok(16_384));
        assert_eq!(bytes("16KiB"), Ok(16_384));
        assert_eq!(bytes("1M"), Ok(1 << 20));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for bad in ["", "K", "1k", "1KB", "-1", "1.5M", "99999999999999G"] {
            let message = bytes(bad).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")) && message.contains("16K"), "{message}");
        }
    }
}
