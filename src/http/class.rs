//! Classes of bytes that the grammars name.

/// `tchar` of RFC 9110 §5.6.2: what methods, field names and codings are made of.
const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");

/// `reg-name` of RFC 3986 §3.2.2, which is also what relay domains are made of.
const NAME: [bool; 256] = table(b"-._~%!$&'()*+,;=");

/// What request targets are made of (RFC 3986 appendix A).
const TARGET: [bool; 256] = table(b"-._~:/?#[]@!$&'()*+,;=%");

/// Whether `b` may stand in a token.
#[inline]
pub(super) fn is_token(b: u8) -> bool {
    TOKEN[usize::from(b)]
}

/// Whether `b` may stand in a host name or a relay domain.
#[inline]
pub(super) fn is_name(b: u8) -> bool {
    NAME[usize::from(b)]
}

/// Whether `b` may stand in a field value, whitespace included (RFC 9110 §5.5).
#[inline]
pub(super) fn is_value(b: u8) -> bool {
    b == b'\t' || (b >= b' ' && b != 0x7f)
}

/// Whether `b` may stand in a request target. All that RFC 3986 has, fragments' sign and brackets included; the rest is
/// read in different ways by different recipients.
#[inline]
pub(super) fn is_target(b: u8) -> bool {
    TARGET[usize::from(b)]
}

/// Takes one byte, or its percent-encoding in either case, from the start of `rest`. `None` at the end, and where the
/// encoding is broken.
pub(super) fn percent_decoded(rest: &mut &[u8]) -> Option<u8> {
    let (b, behind) = match **rest {
        [b'%', high, low, ref behind @ ..] => (hex(high)? << 4 | hex(low)?, behind),
        [b'%', ..] | [] => return None,
        [b, ref behind @ ..] => (b, behind),
    };
    *rest = behind;
    Some(b)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// The non-empty elements of a comma-separated list (RFC 9110 §5.6.1), without the whitespace around them.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    raw_elements(value).filter(|element| !element.is_empty())
}

/// Like [`elements`], with the empty ones: for lists in which an empty element is a reason for distrust.
pub(super) fn raw_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Letters, digits and `others`.
const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}
