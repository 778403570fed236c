//! Entries of stateless translation (RFC 7757): one hash look-up for each prefix length in use, longest first.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::Memory;

/// Places in a processor's memory of ways; a power of two.
pub const ROUTES: u32 = 16384;

/// The way to a destination of stateless traffic, which has no flow to remember it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Route {
    /// Source of the translated packets (policy routing may look at it); an IPv4 address in the first four bytes, then
    /// `ff`s.
    pub src: [u8; 16],
    /// Their destination, likewise.
    pub dst: [u8; 16],
    /// What is remembered.
    pub memory: Memory,
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
