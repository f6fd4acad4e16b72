//! Records by number, in chunks that never move: growing copies nothing and leaves no holes behind.

/// A growing array that is allocated piece by piece.
#[derive(Debug)]
pub struct Chunked<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Chunked { chunks: Vec::new() }
    }
}

/// Records in a chunk; a power of two, so that finding one is a shift and a mask.
const CHUNK: usize = 256;

impl<T> Chunked<T> {
    /// How many records there are.
    pub fn count(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Appends a record and returns its number.
    pub fn push(&mut self, record: T) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(last) = self.chunks.last_mut() {
            last.push(record);
        }
        (self.count() - 1) as u32
    }

    /// A record, if there is one of that number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }
}

impl<T> std::ops::Index<u32> for Chunked<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

impl<T> std::ops::IndexMut<u32> for Chunked<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are given in order and lead to their records across chunks.
    #[test]
    fn records_keep_their_numbers() {
        let mut chunked = Chunked::<u32>::default();
        assert_eq!(chunked.count(), 0);
        for n in 0..1000u32 {
            assert_eq!(chunked.push(n * 2), n);
        }
        chunked[700] += 1;
        assert_eq!((chunked.count(), chunked[0], chunked[255], chunked[256], chunked[700]), (1000, 0, 510, 512, 1401));
        assert_eq!((chunked.get(999), chunked.get(1000), chunked.get(5000)), (Some(&1998), None, None));
    }
}
