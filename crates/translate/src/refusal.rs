//! Why a packet is not translated, and what its sender is told (RFC 7915 4.4, 5.4).

use xlat_packet::{Malformed, icmpv4, icmpv6};

xlat_packet::reasons! {
    /// Why the translation of one packet is refused.
    pub enum Refusal {
        IcmpType6: "untranslatable-icmpv6-type", "JSTAT_UNKNOWN_ICMP6_TYPE", "RFC 7915 5.2",
            "the ICMPv6 type or code has no counterpart in ICMPv4";
        IcmpType4: "untranslatable-icmpv4-type", "JSTAT_UNKNOWN_ICMP4_TYPE", "RFC 7915 4.2",
            "the ICMPv4 type or code has no counterpart in ICMPv6";
        ParameterPointer6: "untranslatable-pointer6", "JSTAT64_UNTRANSLATABLE_PARAM_PROB_PTR", "RFC 7915 5.2",
            "an ICMPv6 Parameter Problem points at a field that IPv4 does not have";
        ParameterPointer4: "untranslatable-pointer4", "JSTAT46_UNTRANSLATABLE_PARAM_PROBLEM_PTR", "RFC 7915 4.2",
            "an ICMPv4 Parameter Problem points at a field that IPv6 does not have";
        FragmentedIcmp6: "fragmented-icmpv6", "JSTAT64_FRAGMENTED_ICMP", "RFC 7915 5.2",
            "fragmented ICMPv6: its checksum cannot be translated without the whole message";
        FragmentedIcmp4: "fragmented-icmpv4", "JSTAT46_FRAGMENTED_ICMP", "RFC 7915 4.2",
            "fragmented ICMPv4: its checksum cannot be translated without the whole message";
        IcmpChecksum6: "icmpv6-error-checksum", "JSTAT64_ICMP_CSUM", "RFC 7915 5.2",
            "the checksum of an ICMPv6 error is wrong";
        IcmpChecksum4: "icmpv4-error-checksum", "JSTAT46_ICMP_CSUM", "RFC 7915 4.2",
            "the checksum of an ICMPv4 error is wrong";
        ErrorInError6: "icmpv6-error-in-error", "JSTAT_DOUBLE_ICMP6_ERROR", "RFC 7915 5.3",
            "an ICMPv6 error that quotes another ICMPv6 error";
        ErrorInError4: "icmpv4-error-in-error", "JSTAT_DOUBLE_ICMP4_ERROR", "RFC 7915 4.3",
            "an ICMPv4 error that quotes another ICMPv4 error";
        InnerLaterFragment6: "inner-later-fragment6", "JSTAT_HDR6", "RFC 7915 5.3",
            "an ICMPv6 error that quotes a fragment other than the first: its flow cannot be told";
        InnerLaterFragment4: "inner-later-fragment4", "JSTAT_HDR4", "RFC 7915 4.3",
            "an ICMPv4 error that quotes a fragment other than the first: its flow cannot be told";
        ExtensionLength: "icmp-extension-length", "JSTAT_ICMPEXT_BIG", "RFC 4884 3",
            "the length of an ICMP error's quoted packet exceeds the message";
        PacketTooBig: "packet-too-big", "JSTAT_PKT_TOO_BIG", "RFC 7915 4, 5.1",
            "the translated packet exceeds the MTU";
        LowMtu: "mtu-below-1280", "JSTAT46_BAD_MTU", "RFC 8200 5",
            "the MTU towards IPv6 is below 1280";
        HopLimit6: "hop-limit-exceeded", "JSTAT64_TTL", "RFC 7915 5.1",
            "the hop limit ended here";
        Ttl4: "ttl-exceeded", "JSTAT46_TTL", "RFC 7915 4.1",
            "the TTL ended here";
        SegmentsLeft: "segments-left", "JSTAT64_SEGMENTS_LEFT", "RFC 7915 5.1",
            "a Routing header has segments left";
        SourceRoute: "source-route", "JSTAT46_SRC_ROUTE", "RFC 7915 4.1",
            "an IPv4 source route option is not exhausted";
        ZeroChecksum: "udp-checksum-zero", "JSTAT46_FRAGMENTED_ZERO_CSUM", "RFC 7915 4.5",
            "a UDP datagram without checksum, which IPv6 does not allow";
        ForeignProtocol: "foreign-protocol", "JSTAT_UNKNOWN_L4_PROTO", "RFC 7915 4.1, 5.1",
            "a protocol number that means another thing in the other IP version (ICMP of the other family, extension headers)";
        TooLong: "packet-too-long", "", "RFC 791 3.1",
            "the translated packet would be longer than its header can say";
        NoHeadroom: "no-headroom", "", "house",
            "the packet's buffer has no room for the new header: our own fault";
    }
}

/// Why a packet did not become one of the other family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It, or the packet that it quotes, cannot be read.
    Malformed(Malformed),
    /// The rules do not allow it.
    Refusal(Refusal),
}

/// An ICMP error that the offender's sender is owed, of the offender's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Bytes 4 to 7 of the message: MTU or pointer in network order, or zero.
    pub rest: [u8; 4],
}

/// A refused packet: why, and what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Why,
    /// The ICMP error to send, if the offender may have one at all.
    pub answer: Option<Answer>,
}

impl Answer {
    /// ICMPv6 Destination Unreachable with a code.
    pub const fn unreachable6(code: u8) -> Self {
        Self { kind: icmpv6::DESTINATION_UNREACHABLE, code, rest: [0; 4] }
    }

    /// ICMPv4 Destination Unreachable with a code.
    pub const fn unreachable4(code: u8) -> Self {
        Self { kind: icmpv4::DESTINATION_UNREACHABLE, code, rest: [0; 4] }
    }

    /// ICMPv6 Packet Too Big (RFC 4443 3.2). `mtu` in bytes.
    pub const fn packet_too_big(mtu: u32) -> Self {
        Self { kind: icmpv6::PACKET_TOO_BIG, code: 0, rest: mtu.to_be_bytes() }
    }

    /// ICMPv4 Fragmentation Needed (RFC 1191 section 4). `mtu` in bytes, cut to 16 bits.
    pub const fn fragmentation_needed(mtu: u32) -> Self {
        let mtu = if mtu > 65535 { 65535 } else { mtu };
        Self { kind: icmpv4::DESTINATION_UNREACHABLE, code: 4, rest: mtu.to_be_bytes() }
    }
}

impl Refusal {
    /// Refused with an answer to the sender.
    pub(crate) const fn answered(self, answer: Answer) -> Refused {
        Refused { why: Why::Refusal(self), answer: Some(answer) }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { why: Why::Refusal(refusal), answer: None }
    }
}

impl From<Malformed> for Refused {
    /// An extension header behind a Fragment header is answered; other malformed packets are dropped silently.
    fn from(malformed: Malformed) -> Self {
        let answer = (malformed == Malformed::ExtensionAfterFragment)
            .then_some(Answer::unreachable6(ADMINISTRATIVELY_PROHIBITED6));
        Self { why: Why::Malformed(malformed), answer }
    }
}

/// ICMPv6 Destination Unreachable code: administratively prohibited (RFC 4443 3.1).
pub const ADMINISTRATIVELY_PROHIBITED6: u8 = 1;
/// ICMPv6 Destination Unreachable code: address unreachable.
pub const ADDRESS_UNREACHABLE6: u8 = 3;
/// ICMPv6 Destination Unreachable code: port unreachable.
pub const PORT_UNREACHABLE6: u8 = 4;
/// ICMPv4 Destination Unreachable code: host unreachable (RFC 792).
pub const HOST_UNREACHABLE4: u8 = 1;
/// ICMPv4 Destination Unreachable code: port unreachable.
pub const PORT_UNREACHABLE4: u8 = 3;
/// ICMPv4 Destination Unreachable code: source route failed.
pub const SOURCE_ROUTE_FAILED4: u8 = 5;
/// ICMPv4 Destination Unreachable code: administratively prohibited (RFC 1812 5.2.7.1).
pub const ADMINISTRATIVELY_PROHIBITED4: u8 = 13;
