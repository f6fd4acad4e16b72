//! Bytes that nobody can mistake for others: a pseudo-random stream, made and hashed piece by piece.

/// A generator (xorshift64*), and the hash (FNV-1a) of what it has made.
pub struct Stream {
    state: u64,
    hash: Hash,
}

/// A hash of bytes as they come, whatever their pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    hash: u64,
    bytes: u64,
}

impl Stream {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Stream {
        Stream { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, hash: Hash::new() }
    }

    /// The stream's next bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            let next = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            word.copy_from_slice(&next[..word.len()]);
        }
        self.hash.update(bytes);
    }

    /// The hash of all bytes so far.
    pub fn hash(&self) -> Hash {
        self.hash.clone()
    }
}

impl Hash {
    pub fn new() -> Hash {
        Hash { hash: 0xcbf2_9ce4_8422_2325, bytes: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.bytes += bytes.len() as u64;
    }
}
