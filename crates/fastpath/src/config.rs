//! What the daemon tells the program: one [`Config`], a few [`Instance`]s, the interfaces.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Instances that the program knows; traffic of further ones goes to the daemon.
pub const INSTANCES: u32 = 16;
/// Interface indexes that have a place in the map of links; of others nothing is remembered.
pub const LINKS: u32 = 4096;
/// Prefixes that are looked at one by one, before the map.
pub const INLINE_STEERS: usize = 8;
/// Own addresses that pool4 can share with the host.
pub const OWN_ADDRESSES: u32 = 64;

/// The state of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    /// [`crate::LAYOUT`].
    pub layout: u32,
    /// Of `config_flag`.
    pub flags: u32,
    /// The daemon's last sign of life, in seconds of CLOCK_MONOTONIC.
    pub heartbeat: u32,
    /// Seconds that the program goes on without a sign of life.
    pub outlive: u32,
    /// Index of the TUN device.
    pub device: u32,
    /// Counts up whenever routes or neighbours changed: what flows remember of them is void then.
    pub route_generation: u32,
    /// How many of the instances are set.
    pub instances: u32,
    /// How many of `steer4` are set.
    pub steer4_count: u32,
    /// How many of `steer6` are set.
    pub steer6_count: u32,
    /// Index of the first enabled stateless instance, if [`config_flag::STATELESS`] is set: the one whose packets are
    /// translated here. Those of further ones are handed up.
    pub stateless: u32,
    /// A random number: where ways are remembered follows from it.
    pub seed: u64,
    /// IPv4 destinations that are ours on interface ingress.
    pub steer4: [SteerPrefix4; INLINE_STEERS],
    /// IPv6 destinations that are ours on interface ingress.
    pub steer6: [SteerPrefix6; INLINE_STEERS],
}

/// Bits of [`Config::flags`].
pub mod config_flag {
    /// Interface ingress is in use at all.
    pub const INGRESS: u32 = 1;
    /// There are more IPv4 destinations in the map.
    pub const STEER4_MAP: u32 = 2;
    /// There are more IPv6 destinations in the map.
    pub const STEER6_MAP: u32 = 4;
    /// Do not repeat anything: every packet that is ours goes to the daemon.
    pub const HAND_OVER_ALL: u32 = 8;
    /// At least one enabled instance is stateful: flows are looked up.
    pub const STATEFUL: u32 = 16;
    /// At least one enabled instance is stateless.
    pub const STATELESS: u32 = 32;
    /// `bpf_fib_lookup` knows `BPF_FIB_LOOKUP_MARK` (Linux 6.10): routes are looked up with the packet's mark.
    pub const FIB_MARK: u32 = 64;
    /// There are IPv4 routes with an MTU in the map.
    pub const MTU4_MAP: u32 = 128;
    /// The host has rules that route by source address.
    pub const SOURCE_RULES: u32 = 256;
    /// The host has rules that route by mark, protocol, ports or TOS.
    pub const PACKET_RULES: u32 = 512;
    /// The map of pool4 prefixes has all of them.
    pub const POOL4_MAP: u32 = 1024;
}

/// Whose a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Steer {
    /// 0: ours alone. Otherwise an address of the host: slot + 1 in the map of own ports.
    pub own: u32,
}

/// An IPv4 destination that is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SteerPrefix4 {
    /// The prefix; other bits zero.
    pub prefix: [u8; 4],
    /// Its mask, as bytes of a packet.
    pub mask: [u8; 4],
    /// Whose it is.
    pub steer: Steer,
}

/// An IPv6 destination that is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SteerPrefix6 {
    /// The prefix; other bits zero.
    pub prefix: [u8; 16],
    /// Its mask, as bytes of a packet.
    pub mask: [u8; 16],
}

/// One translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Instance {
    /// Of `instance_flag`.
    pub flags: u32,
    /// `override-tos`: the TOS, if the flag is set.
    pub tos: u32,
    /// `lowest-ipv6-mtu` in bytes.
    pub lowest_ipv6_mtu: u32,
    /// Table of the EAM and denylist entries; 0: none.
    pub table: u32,
    /// pool6, if the flag is set; bits behind its length are zero.
    pub pool6: [u8; 16],
    /// Length of pool6: 32, 40, 48, 56, 64 or 96.
    pub pool6_len: u32,
    /// How many of `lengths4` are set.
    pub lengths4_count: u32,
    /// How many of `lengths6` are set.
    pub lengths6_count: u32,
    /// How many of `deny_lengths4` are set.
    pub deny_lengths4_count: u32,
    /// Bits of an IPv4 address that the filter in front of the EAM entries looks at: no more than the shortest prefix has.
    pub filter4_len: u32,
    /// The same of an IPv6 address.
    pub filter6_len: u32,
    /// Lengths of the EAM entries' IPv4 prefixes, longest first.
    pub lengths4: [u8; 36],
    /// Lengths of the EAM entries' IPv6 prefixes, longest first.
    pub lengths6: [u8; 132],
    /// Lengths of the denylist's prefixes, longest first.
    pub deny_lengths4: [u8; 36],
}

impl Instance {
    /// TOS of an IPv4 header made from an IPv6 header (RFC 7915 5.1).
    #[inline(always)]
    pub const fn tos_of(&self, traffic_class: u32) -> u32 {
        if self.flags & instance_flag::OVERRIDE_TOS != 0 { self.tos } else { traffic_class }
    }

    /// Traffic class of an IPv6 header made from an IPv4 header (RFC 7915 4.1).
    #[inline(always)]
    pub const fn traffic_class_of(&self, tos: u32) -> u32 {
        if self.flags & instance_flag::ZEROIZE_TRAFFIC_CLASS != 0 { 0 } else { tos }
    }
}

/// Bits of [`Instance::flags`].
pub mod instance_flag {
    /// It translates.
    pub const ENABLED: u32 = 1;
    /// Stateless. Otherwise only what has a flow is repeated.
    pub const STATELESS: u32 = 2;
    /// It has a pool6.
    pub const POOL6: u32 = 4;
    /// `zeroize-traffic-class`.
    pub const ZEROIZE_TRAFFIC_CLASS: u32 = 8;
    /// `override-tos`.
    pub const OVERRIDE_TOS: u32 = 16;
    /// What it translates goes on into the host's own forwarding instead of out by the shortest way.
    pub const OUTPUT_STACK: u32 = 32;
    /// `eam-hairpin-mode` is not `off`: what would be hairpinned goes to the daemon.
    pub const HAIRPIN: u32 = 64;
    /// Hand everything to the daemon (`logging-debug`, or options that the program does not know).
    pub const HAND_OVER: u32 = 128;
}

/// One interface, for sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Link {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Of `link_flag`.
    pub flags: u16,
    /// MTU in bytes.
    pub mtu: u32,
}

/// Bits of [`Link::flags`].
pub mod link_flag {
    /// The entry is set.
    pub const KNOWN: u16 = 1;
    /// Packets have an Ethernet header.
    pub const ETHERNET: u16 = 2;
    /// It takes frames redirected by XDP (`NETDEV_XDP_ACT_NDO_XMIT`).
    pub const XDP_TARGET: u16 = 4;
    /// Take up packets that come in here (false: only sending).
    pub const INGRESS: u16 = 8;
}

/// Index and mask of an IPv4 address in the map of the host's addresses. Different addresses may share a bit; a set bit
/// only sends packets to the daemon.
#[inline(always)]
pub fn host_bit4(address: [u8; 4]) -> (usize, u64) {
    bit(u32::from_ne_bytes(address))
}

/// The same for an IPv6 address.
#[inline(always)]
pub fn host_bit6(address: [u8; 16]) -> (usize, u64) {
    let half = |at: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&address[at..at + 8]);
        u64::from_ne_bytes(half)
    };
    host_bit6_of([half(0), half(8)])
}

/// The same for its halves in memory order.
#[inline(always)]
pub const fn host_bit6_of(address: [u64; 2]) -> (usize, u64) {
    bit((address[0].wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(address[1]) >> 32) as u32
        ^ address[1] as u32)
}

#[inline(always)]
const fn bit(word: u32) -> (usize, u64) {
    let hash = word.wrapping_mul(0x9e37_79b1) >> 16;
    ((hash >> 6) as usize & 1023, 1 << (hash & 63))
}
