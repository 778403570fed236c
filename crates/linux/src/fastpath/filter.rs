//! The filter in front of the EAM entries: a bit for each beginning of an address that some entry has. What is in use keeps its
//! bits while tables come and go.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use xlat_fastpath::stateless::FILTER_WORDS;

use super::bpf::Map;

type Words = [u64; FILTER_WORDS];

/// The filter, and what each table has in it.
#[derive(Debug)]
pub(super) struct Filter {
    map: Map<u32, Words>,
    tables: Mutex<HashMap<u32, Vec<u64>>>,
}

impl Filter {
    /// The filter behind the map.
    pub(super) fn new(map: Map<u32, Words>) -> Self {
        Self { map, tables: Mutex::default() }
    }

    /// Adds places of a table, a word and a mask each.
    pub(super) fn add(&self, table: u32, places: &[(usize, u64)]) -> io::Result<()> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let words = tables.entry(table).or_insert_with(|| vec![0; FILTER_WORDS]);
        // A former daemon's tables may be in use.
        let mut all = self.map.get(&0)?.unwrap_or([0; FILTER_WORDS]);
        for (word, mask) in places {
            if let (Some(word), Some(of_all)) = (words.get_mut(*word), all.get_mut(*word)) {
                *word |= mask;
                *of_all |= mask;
            }
        }
        self.map.set(&0, &all)
    }

    /// Forgets tables, and all that is in nobody's.
    pub(super) fn remove(&self, is_gone: impl Fn(u32) -> bool) -> io::Result<()> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|table, _| !is_gone(*table));
        let mut all = [0; FILTER_WORDS];
        for words in tables.values() {
            all.iter_mut().zip(words).for_each(|(to, from)| *to |= from);
        }
        self.map.set(&0, &all)
    }
}
