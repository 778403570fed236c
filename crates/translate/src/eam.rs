//! The Explicit Address Mapping Table (RFC 7757 section 3).
//!
//! An entry maps a prefix of one family to a prefix of the other. Look-ups take the longest prefix on the side
//! being translated, so that with overlapping entries the two directions may use different ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use thiserror::Error;

use crate::prefix_map::{PrefixMap, Seed};

/// An Explicit Address Mapping (RFC 7757 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EamEntry {
    /// The IPv6 prefix.
    pub v6: Ipv6Net,
    /// The IPv4 prefix; its suffix is at most as long as that of `v6`.
    pub v4: Ipv4Net,
}

/// Why an entry is refused: the operator's configuration.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EamError {
    /// The table has an entry with this IPv6 prefix.
    #[error("the table already has an entry for {0}")]
    DuplicateV6(Ipv6Net),
    /// The table has an entry with this IPv4 prefix.
    #[error("the table already has an entry for {0}")]
    DuplicateV4(Ipv4Net),
    /// The IPv6 prefix has fewer addresses than the IPv4 prefix (RFC 7757 3.2).
    #[error("{} has fewer addresses than {}", .0.v6, .0.v4)]
    SuffixLonger(EamEntry),
    /// Bits set behind a prefix.
    #[error("bits are set behind a prefix in {} - {}", .0.v6, .0.v4)]
    HostBits(EamEntry),
}

/// The table.
#[derive(Clone, Debug)]
pub struct Eamt {
    by_v6: PrefixMap<Ipv6Addr, Ipv4Net>,
    by_v4: PrefixMap<Ipv4Addr, Ipv6Net>,
}

impl Eamt {
    /// An empty table whose hashes use `seed`.
    pub fn new(seed: Seed) -> Self {
        Self { by_v6: PrefixMap::new(seed), by_v4: PrefixMap::new(seed) }
    }

    /// Adds an entry; on error nothing changes.
    pub fn insert(&mut self, entry: EamEntry) -> Result<(), EamError> {
        let EamEntry { v6, v4 } = entry;
        if v6.trunc() != v6 || v4.trunc() != v4 {
            return Err(EamError::HostBits(entry));
        }
        if 32 - v4.prefix_len() > 128 - v6.prefix_len() {
            return Err(EamError::SuffixLonger(entry));
        }
        if self.by_v4.get(v4.addr(), v4.prefix_len()).is_some() {
            return Err(EamError::DuplicateV4(v4));
        }
        if !self.by_v6.insert(v6.addr(), v6.prefix_len(), v4) {
            return Err(EamError::DuplicateV6(v6));
        }
        // The prefix was looked for above; the answer cannot have changed.
        let _was_absent = self.by_v4.insert(v4.addr(), v4.prefix_len(), v6);
        Ok(())
    }

    /// Takes out the entry with exactly these two prefixes. False if it is not there.
    pub fn remove(&mut self, entry: &EamEntry) -> bool {
        let EamEntry { v6, v4 } = entry;
        if self.by_v6.get(v6.addr(), v6.prefix_len()) != Some(v4) {
            return false;
        }
        self.by_v6.remove(v6.addr(), v6.prefix_len());
        self.by_v4.remove(v4.addr(), v4.prefix_len()).is_some()
    }

    /// The IPv4 address of `address` by the entry with the longest IPv6 prefix (RFC 7757 3.3.2).
    pub fn to_v4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let (len, v4) = self.by_v6.longest_match(address)?;
        let suffix = (after_prefix(address.to_bits(), len) >> 96) as u32;
        let suffix = suffix.checked_shr(v4.prefix_len().into()).unwrap_or(0);
        Some(Ipv4Addr::from_bits(v4.addr().to_bits() | suffix))
    }

    /// The IPv6 address of `address` by the entry with the longest IPv4 prefix; bits that the IPv4 suffix does not
    /// give are zero (RFC 7757 3.3.1).
    pub fn to_v6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let (len, v6) = self.by_v4.longest_match(address)?;
        let suffix = after_prefix(u128::from(address.to_bits()) << 96, len);
        let suffix = suffix.checked_shr(v6.prefix_len().into()).unwrap_or(0);
        Some(Ipv6Addr::from_bits(v6.addr().to_bits() | suffix))
    }

    /// True if an entry maps `address` to IPv6.
    pub fn has_v4(&self, address: Ipv4Addr) -> bool {
        self.by_v4.covers(address)
    }

    /// The entry that [`Self::to_v4`] uses.
    pub fn entry_of_v6(&self, address: Ipv6Addr) -> Option<EamEntry> {
        let (len, v4) = self.by_v6.longest_match(address)?;
        Some(EamEntry { v6: Ipv6Net::new(address, len).ok()?.trunc(), v4: *v4 })
    }

    /// The entry that [`Self::to_v6`] uses.
    pub fn entry_of_v4(&self, address: Ipv4Addr) -> Option<EamEntry> {
        let (len, v6) = self.by_v4.longest_match(address)?;
        Some(EamEntry { v6: *v6, v4: Ipv4Net::new(address, len).ok()?.trunc() })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.by_v6.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.by_v6.is_empty()
    }
}

/// The bits behind the first `len`, moved to the top.
fn after_prefix(bits: u128, len: u8) -> u128 {
    bits.checked_shl(len.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(v6: &str, v4: &str) -> EamEntry {
        EamEntry { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() }
    }

    fn table(entries: &[(&str, &str)]) -> Eamt {
        let mut eamt = Eamt::new([3, 4]);
        for (v6, v4) in entries {
            eamt.insert(entry(v6, v4)).unwrap();
        }
        eamt
    }

    #[track_caller]
    fn both_ways(eamt: &Eamt, v4: &str, v6: &str) {
        assert_eq!(eamt.to_v6(v4.parse().unwrap()), Some(v6.parse().unwrap()));
        assert_eq!(eamt.to_v4(v6.parse().unwrap()), Some(v4.parse().unwrap()));
    }

    #[test]
    fn rfc7757_example_table() {
        // The table is figure 1 of RFC 7757; the addresses follow from its entries.
        let eamt = table(&[
            ("2001:db8:aaaa::/128", "192.0.2.1/32"),
            ("2001:db8:bbbb::b/128", "192.0.2.2/32"),
            ("2001:db8:cccc::/124", "192.0.2.16/28"),
            ("2001:db8:dddd::/64", "192.0.2.128/26"),
            ("2001:db8:eeee:8::/62", "192.0.2.192/29"),
            ("64:ff9b::/127", "192.0.2.224/31"),
        ]);
        both_ways(&eamt, "192.0.2.1", "2001:db8:aaaa::");
        both_ways(&eamt, "192.0.2.2", "2001:db8:bbbb::b");
        both_ways(&eamt, "192.0.2.16", "2001:db8:cccc::");
        both_ways(&eamt, "192.0.2.24", "2001:db8:cccc::8");
        both_ways(&eamt, "192.0.2.31", "2001:db8:cccc::f");
        both_ways(&eamt, "192.0.2.128", "2001:db8:dddd::");
        both_ways(&eamt, "192.0.2.152", "2001:db8:dddd:0:6000::");
        both_ways(&eamt, "192.0.2.183", "2001:db8:dddd:0:dc00::");
        both_ways(&eamt, "192.0.2.191", "2001:db8:dddd:0:fc00::");
        both_ways(&eamt, "192.0.2.193", "2001:db8:eeee:8:8000::");
        both_ways(&eamt, "192.0.2.199", "2001:db8:eeee:b:8000::");
        both_ways(&eamt, "192.0.2.224", "64:ff9b::");
        both_ways(&eamt, "192.0.2.225", "64:ff9b::1");
        assert_eq!(eamt.to_v6([192, 0, 2, 3].into()), None);
        assert_eq!(eamt.to_v4("2001:db8:aaaa::1".parse().unwrap()), None);
        // Bits behind the copied ones are ignored on the way to IPv4.
        assert_eq!(eamt.to_v4("2001:db8:dddd:0:6000::7".parse().unwrap()), Some([192, 0, 2, 152].into()));
    }

    #[test]
    fn whole_address_spaces() {
        let eamt = table(&[("2001:db8::/32", "0.0.0.0/0")]);
        both_ways(&eamt, "203.0.113.9", "2001:db8:cb00:7109::");
        both_ways(&table(&[("::/0", "192.0.2.0/24")]), "192.0.2.5", "500::");
    }

    #[test]
    fn overlaps_may_use_different_entries() {
        let eamt = table(&[
            ("2001:db8:1::/120", "192.0.2.0/24"),
            ("2001:db8:2::/128", "192.0.2.7/32"),
            ("2001:db8:1::9/128", "198.51.100.9/32"),
        ]);
        both_ways(&eamt, "192.0.2.7", "2001:db8:2::");
        assert_eq!(eamt.to_v4("2001:db8:1::7".parse().unwrap()), Some([192, 0, 2, 7].into()));
        assert_eq!(eamt.to_v6([192, 0, 2, 9].into()), Some("2001:db8:1::9".parse().unwrap()));
        both_ways(&eamt, "198.51.100.9", "2001:db8:1::9");
        let wide = entry("2001:db8:1::/120", "192.0.2.0/24");
        assert_eq!(eamt.entry_of_v4([192, 0, 2, 9].into()), Some(wide));
        assert_eq!(eamt.entry_of_v6("2001:db8:1::7".parse().unwrap()), Some(wide));
    }

    #[test]
    fn refused_entries_change_nothing() {
        let mut eamt = table(&[("2001:db8:1::/120", "192.0.2.0/24")]);
        let mut refuse = |v6, v4| {
            let error = eamt.insert(entry(v6, v4)).unwrap_err();
            assert_eq!(eamt.len(), 1);
            error
        };
        assert_eq!(
            refuse("2001:db8:1::/120", "198.51.100.0/24"),
            EamError::DuplicateV6("2001:db8:1::/120".parse().unwrap())
        );
        assert_eq!(
            refuse("2001:db8:2::/120", "192.0.2.0/24"),
            EamError::DuplicateV4("192.0.2.0/24".parse().unwrap())
        );
        let longer = ("2001:db8:2::/121", "198.51.100.0/24");
        assert_eq!(refuse(longer.0, longer.1), EamError::SuffixLonger(entry(longer.0, longer.1)));
        let bits = ("2001:db8:2::1/120", "198.51.100.0/24");
        assert_eq!(refuse(bits.0, bits.1), EamError::HostBits(entry(bits.0, bits.1)));
        assert!(!eamt.has_v4([198, 51, 100, 1].into()));
        assert!(!eamt.remove(&entry("2001:db8:1::/120", "192.0.2.0/25")));
        assert!(eamt.remove(&entry("2001:db8:1::/120", "192.0.2.0/24")));
        assert!(eamt.is_empty() && !eamt.has_v4([192, 0, 2, 1].into()));
    }

    proptest! {
        #[test]
        fn there_and_back(v4: u32, v6: u128, len4 in 0u8..=32, extra in 0u8..=96, host: u32) {
            let len6 = 128 - (32 - len4) - extra;
            let entry = EamEntry {
                v6: Ipv6Net::new(Ipv6Addr::from_bits(v6), len6).unwrap().trunc(),
                v4: Ipv4Net::new(Ipv4Addr::from_bits(v4), len4).unwrap().trunc(),
            };
            let mut eamt = Eamt::new([3, 4]);
            eamt.insert(entry).unwrap();
            let address = Ipv4Addr::from_bits(
                entry.v4.addr().to_bits() | host & entry.v4.hostmask().to_bits(),
            );
            let there = eamt.to_v6(address).unwrap();
            prop_assert!(entry.v6.contains(&there));
            prop_assert_eq!(eamt.to_v4(there), Some(address));
            // Any address of the IPv6 prefix maps into the IPv4 prefix.
            let any = Ipv6Addr::from_bits(
                entry.v6.addr().to_bits() | (u128::from(host) * u128::from(v4)) & entry.v6.hostmask().to_bits(),
            );
            prop_assert!(entry.v4.contains(&eamt.to_v4(any).unwrap()));
        }
    }
}
