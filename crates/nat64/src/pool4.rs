//! pool4 of one protocol, compiled: which transport addresses belong to it (4->6, any mark), and the candidate set of
//! each mark (6->4), with the choice of a mask in it (RFC 6146 3.5.1.1; RFC 6056 3.3.3 for the port).
//!
//! The same client gets the same address while that has free ports ("paired", RFC 4787 REQ-2): a keyed hash of the
//! client chooses the first address, then the following ones are tried. A bitmap of addresses found full keeps that
//! cheap in an exhausted pool. Port 0 is a candidate for ICMP only.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::portmap::{Handle, PortMap};
use crate::types::{Protocol, Transport4};

/// Ports from the first to the second, both included.
pub(crate) type Range = (u16, u16);

/// mark -> address -> ranges: what the configuration says, before it is compiled.
pub(crate) type Plan = BTreeMap<u32, BTreeMap<u32, Vec<Range>>>;

/// pool4 of one protocol.
pub(crate) struct Pool4 {
    /// Runs of consecutive addresses, ascending.
    runs: Vec<Run>,
    addresses: Vec<Address>,
    /// Ascending by mark.
    sets: Vec<Set>,
    /// Implicit pool4: the one set serves every mark.
    any_mark: bool,
}

struct Run {
    first: u32,
    last: u32,
    /// Place of `first` in `Pool4::addresses`.
    place: usize,
}

/// One address of pool4, whatever the marks.
pub(crate) struct Address {
    ports: Arc<PortMap>,
    /// All that is claimed, whoever claims it: a packet must not have to look at every mark's share.
    ranges: Vec<Range>,
    claims: Vec<Claim>,
}

/// A range of an address, and whose it is.
struct Claim {
    range: Range,
    set: u32,
    candidate: u32,
}

/// The candidates for the packets of one mark.
pub(crate) struct Set {
    mark: u32,
    candidates: Vec<Candidate>,
    /// One bit per candidate in which no free port was found; a hint, cleared when a port comes back.
    full: Box<[AtomicU64]>,
}

struct Candidate {
    addr: u32,
    ports: Arc<PortMap>,
    ranges: Vec<Range>,
    total: u32,
}

impl Pool4 {
    /// Compiles `plan`. Port maps are taken over from `previous`, so that mappings survive.
    pub(crate) fn new(protocol: Protocol, plan: &Plan, any_mark: bool, previous: Option<&Self>) -> Self {
        let mut addresses: BTreeMap<u32, Address> = BTreeMap::new();
        let mut sets = Vec::new();
        for (mark, by_address) in plan {
            let mut candidates = Vec::new();
            for (addr, ranges) in by_address {
                let ranges = merged(protocol, ranges);
                let address = addresses.entry(*addr).or_insert_with(|| Address {
                    ports: previous
                        .and_then(|pool| pool.address((*addr).into()))
                        .map_or_else(Arc::default, |address| Arc::clone(&address.ports)),
                    ranges: Vec::new(),
                    claims: Vec::new(),
                });
                address.claims.extend(ranges.iter().map(|range| Claim {
                    range: *range,
                    set: sets.len() as u32,
                    candidate: candidates.len() as u32,
                }));
                let total = ranges.iter().map(|(low, high)| u32::from(high - low) + 1).sum();
                candidates.push(Candidate { addr: *addr, ports: Arc::clone(&address.ports), ranges, total });
            }
            let full = (0..candidates.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
            sets.push(Set { mark: *mark, candidates, full });
        }
        for address in addresses.values_mut() {
            let claimed: Vec<Range> = address.claims.iter().map(|claim| claim.range).collect();
            address.ranges = merged(protocol, &claimed);
        }
        let mut runs: Vec<Run> = Vec::new();
        for (place, addr) in addresses.keys().enumerate() {
            match runs.last_mut() {
                Some(run) if run.last.checked_add(1) == Some(*addr) => run.last = *addr,
                _ => runs.push(Run { first: *addr, last: *addr, place }),
            }
        }
        Self { runs, addresses: addresses.into_values().collect(), sets, any_mark }
    }

    /// The candidate set of a mark.
    pub(crate) fn set(&self, mark: u32) -> Option<&Set> {
        if self.any_mark {
            return self.sets.first();
        }
        self.sets.binary_search_by_key(&mark, |set| set.mark).ok().map(|found| &self.sets[found])
    }

    /// An address of any set.
    pub(crate) fn address(&self, addr: Ipv4Addr) -> Option<&Address> {
        let addr = u32::from(addr);
        let run = &self.runs[self.runs.partition_point(|run| run.first <= addr).checked_sub(1)?];
        (addr <= run.last).then(|| &self.addresses[run.place + (addr - run.first) as usize])
    }

    /// The port map of a transport address that belongs to any set.
    pub(crate) fn owner(&self, mask: Transport4) -> Option<&PortMap> {
        let address = self.address(mask.addr)?;
        let at = address.ranges.partition_point(|range| range.1 < mask.port);
        address.ranges.get(at).is_some_and(|range| range.0 <= mask.port).then_some(&*address.ports)
    }

    /// Gives a mask back, if `handle` still has it. `freed` is run before anybody else can take it, unless somebody has. If
    /// its address left pool4, its map went with it.
    pub(crate) fn release(&self, mask: Transport4, handle: Handle, freed: impl FnOnce()) {
        let Some(address) = self.address(mask.addr) else { return freed() };
        address.ports.release(mask.port, handle, || {
            freed();
            for claim in address.claims.iter().filter(|claim| within(claim.range, mask.port)) {
                self.sets[claim.set as usize].mark_full(claim.candidate as usize, false);
            }
        });
    }

    /// Forgets which addresses were found full. A release through an older policy does not reach this policy's hints,
    /// so they are renewed from time to time.
    pub(crate) fn refresh_hints(&self) {
        self.sets.iter().flat_map(|set| &set.full).for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Each address with how many of its transport addresses are in use, and how many there are.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (Ipv4Addr, u32, u32)> {
        let addresses = self.runs.iter().flat_map(|run| (run.first..=run.last).zip(run.place..));
        addresses.filter_map(|(addr, place)| {
            let address = self.addresses.get(place)?;
            let total = address.ranges.iter().map(|(low, high)| u32::from(high - low) + 1).sum();
            Some((addr.into(), address.ports.used(), total))
        })
    }

    /// Bytes of the port maps.
    pub(crate) fn bytes(&self) -> usize {
        self.addresses.iter().map(|address| address.ports.bytes()).sum()
    }
}

impl Set {
    /// Whether a transport address is one of the candidates.
    pub(crate) fn contains(&self, mask: Transport4) -> bool {
        let found = self.candidates.binary_search_by_key(&u32::from(mask.addr), |candidate| candidate.addr);
        found.is_ok_and(|at| self.candidates[at].ranges.iter().any(|range| within(*range, mask.port)))
    }

    /// Chooses a free mask and gives it to `handle`. `client` and `port` are hashes; `None` when all are taken.
    pub(crate) fn take_any(&self, client: u64, port: u64, handle: Handle) -> Option<Transport4> {
        let count = self.candidates.len();
        let first = ((u128::from(client) * count as u128) >> 64) as usize;
        let mut at = first;
        let mut wrapped = false;
        loop {
            let Some(next) = self.not_full(at).filter(|next| !wrapped || *next < first) else {
                if wrapped || first == 0 {
                    return None;
                }
                (at, wrapped) = (0, true);
                continue;
            };
            let candidate = &self.candidates[next];
            let exhausted = || self.mark_full(next, true);
            let taken = candidate.ports.take_any(&candidate.ranges, candidate.total, port, handle, exhausted);
            if let Some(port) = taken {
                return Some(Transport4 { addr: candidate.addr.into(), port });
            }
            at = next + 1;
        }
    }

    /// The first candidate at or after `from` that is not known to be full.
    fn not_full(&self, from: usize) -> Option<usize> {
        let mut ignored = (1u64 << (from % 64)) - 1;
        for (at, word) in self.full.iter().enumerate().skip(from / 64) {
            let free = !(word.load(Ordering::Relaxed) | ignored);
            if free != 0 {
                return Some(at * 64 + free.trailing_zeros() as usize)
                    .filter(|at| *at < self.candidates.len());
            }
            ignored = 0;
        }
        None
    }

    fn mark_full(&self, candidate: usize, full: bool) {
        let Some(word) = self.full.get(candidate / 64) else { return };
        let bit = 1 << (candidate % 64);
        match full {
            true => word.fetch_or(bit, Ordering::Relaxed),
            false => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }
}

const fn within(range: Range, port: u16) -> bool {
    range.0 <= port && port <= range.1
}

/// Sorted, disjoint and not adjacent; without port 0 but for ICMP.
fn merged(protocol: Protocol, ranges: &[Range]) -> Vec<Range> {
    let lowest = if protocol == Protocol::Icmp { 0 } else { 1 };
    let mut sorted: Vec<Range> = ranges.iter().map(|range| (range.0.max(lowest), range.1)).collect();
    sorted.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (low, high) in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(low) <= u32::from(last.1) + 1 => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(plan: &[(u32, [u8; 4], Range)], protocol: Protocol) -> Pool4 {
        let mut compiled = Plan::new();
        for (mark, addr, range) in plan {
            compiled.entry(*mark).or_default().entry(u32::from_be_bytes(*addr)).or_default().push(*range);
        }
        Pool4::new(protocol, &compiled, false, None)
    }

    fn at(addr: [u8; 4], port: u16) -> Transport4 {
        Transport4 { addr: addr.into(), port }
    }

    #[test]
    fn ranges_merge_and_port_zero_is_for_icmp() {
        assert_eq!(merged(Protocol::Udp, &[(5, 9), (0, 3), (4, 4), (20, 30), (25, 26)]), [(1, 9), (20, 30)]);
        assert_eq!(merged(Protocol::Icmp, &[(0, 65_535), (7, 7)]), [(0, 65_535)]);
    }

    #[test]
    fn membership_ignores_the_mark_and_candidates_do_not() {
        let pool = pool(
            &[(0, [192, 0, 2, 1], (10, 20)), (0, [192, 0, 2, 2], (10, 20)), (7, [192, 0, 2, 9], (1, 5))],
            Protocol::Tcp,
        );
        for (mask, owned) in [
            (at([192, 0, 2, 1], 10), true),
            (at([192, 0, 2, 2], 20), true),
            (at([192, 0, 2, 2], 21), false),
            (at([192, 0, 2, 3], 10), false),
            (at([192, 0, 2, 9], 3), true),
            (at([0, 0, 0, 0], 10), false),
            (at([255, 255, 255, 255], 10), false),
        ] {
            assert_eq!(pool.owner(mask).is_some(), owned, "{mask}");
        }
        assert!(!pool.set(0).unwrap().contains(at([192, 0, 2, 9], 3)));
        assert!(pool.set(7).unwrap().contains(at([192, 0, 2, 9], 3)));
        assert!(pool.set(1).is_none());
    }

    #[test]
    fn use_is_counted_by_address_whatever_the_mark() {
        let pool = pool(
            &[(0, [192, 0, 2, 1], (1, 10)), (7, [192, 0, 2, 1], (11, 20)), (0, [192, 0, 2, 2], (5, 5))],
            Protocol::Tcp,
        );
        let taken = |mark: u32| pool.set(mark).unwrap().take_any(0, 0, 1).unwrap();
        let (first, second) = (taken(0), taken(7));
        let usage: Vec<_> = pool.usage().collect();
        assert_eq!(usage.iter().map(|(_, used, _)| used).sum::<u32>(), 2);
        assert_eq!(usage.iter().map(|(_, _, total)| *total).collect::<Vec<_>>(), [20, 1]);
        for mask in [first, second] {
            pool.release(mask, 1, || ());
        }
        assert!(pool.usage().all(|(_, used, _)| used == 0));
    }

    #[test]
    fn membership_is_that_of_all_marks_together() {
        let share = |mark: u16| (u32::from(mark), [192, 0, 2, 1], (mark * 64, mark * 64 + 63));
        let shares: Vec<_> = [5, 1, 2, 7, 6].map(share).into();
        let pool = pool(&shares, Protocol::Udp);
        for port in 0..=1024 {
            let owned = shares.iter().any(|(_, _, range)| within(*range, port));
            assert_eq!(pool.owner(at([192, 0, 2, 1], port)).is_some(), owned, "{port}");
        }
        assert_eq!(pool.address([192, 0, 2, 1].into()).unwrap().ranges, [(64, 191), (320, 511)]);
    }

    #[test]
    fn every_mask_is_given_out_before_the_set_is_exhausted() {
        let plan: Vec<_> = (0..200).map(|host| (0, [192, 0, 2, host], (50, 54))).collect();
        let pool = pool(&plan, Protocol::Udp);
        let set = pool.set(0).unwrap();
        let mut seen = BTreeMap::new();
        for handle in 1..=1000 {
            let mask = set.take_any(u64::MAX / 3, u64::from(handle), handle).expect("a mask is left");
            assert!(seen.insert(mask, handle).is_none());
        }
        assert_eq!(set.take_any(7, 7, 2000), None);
        let (mask, handle) = seen.into_iter().nth(333).unwrap();
        pool.release(mask, handle, || ());
        assert_eq!(set.take_any(u64::MAX, 9, 2001), Some(mask), "a released mask is found at once");
    }
}
