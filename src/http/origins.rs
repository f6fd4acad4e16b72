//! Registrations by origin: `/.well-known/ptth/{serialized_origin}/` of draft-kazuho-ptth-ptth.
use super::authority::Authority;
use super::domain::{self, DOMAIN_BYTES_MAX, Domain};
use super::{Refusal, class, target};

/// Longest serialized origin, in bytes: scheme, name, trailing dot, port.
const ORIGIN_BYTES_MAX: usize = "https://".len() + DOMAIN_BYTES_MAX + ".:65535".len();

/// The relay domains of a list of origins, each once.
#[derive(Clone, Debug)]
pub(super) struct Origins<'a> {
    /// The list: percent-encoded origins with commas between them (RFC 6570 §3.2.1).
    list: &'a [u8],
    /// How many of them have been read.
    read: usize,
    /// The relay's own names.
    hostnames: &'a [String],
}

/// The origins in what follows `/.well-known` in a path. `None` if that is something else.
pub(super) fn in_path<'a>(rest: &'a [u8], hostnames: &'a [String]) -> Option<Origins<'a>> {
    let list = rest.strip_prefix(b"/ptth/")?;
    let end = list.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(list.len());
    let is_whole = matches!(list[end..], [] | [b'/'] | [b'?', ..] | [b'/', b'?', ..]);
    is_whole.then_some(Origins { list: &list[..end], read: 0, hostnames })
}

impl Iterator for Origins<'_> {
    type Item = Result<Domain, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let origin = self.origins().nth(self.read)?;
            let before = self.read;
            self.read += 1;
            let domain = match self.domain(origin) {
                Ok(domain) => domain,
                refusal => return Some(refusal),
            };
            // Origins that differ in scheme or port alone are one domain. The list is short.
            let is_new = |other: &[u8]| self.domain(other).is_ok_and(|other| other.as_bytes() != domain.as_bytes());
            if self.origins().take(before).all(is_new) {
                return Some(Ok(domain));
            }
        }
    }
}

impl<'a> Origins<'a> {
    /// How many origins the list has.
    pub fn listed(&self) -> usize {
        self.origins().count()
    }

    fn origins(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.list.split(|&b| b == b',')
    }

    /// The domain of one origin.
    fn domain(&self, origin: &[u8]) -> Result<Domain, Refusal> {
        let mut bytes = [0; ORIGIN_BYTES_MAX];
        let origin = decode(origin, &mut bytes).ok_or(Refusal::BadOrigin)?;
        let authority = [&b"https://"[..], b"http://"].into_iter().find_map(|scheme| target::behind(scheme, origin));
        let authority = authority.and_then(Authority::parse).ok_or(Refusal::BadOrigin)?;
        let host = authority.host.strip_suffix(b".").unwrap_or(authority.host);
        match domain::labels_left(host, self.hostnames) {
            Some(labels) => Domain::new(labels),
            None if self.hostnames.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(host)) => {
                Err(Refusal::ReservedDomain)
            }
            None => Domain::new(host),
        }
    }
}

/// Takes the percent-encoding out of `origin`. `None` if it is broken, or too long.
fn decode<'b>(origin: &[u8], out: &'b mut [u8; ORIGIN_BYTES_MAX]) -> Option<&'b [u8]> {
    let (mut rest, mut len) = (origin, 0);
    while !rest.is_empty() {
        *out.get_mut(len)? = class::percent_decoded(&mut rest)?;
        len += 1;
    }
    Some(&out[..len])
}
