//! Records in chunks, numbered by `u32`: growing never moves a record, and a freed number is used again before a new
//! one. Memory is kept at its high-water mark, which the limits of the policy bound.

use core::ops::{Index, IndexMut};

/// Records per chunk.
const CHUNK: usize = 1024;

/// No record. Never handed out as a number.
pub(crate) const NIL: u32 = u32::MAX;

enum Slot<T> {
    Used(T),
    /// The next free slot, or [`NIL`].
    Free(u32),
}

/// Numbered records.
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    free: u32,
    used: usize,
    /// Numbers are below this.
    limit: u32,
}

impl<T> Slab<T> {
    /// A slab whose numbers stay below `limit`.
    pub(crate) fn new(limit: u32) -> Self {
        Self { chunks: Vec::new(), free: NIL, used: 0, limit }
    }

    /// Stores a record; `None` when every number is taken.
    pub(crate) fn insert(&mut self, record: T) -> Option<u32> {
        if self.free == NIL {
            self.grow()?;
        }
        let number = self.free;
        let slot = self.slot_mut(number)?;
        let Slot::Free(next) = *slot else { return None };
        *slot = Slot::Used(record);
        self.free = next;
        self.used += 1;
        Some(number)
    }

    /// Takes a record out; its number is free again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(number)?;
        if matches!(slot, Slot::Free(_)) {
            return None;
        }
        let Slot::Used(record) = core::mem::replace(slot, Slot::Free(free)) else { return None };
        self.free = number;
        self.used -= 1;
        Some(record)
    }

    /// The record of a number that may be stale.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        match self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)? {
            Slot::Used(record) => Some(record),
            Slot::Free(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Used(record) => Some(record),
            Slot::Free(_) => None,
        }
    }

    /// Above every number in use: the end of a walk over all.
    pub(crate) fn end(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Slot<T>>()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut(number as usize / CHUNK)?.get_mut(number as usize % CHUNK)
    }

    fn grow(&mut self) -> Option<()> {
        let first = self.end();
        let after = first.checked_add(CHUNK as u32).filter(|end| *end <= self.limit)?;
        let next = |number| if number + 1 == after { NIL } else { number + 1 };
        self.chunks.push((first..after).map(|number| Slot::Free(next(number))).collect());
        self.free = first;
        Some(())
    }
}

/// For the numbers that the tables keep themselves: they are live by construction (a record's number leaves every
/// list and index before the record is removed).
impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[expect(clippy::expect_used, reason = "a stale number inside the tables is our own bug; see above")]
    fn index(&self, number: u32) -> &T {
        // Invariant: `number` comes from a list or index of the same shard, which hold live records only.
        self.get(number).expect("a live record")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[expect(clippy::expect_used, reason = "a stale number inside the tables is our own bug; see above")]
    fn index_mut(&mut self, number: u32) -> &mut T {
        // Invariant: as for `index`.
        self.get_mut(number).expect("a live record")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_and_bounded() {
        let mut slab = Slab::new(2 * CHUNK as u32 + 7);
        let numbers: Vec<u32> = core::iter::from_fn(|| slab.insert(0u64)).collect();
        assert_eq!(numbers.len(), 2 * CHUNK, "whole chunks below the limit");
        assert_eq!(slab.remove(5), Some(0));
        assert_eq!(slab.remove(5), None);
        assert!(slab.get(5).is_none() && slab.get(NIL).is_none());
        assert_eq!(slab.insert(9), Some(5));
        assert_eq!(slab.insert(9), None);
        assert_eq!(slab.len(), 2 * CHUNK);
    }
}
