//! Values that several commands take: durations and byte counts.
use std::time::Duration;

/// Parses a duration: a whole number and `ms`, `s`, `m` or `h`.
///
/// # Errors
/// The message for the user: what was given, and an example.
pub fn duration(s: &str) -> Result<Duration, String> {
    let bad = || format!("{s:?} is not a duration: write it as in 500ms, 2s, 1m or 1h");
    let (number, unit) = split(s).ok_or_else(bad)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(bad()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(bad)
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
        for bad in ["", "2", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999h"] {
            let message = duration(bad).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")) && message.contains("500ms"), "{message}");
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
