//! The first message of a TLS connection, before there is a state for it.
use super::records::RECORD_BYTES;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The beginning of a ClientHello.
    Partial,
    /// A whole one.
    Whole,
    /// TLS, but no such message: to be answered as the protocol wants it.
    Odd,
    /// No TLS at all.
    Plain,
}

/// Whether `bytes` hold a whole ClientHello, which may be spread over several records (RFC 8446 §5.1).
pub fn hello(bytes: &[u8]) -> Hello {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    /// Of records; none of these bytes begins what is not TLS.
    const KINDS: std::ops::RangeInclusive<u8> = 20..=24;
    let (mut rest, mut message, mut needed) = (bytes, 0, None);
    let mut header = [0; 4];
    loop {
        match rest.first() {
            None => return Hello::Partial,
            Some(&HANDSHAKE) => {}
            Some(kind) if rest.len() == bytes.len() && !KINDS.contains(kind) => return Hello::Plain,
            Some(_) => return Hello::Odd,
        }
        let Some(&[_, major, _, high, low]) = rest.first_chunk::<5>() else { return Hello::Partial };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if major != 3 || len == 0 || len > RECORD_BYTES {
            return Hello::Odd;
        }
        let whole = rest.len() >= 5 + len;
        for &byte in rest[5..].iter().take(len) {
            if message < 4 {
                header[message] = byte;
            }
            message += 1;
            if message == 4 {
                if header[0] != CLIENT_HELLO {
                    return Hello::Odd;
                }
                needed = Some(4 + u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize);
            }
            if needed.is_some_and(|needed| message >= needed) {
                return Hello::Whole;
            }
        }
        if !whole {
            return Hello::Partial;
        }
        rest = &rest[5 + len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello of so many bytes, in records of these lengths, the last of which takes the rest.
    fn in_records(len: usize, records: &[usize]) -> Vec<u8> {
        let [_, a, b, c] = (len as u32 - 4).to_be_bytes();
        let mut message = vec![1, a, b, c];
        message.resize(len, 7);
        let (mut bytes, mut rest) = (Vec::new(), &message[..]);
        for &record in records.iter().chain([&usize::MAX]) {
            let (now, later) = rest.split_at(record.min(rest.len()).min(RECORD_BYTES));
            rest = later;
            if now.is_empty() {
                break;
            }
            let [high, low] = (now.len() as u16).to_be_bytes();
            bytes.extend_from_slice(&[22, 3, 1, high, low]);
            bytes.extend_from_slice(now);
        }
        bytes
    }

    /// What is no TLS is told from TLS that begins with something else.
    #[test]
    fn the_first_byte_tells() {
        for plain in [&b"GET / HTTP/1.1"[..], b"\0", b"\x80\x2e\x01", b"SSH-2.0"] {
            assert_eq!(hello(plain), Hello::Plain, "{plain:?}");
        }
        for odd in [
            &[21, 3, 3, 0, 2, 1, 0][..],
            &[23, 3, 3, 0, 1, 0],
            &[22, 2, 0, 0, 1, 1],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
        ] {
            assert_eq!(hello(odd), Hello::Odd, "{odd:?}");
        }
    }

    proptest! {
        /// However it is spread over records, it is whole with its last byte and not before; what follows does not matter.
        #[test]
        fn it_is_whole_with_its_last_byte(
            len in 4usize..3000,
            records in prop::collection::vec(1usize..400, 0..20),
            more in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut bytes = in_records(len, &records);
            for end in (0..bytes.len()).rev().take(12).chain(0..bytes.len().min(12)) {
                prop_assert_eq!(hello(&bytes[..end]), Hello::Partial, "{} of {}", end, bytes.len());
            }
            prop_assert_eq!(hello(&bytes), Hello::Whole);
            bytes.extend(more);
            prop_assert_eq!(hello(&bytes), Hello::Whole);
        }

        /// Whatever comes: once it is told what it is, more bytes do not change that.
        #[test]
        fn more_bytes_change_nothing(bytes in prop::collection::vec(prop::sample::select(vec![22u8, 3, 1, 0, 4, 9]), 0..60)) {
            let mut told = None;
            for end in 0..=bytes.len() {
                let now = hello(&bytes[..end]);
                prop_assert!(told.is_none_or(|told| told == now), "{told:?}, then {now:?}");
                told = told.or(Some(now)).filter(|&now| now != Hello::Partial);
            }
        }
    }
}
