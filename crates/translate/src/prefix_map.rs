//! Longest-prefix match over IPv4 or IPv6 prefixes, as the tables of RFC 7757 3 need it.
//!
//! One hash table per prefix length in use, tried from the longest to the shortest. Loading and changing an entry
//! is O(1), a look-up takes one probe per length in use: real tables have few lengths and very many entries. Keys
//! come from the operator, never from packets, so a fast keyed hash is enough: a remote can neither fill the table
//! nor, without the key, aim at its longer probes.

use std::net::{Ipv4Addr, Ipv6Addr};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// The secret of a map's hash: 16 random bytes.
pub type Seed = [u64; 2];

/// An address that prefixes are made of.
pub trait Address: Copy + Eq {
    /// Width in bits.
    const WIDTH: u8;

    /// The address with all bits behind the first `len` set to zero; `len` is at most [`Self::WIDTH`].
    #[must_use]
    fn masked(self, len: u8) -> Self;

    /// A keyed hash.
    fn hash(self, seed: &Seed) -> u64;
}

/// Values by prefix.
#[derive(Clone, Debug)]
pub struct PrefixMap<A, V> {
    /// Sorted, longest first; none is empty.
    levels: Vec<Level<A, V>>,
    seed: Seed,
}

/// All prefixes of one length.
#[derive(Clone, Debug)]
struct Level<A, V> {
    len: u8,
    table: HashTable<(A, V)>,
}

impl<A: Address, V> PrefixMap<A, V> {
    /// An empty map that hashes with `seed`.
    pub fn new(seed: Seed) -> Self {
        Self { levels: Vec::new(), seed }
    }

    /// Adds a prefix; bits of `address` behind `len` are ignored. False, and nothing changed, if the prefix is
    /// there already or `len` is more than the address has.
    #[must_use]
    pub fn insert(&mut self, address: A, len: u8, value: V) -> bool {
        if len > A::WIDTH {
            return false;
        }
        let at = match self.level(len) {
            Ok(at) => at,
            Err(at) => {
                self.levels.insert(at, Level { len, table: HashTable::new() });
                at
            }
        };
        let (seed, key) = (self.seed, address.masked(len));
        match self.levels[at].table.entry(
            key.hash(&seed),
            |entry| entry.0 == key,
            |entry| entry.0.hash(&seed),
        ) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert((key, value));
                true
            }
        }
    }

    /// Takes a prefix out and gives its value; bits of `address` behind `len` are ignored.
    pub fn remove(&mut self, address: A, len: u8) -> Option<V> {
        let at = self.level(len).ok()?;
        let key = address.masked(len);
        let table = &mut self.levels[at].table;
        let ((_, value), _) = table.find_entry(key.hash(&self.seed), |entry| entry.0 == key).ok()?.remove();
        if table.is_empty() {
            self.levels.remove(at);
        }
        Some(value)
    }

    /// The value of exactly this prefix; bits of `address` behind `len` are ignored.
    pub fn get(&self, address: A, len: u8) -> Option<&V> {
        self.levels[self.level(len).ok()?].find(address, &self.seed)
    }

    /// The longest prefix that `address` lies in: its length in bits and its value.
    #[inline]
    pub fn longest_match(&self, address: A) -> Option<(u8, &V)> {
        self.levels.iter().find_map(|level| Some((level.len, level.find(address, &self.seed)?)))
    }

    /// True if `address` lies in any prefix.
    pub fn covers(&self, address: A) -> bool {
        self.longest_match(address).is_some()
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.levels.iter().map(|level| level.table.len()).sum()
    }

    /// True if there are no prefixes.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Where the level of `len` is, or where it would go.
    fn level(&self, len: u8) -> Result<usize, usize> {
        self.levels.binary_search_by(|level| len.cmp(&level.len))
    }
}

impl<A: Address, V> Level<A, V> {
    #[inline]
    fn find(&self, address: A, seed: &Seed) -> Option<&V> {
        let key = address.masked(self.len);
        self.table.find(key.hash(seed), |entry| entry.0 == key).map(|entry| &entry.1)
    }
}

impl Address for Ipv4Addr {
    const WIDTH: u8 = 32;

    #[inline]
    fn masked(self, len: u8) -> Self {
        Self::from_bits(self.to_bits() & u32::MAX.checked_shl(u32::from(Self::WIDTH - len)).unwrap_or(0))
    }

    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        mix(u64::from(self.to_bits()) ^ seed[0], seed[1])
    }
}

impl Address for Ipv6Addr {
    const WIDTH: u8 = 128;

    #[inline]
    fn masked(self, len: u8) -> Self {
        Self::from_bits(self.to_bits() & u128::MAX.checked_shl(u32::from(Self::WIDTH - len)).unwrap_or(0))
    }

    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        let bits = self.to_bits();
        mix(mix((bits >> 64) as u64 ^ seed[0], seed[1]) ^ bits as u64, seed[0])
    }
}

/// Both halves of the 128-bit product of a keyed word and a key, the key made odd and large so that no key is
/// weak.
#[inline]
fn mix(word: u64, key: u64) -> u64 {
    /// The golden ratio, in 64 bits.
    const PHI: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(word ^ PHI) * u128::from(key | 1 << 63 | 1);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let mut map = PrefixMap::<Ipv4Addr, _>::new([1, 2]);
        for (address, len, value) in
            [([192, 0, 2, 0], 24, 'a'), ([192, 0, 2, 128], 25, 'b'), ([0; 4], 0, 'c')]
        {
            assert!(map.insert(address.into(), len, value));
        }
        let longest = |address: [u8; 4]| map.longest_match(address.into()).map(|(len, value)| (len, *value));
        assert_eq!(longest([192, 0, 2, 127]), Some((24, 'a')));
        assert_eq!(longest([192, 0, 2, 129]), Some((25, 'b')));
        assert_eq!(longest([198, 51, 100, 1]), Some((0, 'c')));
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn a_prefix_is_there_once() {
        let mut map = PrefixMap::new([1, 2]);
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert!(map.insert(address, 128, 1));
        assert!(!map.insert(address, 128, 2));
        assert!(!map.insert(address, 129, 3));
        assert_eq!(map.get(address, 128), Some(&1));
        assert_eq!(map.remove(address, 127), None);
        assert_eq!(map.remove(address, 128), Some(1));
        assert!(map.is_empty() && !map.covers(address));
    }

    proptest! {
        #[test]
        fn equals_a_linear_search(
            seed: Seed,
            // Few different addresses, so that prefixes nest and repeat.
            entries in prop::collection::vec((0u128..64, 110u8..=128, any::<bool>()), 0..64),
            probes in prop::collection::vec(0u128..64, 16),
        ) {
            let address = |n: u128| Ipv6Addr::from_bits(0x2001_0db8 << 96 | (n << 12) | n);
            let mut map = PrefixMap::new(seed);
            let mut reference: Vec<(Ipv6Addr, u8, usize)> = Vec::new();
            for (value, (n, len, remove)) in entries.into_iter().enumerate() {
                let key = address(n).masked(len);
                let found = reference.iter().position(|entry| (entry.0, entry.1) == (key, len));
                prop_assert_eq!(map.get(key, len).copied(), found.map(|at| reference[at].2));
                if remove {
                    let removed = found.map(|at| reference.remove(at).2);
                    prop_assert_eq!(map.remove(address(n), len), removed);
                } else {
                    prop_assert_eq!(map.insert(address(n), len, value), found.is_none());
                    if found.is_none() {
                        reference.push((key, len, value));
                    }
                }
            }
            prop_assert_eq!(map.len(), reference.len());
            for n in probes {
                let best = reference
                    .iter()
                    .filter(|entry| address(n).masked(entry.1) == entry.0)
                    .max_by_key(|entry| entry.1)
                    .map(|entry| (entry.1, entry.2));
                prop_assert_eq!(map.longest_match(address(n)).map(|(len, value)| (len, *value)), best);
            }
        }

        #[test]
        fn masks_equal_those_of_ipnet(v4: u32, len4 in 0u8..=32, v6: u128, len6 in 0u8..=128) {
            let (v4, v6) = (Ipv4Addr::from_bits(v4), Ipv6Addr::from_bits(v6));
            prop_assert_eq!(v4.masked(len4), ipnet::Ipv4Net::new(v4, len4).unwrap().network());
            prop_assert_eq!(v6.masked(len6), ipnet::Ipv6Net::new(v6, len6).unwrap().network());
        }
    }
}
