//! What exactly is wrong with a head that the parser refused. Only ever run for heads that are refused.
use super::{Refusal, class};
use httparse::Error;

/// Names the fault that made httparse stop with `error` in `bytes`, a request head.
#[cold]
pub(super) fn in_request(error: Error, bytes: &[u8]) -> Refusal {
    let line = match memchr::memchr(b'\n', bytes) {
        Some(end) => &bytes[..end],
        None => bytes,
    };
    match error {
        Error::Version if names_a_version(line) => Refusal::UnsupportedVersion,
        Error::Token | Error::Version | Error::Status => in_request_line(line),
        Error::NewLine if has_bare_cr(bytes) => Refusal::BareCr,
        Error::NewLine => Refusal::BadRequestLine,
        _ => in_headers(error, bytes),
    }
}

/// Names the fault that made httparse stop with `error` among the headers of `bytes`, any head.
#[cold]
pub(super) fn in_headers(error: Error, bytes: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::TooManyHeaders,
        Error::HeaderName => in_names(bytes),
        Error::NewLine => Refusal::BareCr,
        _ => in_values(bytes),
    }
}

fn in_request_line(line: &[u8]) -> Refusal {
    if line.contains(&0) {
        Refusal::Nul
    } else if has_bare_cr(line) {
        Refusal::BareCr
    } else if line.split(|&b| b == b' ').nth(1).is_some_and(|target| !target.is_ascii()) {
        // What is not even UTF-8.
        Refusal::BadTargetCharacter
    } else {
        Refusal::BadRequestLine
    }
}

/// Whether the third word of a request line is an HTTP version, if one that nobody speaks here.
fn names_a_version(line: &[u8]) -> bool {
    let mut words = line.splitn(3, |&b| b == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/")).unwrap_or_default();
    let version = version.strip_suffix(b"\r").unwrap_or(version);
    !version.is_empty() && version.iter().all(|&b| b.is_ascii_digit() || b == b'.')
}

/// A carriage return that another byte than a line feed follows. One at the very end may yet be followed by one.
fn has_bare_cr(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
}

/// The first header line whose name is not a token with a colon behind it.
fn in_names(bytes: &[u8]) -> Refusal {
    for line in bytes.split(|&b| b == b'\n').skip(1) {
        let end = line.iter().position(|&b| !class::is_token(b)).unwrap_or(line.len());
        let rest = &line[end..];
        match rest.first() {
            Some(b':') if end > 0 => continue,
            Some(0) => return Refusal::Nul,
            Some(b'\r') if rest.len() > 1 => return Refusal::BareCr,
            Some(b' ' | b'\t') if end == 0 => return Refusal::ObsFold,
            Some(b' ' | b'\t') if rest.trim_ascii_start().first() == Some(&b':') => {
                return Refusal::SpaceBeforeColon;
            }
            _ => return Refusal::BadHeaderName,
        }
    }
    Refusal::BadHeaderName
}

/// The first byte that no field value may have. Names and first line are known to be in order.
fn in_values(bytes: &[u8]) -> Refusal {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&b| !class::is_value(b)) {
        rest = match &rest[at..] {
            [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
            [b'\r', ..] => return Refusal::BareCr,
            [0, ..] => return Refusal::Nul,
            _ => break,
        };
    }
    Refusal::BadHeaderValue
}
