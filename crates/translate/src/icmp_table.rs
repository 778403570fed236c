//! Every ICMP type and code that has a counterpart, one table each way (RFC 7915 4.2, 5.2).

use xlat_packet::{icmpv4 as v4, icmpv6 as v6};

/// What happens to bytes 4 to 7 of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Kept: identifier and sequence.
    Keep,
    /// Zero.
    Zero,
    /// An MTU, adjusted.
    Mtu,
    /// A pointer, by [`POINTER_6TO4`] or [`POINTER_4TO6`].
    Pointer,
    /// This pointer.
    PointerTo(u8),
}

/// One row: what becomes of a type and a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    kind: u8,
    /// None: any code.
    code: Option<u8>,
    /// Type of the other family.
    pub(crate) to_kind: u8,
    /// Code of the other family; None: the same code.
    to_code: Option<u8>,
    /// Bytes 4 to 7.
    pub(crate) rest: Rest,
    /// The counterpart may carry an RFC 4884 extension.
    pub(crate) extension: bool,
}

const fn row(kind: u8, code: Option<u8>, to: (u8, Option<u8>), rest: Rest, extension: bool) -> Row {
    Row { kind, code, to_kind: to.0, to_code: to.1, rest, extension }
}

/// ICMPv6 to ICMPv4 (RFC 7915 5.2).
const SIX_TO_FOUR: [Row; 11] = [
    row(v6::ECHO_REQUEST, None, (v4::ECHO_REQUEST, Some(0)), Rest::Keep, false),
    row(v6::ECHO_REPLY, None, (v4::ECHO_REPLY, Some(0)), Rest::Keep, false),
    row(v6::DESTINATION_UNREACHABLE, Some(0), (v4::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v6::DESTINATION_UNREACHABLE, Some(1), (v4::DESTINATION_UNREACHABLE, Some(10)), Rest::Zero, true),
    row(v6::DESTINATION_UNREACHABLE, Some(2), (v4::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v6::DESTINATION_UNREACHABLE, Some(3), (v4::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v6::DESTINATION_UNREACHABLE, Some(4), (v4::DESTINATION_UNREACHABLE, Some(3)), Rest::Zero, true),
    row(v6::PACKET_TOO_BIG, None, (v4::DESTINATION_UNREACHABLE, Some(4)), Rest::Mtu, false),
    row(v6::TIME_EXCEEDED, None, (v4::TIME_EXCEEDED, None), Rest::Zero, true),
    row(v6::PARAMETER_PROBLEM, Some(0), (v4::PARAMETER_PROBLEM, Some(0)), Rest::Pointer, false),
    row(v6::PARAMETER_PROBLEM, Some(1), (v4::DESTINATION_UNREACHABLE, Some(2)), Rest::Zero, false),
];

/// ICMPv4 to ICMPv6 (RFC 7915 4.2).
const FOUR_TO_SIX: [Row; 20] = [
    row(v4::ECHO_REQUEST, None, (v6::ECHO_REQUEST, Some(0)), Rest::Keep, false),
    row(v4::ECHO_REPLY, None, (v6::ECHO_REPLY, Some(0)), Rest::Keep, false),
    row(v4::DESTINATION_UNREACHABLE, Some(0), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(1), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(2), (v6::PARAMETER_PROBLEM, Some(1)), Rest::PointerTo(6), false),
    row(v4::DESTINATION_UNREACHABLE, Some(3), (v6::DESTINATION_UNREACHABLE, Some(4)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(4), (v6::PACKET_TOO_BIG, Some(0)), Rest::Mtu, false),
    row(v4::DESTINATION_UNREACHABLE, Some(5), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(6), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(7), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(8), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(9), (v6::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(10), (v6::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(11), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(12), (v6::DESTINATION_UNREACHABLE, Some(0)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(13), (v6::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v4::DESTINATION_UNREACHABLE, Some(15), (v6::DESTINATION_UNREACHABLE, Some(1)), Rest::Zero, true),
    row(v4::TIME_EXCEEDED, None, (v6::TIME_EXCEEDED, None), Rest::Zero, true),
    row(v4::PARAMETER_PROBLEM, Some(0), (v6::PARAMETER_PROBLEM, Some(0)), Rest::Pointer, false),
    row(v4::PARAMETER_PROBLEM, Some(2), (v6::PARAMETER_PROBLEM, Some(0)), Rest::Pointer, false),
];

/// Fields an ICMPv6 Parameter Problem may point at: first and last byte, and the byte in IPv4 (RFC 7915 figure 6).
const POINTER_6TO4: [(u32, u32, u8); 8] =
    [(0, 0, 0), (1, 1, 1), (4, 4, 2), (5, 5, 2), (6, 6, 9), (7, 7, 8), (8, 23, 12), (24, 39, 16)];

/// Fields an ICMPv4 Parameter Problem may point at: first and last byte, and the byte in IPv6 (RFC 7915 figure 3).
const POINTER_4TO6: [(u32, u32, u8); 8] =
    [(0, 0, 0), (1, 1, 1), (2, 2, 4), (3, 3, 4), (8, 8, 7), (9, 9, 6), (12, 15, 8), (16, 19, 24)];

impl Row {
    /// The code of the other family for a message with `code`.
    pub(crate) fn code(&self, code: u8) -> u8 {
        self.to_code.unwrap_or(code)
    }
}

/// The row for an ICMPv6 message.
pub(crate) fn six_to_four(kind: u8, code: u8) -> Option<&'static Row> {
    find(&SIX_TO_FOUR, kind, code)
}

/// The row for an ICMPv4 message.
pub(crate) fn four_to_six(kind: u8, code: u8) -> Option<&'static Row> {
    find(&FOUR_TO_SIX, kind, code)
}

/// The ICMPv4 pointer for an ICMPv6 pointer.
pub(crate) fn pointer_6to4(pointer: u32) -> Option<u8> {
    point(&POINTER_6TO4, pointer)
}

/// The ICMPv6 pointer for an ICMPv4 pointer.
pub(crate) fn pointer_4to6(pointer: u8) -> Option<u8> {
    point(&POINTER_4TO6, pointer.into())
}

fn find(table: &'static [Row], kind: u8, code: u8) -> Option<&'static Row> {
    table.iter().find(|row| row.kind == kind && row.code.is_none_or(|wanted| wanted == code))
}

fn point(table: &[(u32, u32, u8)], pointer: u32) -> Option<u8> {
    table.iter().find(|(first, last, _)| (*first..=*last).contains(&pointer)).map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_is_there_and_back() {
        for kind in [v6::ECHO_REQUEST, v6::ECHO_REPLY] {
            let there = six_to_four(kind, 0).unwrap();
            assert_eq!(four_to_six(there.to_kind, there.code(0)).unwrap().to_kind, kind);
        }
    }

    #[test]
    fn what_has_no_counterpart() {
        for (kind, code) in [(1, 5), (4, 2), (4, 3), (130, 0), (133, 0), (135, 0), (137, 0), (0, 0), (127, 0)]
        {
            assert!(six_to_four(kind, code).is_none(), "ICMPv6 {kind}/{code}");
        }
        for (kind, code) in [(3, 14), (3, 16), (4, 0), (5, 0), (12, 1), (13, 0), (9, 0), (10, 0), (255, 0)] {
            assert!(four_to_six(kind, code).is_none(), "ICMPv4 {kind}/{code}");
        }
        for pointer in [2, 3, 40, u32::MAX] {
            assert_eq!(pointer_6to4(pointer), None);
        }
        for pointer in [4, 7, 10, 11, 20, 255] {
            assert_eq!(pointer_4to6(pointer), None);
        }
    }
}
