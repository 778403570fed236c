//! The state of one instance, shared by all workers: shards behind their locks, and what the shards share.
//! Packets enter by `outbound.rs` and `inbound.rs`; this file makes the tables, expires, counts and displays.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::ageing::{patience, tick};
use crate::counts::Counts;
use crate::events::{BibInfo, Events, SessionInfo};
use crate::hash::Hasher;
use crate::policy::Policy;
use crate::portmap::Handle;
use crate::shard::{Env, Shard, Shared};
use crate::stored::StoredSyns;
use crate::types::{Instant, Timer};
use crate::usage::Usage;

/// Shards at most.
const MAX_SHARDS: usize = 1024;

/// Sessions expired while a shard is locked, and in one call.
const EXPIRE_AT_ONCE: usize = 256;
const EXPIRE_PER_CALL: usize = 16_384;

/// Slots looked at while a shard is locked, when walking over all records.
pub(crate) const LOCKED_AT_ONCE: u32 = 128;

/// BIB entries and sessions of an instance. `Send` and `Sync`; every method takes `&self`.
pub struct Tables {
    /// No two of a process have the same.
    number: u64,
    pub(crate) shared: Shared,
    pub(crate) shards: Box<[Padded]>,
    /// Of each shard.
    counts: Box<[Arc<Counts>]>,
    /// The shard where the next expiry begins.
    turn: AtomicUsize,
}

/// A shard on cache lines of its own.
#[repr(align(128))]
pub(crate) struct Padded(pub(crate) Mutex<Shard>);

/// What is in the tables now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// BIB entries, by [`Protocol::index`](crate::Protocol::index).
    pub bib: [usize; 3],
    /// Sessions, by [`Protocol::index`](crate::Protocol::index).
    pub sessions: [usize; 3],
    /// Sessions made since the tables began, restored ones included, by [`Protocol::index`](crate::Protocol::index).
    pub sessions_made: [u64; 3],
    /// Stored SYNs, both types.
    pub stored_syns: u64,
    /// Bytes allocated for the tables. The port maps are the policy's: see [`Policy::memory`].
    pub memory: usize,
}

/// Where a walk over the records goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) shard: usize,
    pub(crate) slot: u32,
}

impl Cursor {
    /// Records that one call of a walk looks at, and so the most it gives.
    pub const STEP: usize = 1024;

    /// As two numbers, to be kept elsewhere.
    #[must_use]
    pub fn numbers(self) -> (usize, u32) {
        (self.shard, self.slot)
    }

    /// From [`Self::numbers`]. Numbers that no cursor had end the walk early or begin it elsewhere.
    #[must_use]
    pub fn from_numbers(shard: usize, slot: u32) -> Self {
        Self { shard, slot }
    }
}

impl Tables {
    /// Empty tables. `shards` is rounded up to a power of two, at most 1,024; some tens per worker keep workers out of
    /// each other's way. `secret` keys every hash and the choice of ports: it must be random and never leave the host.
    pub fn new(shards: usize, secret: [u8; 16]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = shards.clamp(1, MAX_SHARDS).next_power_of_two();
        let shard_bits = count.trailing_zeros();
        let counts: Box<[_]> = (0..count).map(|_| Arc::<Counts>::default()).collect();
        Self {
            number: COUNT.fetch_add(1, Ordering::Relaxed),
            shared: Shared {
                hasher: Hasher::new(secret),
                usage: Usage::new(),
                syns: StoredSyns::default(),
                shard_bits,
            },
            shards: counts
                .iter()
                .map(|counts| Padded(Mutex::new(Shard::new(shard_bits, counts.clone()))))
                .collect(),
            counts,
            turn: AtomicUsize::new(0),
        }
    }

    /// Tells these tables from all others of this process, also from former ones.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Removes what has outlived its timer, by the lifetimes of `policy` (RFC 6146 3.5). Meant to be called by any
    /// worker about every 250 ms. The work of a call is bounded; `true` says that more may be waiting.
    pub fn expire(&self, policy: &Policy, now: Instant, events: &mut dyn Events) -> bool {
        policy.refresh_hints();
        let lifetime = patience(policy, Timer::StoredSyn);
        let syns = self.shared.syns.expire(tick(now), lifetime, EXPIRE_PER_CALL, events);
        let mut budget = EXPIRE_PER_CALL - syns;
        for _ in 0..self.shards.len() {
            let at = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len();
            loop {
                let at_once = budget.min(EXPIRE_AT_ONCE);
                let (mut shard, mut env) = self.enter(at, policy, now, events);
                let expired = shard.expire(&mut env, at_once);
                drop(shard);
                budget -= expired;
                if budget == 0 {
                    return true;
                }
                if expired < at_once {
                    break;
                }
            }
        }
        false
    }

    /// Counts and memory. Waits for nobody and keeps nobody waiting.
    pub fn gauges(&self) -> Gauges {
        let mut gauges = Gauges {
            stored_syns: self.shared.syns.held(),
            memory: self.shared.usage.bytes() + self.shared.syns.bytes(),
            ..Gauges::default()
        };
        self.counts.iter().for_each(|counts| counts.add_to(&mut gauges));
        gauges
    }

    /// Walks over the BIB entries, in no particular order: appends at most `count` of them to `out` and gives the cursor to go
    /// on with, or `None` at the end. Start with `Cursor::default()`. A call is a bounded amount of work and may find
    /// nothing. What stays is met exactly once; what comes or goes meanwhile may be missed.
    pub fn bib_entries(&self, from: Cursor, count: usize, out: &mut Vec<BibInfo>) -> Option<Cursor> {
        let next = |shard: &Shard, slot| (slot < shard.records.bib.end()).then_some(slot);
        self.walk(from, count, out, next, Shard::bib_info)
    }

    /// The same over the sessions; times left are as of the shard's last packet or expiry.
    pub fn sessions(
        &self,
        policy: &Policy,
        from: Cursor,
        count: usize,
        out: &mut Vec<SessionInfo>,
    ) -> Option<Cursor> {
        let next = |shard: &Shard, number| shard.records.from(number);
        self.walk(from, count, out, next, |shard, number| shard.session_info(policy, number))
    }

    /// The shard of an IPv6 address hash. The tables within use the low and the topmost bits of hashes.
    pub(crate) fn place(&self, client: u64) -> usize {
        (client >> 32) as usize & (self.shards.len() - 1)
    }

    /// Locks a shard and brings it to the present.
    pub(crate) fn enter<'a>(
        &'a self,
        at: usize,
        policy: &'a Policy,
        now: Instant,
        events: &'a mut dyn Events,
    ) -> (MutexGuard<'a, Shard>, Env<'a>) {
        let mut shard = self.shards[at].0.lock();
        let tick = shard.advance(&self.shared, policy, now);
        (shard, Env { shared: &self.shared, policy, events, shard: at as u32, tick })
    }

    /// Shard and BIB entry of a handle from a port map.
    pub(crate) fn decode(&self, handle: Handle) -> Option<(usize, u32)> {
        let code = handle.checked_sub(1)?;
        Some((code as usize & (self.shards.len() - 1), code >> self.shared.shard_bits))
    }

    /// `next` gives the first slot at or behind one, `info` what is in it.
    fn walk<T>(
        &self,
        from: Cursor,
        count: usize,
        out: &mut Vec<T>,
        next: impl Fn(&Shard, u32) -> Option<u32>,
        info: impl Fn(&Shard, u32) -> Option<T>,
    ) -> Option<Cursor> {
        let enough = out.len().saturating_add(count.max(1));
        let (mut cursor, mut looks) = (from, 0);
        while let Some(shard) = self.shards.get(cursor.shard)
            && out.len() < enough
            && looks < Cursor::STEP as u32
        {
            // An empty shard costs about as much as a record.
            looks += 1;
            let shard = shard.0.lock();
            let mut here = next(&shard, cursor.slot);
            let pause = looks.saturating_add(LOCKED_AT_ONCE);
            while let Some(slot) = here.filter(|_| looks < pause && out.len() < enough) {
                out.extend(info(&shard, slot));
                here = next(&shard, slot.saturating_add(1));
                looks += 1;
            }
            cursor = match here {
                Some(slot) => Cursor { slot, ..cursor },
                None => Cursor { shard: cursor.shard + 1, slot: 0 },
            };
        }
        (cursor.shard < self.shards.len()).then_some(cursor)
    }
}
