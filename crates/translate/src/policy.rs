//! What an operator decides about single packets (RFC 7915 section 4 to 6, spec names of the options in brackets).

/// How a translation changes the hop limit or TTL of the outer header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hops {
    /// One less; 1 or 0 is refused (RFC 7915 4.1, 5.1).
    #[default]
    Decrement,
    /// One more, at most 255: the kernel's forwarding in front of and behind the translator takes one each, and the
    /// path as a whole is to take one (the TUN path). Zero is refused.
    Restore,
    /// As it came: the second half of a hairpinned translation.
    Keep,
    /// As it came; 1 or 0 is refused. Nothing in front of the translator has taken a hop, and the kernel's forwarding
    /// behind it will (a packet taken up at an interface's ingress).
    TakenBehind,
}

/// What becomes of an IPv4 UDP datagram without checksum (RFC 7915 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroChecksum {
    /// Refused and answered.
    #[default]
    Refuse,
    /// Computed, where the whole datagram is there [`amend-udp-checksum-zero`; always in NAT64].
    Compute,
}

/// The rules for rewriting one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// MTU towards IPv4, in bytes.
    pub mtu4: u32,
    /// MTU towards IPv6, in bytes.
    pub mtu6: u32,
    /// Largest IPv6 packet that results from an IPv4 packet without DF, in bytes (`lowest-ipv6-mtu`).
    pub lowest_ipv6_mtu: u32,
    /// IPv4 to IPv6: traffic class 0 instead of the TOS (`zeroize-traffic-class`).
    pub zeroize_traffic_class: bool,
    /// IPv6 to IPv4: this TOS instead of the traffic class (`override-tos`, `tos`).
    pub tos: Option<u8>,
    /// Path MTUs to guess from when a router names none, largest first (`mtu-plateaus`).
    pub plateaus: Vec<u16>,
    /// UDP datagrams without checksum.
    pub zero_checksum: ZeroChecksum,
    /// Hop limit and TTL.
    pub hops: Hops,
}

/// RFC 1191 7.1, as Jool's users know the list.
pub const DEFAULT_PLATEAUS: [u16; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

impl Default for Policy {
    fn default() -> Self {
        Self {
            mtu4: 1500,
            mtu6: 1500,
            lowest_ipv6_mtu: xlat_packet::ipv6::MINIMUM_MTU,
            zeroize_traffic_class: false,
            tos: None,
            plateaus: DEFAULT_PLATEAUS.to_vec(),
            zero_checksum: ZeroChecksum::Refuse,
            hops: Hops::Decrement,
        }
    }
}

impl Hops {
    /// The hop limit behind the translator, or None if the packet has to end here.
    pub fn apply(self, hop_limit: u8) -> Option<u8> {
        match self {
            Self::Decrement => hop_limit.checked_sub(1).filter(|left| *left != 0),
            Self::Restore => (hop_limit != 0).then(|| hop_limit.saturating_add(1)),
            Self::Keep => Some(hop_limit),
            Self::TakenBehind => (hop_limit > 1).then_some(hop_limit),
        }
    }
}

impl Policy {
    /// TOS of an IPv4 header made from an IPv6 header (RFC 7915 5.1).
    pub(crate) fn tos_of(&self, traffic_class: u8) -> u8 {
        self.tos.unwrap_or(traffic_class)
    }

    /// Traffic class of an IPv6 header made from an IPv4 header (RFC 7915 4.1).
    pub(crate) fn traffic_class_of(&self, tos: u8) -> u8 {
        if self.zeroize_traffic_class { 0 } else { tos }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops() {
        assert_eq!(Hops::Decrement.apply(64), Some(63));
        assert_eq!((Hops::Decrement.apply(1), Hops::Decrement.apply(0)), (None, None));
        assert_eq!((Hops::Restore.apply(63), Hops::Restore.apply(255)), (Some(64), Some(255)));
        assert_eq!((Hops::Restore.apply(0), Hops::Keep.apply(1)), (None, Some(1)));
        assert_eq!([64, 2, 1, 0].map(|left| Hops::TakenBehind.apply(left)), [Some(64), Some(2), None, None]);
    }
}
