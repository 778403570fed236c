//! An index from hashes to record numbers, eight bytes per place: half of the hash and the number side by side, linear
//! probing. A look-up costs one cache miss where a table with separate control bytes costs two, and growing needs
//! neither the records nor their hashes again.

use crate::slab::NIL;

/// A place: hash in the upper half, number in the lower.
type Place = u64;

const EMPTY: Place = NIL as Place;

/// Hash -> number of a record. Different records may have the same hash.
pub(crate) struct Index {
    /// A power of two in number, or none. Never full.
    places: Box<[Place]>,
    used: usize,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { places: Box::default(), used: 0 }
    }

    /// The record with this hash for which `same` holds.
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, same).map(|at| self.places[at] as u32)
    }

    /// Adds a record.
    pub(crate) fn insert(&mut self, hash: u64, number: u32) {
        if (self.used + 1) * 4 > self.places.len() * 3 {
            let grown = vec![EMPTY; (self.places.len() * 2).max(16)].into_boxed_slice();
            let old = core::mem::replace(&mut self.places, grown);
            old.iter().filter(|place| !is_empty(**place)).for_each(|place| self.put(*place));
        }
        self.put((u64::from(tag(hash)) << 32) | u64::from(number));
        self.used += 1;
    }

    /// Takes a record out, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut hole) = self.position(hash, |other| other == number) else { return };
        let mask = self.places.len() - 1;
        let mut at = hole;
        // Those behind move up, unless that would put one before its home.
        loop {
            at = (at + 1) & mask;
            let place = self.places[at];
            if is_empty(place) {
                break;
            }
            let home = self.home(place);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.places[hole] = place;
                hole = at;
            }
        }
        self.places[hole] = EMPTY;
        self.used -= 1;
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    fn position(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let tag = tag(hash);
        let mut at = tag as usize & mask;
        loop {
            let place = self.places[at];
            if is_empty(place) {
                return None;
            }
            if (place >> 32) as u32 == tag && same(place as u32) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Puts a place where it belongs; there is room.
    fn put(&mut self, place: Place) {
        let mask = self.places.len() - 1;
        let mut at = self.home(place);
        while !is_empty(self.places[at]) {
            at = (at + 1) & mask;
        }
        self.places[at] = place;
    }

    fn home(&self, place: Place) -> usize {
        (place >> 32) as usize & (self.places.len() - 1)
    }
}

/// The half of a hash that is kept.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

const fn is_empty(place: Place) -> bool {
    place as u32 == NIL
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set, with few different hashes, so that records share places and wrap round the end.
        #[test]
        fn an_index_is_a_set(steps in prop::collection::vec((0u64..24, 0u32..6, any::<bool>()), 0..300)) {
            let mut index = Index::new();
            let mut model = BTreeSet::new();
            // Homes near the end of the table.
            let spread = |hash: u64| (0xffff_fff8 ^ (hash % 8) ^ (hash / 8) << 20) << 32;
            for (hash, number, insert) in steps {
                if insert && model.insert((hash, number)) {
                    index.insert(spread(hash), number);
                } else if !insert {
                    index.remove(spread(hash), number);
                    model.remove(&(hash, number));
                }
                prop_assert_eq!(index.len(), model.len());
                for hash in 0..24 {
                    for number in 0..6 {
                        let found = index.find(spread(hash), |other| other == number);
                        let expected = model.iter().any(|other| spread(other.0) == spread(hash) && other.1 == number);
                        prop_assert_eq!(found.is_some(), expected);
                    }
                }
            }
        }
    }
}
