//! IPv6 to IPv4 (RFC 7915 section 5).

use core::net::Ipv4Addr;

use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Layers6, Upper};
use xlat_packet::segment::complete_checksum;
use xlat_packet::{Buffer, Checksum, GsoKind, Offload, icmpv6, ipv4, protocol};

use crate::icmp_error;
use crate::icmp_table;
use crate::mtu::{HEADER_DIFFERENCE, own_packet_too_big};
use crate::plan::{Outcome, Parsed6, Plan};
use crate::policy::Policy;
use crate::refusal::{Answer, Refusal, Refused};
use crate::transport::{Field, Pseudo, partial_is_own, rewrite_echo, rewrite_ports};

/// Largest IPv4 packet without Fragment header in the original that may be fragmented on its way, in bytes
/// (RFC 7915 5.1).
const MAY_FRAGMENT_UP_TO: usize = 1260;

/// Translates `packet`, which `parsed` describes, in its buffer.
///
/// `fresh_id` is the identification to use where the IPv6 packet gives none. On an error the packet is as it came,
/// but for a partial checksum that may have been completed.
pub fn six_to_four(
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
    plan: &Plan<Ipv4Addr>,
    policy: &Policy,
    fresh_id: u16,
) -> Result<Outcome, Refused> {
    let outer = &parsed.outer;
    if !partial_is_own(packet.offload.checksum, &outer.upper, outer.upper_at) {
        complete_checksum(packet);
    }
    if let (Some(inner), Some(inner_flow)) = (&parsed.inner, &plan.inner) {
        return icmp_error::six_to_four(packet, (outer, inner), (&plan.outer, inner_flow), policy, fresh_id);
    }
    let echo = echo_type(outer, plan)?;
    let payload_len = outer.upper_len();
    let total_len = payload_len + ipv4::LEN;
    if check_size(packet, outer, total_len, policy)? == Outcome::Segment {
        return Ok(Outcome::Segment);
    }
    let ttl = hop_limit(outer, policy)?;
    check_segments_left(outer)?;

    let old = Sum::addresses6(outer.src, outer.dst);
    let header = Header {
        total_len: u16::try_from(total_len).map_err(|_| Refusal::TooLong)?,
        ttl,
        may_fragment: may_fragment(packet.offload, total_len),
        fresh_id,
    }
    .of(outer, plan, policy);
    if !packet.resize_front(outer.upper_at, ipv4::LEN) {
        return Err(Refusal::NoHeadroom.into());
    }
    let field = match (outer.upper, Field::of(packet.offload.checksum)) {
        // No checksum in IPv6 (RFC 6935) stays none in IPv4. A partial sum of zero is a sum.
        (Upper::Udp { checksum: 0, .. }, Field::Update) => Field::Leave,
        (_, field) => field,
    };
    let (place, message) = packet.bytes_mut().split_at_mut(ipv4::LEN);
    if let Some(place) = place.first_chunk_mut() {
        header.write(place);
    }
    match (&outer.upper, echo) {
        (Upper::Icmp { .. }, Some(kind)) => {
            let len = plan.datagram.map_or(payload_len as u32, |datagram| datagram.upper_len);
            let pseudo = old.plus(Sum::length_and_protocol(len, protocol::ICMPV6));
            rewrite_echo(message, kind, plan.outer.ports.map(|ports| ports.0), pseudo, Sum::ZERO);
        }
        (upper, _) => {
            let pseudo = Pseudo { old, new: Sum::addresses4(plan.outer.src, plan.outer.dst) };
            rewrite_ports(message, upper, plan.outer.ports, pseudo, field);
        }
    }
    move_offload(&mut packet.offload, outer.upper_at, ipv4::LEN);
    Ok(Outcome::Whole)
}

/// What the packet decides about its IPv4 header beyond the addresses.
pub(crate) struct Header {
    pub(crate) total_len: u16,
    pub(crate) ttl: u8,
    pub(crate) may_fragment: bool,
    pub(crate) fresh_id: u16,
}

impl Header {
    /// The header of RFC 7915 5.1 (5.1.1 where there is a Fragment header).
    fn of(&self, layers: &Layers6, plan: &Plan<Ipv4Addr>, policy: &Policy) -> ipv4::Header {
        self.with(layers, plan.outer.src, plan.outer.dst, policy)
    }

    /// The same with the addresses by themselves.
    pub(crate) fn with(
        &self,
        layers: &Layers6,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        policy: &Policy,
    ) -> ipv4::Header {
        let fragment = layers.fragment;
        ipv4::Header {
            header_len: ipv4::LEN as u8,
            tos: policy.tos_of(layers.traffic_class),
            total_len: self.total_len,
            // RFC 7915 5.1.1: the low 16 bits.
            identification: fragment.map_or(self.fresh_id, |fragment| fragment.identification as u16),
            dont_fragment: fragment.is_none() && !self.may_fragment,
            more_fragments: fragment.is_some_and(|fragment| fragment.more),
            fragment_offset: fragment.map_or(0, |fragment| fragment.offset),
            ttl: self.ttl,
            protocol: if layers.protocol == protocol::ICMPV6 { protocol::ICMPV4 } else { layers.protocol },
            src,
            dst,
        }
    }
}

/// DF is clear for packets up to 1260 bytes (RFC 7915 5.1); an aggregate counts by its segments. Aggregated UDP may
/// be fragmented: its sender gave the kernel one datagram after the other, not a path MTU.
fn may_fragment(offload: Offload, total_len: usize) -> bool {
    may_fragment_len(match offload.gso {
        Some(gso) if gso.kind == GsoKind::Tcp => segment_len(gso.header_len, gso.segment_size, total_len),
        Some(_udp) => 0,
        None => total_len,
    })
}

/// The rule by itself, for quoted packets too.
pub(crate) fn may_fragment_len(total_len: usize) -> bool {
    total_len <= MAY_FRAGMENT_UP_TO
}

/// Bytes of the IPv4 packet that one full segment becomes; `header_len` is that of the IPv6 packet.
fn segment_len(header_len: u16, segment_size: u16, total_len: usize) -> usize {
    (usize::from(header_len) + usize::from(segment_size))
        .saturating_sub(HEADER_DIFFERENCE as usize)
        .min(total_len)
}

/// For ICMPv6 that quotes nothing: the ICMPv4 type, if it has one. None for other protocols.
fn echo_type(outer: &Layers6, plan: &Plan<Ipv4Addr>) -> Result<Option<u8>, Refused> {
    match outer.upper {
        // ICMPv4 in IPv6 would arrive as if it were IPv4's own.
        _ if outer.protocol == protocol::ICMPV4 => Err(Refusal::ForeignProtocol.into()),
        _ if outer.protocol == protocol::ICMPV6 && outer.is_fragment() && plan.datagram.is_none() => {
            Err(Refusal::FragmentedIcmp6.into())
        }
        Upper::Icmp { kind: kind @ (icmpv6::ECHO_REQUEST | icmpv6::ECHO_REPLY), code, .. } => {
            Ok(icmp_table::six_to_four(kind, code).map(|row| row.to_kind))
        }
        Upper::Icmp { .. } => Err(Refusal::IcmpType6.into()),
        Upper::Tcp { .. } | Upper::Udp { .. } | Upper::LaterFragment | Upper::Other => Ok(None),
    }
}

/// RFC 7915 5.1: the translator does not fragment towards IPv4, it says Packet Too Big.
fn check_size(
    packet: &Buffer<'_>,
    outer: &Layers6,
    total_len: usize,
    policy: &Policy,
) -> Result<Outcome, Refused> {
    let on_wire = match packet.offload.gso {
        Some(_) if total_len > usize::from(u16::MAX) => return Ok(Outcome::Segment),
        Some(gso) => segment_len(gso.header_len, gso.segment_size, total_len),
        None => total_len,
    };
    if on_wire <= policy.mtu4 as usize {
        return Ok(Outcome::Whole);
    }
    if outer.upper == Upper::LaterFragment {
        return Err(Refusal::PacketTooBig.into());
    }
    Err(Refusal::PacketTooBig.answered(Answer::packet_too_big(own_packet_too_big(policy.mtu4))))
}

/// The TTL, or Time Exceeded (RFC 7915 5.1).
pub(crate) fn hop_limit(outer: &Layers6, policy: &Policy) -> Result<u8, Refused> {
    policy.hops.apply(outer.hop_limit).ok_or_else(|| {
        Refusal::HopLimit6.answered(Answer { kind: icmpv6::TIME_EXCEEDED, code: 0, rest: [0; 4] })
    })
}

/// RFC 7915 5.1: segments left are answered with Parameter Problem, pointing at the field.
pub(crate) fn check_segments_left(outer: &Layers6) -> Result<(), Refused> {
    match outer.own.segments_left_at {
        None => Ok(()),
        Some(at) => Err(Refusal::SegmentsLeft.answered(Answer {
            kind: icmpv6::PARAMETER_PROBLEM,
            code: 0,
            rest: (at as u32).to_be_bytes(),
        })),
    }
}

/// Offload state refers to the start of the IP header, which has become longer or shorter.
pub(crate) fn move_offload(offload: &mut Offload, old_upper_at: usize, new_upper_at: usize) {
    let moved = |at: u16| {
        u16::try_from((usize::from(at) + new_upper_at).saturating_sub(old_upper_at)).unwrap_or(u16::MAX)
    };
    if let Checksum::Partial { start, .. } = &mut offload.checksum {
        *start = moved(*start);
    }
    if let Some(gso) = &mut offload.gso {
        gso.header_len = moved(gso.header_len);
    }
}
