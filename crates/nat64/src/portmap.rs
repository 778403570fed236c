//! The ports of one pool4 address and protocol: who has which.
//!
//! An index port -> handle (one atomic each, in chunks allocated when first touched) is the 4->6 look-up, without
//! hashing and without a lock; a three-level bitmap behind a mutex, taken only when a mapping is made or removed, finds
//! the next free port in O(1), also when 99 % are taken. The port space is shared by all shards, which keeps exact
//! exhaustion, single-port pools, static entries and claimed SYNs simple.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

use parking_lot::Mutex;

/// Who has a port: shard and BIB entry, encoded by the tables. Zero means nobody.
pub(crate) type Handle = u32;

const CHUNK: usize = 1024;
const CHUNKS: usize = 65_536 / CHUNK;

/// Small until its address is first used.
#[derive(Default)]
pub(crate) struct PortMap(OnceLock<Box<Inner>>);

struct Inner {
    index: [OnceLock<Box<[AtomicU32; CHUNK]>>; CHUNKS],
    taken: Mutex<Taken>,
}

impl PortMap {
    /// Who has `port`, or zero.
    pub(crate) fn get(&self, port: u16) -> Handle {
        let chunk = self.0.get().and_then(|inner| inner.index[usize::from(port) / CHUNK].get());
        chunk.map_or(0, |chunk| chunk[usize::from(port) % CHUNK].load(Ordering::Acquire))
    }

    /// Takes one port for `handle` if it is free.
    pub(crate) fn take(&self, port: u16, handle: Handle) -> bool {
        let inner = self.inner();
        let mut taken = inner.taken.lock();
        let free = !taken.contains(port);
        if free {
            taken.insert(port);
            inner.store(port, handle);
        }
        free
    }

    /// Takes one port for `handle` whoever has it; gives the previous owner, or zero.
    pub(crate) fn seize(&self, port: u16, handle: Handle) -> Handle {
        let inner = self.inner();
        let mut taken = inner.taken.lock();
        taken.insert(port);
        inner.entry(port).swap(handle, Ordering::AcqRel)
    }

    /// Takes the next free port of `ranges` (sorted, disjoint, `total` ports in all), starting at the port number
    /// `start` + this map's counter, modulo `total`. Runs `exhausted` under the lock when there is none.
    pub(crate) fn take_any(
        &self,
        ranges: &[(u16, u16)],
        total: u32,
        start: u64,
        handle: Handle,
        exhausted: impl FnOnce(),
    ) -> Option<u16> {
        let inner = self.inner();
        let mut taken = inner.taken.lock();
        let nth = (start.wrapping_add(u64::from(taken.counter)) % u64::from(total.max(1))) as u32;
        let Some(port) = taken.next_free(ranges, nth) else {
            exhausted();
            return None;
        };
        taken.counter = taken.counter.wrapping_add(1);
        taken.insert(port);
        inner.store(port, handle);
        Some(port)
    }

    /// Gives a port back, if `handle` still has it. Runs `freed` under the lock unless somebody else has it.
    pub(crate) fn release(&self, port: u16, handle: Handle, freed: impl FnOnce()) {
        let inner = self.inner();
        let mut taken = inner.taken.lock();
        match inner.entry(port).compare_exchange(handle, 0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                taken.remove(port);
                freed();
            }
            // It was taken in an earlier map of this address, which left pool4 in between.
            Err(0) => freed(),
            Err(_somebody) => {}
        }
    }

    /// How many ports somebody has.
    pub(crate) fn used(&self) -> u32 {
        self.0.get().map_or(0, |inner| inner.taken.lock().count)
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        let Some(inner) = self.0.get() else { return size_of::<Self>() };
        let chunks = inner.index.iter().filter(|chunk| chunk.get().is_some()).count();
        size_of::<Self>() + size_of::<Inner>() + size_of::<Words>() + chunks * CHUNK * size_of::<AtomicU32>()
    }

    fn inner(&self) -> &Inner {
        self.0.get_or_init(|| {
            Box::new(Inner {
                index: [const { OnceLock::new() }; CHUNKS],
                taken: Mutex::new(Taken::default()),
            })
        })
    }
}

impl Inner {
    fn entry(&self, port: u16) -> &AtomicU32 {
        let chunk = self.index[usize::from(port) / CHUNK]
            .get_or_init(|| Box::new([const { AtomicU32::new(0) }; CHUNK]));
        &chunk[usize::from(port) % CHUNK]
    }

    fn store(&self, port: u16, handle: Handle) {
        self.entry(port).store(handle, Ordering::Release);
    }
}

type Words = [u64; 1024];

/// Bitmap of the ports in use, with two levels above it that tell which words are full.
struct Taken {
    words: Box<Words>,
    full_words: [u64; 16],
    full_groups: u64,
    /// How many ports are in use.
    count: u32,
    /// Mappings made so far: consecutive ones get nearby ports (RFC 6056 3.3.3).
    counter: u32,
}

impl Default for Taken {
    fn default() -> Self {
        Self { words: Box::new([0; 1024]), full_words: [0; 16], full_groups: 0, count: 0, counter: 0 }
    }
}

impl Taken {
    fn contains(&self, port: u16) -> bool {
        self.words[usize::from(port) / 64] & bit(u32::from(port)) != 0
    }

    fn insert(&mut self, port: u16) {
        let word = usize::from(port) / 64;
        self.count += u32::from(!self.contains(port));
        self.words[word] |= bit(u32::from(port));
        if self.words[word] == u64::MAX {
            self.full_words[word / 64] |= bit(word as u32);
            if self.full_words[word / 64] == u64::MAX {
                self.full_groups |= bit(word as u32 / 64);
            }
        }
    }

    fn remove(&mut self, port: u16) {
        let word = usize::from(port) / 64;
        self.count -= u32::from(self.contains(port));
        self.words[word] &= !bit(u32::from(port));
        self.full_words[word / 64] &= !bit(word as u32);
        self.full_groups &= !bit(word as u32 / 64);
    }

    /// The first free port of `ranges` at or after their `nth` port, wrapping round.
    fn next_free(&self, ranges: &[(u16, u16)], mut nth: u32) -> Option<u16> {
        let size = |range: &(u16, u16)| u32::from(range.1 - range.0) + 1;
        let first = ranges.iter().position(|range| {
            let here = nth < size(range);
            if !here {
                nth -= size(range);
            }
            here
        })?;
        let (low, high) = ranges[first];
        let middle = low + nth as u16;
        let after = ranges[first + 1..].iter().chain(&ranges[..first]);
        self.free_between(middle, high)
            .or_else(|| after.copied().find_map(|(low, high)| self.free_between(low, high)))
            .or_else(|| self.free_between(low, middle))
    }

    /// The first free port from `low` to `high`, both included.
    fn free_between(&self, low: u16, high: u16) -> Option<u16> {
        let word = usize::from(low) / 64;
        let port = match first_zero(self.words[word], u32::from(low) % 64) {
            Some(at) => word as u32 * 64 + at,
            None => {
                let word = self.word_with_room(word as u32 + 1)?;
                word * 64 + first_zero(self.words[word as usize], 0)?
            }
        };
        u16::try_from(port).ok().filter(|port| *port <= high)
    }

    /// The first word at or after `from` that has a free port.
    fn word_with_room(&self, from: u32) -> Option<u32> {
        let group = from / 64;
        if let Some(at) = first_zero(*self.full_words.get(group as usize)?, from % 64) {
            return Some(group * 64 + at);
        }
        let group = first_zero(self.full_groups, group + 1)?;
        Some(group * 64 + first_zero(*self.full_words.get(group as usize)?, 0)?)
    }
}

const fn bit(number: u32) -> u64 {
    1 << (number % 64)
}

/// The lowest clear bit of `word` at or above `from`.
fn first_zero(word: u64, from: u32) -> Option<u32> {
    let free = !word & u64::MAX.checked_shl(from)?;
    (free != 0).then(|| free.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_space_gives_out_each_port_once() {
        let map = PortMap::default();
        let ranges = [(0, u16::MAX)];
        let mut seen = BTreeSet::new();
        for handle in 1..=65_536 {
            let port = map.take_any(&ranges, 65_536, 40_000, handle, || ()).expect("a port is left");
            assert!(seen.insert(port) && map.get(port) == handle);
        }
        let mut exhausted = false;
        assert_eq!(map.take_any(&ranges, 65_536, 3, 9, || exhausted = true), None);
        assert!(exhausted);
        map.release(77, 1, || panic!("not the owner"));
        map.release(77, map.get(77), || ());
        assert_eq!(map.take_any(&ranges, 65_536, 3, 9, || ()), Some(77));
        assert_eq!(map.seize(77, 10), 9);
        map.release(77, 9, || panic!("no longer the owner"));
    }

    proptest! {
        /// Against a plain set: the next free port is the one that a walk over the candidates finds.
        #[test]
        fn next_free_matches_a_walk(
            taken in prop::collection::btree_set(0u16..2000, 0..1500),
            mut cuts in prop::collection::btree_set(0u16..2000, 2..8),
            start in any::<u32>(),
        ) {
            if cuts.len() % 2 == 1 { cuts.pop_last(); }
            let cuts: Vec<u16> = cuts.into_iter().collect();
            let ranges: Vec<(u16, u16)> = cuts.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let candidates: Vec<u16> = ranges.iter().flat_map(|(low, high)| *low..=*high).collect();
            let mut bitmap = Taken::default();
            taken.iter().for_each(|port| bitmap.insert(*port));
            let nth = start as usize % candidates.len();
            let expected = candidates[nth..].iter().chain(&candidates[..nth]).find(|port| !taken.contains(port));
            prop_assert_eq!(bitmap.next_free(&ranges, nth as u32), expected.copied());
        }

        /// Takes and releases in any order agree with a set; levels stay consistent.
        #[test]
        fn bitmap_is_a_set(steps in prop::collection::vec((0u16..300, any::<bool>()), 0..400)) {
            let mut bitmap = Taken::default();
            let mut model = BTreeSet::new();
            for (port, insert) in steps {
                if insert { bitmap.insert(port); model.insert(port); } else { bitmap.remove(port); model.remove(&port); }
                prop_assert_eq!(bitmap.contains(port), model.contains(&port));
                prop_assert_eq!(bitmap.count as usize, model.len());
            }
            let free = (0..=u16::MAX).find(|port| !model.contains(port));
            prop_assert_eq!(bitmap.free_between(0, u16::MAX), free);
        }
    }
}
