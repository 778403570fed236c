//! IPv4 to IPv6 (RFC 7915 section 4).

use core::net::Ipv6Addr;

use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Fragment, Layers4, Upper, is_extension};
use xlat_packet::segment::complete_checksum;
use xlat_packet::{Buffer, fragment, icmpv4, ipv6, protocol, udp};

use crate::icmp_error;
use crate::icmp_table;
use crate::mtu::{HEADER_DIFFERENCE, own_fragmentation_needed};
use crate::plan::{Outcome, Parsed4, Plan};
use crate::policy::{Policy, ZeroChecksum};
use crate::refusal::{ADMINISTRATIVELY_PROHIBITED4, Answer, Refusal, Refused, SOURCE_ROUTE_FAILED4};
use crate::six_to_four::move_offload;
use crate::transport::{Field, Pseudo, partial_is_own, rewrite_echo, rewrite_ports};

/// Translates `packet`, which `parsed` describes, in its buffer.
///
/// The packet must be cut to its total length. On an error it is as it came, but for a partial checksum that may
/// have been completed.
pub fn four_to_six(
    packet: &mut Buffer<'_>,
    parsed: &Parsed4,
    plan: &Plan<Ipv6Addr>,
    policy: &Policy,
) -> Result<Outcome, Refused> {
    let outer = &parsed.outer;
    if !partial_is_own(packet.offload.checksum, &outer.upper, outer.upper_at) {
        complete_checksum(packet);
    }
    if let (Some(inner), Some(inner_flow)) = (&parsed.inner, &plan.inner) {
        return icmp_error::four_to_six(packet, (outer, inner), (&plan.outer, inner_flow), policy);
    }
    let echo = echo_type(outer, plan)?;
    let split = match check_size(packet, outer, policy)? {
        Outcome::Segment => return Ok(Outcome::Segment),
        Outcome::Split { mtu } => Some(mtu),
        Outcome::Whole => None,
    };
    check_source_route(outer)?;
    let hop_limit = ttl(outer, policy)?;
    let field = checksum_field(packet, outer, plan, policy)?;
    if split.is_some() {
        // Each piece goes its own way: the checksum of the whole must be in the first.
        complete_checksum(packet);
    }
    let field = if field == Field::Partial { Field::of(packet.offload.checksum) } else { field };

    let fragment = outer.fragment.or(split.map(|_| Fragment {
        offset: 0,
        more: false,
        identification: outer.own.identification.into(),
    }));
    let upper_len = outer.upper_len();
    let header_len = ipv6::LEN + if fragment.is_some() { fragment::LEN } else { 0 };
    if !packet.resize_front(outer.upper_at, header_len) {
        return Err(Refusal::NoHeadroom.into());
    }
    let (place, message) = packet.bytes_mut().split_at_mut(header_len);
    write_headers(place, outer, fragment, (plan.outer.src, plan.outer.dst), upper_len, hop_limit, policy);
    let new = Sum::addresses6(plan.outer.src, plan.outer.dst);
    match (&outer.upper, echo) {
        (Upper::Icmp { .. }, Some(kind)) => {
            let len = plan.datagram.map_or(upper_len as u32, |datagram| datagram.upper_len);
            let pseudo = new.plus(Sum::length_and_protocol(len, protocol::ICMPV6));
            rewrite_echo(message, kind, plan.outer.ports.map(|ports| ports.0), Sum::ZERO, pseudo);
        }
        (upper, _) => {
            let pseudo = Pseudo { old: Sum::addresses4(outer.src, outer.dst), new };
            rewrite_ports(message, upper, plan.outer.ports, pseudo, field);
        }
    }
    move_offload(&mut packet.offload, outer.upper_at, header_len);
    Ok(split.map_or(Outcome::Whole, |mtu| Outcome::Split { mtu }))
}

/// Writes an IPv6 header and, if `fragment` is set, a Fragment header into `place` (40 or 48 bytes).
///
/// `upper_len` is the number of bytes behind these headers.
pub(crate) fn write_headers(
    place: &mut [u8],
    layers: &Layers4,
    fragment: Option<Fragment>,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    upper_len: usize,
    hop_limit: u8,
    policy: &Policy,
) {
    let next_header = if layers.protocol == protocol::ICMPV4 { protocol::ICMPV6 } else { layers.protocol };
    let payload_len = upper_len + if fragment.is_some() { fragment::LEN } else { 0 };
    let header = ipv6::Header {
        traffic_class: policy.traffic_class_of(layers.traffic_class),
        flow_label: 0,
        // An IPv4 packet's payload is at most 65,515 bytes.
        payload_len: payload_len.min(usize::from(u16::MAX)) as u16,
        next_header: if fragment.is_some() { protocol::FRAGMENT } else { next_header },
        hop_limit,
        src,
        dst,
    };
    if let Some(place) = place.first_chunk_mut() {
        header.write(place);
    }
    if let (Some(fragment), Some(place)) =
        (fragment, place.get_mut(ipv6::LEN..).and_then(|rest| rest.first_chunk_mut()))
    {
        fragment::Header {
            next_header,
            offset: fragment.offset,
            more: fragment.more,
            identification: fragment.identification,
        }
        .write(place);
    }
}

/// For ICMPv4 that quotes nothing: the ICMPv6 type, if it has one. None for other protocols.
fn echo_type(outer: &Layers4, plan: &Plan<Ipv6Addr>) -> Result<Option<u8>, Refused> {
    match outer.upper {
        // In IPv6 these would be ICMPv6 of our making, or extension headers.
        _ if outer.protocol == protocol::ICMPV6 || is_extension(outer.protocol) => {
            Err(Refusal::ForeignProtocol.into())
        }
        _ if outer.protocol == protocol::ICMPV4 && outer.is_fragment() && plan.datagram.is_none() => {
            Err(Refusal::FragmentedIcmp4.into())
        }
        Upper::Icmp { kind: kind @ (icmpv4::ECHO_REQUEST | icmpv4::ECHO_REPLY), code, .. } => {
            Ok(icmp_table::four_to_six(kind, code).map(|row| row.to_kind))
        }
        Upper::Icmp { .. } => Err(Refusal::IcmpType4.into()),
        Upper::Tcp { .. } | Upper::Udp { .. } | Upper::LaterFragment | Upper::Other => Ok(None),
    }
}

/// RFC 7915 section 4: DF set and too big is answered; DF clear is fragmented to the lowest MTU of the network.
fn check_size(packet: &Buffer<'_>, outer: &Layers4, policy: &Policy) -> Result<Outcome, Refused> {
    let lowest = policy.mtu6.min(policy.lowest_ipv6_mtu);
    if lowest < ipv6::MINIMUM_MTU {
        return Err(Refusal::LowMtu.into());
    }
    let headers = ipv6::LEN + if outer.fragment.is_some() { fragment::LEN } else { 0 };
    let on_wire = match packet.offload.gso {
        Some(gso) => (usize::from(gso.header_len) + usize::from(gso.segment_size))
            .saturating_sub(outer.upper_at)
            .min(outer.upper_len()),
        None => outer.upper_len(),
    } + headers;
    let limit = if outer.own.dont_fragment { policy.mtu6 } else { lowest };
    if on_wire <= limit as usize {
        return Ok(Outcome::Whole);
    }
    if outer.own.dont_fragment {
        let answer = Answer::fragmentation_needed(own_fragmentation_needed(policy.mtu6));
        return Err(match outer.upper {
            Upper::LaterFragment => Refusal::PacketTooBig.into(),
            Upper::Tcp { .. } | Upper::Udp { .. } | Upper::Icmp { .. } | Upper::Other => {
                Refusal::PacketTooBig.answered(answer)
            }
        });
    }
    Ok(if packet.offload.gso.is_some() { Outcome::Segment } else { Outcome::Split { mtu: lowest } })
}

/// RFC 7915 4.1: a source route that is not exhausted is answered.
pub(crate) fn check_source_route(outer: &Layers4) -> Result<(), Refused> {
    if outer.own.live_source_route {
        return Err(Refusal::SourceRoute.answered(Answer::unreachable4(SOURCE_ROUTE_FAILED4)));
    }
    Ok(())
}

/// The hop limit, or Time Exceeded (RFC 7915 4.1).
pub(crate) fn ttl(outer: &Layers4, policy: &Policy) -> Result<u8, Refused> {
    policy
        .hops
        .apply(outer.hop_limit)
        .ok_or_else(|| Refusal::Ttl4.answered(Answer { kind: icmpv4::TIME_EXCEEDED, code: 0, rest: [0; 4] }))
}

/// What to do with the checksum field; UDP without checksum is the case to mind (RFC 7915 4.5).
fn checksum_field(
    packet: &Buffer<'_>,
    outer: &Layers4,
    plan: &Plan<Ipv6Addr>,
    policy: &Policy,
) -> Result<Field, Refused> {
    let field = Field::of(packet.offload.checksum);
    let Upper::Udp { checksum: 0, len, .. } = outer.upper else { return Ok(field) };
    // A partial sum of zero is a sum.
    if field == Field::Partial {
        return Ok(field);
    }
    let refused = Refusal::ZeroChecksum.answered(Answer::unreachable4(ADMINISTRATIVELY_PROHIBITED4));
    let covered = usize::from(len);
    if let Some(datagram) = plan.datagram {
        let is_there = (udp::LEN..=datagram.upper_len as usize).contains(&covered);
        let field = Field::Compute { sum: datagram.sum, len: len.into() };
        return is_there.then_some(field).ok_or(refused);
    }
    if outer.is_fragment() || policy.zero_checksum == ZeroChecksum::Refuse {
        return Err(refused);
    }
    let message = packet.bytes().get(outer.upper_at..outer.total_len).unwrap_or(&[]);
    compute(message, len).ok_or(refused)
}

/// The checksum of a UDP message whose length field says `len`: what lies behind that is not covered (RFC 9868 5), what
/// is not there cannot be.
pub(crate) fn compute(message: &[u8], len: u16) -> Option<Field> {
    let covered = message.get(..usize::from(len)).filter(|covered| covered.len() >= udp::LEN)?;
    Some(Field::Compute { sum: Sum::of(covered), len: len.into() })
}

/// How much longer the translation of a quoted packet is.
pub(crate) const fn growth(has_fragment: bool) -> usize {
    HEADER_DIFFERENCE as usize + if has_fragment { fragment::LEN } else { 0 }
}
