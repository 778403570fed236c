//! The busiest sources: a walk over the BIB in steps, a bounded number in each snapshot, and a summary of bounded size.
//! A source with more than [`KEPT`]th of all sessions is always found; what is said of one is short by `error` at most (Misra and
//! Gries, "Finding repeated elements", 1982, in batches).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use xlat_control::live::{Source, Sources};
use xlat_engine::View;
use xlat_nat64::Cursor;

/// Sources that stay in the summary.
const KEPT: usize = 1024;
/// Sources that are in it until it is cut down.
const ROOM: usize = 4 * KEPT;
/// Sources that are shown.
const SHOWN: usize = 20;
/// Entries looked at in one go; each go holds one part of the tables for some microseconds.
const STEP: usize = 256;
/// How long a snapshot may walk.
const BUDGET: Duration = Duration::from_millis(10);

/// Sessions and BIB entries of the sources that have most.
#[derive(Default)]
struct Summary {
    counts: HashMap<Ipv6Addr, (u64, u64)>,
    /// What was taken off everybody.
    error: u64,
    entries: u64,
}

impl Summary {
    fn add(&mut self, source: Ipv6Addr, sessions: u64) {
        let (of_source, entries) = self.counts.entry(source).or_default();
        (*of_source, *entries, self.entries) = (*of_source + sessions, *entries + 1, self.entries + 1);
        if self.counts.len() >= ROOM {
            self.cut();
        }
    }

    /// Takes the size of the first that has no place off everybody.
    fn cut(&mut self) {
        let mut sizes: Vec<u64> = self.counts.values().map(|(sessions, _)| *sessions).collect();
        let (_, off, _) = sizes.select_nth_unstable_by_key(KEPT, |size| Reverse(*size));
        let off = *off;
        self.error += off;
        self.counts.retain(|_, (sessions, _)| {
            *sessions = sessions.saturating_sub(off);
            *sessions > 0
        });
    }

    fn busiest(&self) -> Vec<Source> {
        let mut list: Vec<_> = self
            .counts
            .iter()
            .map(|(address, (sessions, bib_entries))| Source {
                address: (*address).into(),
                sessions: *sessions,
                bib_entries: *bib_entries,
            })
            .collect();
        list.sort_unstable_by_key(|source| (Reverse((source.sessions, source.bib_entries)), source.address));
        list.truncate(SHOWN);
        list
    }
}

/// A walk that goes round and round.
#[derive(Default)]
pub(super) struct Walk {
    summary: Summary,
    /// What is still to be walked over in this round, last first.
    left: Vec<(View, Cursor)>,
    done: Option<(Instant, Sources)>,
}

impl Walk {
    /// Goes on for a while; `views` are the instances that the next round begins with.
    pub(super) fn go_on(&mut self, views: &[View]) {
        let end = Instant::now() + BUDGET;
        if self.left.is_empty() {
            self.summary = Summary::default();
            self.left = views.iter().rev().map(|view| (view.clone(), Cursor::default())).collect();
        }
        let mut found = Vec::with_capacity(2 * STEP);
        while let Some((view, cursor)) = self.left.pop() {
            found.clear();
            if let Some(next) = view.bib_entries(cursor, STEP, &mut found) {
                self.left.push((view, next));
            }
            for entry in &found {
                self.summary.add(entry.client.addr, entry.sessions.into());
            }
            if Instant::now() >= end && !self.left.is_empty() {
                return;
            }
        }
        let (entries, error) = (self.summary.entries, self.summary.error);
        let list = self.summary.busiest();
        self.done = Some((Instant::now(), Sources { age: None, entries, error, list }));
    }

    /// The outcome of the last whole round.
    pub(super) fn outcome(&self) -> Sources {
        self.done.as_ref().map_or_else(Sources::default, |(ended, sources)| {
            let age = u64::try_from(ended.elapsed().as_millis()).unwrap_or(u64::MAX);
            Sources { age: Some(age), ..sources.clone() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_found_among_any_number_and_memory_stays_bounded() {
        let address = |number: u64| Ipv6Addr::from(0x2001_0db8u128 << 96 | u128::from(number));
        let mut summary = Summary::default();
        let mut total = 0;
        for round in 0..200_000u64 {
            summary.add(address(1_000_000 + round), 1);
            summary.add(address(round % 3), 2);
            total += 3;
            assert!(summary.counts.len() <= ROOM);
        }
        assert!(summary.error <= total / KEPT as u64 + 1, "{}", summary.error);
        let busiest = summary.busiest();
        assert_eq!(busiest.len(), SHOWN);
        for source in &busiest[..3] {
            let real = 2 * 200_000u64.div_ceil(3);
            assert!(source.sessions <= real && source.sessions + summary.error + 2 >= real - 2, "{source:?}");
        }
    }
}
