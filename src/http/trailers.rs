//! Fields that must not come as trailers (RFC 9110 §6.5.1).
//!
//! A recipient that merges them into the header section would see another message than the relay forwarded. The
//! parser of the chunked coding has no room for a name, so it keeps a hash of it; two names with one hash would only
//! mean that an unknown trailer is refused.

/// The hash of no bytes: FNV-1a, 64 bits.
pub(super) const START: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of a name, one byte longer, whatever its case.
#[inline]
pub(super) const fn hash(so_far: u64, b: u8) -> u64 {
    (so_far ^ b.to_ascii_lowercase() as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

/// What names of a proxy's own fields begin with: no such field is for the next hop.
pub(super) const PROXY: u64 = of("proxy-");

/// The one field that begins like those and is for everybody behind; it may be a trailer (RFC 9209 §2).
pub(super) const PROXY_STATUS: u64 = of("proxy-status");

/// Names of fields that frame or route a message, modify a request, authenticate, or say how to read the content.
const FORBIDDEN: [&str; 38] = [
    "authorization",
    "x-relay-authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
];

const HASHES: [u64; FORBIDDEN.len()] = {
    let mut hashes = [0; FORBIDDEN.len()];
    let mut i = 0;
    while i < FORBIDDEN.len() {
        hashes[i] = of(FORBIDDEN[i]);
        i += 1;
    }
    hashes
};

/// Whether a name with this hash must not be a trailer's.
pub(super) fn is_forbidden(hash: u64) -> bool {
    HASHES.contains(&hash)
}

/// The hash of a whole name.
const fn of(name: &str) -> u64 {
    let name = name.as_bytes();
    let mut hashed = START;
    let mut i = 0;
    while i < name.len() {
        hashed = hash(hashed, name[i]);
        i += 1;
    }
    hashed
}
