//! Whether the EAM entries of a file need `--force`: what `eamt add` would say of them one by one (cli 8.2), without its look-up
//! among all earlier ones for each.

use xlat_config::EamEntry;

/// An entry and an earlier one of the file that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    /// Positions in the file.
    pub(super) new: usize,
    pub(super) earlier: usize,
    /// On which side.
    pub(super) ipv6: bool,
}

/// A prefix, its address in the upper bits.
type Prefix = (u128, u8);

/// The first entry whose base address an earlier one holds, with the longest such one; IPv6 comes first. No two may be equal.
pub(super) fn first(eamt: &[EamEntry]) -> Option<Overlap> {
    let ipv6: Vec<Prefix> =
        eamt.iter().map(|entry| (entry.ipv6.network().to_bits(), entry.ipv6.prefix_len())).collect();
    let upper = |entry: &EamEntry| u128::from(entry.ipv4.network().to_bits()) << 96;
    let ipv4: Vec<Prefix> = eamt.iter().map(|entry| (upper(entry), entry.ipv4.prefix_len())).collect();
    let found = [(on_side(&ipv6), true), (on_side(&ipv4), false)];
    let overlaps = found
        .into_iter()
        .filter_map(|(pair, ipv6)| pair.map(|(new, earlier)| Overlap { new, earlier, ipv6 }));
    overlaps.min_by_key(|overlap| (overlap.new, !overlap.ipv6))
}

fn on_side(prefixes: &[Prefix]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..prefixes.len()).collect();
    order.sort_by_key(|&position| prefixes[position]);
    let mut first: Option<(usize, usize)> = None;
    // Those that hold the one that is looked at, the longest last: 128 at most.
    let mut outer: Vec<usize> = Vec::new();
    for inner in order {
        while outer.last().is_some_and(|&last| !holds(prefixes[last], prefixes[inner].0)) {
            outer.pop();
        }
        for &outer in &outer {
            let (new, earlier) = (inner.max(outer), inner.min(outer));
            // Only the base address of the new one is looked up.
            if holds(prefixes[earlier], prefixes[new].0)
                && first.is_none_or(|(n, e)| new < n || new == n && prefixes[earlier].1 > prefixes[e].1)
            {
                first = Some((new, earlier));
            }
        }
        outer.push(inner);
    }
    first
}

fn holds((base, length): Prefix, address: u128) -> bool {
    (base ^ address).checked_shr(128 - u32::from(length)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Vec<EamEntry> {
        let entry = |(ipv6, ipv4): &(&str, &str)| EamEntry {
            ipv6: ipv6.parse().unwrap(),
            ipv4: ipv4.parse().unwrap(),
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn the_longest_earlier_one_that_holds_the_base_address() {
        let overlap = |new, earlier, ipv6| Some(Overlap { new, earlier, ipv6 });
        let apart = [("2001:db8:1::/120", "192.0.2.0/24"), ("2001:db8:2::/120", "198.51.100.0/24")];
        assert_eq!(first(&table(&apart)), None);
        let inside4 = [("2001:db8:1::/120", "192.0.2.0/24"), ("2001:db8:2::/128", "192.0.2.7/32")];
        assert_eq!(first(&table(&inside4)), overlap(1, 0, false));
        // The bigger one comes later: seen only where it begins with the smaller one.
        let around = [inside4[1], inside4[0]];
        assert_eq!(first(&table(&around)), None);
        let begins = [("2001:db8:2::/128", "192.0.2.0/32"), inside4[0]];
        assert_eq!(first(&table(&begins)), overlap(1, 0, false));
        let both = [
            ("2001:db8::/64", "192.0.2.0/24"),
            ("2001:db8::/120", "192.0.2.0/25"),
            ("2001:db8::1/128", "192.0.2.1/32"),
        ];
        assert_eq!(first(&table(&both)), overlap(1, 0, true));
        let longest = [
            ("2001:db8::/120", "192.0.2.0/25"),
            ("2001:db8:1::/64", "0.0.0.0/0"),
            ("2001:db8:2::/128", "192.0.2.1/32"),
        ];
        assert_eq!(first(&table(&longest)), overlap(2, 0, false));
    }
}
