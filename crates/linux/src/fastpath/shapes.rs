//! What every map must look like, next to its name: what is pinned under a name is used only if it is that.

use xlat_fastpath::config::{Config, INSTANCES, Instance, LINKS, Link, OWN_ADDRESSES, Steer};
use xlat_fastpath::count::{COUNT, Traffic};
use xlat_fastpath::flow::{Key4, Key6, To4, To6};
use xlat_fastpath::maps;
use xlat_fastpath::stateless::{Eam4, Eam6, EamKey4, EamKey6, FILTER_WORDS};

use super::bpf::{ARRAY, HASH, LPM_TRIE, MMAPABLE, MapInfo, PER_CPU_ARRAY};

/// How many entries a map has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    /// The program counts on this number.
    Exactly(u32),
    /// As the daemon's configuration says when the map is made ([`super::Sizes`]).
    Flows,
    /// The same.
    Eam,
    /// As the program declares.
    Any,
}

/// What a map must look like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    kind: u32,
    key: usize,
    value: usize,
    pub(super) entries: Entries,
    flags: u32,
}

impl Shape {
    /// Why a map with `info` is not this one.
    pub(super) fn contradiction(&self, info: &MapInfo) -> Option<String> {
        let entries = match self.entries {
            Entries::Exactly(entries) => entries,
            _ => info.max_entries,
        };
        let found = [info.kind, info.key_size, info.value_size, info.max_entries, info.flags & self.flags];
        let wanted = [self.kind, self.key as u32, self.value as u32, entries, self.flags];
        (found != wanted).then(|| {
            format!("{} has type, key, value, entries and flags {found:?} instead of {wanted:?}", self.name)
        })
    }
}

const fn shape<K, V>(name: &'static str, kind: u32, entries: Entries) -> Shape {
    Shape { name, kind, key: size_of::<K>(), value: size_of::<V>(), entries, flags: 0 }
}

const fn array<V>(name: &'static str, entries: u32) -> Shape {
    shape::<u32, V>(name, ARRAY, Entries::Exactly(entries))
}

/// All maps.
pub(super) const SHAPES: [Shape; 17] = [
    array::<Config>(maps::CONFIG, 1),
    array::<Instance>(maps::INSTANCES, INSTANCES),
    array::<Link>(maps::LINKS, LINKS),
    shape::<[u8; 8], Steer>(maps::STEER4, LPM_TRIE, Entries::Any),
    shape::<[u8; 20], Steer>(maps::STEER6, LPM_TRIE, Entries::Any),
    shape::<[u8; 8], u32>(maps::MTU4, LPM_TRIE, Entries::Any),
    shape::<[u8; 8], u32>(maps::POOL4, LPM_TRIE, Entries::Any),
    Shape { flags: MMAPABLE, ..array::<[u64; 1024]>(maps::OWN_PORTS, OWN_ADDRESSES * 3) },
    shape::<Key6, To4>(maps::FLOWS6, HASH, Entries::Flows),
    shape::<Key4, To6>(maps::FLOWS4, HASH, Entries::Flows),
    shape::<EamKey4, Eam4>(maps::EAM4, HASH, Entries::Eam),
    shape::<EamKey6, Eam6>(maps::EAM6, HASH, Entries::Eam),
    shape::<EamKey4, u32>(maps::DENY4, HASH, Entries::Eam),
    array::<[u64; FILTER_WORDS]>(maps::EAM_FILTER, 1),
    array::<[u64; 1024]>(maps::HOST, 1),
    shape::<u32, u64>(maps::COUNTERS, PER_CPU_ARRAY, Entries::Exactly(COUNT)),
    shape::<u32, Traffic>(maps::TRAFFIC, PER_CPU_ARRAY, Entries::Exactly(INSTANCES)),
];
