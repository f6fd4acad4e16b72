//! Bytes that carry their owner: every body is a stream that only its key could have made.
use ringback::io::sim::Random;

/// The first `len` bytes that belong to `key`.
pub fn payload(key: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(key.wrapping_mul(0x1000_0001));
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.word().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The key of what client request `id` sends.
pub fn request_key(id: usize) -> u64 {
    id as u64 * 2 + 1
}

/// The key of what is answered to request `id`.
pub fn answer_key(id: usize) -> u64 {
    id as u64 * 2 + 2
}

/// Says where `got` leaves `want`, if it does; being shorter is no fault.
pub fn astray(got: &[u8], want: &[u8]) -> Option<String> {
    if want.starts_with(got) {
        return None;
    }
    let same = got.iter().zip(want).take_while(|(g, w)| g == w).count();
    Some(format!("differs at byte {same} (got {} bytes, {} were sent)", got.len(), want.len()))
}
