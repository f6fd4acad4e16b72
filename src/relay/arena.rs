//! Records by number, in segments that never move: growing copies nothing and does not fragment memory.

/// A growing array that is allocated segment by segment.
#[derive(Debug)]
pub struct Arena<T> {
    segments: Vec<Vec<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { segments: Vec::new() }
    }
}

/// Records in a segment; a power of two, so that finding one is a shift and a mask.
const SEGMENT: usize = 256;

impl<T> Arena<T> {
    /// Number of records.
    pub fn count(&self) -> usize {
        self.segments.last().map_or(0, |last| (self.segments.len() - 1) * SEGMENT + last.len())
    }

    /// Appends a record and returns its number.
    pub fn push(&mut self, record: T) -> u32 {
        if self.segments.last().is_none_or(|last| last.len() == SEGMENT) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(last) = self.segments.last_mut() {
            last.push(record);
        }
        (self.count() - 1) as u32
    }

    /// The record with that number, if there is one.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.segments.get(number as usize / SEGMENT)?.get(number as usize % SEGMENT)
    }

    /// Two different records at once.
    ///
    /// # Panics
    /// They are the same.
    pub fn pair(&mut self, one: u32, other: u32) -> (&mut T, &mut T) {
        let place = |number: u32| (number as usize / SEGMENT, number as usize % SEGMENT);
        let ((segment, at), (other_segment, other_at)) = (place(one), place(other));
        if segment == other_segment {
            let [one, other] = self.segments[segment].get_disjoint_mut([at, other_at]).expect("two records");
            return (one, other);
        }
        let [one, other] = self.segments.get_disjoint_mut([segment, other_segment]).expect("two segments");
        (&mut one[at], &mut other[other_at])
    }
}

impl<T> std::ops::Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.segments[number as usize / SEGMENT][number as usize % SEGMENT]
    }
}

impl<T> std::ops::IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.segments[number as usize / SEGMENT][number as usize % SEGMENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are given in order and lead to their records across segments.
    #[test]
    fn records_keep_their_numbers() {
        let mut arena = Arena::<u32>::default();
        assert_eq!(arena.count(), 0);
        for n in 0..1000u32 {
            assert_eq!(arena.push(n * 2), n);
        }
        arena[700] += 1;
        assert_eq!((arena.count(), arena[0], arena[255], arena[256], arena[700]), (1000, 0, 510, 512, 1401));
        assert_eq!((arena.get(999), arena.get(1000), arena.get(5000)), (Some(&1998), None, None));
    }
}
