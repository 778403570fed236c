//! EAM and denylist entries of all tables, loaded and removed in batches.

use std::io;
use std::mem::take;

use xlat_fastpath::rewrite::{prefix4, prefix6};
use xlat_fastpath::stateless::{Eam4, Eam6, EamKey4, EamKey6, FILTER_WORDS, filter_bit4, filter_bit6};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::bpf::{BATCH, Map};
use super::filter::Filter;

/// One entry of a table; prefixes in network byte order, bits behind their lengths zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// For an IPv4 address: the prefix and its length, and what it becomes.
    From4 {
        /// The IPv4 prefix.
        prefix: [u8; 4],
        /// Its length.
        len: u8,
        /// Its IPv6 side.
        to: Eam4,
    },
    /// For an IPv6 address.
    From6 {
        /// The IPv6 prefix.
        prefix: [u8; 16],
        /// Its length.
        len: u8,
        /// Its IPv4 side.
        to: Eam6,
    },
    /// An IPv4 prefix that pool6 does not translate.
    Deny4 {
        /// The IPv4 prefix.
        prefix: [u8; 4],
        /// Its length.
        len: u8,
    },
}

/// The maps of the tables.
#[derive(Debug)]
pub(super) struct EamMaps {
    eam4: Map<EamKey4, Eam4>,
    eam6: Map<EamKey6, Eam6>,
    deny4: Map<EamKey4, u32>,
    filter: Filter,
}

impl EamMaps {
    pub(super) fn new(
        eam4: Map<EamKey4, Eam4>,
        eam6: Map<EamKey6, Eam6>,
        deny4: Map<EamKey4, u32>,
        filter: Map<u32, [u64; FILTER_WORDS]>,
    ) -> Self {
        Self { eam4, eam6, deny4, filter: Filter::new(filter) }
    }

    /// `(len4, len6)`: how much of an address the filter looks at.
    pub(super) fn load(
        &self,
        table: u32,
        (len4, len6): (u32, u32),
        entries: impl IntoIterator<Item = Entry>,
    ) -> io::Result<()> {
        let mut places = Vec::new();
        let mut eam4 = Loading::new(&self.eam4);
        let mut eam6 = Loading::new(&self.eam6);
        let mut deny4 = Loading::new(&self.deny4);
        for entry in entries {
            match entry {
                Entry::From4 { prefix, len, to } => {
                    places.push(filter_bit4(table, prefix4(u32::from_ne_bytes(prefix), len4)));
                    eam4.add(EamKey4 { table, len: len.into(), prefix }, to)?
                }
                Entry::From6 { prefix, len, to } => {
                    let bits = u128::from_ne_bytes(prefix);
                    // In memory order.
                    let halves = if cfg!(target_endian = "little") {
                        [bits as u64, (bits >> 64) as u64]
                    } else {
                        [(bits >> 64) as u64, bits as u64]
                    };
                    places.push(filter_bit6(table, prefix6(halves, len6)));
                    eam6.add(EamKey6 { table, len: len.into(), prefix }, to)?
                }
                Entry::Deny4 { prefix, len } => deny4.add(EamKey4 { table, len: len.into(), prefix }, 1)?,
            }
        }
        eam4.flush()?;
        eam6.flush()?;
        deny4.flush()?;
        places.sort_unstable();
        places.dedup();
        self.filter.add(table, &places)
    }

    pub(super) fn remove(&self, is_gone: impl Fn(u32) -> bool) -> io::Result<()> {
        remove(&self.eam4, |key| is_gone(key.table))?;
        remove(&self.eam6, |key| is_gone(key.table))?;
        remove(&self.deny4, |key| is_gone(key.table))?;
        self.filter.remove(is_gone)
    }

    pub(super) fn memory(&self) -> io::Result<u64> {
        Ok(self.eam4.memory()? + self.eam6.memory()? + self.deny4.memory()?)
    }
}

/// Entries on their way into a map.
struct Loading<'a, K, V> {
    map: &'a Map<K, V>,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<'a, K, V> Loading<'a, K, V>
where
    K: FromBytes + IntoBytes + Immutable + Clone,
    V: FromBytes + IntoBytes + Immutable + Clone,
{
    fn new(map: &'a Map<K, V>) -> Self {
        Self { map, keys: Vec::new(), values: Vec::new() }
    }

    fn add(&mut self, key: K, value: V) -> io::Result<()> {
        self.keys.push(key);
        self.values.push(value);
        if self.keys.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.map.set_all(&take(&mut self.keys), &take(&mut self.values)).map_err(|(_, error)| error)
    }
}

fn remove<K, V>(map: &Map<K, V>, is_gone: impl Fn(&K) -> bool) -> io::Result<()>
where
    K: FromBytes + IntoBytes + Immutable + Clone,
    V: FromBytes + IntoBytes + Immutable + Clone,
{
    let mut gone = Vec::new();
    map.for_each(|keys, _| {
        gone.extend(keys.iter().filter(|key| is_gone(key)).cloned());
        Ok(())
    })?;
    map.delete_all(&gone)
}
