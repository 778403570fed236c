//! Views over packet bytes.
//!
//! One file per protocol, each with the same skeleton: a view over bytes with a checked constructor,
//! getters and (where the bytes are writable) setters, a private `field` module of byte ranges, tests at
//! the foot. Around them: one's-complement arithmetic ([`checksum`]), the buffer a packet lives in with the
//! offload state it came with ([`buffer`], [`offload`]), the walk over a whole packet that turns bytes into
//! types once ([`layers`]), and what hardware would do with an aggregate or a partial checksum ([`segment`]).
//!
//! This crate knows nothing of translation, allocates nothing and reads no clock.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod buffer;
pub mod checksum;
pub mod fragment;
pub mod icmp;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod layers;
pub mod offload;
pub mod reason;
pub mod segment;
pub mod tcp;
pub mod udp;

pub use buffer::Buffer;
pub use layers::{Layers, Malformed};
pub use offload::{Checksum, Gso, GsoKind, Offload};

/// IP protocol and next-header numbers (IANA "Protocol Numbers").
pub mod protocol {
    /// IPv6 Hop-by-Hop Options (RFC 8200 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4 (RFC 792).
    pub const ICMPV4: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 Routing header (RFC 8200 4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment header (RFC 8200 4.5).
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// IPv6 No Next Header (RFC 8200 4.7).
    pub const NO_NEXT_HEADER: u8 = 59;
    /// IPv6 Destination Options (RFC 8200 4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
}
