//! Offload state: what a packet still owes to hardware, as in a virtio-net header (VIRTIO 1.2, 5.1.6).
//!
//! A packet from the kernel may carry a checksum that nobody has finished yet, and may be an aggregate of
//! many segments. Both are kept through translation: the aggregate is translated once, as one packet.

/// State of the layer 4 checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// The field holds the sum that its sender wrote; nobody has vouched for it.
    #[default]
    Complete,
    /// The field holds the sum that its sender wrote, and the kernel or the NIC has verified it.
    Verified,
    /// The field holds only the folded sum of the pseudo-header (not complemented). Whoever sends the packet to
    /// a wire adds everything from `start` to the end of the packet and writes the complement at
    /// `start + offset`. `start` is in bytes from the first byte of the IP header.
    Partial {
        /// Where summing starts: bytes from the first byte of the IP header.
        start: u16,
        /// Where the result goes: bytes from `start`.
        offset: u16,
    },
}

/// What kind of aggregate a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over the packet's own IP version.
    Tcp,
    /// UDP datagrams of equal size (`UDP_SEGMENT`), the last may be shorter.
    Udp,
}

/// A packet that stands for many segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Kind of the segments.
    pub kind: GsoKind,
    /// Payload bytes of layer 4 in each segment but the last.
    pub segment_size: u16,
    /// Bytes from the first byte of the IP header to the end of the layer 4 header.
    pub header_len: u16,
    /// TCP only: CWR is to be set on the first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// Everything about offload that travels with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// State of the layer 4 checksum.
    pub checksum: Checksum,
    /// Set if the packet is an aggregate.
    pub gso: Option<Gso>,
}

impl Offload {
    /// A plain packet: one segment, checksum as its sender wrote it.
    pub const NONE: Self = Self { checksum: Checksum::Complete, gso: None };
}
