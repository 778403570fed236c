//! Entries of stateless translation (RFC 7757): one hash look-up for each prefix length in use, longest first.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::rewrite::Address6;

/// Words of the filter in front of the EAM entries; a power of two. 64 KiB: a filter that many entries fill and that stays
/// in a processor's cache.
pub const FILTER_WORDS: usize = 8192;

/// Bits of an IPv4 address that the filter looks at, at most: the more, the fewer foreign addresses pass it, but the more of it
/// the entries fill.
pub const FILTER4_MAX: u32 = 24;
/// The same of an IPv6 address.
pub const FILTER6_MAX: u32 = 64;

/// Word and mask in the filter for how an IPv4 prefix of a table begins.
#[inline(always)]
pub const fn filter_bit4(table: u32, beginning: u32) -> (usize, u64) {
    filter_bit((beginning as u64) << 32 | table as u64)
}

/// The same of an IPv6 prefix, of at most [`FILTER6_MAX`] bits.
#[inline(always)]
pub const fn filter_bit6(table: u32, beginning: Address6) -> (usize, u64) {
    filter_bit(beginning[0] ^ (table as u64).rotate_left(32) ^ 1)
}

#[inline(always)]
const fn filter_bit(word: u64) -> (usize, u64) {
    let hash = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 6 - FILTER_WORDS.ilog2())) as usize;
    (hash >> 6, 1 << (hash & 63))
}

/// An IPv4 prefix of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EamKey4 {
    /// [`crate::config::Instance::table`].
    pub table: u32,
    /// Length of the prefix.
    pub len: u32,
    /// The prefix; other bits zero.
    pub prefix: [u8; 4],
}

/// An IPv6 prefix of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EamKey6 {
    /// [`crate::config::Instance::table`].
    pub table: u32,
    /// Length of the prefix.
    pub len: u32,
    /// The prefix; other bits zero.
    pub prefix: [u8; 16],
}

/// The IPv6 side of an entry, for an IPv4 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Eam4 {
    /// The prefix; other bits zero.
    pub prefix: [u8; 16],
    /// Length of the prefix.
    pub len: u32,
    /// Not 0: packets to this prefix are ours on interface ingress (the virtual side).
    pub steer: u32,
}

/// The IPv4 side of an entry, for an IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Eam6 {
    /// The prefix; other bits zero.
    pub prefix: [u8; 4],
    /// Length of the prefix.
    pub len: u32,
    /// Not 0: packets to this prefix are ours on interface ingress (the virtual side).
    pub steer: u32,
}
