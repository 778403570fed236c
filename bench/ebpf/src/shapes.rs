//! What the measurement tells its XDP programs: values of array maps with one entry. Numbers are the processor's own,
//! addresses and frames are as on the wire.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of the longest frame that is sent: Ethernet, IPv6, UDP and a payload of 16 bytes.
pub const FRAME: usize = 14 + 40 + 8 + 16;
/// Bytes that every frame is shortened by at its start, so that nobody on its way has to copy it in order to make room.
pub const HEADROOM: usize = 32;
/// First word of every payload; the number of the flow comes behind it.
pub const MAGIC: u32 = 0x786c_6174;
/// Most flows that take turns; each has a place in the map of targets, in every one of its [`SETS`].
pub const FLOWS: u32 = 1 << 20;
/// Sets of targets.
pub const SETS: u32 = 4;

/// What to send: a frame, and what differs from one flow to the next.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Order {
    /// The frame, its checksums zero and what varies too; two bytes too long, to be copied by words.
    pub frame: [u64; FRAME.div_ceil(8)],
    /// Index of the interface that it leaves by.
    pub interface: u32,
    /// Of `order_flag`.
    pub flags: u32,
    /// Flows that take turns.
    pub flows: u32,
    /// Flow N has the address `address + (N >> shift)` ...
    pub address: u32,
    /// ... and the port `port + (N & (1 << shift) - 1)`.
    pub shift: u32,
    /// The first port.
    pub port: u32,
    /// One's-complement sum of what the UDP checksum covers and does not vary.
    pub udp_sum: u32,
    /// The same for the IPv4 header.
    pub header_sum: u32,
    /// The set of targets in use.
    pub set: u32,
    /// Send only one of so many frames, which is how to send slowly.
    pub one_of: u32,
}

/// Bits of [`Order::flags`].
pub mod order_flag {
    /// IPv6, otherwise IPv4.
    pub const IPV6: u32 = 1;
    /// Destination address (its last 32 bits) and port vary, otherwise those of the source.
    pub const DESTINATION: u32 = 2;
    /// Address and port of each flow are in the map of targets.
    pub const TARGETS: u32 = 4;
}

/// What has to arrive at the sink.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Expected {
    /// Of `expected_flag`.
    pub flags: u32,
    /// The hop limit or TTL.
    pub hop_limit: u32,
    /// The first 96 bits of the destination; or an IPv4 address and its mask.
    pub destination: [u32; 3],
    /// The set of targets to write to.
    pub set: u32,
}

/// Bits of [`Expected::flags`].
pub mod expected_flag {
    /// IPv6, otherwise IPv4.
    pub const IPV6: u32 = 1;
    /// Check the UDP checksum too.
    pub const CHECKSUM: u32 = 2;
    /// Write the source (IPv4) of each flow into the map of targets.
    pub const LEARN: u32 = 4;
}

/// Indexes into the map of counts.
pub mod count {
    /// Arrived as expected.
    pub const RIGHT: u32 = 0;
    /// Ours, but not as expected.
    pub const WRONG: u32 = 1;
    /// Flows whose source was not known before.
    pub const LEARNT: u32 = 2;
    /// Packets that the program for forwarding sent on.
    pub const FORWARDED: u32 = 3;
    /// How many counts there are.
    pub const ALL: u32 = 4;
}
