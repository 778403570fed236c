//! MTU arithmetic of translated Packet Too Big and Fragmentation Needed messages (RFC 7915 4.2, 5.2).

use xlat_packet::ipv6::MINIMUM_MTU;

use crate::policy::Policy;

/// How much longer an IPv6 header is than an IPv4 header without options, in bytes.
pub(crate) const HEADER_DIFFERENCE: u32 = 20;
/// The smallest MTU that the translator announces to IPv4, in bytes (RFC 791: every host takes 576).
const MINIMUM_ANNOUNCED_MTU4: u32 = 576;

/// MTU of an ICMPv4 Fragmentation Needed made from an ICMPv6 Packet Too Big with `mtu6` (RFC 7915 5.2).
///
/// A router that announces less than the difference of the headers says nothing of use; the links decide then.
pub(crate) fn fragmentation_needed(mtu6: u32, policy: &Policy) -> u32 {
    let announced = mtu6.checked_sub(HEADER_DIFFERENCE).unwrap_or(u32::MAX);
    announced.min(policy.mtu4).min(policy.mtu6.saturating_sub(HEADER_DIFFERENCE))
}

/// MTU of an ICMPv6 Packet Too Big made from an ICMPv4 Fragmentation Needed with `mtu4`, about a packet of
/// `total_len` bytes. `mtu4` 0 comes from a router older than RFC 1191: the next plateau below `total_len` is taken.
pub(crate) fn packet_too_big(mtu4: u16, total_len: usize, policy: &Policy) -> u32 {
    let mtu4 = if mtu4 == 0 { plateau_below(total_len, &policy.plateaus) } else { mtu4 };
    (u32::from(mtu4) + HEADER_DIFFERENCE)
        .min(policy.mtu6)
        .min(policy.mtu4.saturating_add(HEADER_DIFFERENCE))
        .max(MINIMUM_MTU)
}

/// MTU of the translator's own Packet Too Big, for IPv6 packets that do not fit an IPv4 link of `mtu4`.
pub(crate) fn own_packet_too_big(mtu4: u32) -> u32 {
    mtu4.saturating_add(HEADER_DIFFERENCE).max(MINIMUM_MTU)
}

/// MTU of the translator's own Fragmentation Needed, for IPv4 packets that do not fit an IPv6 link of `mtu6`.
pub(crate) fn own_fragmentation_needed(mtu6: u32) -> u32 {
    mtu6.saturating_sub(HEADER_DIFFERENCE).max(MINIMUM_ANNOUNCED_MTU4)
}

/// The greatest plateau strictly below `total_len`, or 0 (RFC 1191 section 5).
fn plateau_below(total_len: usize, plateaus: &[u16]) -> u16 {
    plateaus.iter().copied().filter(|plateau| usize::from(*plateau) < total_len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        let policy = Policy::default();
        assert_eq!(fragmentation_needed(1280, &policy), 1260);
        assert_eq!(fragmentation_needed(1400, &policy), 1380);
        assert_eq!(fragmentation_needed(68, &policy), 48);
        assert_eq!(fragmentation_needed(0, &policy), 1480);
        for (mtu4, mtu6) in [(1261, 1281), (1260, 1280), (1259, 1280), (1400, 1420), (1500, 1500)] {
            assert_eq!(packet_too_big(mtu4, 1500, &policy), mtu6);
        }
        assert_eq!(packet_too_big(0, 1500, &policy), 1500, "1492 + 20, capped by the link");
        assert_eq!(packet_too_big(0, 68, &policy), 1280, "no plateau below");
        assert_eq!((own_packet_too_big(1400), own_packet_too_big(1000)), (1420, 1280));
        assert_eq!((own_fragmentation_needed(1280), own_fragmentation_needed(500)), (1260, 576));
    }

    #[test]
    fn plateaus() {
        let plateaus = crate::policy::DEFAULT_PLATEAUS;
        assert_eq!(plateau_below(1500, &plateaus), 1492);
        assert_eq!(plateau_below(1492, &plateaus), 1006);
        assert_eq!(plateau_below(68, &plateaus), 0);
    }
}
