//! pool4 as sets of transport addresses: what adding, removing and displaying blocks means (RFC 6146 2, pool of IPv4
//! transport addresses). Blocks of one mark and protocol are a set and mean their union.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use xlat_config::{BibEntry, MaxIterations, Nat64, Pool4Entry, Protocol};

use crate::api::{self, Pool4Block, Pool4Row};

/// Tries that Jool makes at least and at most, where it computes their number.
const ITERATIONS_MIN: u64 = 1024;
const ITERATIONS_MAX: u64 = 8192;

/// The ranges of a set by address.
type Set = (MaxIterations, BTreeMap<Ipv4Addr, Vec<(u16, u16)>>);

/// Adds a block to its set. `iterations` holds for the whole set from then on, if given.
pub(crate) fn add(pool4: &mut Vec<Pool4Entry>, block: &Pool4Block, iterations: Option<MaxIterations>) {
    let protocol = block.protocol.model();
    let of_set = |entry: &&mut Pool4Entry| entry.protocol == protocol && entry.mark == block.mark;
    let known = pool4.iter_mut().find(of_set).map(|entry| entry.max_iterations);
    if let Some(iterations) = iterations {
        pool4.iter_mut().filter(of_set).for_each(|entry| entry.max_iterations = iterations);
    }
    let max_iterations = iterations.or(known).unwrap_or_default();
    let (mut first, mut last) = (u32::from(*ports(block).start()), u32::from(*ports(block).end()));
    // Ranges that touch become one.
    pool4.retain(|entry| {
        let (start, end) = (u32::from(*entry.ports.start()), u32::from(*entry.ports.end()));
        let same = entry.protocol == protocol && entry.mark == block.mark && entry.prefix == block.prefix;
        let touches = same && start <= last + 1 && first <= end + 1;
        if touches {
            (first, last) = (first.min(start), last.max(end));
        }
        !touches
    });
    let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let ports = port(first)..=port(last);
    pool4.push(Pool4Entry { protocol, prefix: block.prefix, ports, mark: block.mark, max_iterations });
}

/// Takes a block out of its set, and the static BIB entries with these masks out of theirs; `quick` leaves those that
/// another mark's set still has.
pub(crate) fn remove(nat64: &mut Nat64, block: &Pool4Block, quick: bool) {
    let protocol = block.protocol.model();
    let ports = ports(block);
    let mut rest = Vec::with_capacity(nat64.pool4.len());
    for entry in nat64.pool4.drain(..) {
        if entry.protocol == protocol && entry.mark == block.mark {
            rest.extend(subtract(&entry, block.prefix, &ports));
        } else {
            rest.push(entry);
        }
    }
    nat64.pool4 = rest;
    let kept = |entry: &BibEntry, nat64: &Nat64| {
        let (address, port) = entry.ipv4;
        !holds(block, entry) || quick && has(nat64, protocol, address, port)
    };
    let bib = std::mem::take(&mut nat64.bib);
    nat64.bib = bib.into_iter().filter(|entry| kept(entry, nat64)).collect();
}

/// Whether the mask of an entry is in the block.
pub(crate) fn holds(block: &Pool4Block, entry: &BibEntry) -> bool {
    let (address, port) = entry.ipv4;
    entry.protocol == block.protocol.model()
        && block.prefix.contains(&address)
        && ports(block).contains(&port)
}

/// Whether a transport address belongs to pool4.
pub(crate) fn has(nat64: &Nat64, protocol: Protocol, address: Ipv4Addr, port: u16) -> bool {
    match nat64.pool4.is_empty() {
        true => port >= 61001,
        false => nat64.pool4.iter().any(|entry| {
            entry.protocol == protocol && entry.prefix.contains(&address) && entry.ports.contains(&port)
        }),
    }
}

/// One row for each address and range of the sets of a protocol: marks descending, addresses and ports ascending.
pub(crate) fn rows(pool4: &[Pool4Entry], protocol: api::Protocol) -> Vec<Pool4Row> {
    let mut sets: BTreeMap<u32, Set> = BTreeMap::new();
    for entry in pool4.iter().filter(|entry| entry.protocol == protocol.model()) {
        let (_, addresses) =
            sets.entry(entry.mark).or_insert_with(|| (entry.max_iterations, BTreeMap::new()));
        let (first, last) = (u32::from(entry.prefix.network()), u32::from(entry.prefix.broadcast()));
        for address in first..=last {
            addresses.entry(address.into()).or_default().push((*entry.ports.start(), *entry.ports.end()));
        }
    }
    let mut rows = Vec::new();
    for (mark, (iterations, addresses)) in sets.into_iter().rev() {
        let addresses: Vec<_> =
            addresses.into_iter().map(|(address, ranges)| (address, merged(ranges))).collect();
        let size = addresses.iter().flat_map(|(_, ranges)| ranges).map(|(a, b)| u64::from(b - a) + 1).sum();
        let (iterations, iterations_fixed) = match iterations {
            MaxIterations::Auto => (Some(automatic(size)), false),
            MaxIterations::Infinity => (None, true),
            MaxIterations::Count(count) => (Some(count.into()), true),
        };
        for (address, ranges) in addresses {
            rows.extend(ranges.into_iter().map(|(first_port, last_port)| Pool4Row {
                mark,
                protocol,
                address,
                first_port,
                last_port,
                iterations,
                iterations_fixed,
            }));
        }
    }
    rows
}

/// What Jool computes for a set of `size` transport addresses.
fn automatic(size: u64) -> u64 {
    (size / 128).clamp(ITERATIONS_MIN, ITERATIONS_MAX)
}

/// The ports of a block: port 0 exists only for ICMP.
pub(crate) fn ports(block: &Pool4Block) -> RangeInclusive<u16> {
    let (first, last) = (block.first_port.min(block.last_port), block.first_port.max(block.last_port));
    match block.protocol {
        api::Protocol::Tcp | api::Protocol::Udp => first.max(1)..=last.max(1),
        api::Protocol::Icmp => first..=last,
    }
}

fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

/// What is left of an entry without `prefix` x `ports`.
fn subtract(entry: &Pool4Entry, prefix: Ipv4Net, ports: &RangeInclusive<u16>) -> Vec<Pool4Entry> {
    let (first, last) = (*entry.ports.start(), *entry.ports.end());
    let overlap = *ports.start().max(&first)..=*ports.end().min(&last);
    let common = match (entry.prefix.contains(&prefix), prefix.contains(&entry.prefix)) {
        (_, true) => entry.prefix,
        (true, false) => prefix,
        (false, false) => return vec![entry.clone()],
    };
    if overlap.is_empty() {
        return vec![entry.clone()];
    }
    let mut rest = Vec::new();
    // The halves of the entry's prefix that do not hold the common part keep all ports.
    let mut around = entry.prefix;
    while around != common {
        let Ok(halves) = around.subnets(around.prefix_len() + 1) else { break };
        for half in halves {
            if half.contains(&common) {
                around = half;
            } else {
                rest.push(Pool4Entry { prefix: half, ..entry.clone() });
            }
        }
    }
    let below = first..=overlap.start().saturating_sub(1);
    let above = overlap.end().saturating_add(1)..=last;
    if *overlap.start() > first {
        rest.push(Pool4Entry { prefix: common, ports: below, ..entry.clone() });
    }
    if *overlap.end() < last {
        rest.push(Pool4Entry { prefix: common, ports: above, ..entry.clone() });
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(prefix: &str, first_port: u16, last_port: u16) -> Pool4Block {
        let prefix = prefix.parse().unwrap();
        Pool4Block { mark: 0, protocol: api::Protocol::Tcp, prefix, first_port, last_port }
    }

    fn pool(blocks: &[(&str, u16, u16)]) -> Nat64 {
        let pool6 = "64:ff9b::/96".parse().unwrap();
        let mut nat64 = Nat64 { pool6, global: Default::default(), pool4: Vec::new(), bib: Vec::new() };
        for (prefix, first, last) in blocks {
            add(&mut nat64.pool4, &block(prefix, *first, *last), None);
        }
        nat64
    }

    fn shown(nat64: &Nat64) -> Vec<(String, u16, u16)> {
        let rows = rows(&nat64.pool4, api::Protocol::Tcp);
        rows.iter().map(|row| (row.address.to_string(), row.first_port, row.last_port)).collect()
    }

    #[test]
    fn touching_ranges_become_one() {
        let nat64 = pool(&[("192.0.2.1/32", 10, 20), ("192.0.2.1/32", 30, 40), ("192.0.2.1/32", 21, 29)]);
        assert_eq!(nat64.pool4.len(), 1);
        assert_eq!(shown(&nat64), [("192.0.2.1".to_owned(), 10, 40)]);
        let nat64 = pool(&[("192.0.2.1/32", 65535, 0)]);
        assert_eq!(shown(&nat64), [("192.0.2.1".to_owned(), 1, 65535)], "swapped, without port 0");
    }

    /// Against a plain set of transport addresses.
    #[test]
    fn removing_leaves_exactly_the_rest() {
        for (prefix, first, last) in [
            ("192.0.2.0/30", 0, 65535),
            ("192.0.2.2/32", 15, 25),
            ("192.0.2.2/31", 10, 10),
            ("192.0.2.0/24", 20, 30),
            ("198.51.100.0/24", 0, 65535),
            ("192.0.2.1/32", 41, 50),
        ] {
            let mut nat64 = pool(&[("192.0.2.0/30", 10, 20), ("192.0.2.2/32", 30, 40)]);
            let gone = block(prefix, first, last);
            let points = |nat64: &Nat64| {
                let mut points = Vec::new();
                for host in 0..4_u32 {
                    for port in 1..60 {
                        let address = Ipv4Addr::from(0xC000_0200 + host);
                        if nat64.pool4.iter().any(|e| e.prefix.contains(&address) && e.ports.contains(&port))
                        {
                            points.push((address, port));
                        }
                    }
                }
                points
            };
            let mut expected = points(&nat64);
            expected
                .retain(|(address, port)| !(gone.prefix.contains(address) && (first..=last).contains(port)));
            remove(&mut nat64, &gone, false);
            assert_eq!(points(&nat64), expected, "{prefix} {first}-{last}");
        }
    }

    #[test]
    fn iterations_belong_to_the_set() {
        let mut nat64 = pool(&[("192.0.2.1/32", 10, 20)]);
        add(&mut nat64.pool4, &block("192.0.2.2/32", 1, 1), Some(MaxIterations::Count(7)));
        add(&mut nat64.pool4, &block("192.0.2.3/32", 1, 1), None);
        let rows = rows(&nat64.pool4, api::Protocol::Tcp);
        assert!(rows.iter().all(|row| row.iterations == Some(7) && row.iterations_fixed), "{rows:?}");
        assert_eq!((automatic(1), automatic(264_141), automatic(u64::MAX)), (1024, 2063, 8192));
    }
}
