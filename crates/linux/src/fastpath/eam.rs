//! EAM and denylist entries of all tables, loaded and removed in batches.

use std::io;
use std::mem::take;

use xlat_fastpath::stateless::{Eam4, Eam6, EamKey4, EamKey6};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::bpf::{BATCH, Map};

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
    pub(super) eam4: Map<EamKey4, Eam4>,
    pub(super) eam6: Map<EamKey6, Eam6>,
    pub(super) deny4: Map<EamKey4, u32>,
}

impl EamMaps {
    pub(super) fn load(&self, table: u32, entries: impl IntoIterator<Item = Entry>) -> io::Result<()> {
        let mut eam4 = Loading::new(&self.eam4);
        let mut eam6 = Loading::new(&self.eam6);
        let mut deny4 = Loading::new(&self.deny4);
        for entry in entries {
            match entry {
                Entry::From4 { prefix, len, to } => {
                    eam4.add(EamKey4 { table, len: len.into(), prefix }, to)?
                }
                Entry::From6 { prefix, len, to } => {
                    eam6.add(EamKey6 { table, len: len.into(), prefix }, to)?
                }
                Entry::Deny4 { prefix, len } => deny4.add(EamKey4 { table, len: len.into(), prefix }, 1)?,
            }
        }
        eam4.flush()?;
        eam6.flush()?;
        deny4.flush()
    }

    pub(super) fn remove(&self, is_gone: impl Fn(u32) -> bool) -> io::Result<()> {
        remove(&self.eam4, |key| is_gone(key.table))?;
        remove(&self.eam6, |key| is_gone(key.table))?;
        remove(&self.deny4, |key| is_gone(key.table))
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
