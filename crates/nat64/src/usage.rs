//! How many BIB entries and sessions there are in all, per IPv6 source and per source prefix, against the limits of the
//! policy (RFC 6888 REQ-4). Touched only when something is made or removed; sources and prefixes are counted only while
//! a limit asks for it.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use crate::hash::{Hasher, Purpose};
use crate::policy::{Limits, Policy};
use crate::refusal::Refusal;

/// Parts of the table of sources, each with its own lock.
const PARTS: usize = 64;

/// The key length that stands for "one source", different from every prefix length.
const SOURCE: u8 = u8::MAX;

/// What is about to be made, or was removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amount {
    pub(crate) bib: u32,
    pub(crate) sessions: u32,
}

/// What is counted apart from the totals. Kept by each shard, so that what was counted is also uncounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counting {
    sources: bool,
    prefix: Option<u8>,
}

impl Counting {
    /// What the limits of `policy` need.
    pub(crate) fn of(policy: &Policy) -> Self {
        let limits = &policy.config().limits;
        Self {
            sources: limits.source_sessions.is_some() || limits.source_bib.is_some(),
            prefix: (limits.prefix_sessions.is_some() || limits.prefix_bib.is_some())
                .then_some(limits.prefix_length),
        }
    }
}

/// The counts.
pub(crate) struct Usage {
    bib: AtomicU64,
    sessions: AtomicU64,
    parts: Box<[Part]>,
}

/// A part of the table of sources.
#[derive(Default)]
struct Part {
    counts: Mutex<HashTable<Count>>,
    /// Bytes allocated for them: read without waiting for anybody.
    bytes: AtomicUsize,
}

struct Count {
    prefix: u128,
    length: u8,
    amount: Amount,
}

/// Limits of one key, with the names of the refusals: sessions, then BIB entries.
struct Bounds([(Option<u32>, Refusal); 2]);

impl Usage {
    pub(crate) fn new() -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { bib: AtomicU64::new(0), sessions: AtomicU64::new(0), parts }
    }

    /// Counts what is about to be made, or says which limit forbids it and changes nothing.
    pub(crate) fn reserve(
        &self,
        hasher: &Hasher,
        counting: Counting,
        limits: &Limits,
        client: Ipv6Addr,
        amount: Amount,
    ) -> Result<(), Refusal> {
        add_up_to(&self.sessions, amount.sessions, limits.max_sessions).ok_or(Refusal::SessionLimit)?;
        let undo_sessions = Amount { bib: 0, ..amount };
        if add_up_to(&self.bib, amount.bib, limits.max_bib).is_none() {
            self.uncount_totals(undo_sessions);
            return Err(Refusal::BibLimit);
        }
        if counting.sources {
            let bounds = Bounds([
                (limits.source_sessions, Refusal::SourceSessionLimit),
                (limits.source_bib, Refusal::SourceBibLimit),
            ]);
            if let Err(refusal) = self.add(hasher, client.into(), SOURCE, amount, &bounds) {
                self.uncount_totals(amount);
                return Err(refusal);
            }
        }
        if let Some(length) = counting.prefix {
            let bounds = Bounds([
                (limits.prefix_sessions, Refusal::PrefixSessionLimit),
                (limits.prefix_bib, Refusal::PrefixBibLimit),
            ]);
            if let Err(refusal) = self.add(hasher, network(client, length), length, amount, &bounds) {
                self.uncount_totals(amount);
                self.uncount_keys(hasher, Counting { prefix: None, ..counting }, client, amount);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Sessions in all.
    pub(crate) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Counts what the administrator made: no limit applies.
    pub(crate) fn count(&self, hasher: &Hasher, counting: Counting, client: Ipv6Addr, amount: Amount) {
        self.bib.fetch_add(amount.bib.into(), Ordering::Relaxed);
        self.sessions.fetch_add(amount.sessions.into(), Ordering::Relaxed);
        self.count_keys(hasher, counting, client, amount);
    }

    /// Takes back what [`Self::reserve`] or [`Self::count`] counted.
    pub(crate) fn uncount(&self, hasher: &Hasher, counting: Counting, client: Ipv6Addr, amount: Amount) {
        self.uncount_totals(amount);
        self.uncount_keys(hasher, counting, client, amount);
    }

    /// Counts something that exists already in the per-source and per-prefix tables.
    pub(crate) fn count_keys(&self, hasher: &Hasher, counting: Counting, client: Ipv6Addr, amount: Amount) {
        let unbounded = Bounds([(None, Refusal::SessionLimit), (None, Refusal::BibLimit)]);
        for (prefix, length) in keys(counting, client) {
            // Cannot fail: there are no bounds.
            let _counted = self.add(hasher, prefix, length, amount, &unbounded);
        }
    }

    /// Takes something that goes on existing out of the per-source and per-prefix tables.
    pub(crate) fn uncount_keys(&self, hasher: &Hasher, counting: Counting, client: Ipv6Addr, amount: Amount) {
        for (prefix, length) in keys(counting, client) {
            let hash = hasher.prefix(Purpose::Usage, prefix, length);
            let found = |count: &Count| count.prefix == prefix && count.length == length;
            if let Ok(mut entry) = self.part(hash).counts.lock().find_entry(hash, found) {
                let count = &mut entry.get_mut().amount;
                count.bib = count.bib.saturating_sub(amount.bib);
                count.sessions = count.sessions.saturating_sub(amount.sessions);
                if count.bib == 0 && count.sessions == 0 {
                    entry.remove();
                }
            }
        }
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.load(Ordering::Relaxed)).sum()
    }

    fn add(
        &self,
        hasher: &Hasher,
        prefix: u128,
        length: u8,
        amount: Amount,
        bounds: &Bounds,
    ) -> Result<(), Refusal> {
        let hash = hasher.prefix(Purpose::Usage, prefix, length);
        let part = self.part(hash);
        let mut counts = part.counts.lock();
        let entry = counts.entry(
            hash,
            |count| count.prefix == prefix && count.length == length,
            |count| hasher.prefix(Purpose::Usage, count.prefix, count.length),
        );
        let old = match &entry {
            Entry::Occupied(count) => count.get().amount,
            Entry::Vacant(_) => Amount::default(),
        };
        let new = Amount {
            bib: old.bib.saturating_add(amount.bib),
            sessions: old.sessions.saturating_add(amount.sessions),
        };
        let [(max_sessions, too_many_sessions), (max_bib, too_many_bib)] = bounds.0;
        if amount.sessions != 0 && max_sessions.is_some_and(|max| new.sessions > max) {
            return Err(too_many_sessions);
        }
        if amount.bib != 0 && max_bib.is_some_and(|max| new.bib > max) {
            return Err(too_many_bib);
        }
        entry.insert(Count { prefix, length, amount: new });
        part.bytes.store(counts.allocation_size(), Ordering::Relaxed);
        Ok(())
    }

    fn uncount_totals(&self, amount: Amount) {
        self.bib.fetch_sub(amount.bib.into(), Ordering::Relaxed);
        self.sessions.fetch_sub(amount.sessions.into(), Ordering::Relaxed);
    }

    fn part(&self, hash: u64) -> &Part {
        // The table itself uses the low and the topmost bits; the part is chosen by others.
        &self.parts[(hash >> 40) as usize % PARTS]
    }
}

/// The keys under which a client is counted.
fn keys(counting: Counting, client: Ipv6Addr) -> impl Iterator<Item = (u128, u8)> {
    let source = counting.sources.then(|| (client.into(), SOURCE));
    let prefix = counting.prefix.map(|length| (network(client, length), length));
    source.into_iter().chain(prefix)
}

/// The first `length` bits of an address.
fn network(addr: Ipv6Addr, length: u8) -> u128 {
    u128::from(addr) & u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

/// Adds unless the sum would exceed `max`; adding nothing always succeeds.
fn add_up_to(counter: &AtomicU64, amount: u32, max: u64) -> Option<()> {
    if amount == 0 {
        return Some(());
    }
    let more = |now: u64| now.checked_add(amount.into()).filter(|sum| *sum <= max);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| ())
}
