//! A changed configuration reaches the tables: entries whose mask left pool4 go with their sessions, static entries
//! that left the configuration go, new ones come (spec: pool4 and BIB operations cascade).

use crate::events::Events;
use crate::give_way::give_way;
use crate::policy::{Policy, StaticEntry};
use crate::shard::{Env, Shard};
use crate::tables::{LOCKED_AT_ONCE, Tables};
use crate::types::{Instant, Timer};

impl Tables {
    /// Makes the tables agree with `new`, which was built with `old` as its previous policy and is already in force for
    /// the workers. At the start call it with the same policy twice: it installs the static entries.
    ///
    /// Workers go on meanwhile; what one of them still makes under `old` is found out when it is next used.
    pub fn reconfigure(&self, old: &Policy, new: &Policy, events: &mut dyn Events) {
        let (before, after) = (old.config(), new.config());
        let masks_changed = before.pool4 != after.pool4
            || before.implicit != after.implicit
            || before.static_bib != after.static_bib;
        let lifetimes_changed = Timer::ALL.iter().any(|timer| old.lifetime(*timer) != new.lifetime(*timer));
        // Promoted sessions that are announced are asked about more often, from the beginning.
        let keep = !masks_changed && before.promotion == after.promotion && before.announce == after.announce;
        for at in 0..self.shards.len() {
            // Entering is what makes a shard count by the new limits.
            drop(self.enter(at, new, Instant(0), events));
            if masks_changed {
                self.cascade(at, new, events);
            }
            if !keep || lifetimes_changed {
                self.review(at, new, keep, events);
            }
        }
        for entry in &after.static_bib {
            self.install(new, entry, events);
        }
    }

    /// Removes what `new` does not cover from one shard, in steps.
    fn cascade(&self, at: usize, new: &Policy, events: &mut dyn Events) {
        let mut slot = 0;
        loop {
            give_way();
            let (mut shard, mut env) = self.enter(at, new, Instant(0), events);
            let end = shard.records.bib.end();
            let stop = end.min(slot + LOCKED_AT_ONCE);
            for bib in slot..stop {
                let Some(entry) = shard.records.bib.get(bib) else { continue };
                let expected = new.static_mask(entry.protocol, entry.client());
                let left_out = entry.is_static && expected != Some(entry.mask());
                if left_out || !shard.still_mapped(&env, bib) {
                    shard.remove_bib(&mut env, bib);
                }
            }
            slot = stop;
            if slot >= end {
                break;
            }
        }
    }

    /// Takes the promoted sessions of one shard back, or (`keep`) finds out when they end under other lifetimes; in
    /// steps.
    fn review(&self, at: usize, new: &Policy, keep: bool, events: &mut dyn Events) {
        let mut from = 0;
        loop {
            give_way();
            let (mut shard, mut env) = self.enter(at, new, Instant(0), events);
            for _ in 0..LOCKED_AT_ONCE {
                let Some(number) = shard.records.from(from) else { return };
                shard.review(&mut env, number, keep);
                from = number + 1;
            }
        }
    }

    /// Installs one static entry. A dynamic one for the same two is upgraded; one that stands in the way goes.
    fn install(&self, policy: &Policy, entry: &StaticEntry, events: &mut dyn Events) {
        let StaticEntry { protocol, client, mask } = *entry;
        let Some(ports) = policy.pool(protocol).owner(mask) else { return };
        let hash = self.shared.hasher.client(client.addr);
        let at = self.place(hash);
        let mut seized = 0;
        {
            let (mut shard, mut env) = self.enter(at, policy, Instant(0), events);
            let found = shard.find(self.shared.hasher.with_port(hash, client.port), protocol, client);
            if let Some(bib) = found {
                if shard.records.bib[bib].mask() == mask && shard.still_mapped(&env, bib) {
                    shard.set_static(bib);
                    return;
                }
                shard.remove_bib(&mut env, bib);
            }
            let choose = |handle| {
                seized = ports.seize(mask.port, handle);
                Some(mask)
            };
            if shard.open_static(&mut env, protocol, client, choose).is_err() {
                return;
            }
            // The loser may live in the same shard.
            if let Some((_, loser)) = self.decode(seized).filter(|(other, _)| *other == at) {
                evict(&mut shard, &mut env, loser, entry);
                seized = 0;
            }
        }
        if let Some((at, loser)) = self.decode(seized) {
            let (mut shard, mut env) = self.enter(at, policy, Instant(0), events);
            evict(&mut shard, &mut env, loser, entry);
        }
        self.shared.syns.discard_for(mask);
    }
}

/// Removes the entry whose mask was taken over.
fn evict(shard: &mut Shard, env: &mut Env<'_>, loser: u32, winner: &StaticEntry) {
    let stands_for = shard.verify(loser, winner.protocol, winner.mask);
    if stands_for.is_some_and(|entry| entry.client() != winner.client) {
        shard.remove_bib(env, loser);
    }
}
