//! Fragments through stateful translation: virtual reassembly gives each its ports (RFC 6146 3.4).
//!
//! Fragments of TCP and UDP are translated one by one. Those of an echo message wait until all are there, because its
//! checksum covers the length of the whole in IPv6, and so do those of a UDP datagram without checksum, which needs one
//! there. They then leave one by one, in order. A fragmented ICMP error is refused: no honest one is longer than the
//! smallest MTU (RFC 4443 2.4, RFC 1812 4.3.2.3).

use std::net::Ipv4Addr;

use xlat_nat64::{Arrival, FirstFragment, Fragment, FragmentKey, FragmentRefusal, Protocol};
use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Extent, Layers, Layers4, Layers6, Upper};
use xlat_packet::segment::complete_checksum;
use xlat_packet::{Buffer, Malformed, Offload, buffer, icmpv4, icmpv6, ipv4, protocol};
use xlat_translate::plan::{Datagram, Parsed, Parsed4, Parsed6};
use xlat_translate::refusal::{Refusal, Refused};

use super::nat64::{forward4, forward6, no_state4, no_state6, stop4};
use super::tuple::{Tuple, stateful};
use super::{Context, Done, Stop, settle};
use crate::instance::{Instance, Nat64};
use crate::reason::{Pipeline, Reason};

pub(super) fn six_to_four(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
    dst4: Ipv4Addr,
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    let first = match outer.upper {
        Upper::Icmp { kind, .. } if !icmpv6::is_echo(kind) => {
            return Err(Refused::from(Refusal::FragmentedIcmp6).into());
        }
        upper => Tuple::of(&upper, icmpv6::is_echo),
    };
    let (Some(place), Some(protocol)) = (outer.fragment, stateful(outer.protocol, protocol::ICMPV6)) else {
        return Err(no_state6(&outer.upper));
    };
    complete_checksum(packet);
    let key = FragmentKey::V6 {
        src: outer.src,
        dst: outer.dst,
        id: place.identification,
        protocol: outer.protocol,
    };
    let waits = protocol == Protocol::Icmp;
    let arrival = arrive(context, nat64, key, outer, packet.bytes(), (first, waits))?;
    release(context, (nat64, key), packet, arrival, |context, packet, ports, datagram| {
        let outer = Layers6::parse(packet.bytes(), Extent::Whole).map_err(malformed)?;
        let tuple = Tuple::of_fragment(protocol, ports, &outer.upper);
        forward6(context, instance, nat64, packet, &Parsed { outer, inner: None }, (dst4, tuple, datagram))
    })
}

pub(super) fn four_to_six(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed4,
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    let Some(protocol) = stateful(outer.protocol, protocol::ICMPV4) else {
        return Err(no_state4(&outer.upper));
    };
    // Nothing of another translator's, or of nobody's, is to be held.
    if !nat64.policy.owns_address(protocol, outer.dst) {
        return Err(stop4(xlat_nat64::Refusal::Pool4Mismatch, protocol));
    }
    let first = match outer.upper {
        Upper::Icmp { kind, .. } if !icmpv4::is_echo(kind) => {
            return Err(Refused::from(Refusal::FragmentedIcmp4).into());
        }
        upper => Tuple::of(&upper, icmpv4::is_echo),
    };
    complete_checksum(packet);
    let key = FragmentKey::V4 {
        src: outer.src,
        dst: outer.dst,
        id: outer.own.identification,
        protocol: outer.protocol,
    };
    let waits = protocol == Protocol::Icmp || matches!(outer.upper, Upper::Udp { checksum: 0, .. });
    let arrival = arrive(context, nat64, key, outer, packet.bytes(), (first, waits))?;
    release(context, (nat64, key), packet, arrival, |context, packet, ports, datagram| {
        let outer = Layers4::parse(packet.bytes(), Extent::Whole).map_err(malformed)?;
        let tuple = Tuple::of_fragment(protocol, ports, &outer.upper);
        forward4(context, instance, nat64, packet, &Parsed { outer, inner: None }, (tuple, datagram))
    })
}

/// Shows a fragment to virtual reassembly. `first` is the tuple, if this is the first fragment, and whether all have
/// to be there.
fn arrive<A, X>(
    context: &Context<'_>,
    nat64: &Nat64,
    key: FragmentKey,
    outer: &Layers<A, X>,
    bytes: &[u8],
    (first, hold_until_complete): (Option<Tuple>, bool),
) -> Result<Arrival, Stop> {
    let fragment = Fragment {
        key,
        offset: outer.fragment.map_or(0, |place| place.offset),
        more: outer.fragment.is_some_and(|place| place.more),
        payload_len: outer.upper_len(),
        bytes,
        first: first.map(|tuple| FirstFragment {
            src_port: tuple.src_port,
            dst_port: tuple.dst_port,
            hold_until_complete,
        }),
    };
    nat64.reassembly.arrive(fragment, context.tools.now).map_err(stop)
}

/// Forwards what virtual reassembly lets go: this fragment and those held so far, or the whole datagram in order.
fn release(
    context: &mut Context<'_>,
    (nat64, key): (&Nat64, FragmentKey),
    packet: &mut Buffer<'_>,
    arrival: Arrival,
    mut forward: impl FnMut(&mut Context<'_>, &mut Buffer<'_>, (u16, u16), Option<Datagram>) -> Result<Done, Stop>,
) -> Result<Done, Stop> {
    match arrival {
        Arrival::Held => Err(Stop::held(Reason::Pipeline(Pipeline::FragmentHeld))),
        Arrival::Pass { ports, released } => {
            let done = forward(context, packet, ports, None);
            // Of a datagram that is the host's own, all fragments go back to it.
            if done.is_err_and(|stop| !context.gives_back(&stop)) {
                nat64.reassembly.refuse(&key);
            }
            each(context, &released, |context, packet| forward(context, packet, ports, None));
            done
        }
        Arrival::Complete { ports, total_len, packets } => {
            let datagram = Datagram { upper_len: total_len, sum: sum4(&packets) };
            each(context, &packets, |context, packet| forward(context, packet, ports, Some(datagram)));
            Ok(Done::Sent)
        }
    }
}

/// Takes held packets one after the other, in a buffer with headroom.
fn each(
    context: &mut Context<'_>,
    packets: &[Box<[u8]>],
    mut take: impl FnMut(&mut Context<'_>, &mut Buffer<'_>) -> Result<Done, Stop>,
) {
    let mut scratch = std::mem::take(&mut context.tools.segment);
    for bytes in packets {
        let mut packet = Buffer::new(&mut scratch, 0, 0, Offload::NONE);
        if packet.replace(buffer::HEADROOM, bytes) {
            let result = take(context, &mut packet);
            settle(context, &mut packet, result);
        }
    }
    context.tools.segment = scratch;
}

/// Sum of what the checksum of an IPv4 UDP datagram covers, from its fragments: their offsets are multiples of eight, so
/// the sum of the parts is the sum of the whole. Of other datagrams nobody needs it.
fn sum4(packets: &[Box<[u8]>]) -> Sum {
    // What lies behind the length of UDP is not covered (RFC 9868 5).
    let mut left = match packets.first().map(|first| Layers4::parse(first, Extent::Whole)) {
        Some(Ok(Layers4 { upper: Upper::Udp { len, .. }, .. })) => usize::from(len),
        _no_udp => return Sum::ZERO,
    };
    let mut part = |bytes: &[u8]| {
        let header = ipv4::Header::parse(bytes)?;
        let payload = bytes.get(usize::from(header.header_len)..usize::from(header.total_len))?;
        let covered = &payload[..payload.len().min(left)];
        left -= covered.len();
        Some(Sum::of(covered))
    };
    packets.iter().filter_map(|bytes| part(bytes)).fold(Sum::ZERO, Sum::plus)
}

fn malformed(malformed: Malformed) -> Stop {
    Refused::from(malformed).into()
}

fn stop(refusal: FragmentRefusal) -> Stop {
    Stop::dropped(Reason::Fragment(refusal), None)
}
