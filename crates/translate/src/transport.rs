//! Layer 4 in place: ports, identifiers and checksums (RFC 7915 4.5, 5.5; RFC 6146 3.5).
//!
//! Checksums are updated by the difference of what they cover, so a wrong one stays equally wrong. TCP and UDP have
//! the same pseudo-header length and protocol in both families: only addresses and ports count. ICMP has a
//! pseudo-header in IPv6 only.

use xlat_packet::checksum::{Sum, update, update_partial};
use xlat_packet::layers::Upper;
use xlat_packet::{Checksum, icmp, protocol, tcp, udp};

/// The pseudo-header before and after: what a TCP or UDP checksum sees of the change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pseudo {
    /// Sum of the old addresses.
    pub(crate) old: Sum,
    /// Sum of the new addresses.
    pub(crate) new: Sum,
}

/// How the checksum field of a message is to be brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// By the difference.
    Update,
    /// Only the pseudo-header is in it.
    Partial,
    /// It is zero (none) and stays so.
    Leave,
    /// It was zero; computed from the sum of what it covers as it came, and the length of that in bytes.
    Compute {
        /// Sum of the message, its checksum field being zero.
        sum: Sum,
        /// Length of the message.
        len: u32,
    },
}

impl Field {
    /// The way for a TCP or UDP message that is not missing its checksum.
    pub(crate) fn of(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Complete | Checksum::Verified => Self::Update,
            Checksum::Partial { .. } => Self::Partial,
        }
    }
}

/// True if a partial checksum is the one of this message, at the place where its protocol has it.
pub(crate) fn partial_is_own(checksum: Checksum, upper: &Upper, upper_at: usize) -> bool {
    let Checksum::Partial { start, offset } = checksum else { return true };
    let expected = match upper {
        Upper::Tcp { .. } => tcp::CHECKSUM_AT,
        Upper::Udp { .. } => udp::CHECKSUM_AT,
        Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other => return false,
    };
    usize::from(start) == upper_at && usize::from(offset) == expected
}

/// Writes new ports into a TCP or UDP message and brings its checksum up to date.
///
/// `message` starts at the layer 4 header and may be cut short behind the ports (quoted packets).
pub(crate) fn rewrite_ports(
    message: &mut [u8],
    upper: &Upper,
    ports: Option<(u16, u16)>,
    pseudo: Pseudo,
    field: Field,
) {
    let (old_ports, checksum_at, is_udp) = match *upper {
        Upper::Tcp { src_port, dst_port, .. } => ((src_port, dst_port), tcp::CHECKSUM_AT, false),
        Upper::Udp { src_port, dst_port, .. } => ((src_port, dst_port), udp::CHECKSUM_AT, true),
        Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other => return,
    };
    let new_ports = ports.unwrap_or(old_ports);
    if let Some(place) = message.first_chunk_mut::<4>() {
        place[..2].copy_from_slice(&new_ports.0.to_be_bytes());
        place[2..].copy_from_slice(&new_ports.1.to_be_bytes());
    }
    let Some(place) = message.get_mut(checksum_at..).and_then(|rest| rest.first_chunk_mut::<2>()) else {
        return;
    };
    let old_sum = Sum::word(old_ports.0).plus(Sum::word(old_ports.1));
    let new_sum = Sum::word(new_ports.0).plus(Sum::word(new_ports.1));
    let checksum = u16::from_be_bytes(*place);
    let checksum = match field {
        Field::Leave => return,
        Field::Partial => update_partial(checksum, pseudo.old, pseudo.new),
        Field::Update => {
            let checksum = update(checksum, pseudo.old.plus(old_sum), pseudo.new.plus(new_sum));
            if is_udp { udp::nonzero(checksum) } else { checksum }
        }
        Field::Compute { sum, len } => udp::nonzero(
            sum.minus(old_sum)
                .plus(new_sum)
                .plus(pseudo.new)
                .plus(Sum::length_and_protocol(len, protocol::UDP))
                .finish(),
        ),
    };
    place.copy_from_slice(&checksum.to_be_bytes());
}

/// Turns an echo message into one of the other family: type, identifier, checksum.
///
/// `without` is the pseudo-header that the checksum no longer covers, `with` the one that it now does.
pub(crate) fn rewrite_echo(message: &mut [u8], kind: u8, identifier: Option<u16>, without: Sum, with: Sum) {
    let Some(place) = message.first_chunk_mut::<{ icmp::LEN }>() else { return };
    let covered = |place: &[u8; icmp::LEN]| {
        Sum::word(u16::from_be_bytes([place[0], place[1]]))
            .plus(Sum::word(u16::from_be_bytes([place[4], place[5]])))
    };
    let old = covered(place).plus(without);
    (place[0], place[1]) = (kind, 0);
    if let Some(identifier) = identifier {
        place[4..6].copy_from_slice(&identifier.to_be_bytes());
    }
    let new = covered(place).plus(with);
    let checksum = u16::from_be_bytes([place[icmp::CHECKSUM_AT], place[icmp::CHECKSUM_AT + 1]]);
    place[2..4].copy_from_slice(&update(checksum, old, new).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_there_and_back() {
        let addresses = Sum::addresses6("2001:db8::8".parse().unwrap(), "64:ff9b::1".parse().unwrap());
        let pseudo = addresses.plus(Sum::length_and_protocol(12, protocol::ICMPV6));
        let mut message = [128, 0, 0, 0, 0x12, 0x34, 0, 1, 9, 8, 7, 6];
        let checksum = Sum::of(&message).plus(pseudo).finish();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let original = message;
        rewrite_echo(&mut message, 8, Some(0xfffe), pseudo, Sum::ZERO);
        assert_eq!(Sum::of(&message).fold(), 0xffff, "a right ICMPv4 checksum");
        rewrite_echo(&mut message, 128, Some(0x1234), Sum::ZERO, pseudo);
        assert_eq!(message, original);
    }

    #[test]
    fn a_computed_checksum_is_never_zero() {
        // Sum that folds to ffff: the complement would be zero, which UDP sends as ffff (RFC 768).
        let upper = Upper::Udp { src_port: 0, dst_port: 0, len: 8, checksum: 0 };
        let mut message = [0, 0, 0, 0, 0, 8, 0, 0];
        let pseudo = Pseudo { old: Sum::ZERO, new: Sum::word(0xffff - 8 - 8 - 17) };
        let sum = Sum::of(&message);
        rewrite_ports(&mut message, &upper, None, pseudo, Field::Compute { sum, len: 8 });
        assert_eq!(message[6..], [0xff, 0xff]);
    }
}
