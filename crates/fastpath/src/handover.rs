//! What the program puts in front of a packet that it hands to the daemon through the TUN device: between the virtio
//! header and the IP header. The offsets in the virtio header count from here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First byte: no IP packet begins so.
pub const MAGIC: u8 = 0xf6;

/// Bytes of a [`Handover`].
pub const LEN: usize = size_of::<Handover>();

/// Where a packet came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Handover {
    /// [`MAGIC`].
    pub magic: u8,
    /// Of `flag`.
    pub flags: u8,
    /// Why it was handed over: a [`crate::count::Counter`] number.
    pub reason: u16,
    /// Index of the interface it came in by; 0 for the host's own packets.
    pub interface: u32,
    /// Its firewall mark.
    pub mark: u32,
    /// Zero.
    pub zero: u32,
}

/// Bits of [`Handover::flags`].
pub mod flag {
    /// Taken at an interface's ingress: the kernel has not taken a hop, and knows nothing of the packet yet.
    pub const INGRESS: u8 = 1;
}

/// `skb->tc_index` of packets that the ingress program sends to the TUN device: so the program there knows them. The low
/// byte is the reason.
pub const TC_INDEX: u16 = 0x7800;
