//! Networks of addresses.
use std::{net::IpAddr, str::FromStr};

/// A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4 mapped.
    address: u128,
    mask: u128,
}

impl Network {
    /// Whether an address, IPv4 mapped, lies in it.
    pub fn contains(&self, address: &[u8; 16]) -> bool {
        u128::from_be_bytes(*address) & self.mask == self.address
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is not an address or network: give 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits, least) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96),
            IpAddr::V6(v6) => (v6.to_bits(), 0),
        };
        let length = length.map_or(128, |length| length + least);
        if length > 128 {
            return Err(wrong());
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        Ok(Network { address: bits & mask, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn octets(address: &str) -> [u8; 16] {
        match address.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
        }
    }

    /// Networks contain their addresses and no others, IPv4 and IPv6 alike; what is none is named.
    #[test]
    fn networks_contain_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::/0", "8.8.8.8", ""),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(&octets(inside)), "{network:?} {inside}");
            assert!(outside.is_empty() || !network.contains(&octets(outside)), "{network:?} {outside}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.1/-1"] {
            assert!(bad.parse::<Network>().is_err_and(|error| error.contains(bad)), "{bad}");
        }
    }
}
