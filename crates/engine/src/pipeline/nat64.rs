//! Stateful translation of one packet (RFC 6146 3.5, 3.6, 3.7, 3.8).

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_nat64::{Inbound, Outbound, Protocol, Refusal, Transport4, Transport6};
use xlat_packet::layers::Upper;
use xlat_packet::{Buffer, icmpv4, icmpv6};
use xlat_translate::own_error;
use xlat_translate::plan::{Datagram, Flow, Outcome, Parsed4, Parsed6, Plan, parse4};
use xlat_translate::refusal::{
    ADDRESS_UNREACHABLE6, ADMINISTRATIVELY_PROHIBITED4, ADMINISTRATIVELY_PROHIBITED6, Answer,
    HOST_UNREACHABLE4, PORT_UNREACHABLE4, PORT_UNREACHABLE6,
};
use xlat_translate::refused::{HostAddresses, is_never_translated};
use xlat_translate::siit::Untranslatable;

use super::stateful::Recorder;
use super::tuple::Tuple;
use super::{Context, Done, Stop, cut_before_turning, fragments, rewrite4, send4, send6, way6};
use crate::instance::{Instance, Nat64};
use crate::reason::{Pipeline, Reason};

/// ICMPv4 Destination Unreachable code: protocol unreachable (RFC 792).
const PROTOCOL_UNREACHABLE4: u8 = 2;

// Out of line: it would crowd the common part of both directions.
#[inline(never)]
pub(super) fn six_to_four(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    if nat64.pool6.contains(outer.src) {
        return Err(Stop::dropped(Reason::Pipeline(Pipeline::HairpinLoop), None));
    }
    let Some(dst4) = nat64.pool6.extract(outer.dst) else {
        let answer = Answer::unreachable6(ADDRESS_UNREACHABLE6);
        return Err(Stop::returned(Reason::Pipeline(Pipeline::Pool6Mismatch), Some(answer)));
    };
    check_source6(outer.src)?;
    // Nobody behind these: loopback, multicast and the like (RFC 6890); the host itself would hear some of them.
    if is_never_translated(dst4) || context.generation.host.is_broadcast4(dst4) {
        return Err(destination6_refused());
    }
    if parsed.inner.is_some() {
        return error_six_to_four(context, instance, nat64, packet, parsed);
    }
    if outer.is_fragment() {
        return fragments::six_to_four(context, instance, nat64, packet, parsed, dst4);
    }
    let tuple = Tuple::of(&outer.upper, icmpv6::is_echo).ok_or_else(|| no_state6(&outer.upper))?;
    forward6(context, instance, nat64, packet, parsed, (dst4, tuple, None))
}

// Out of line, likewise.
#[inline(never)]
pub(super) fn four_to_six(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed4,
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    if parsed.inner.is_some() {
        let policy = rewrite4(context, instance, parsed);
        let plan = error_plan6(nat64, parsed)?;
        let outcome = xlat_translate::four_to_six(packet, parsed, &plan, policy)?;
        return Ok(send6(context, packet, outcome));
    }
    check_source4(outer.src)?;
    if outer.is_fragment() {
        return fragments::four_to_six(context, instance, nat64, packet, parsed);
    }
    let tuple = Tuple::of(&outer.upper, icmpv4::is_echo).ok_or_else(|| no_state4(&outer.upper))?;
    forward4(context, instance, nat64, packet, parsed, (tuple, None))
}

/// Translates a packet from an IPv6 client whose tuple is known, and sends it (RFC 6146 3.5, 3.6).
pub(super) fn forward6(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
    (dst4, tuple, datagram): (Ipv4Addr, Tuple, Option<Datagram>),
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    if tuple.protocol == Protocol::Icmp && nat64.drop_icmpv6_info {
        return Err(Stop::dropped(Reason::Pipeline(Pipeline::Icmpv6Info), None));
    }
    let outbound = Outbound {
        protocol: tuple.protocol,
        src: Transport6 { addr: outer.src, port: tuple.src_port },
        dst: Transport4 { addr: dst4, port: tuple.dst_port },
        mark: context.origin.mark,
        tcp: tuple.tcp,
    };
    let now = context.tools.now;
    let mask =
        nat64.tables.outbound(&nat64.policy, &outbound, now, &mut context.tools.recorder.listen(nat64));
    Recorder::flush(context.tools, context.generation, instance, context.out);
    let mask = mask.map_err(stop6)?;
    // In IPv4 an echo message has one identifier, the mask's.
    let dst_port = if tuple.protocol == Protocol::Icmp { mask.port } else { tuple.dst_port };
    let plan = Plan {
        outer: Flow { src: mask.addr, dst: dst4, ports: Some((mask.port, dst_port)) },
        inner: None,
        datagram,
    };
    let fresh_id = context.tools.ids.take(packet, &parsed.outer, &plan.outer);
    let target = Transport4 { addr: dst4, port: dst_port };
    if !nat64.policy.owns(tuple.protocol, target) {
        if is_answered_to_itself(&context.generation.host, mask, target) {
            return Err(destination6_refused());
        }
        let policy = &way6(context, instance, parsed).through;
        let outcome = xlat_translate::six_to_four(packet, parsed, &plan, policy, fresh_id)?;
        return Ok(send4(context, packet, outcome));
    }
    if cut_before_turning(packet) {
        return Ok(Done::Segment);
    }
    let mut original = [0; own_error::MAX_LEN];
    let kept = packet.len().min(original.len());
    original[..kept].copy_from_slice(&packet.bytes()[..kept]);
    let first = &way6(context, instance, parsed).hairpin_first;
    if xlat_translate::six_to_four(packet, parsed, &plan, first, fresh_id)? == Outcome::Segment {
        return Ok(Done::Segment);
    }
    let tuple = Tuple { src_port: mask.port, dst_port, ..tuple };
    turn_back(context, instance, nat64, packet, &original[..kept], (tuple, datagram))
        .map_err(Stop::in_second_half)
}

/// Whether a socket of this host would answer to the address that it answers from: such an answer stays in the
/// host, which takes it for its own, and never comes back to be translated. From another address of the host it does.
pub(crate) fn is_answered_to_itself(host: &HostAddresses, mask: Transport4, target: Transport4) -> bool {
    mask.addr == target.addr && host.owns4(target.addr)
}

/// Translates a packet from an IPv4 server whose tuple is known, and sends it (RFC 6146 3.5, 3.6).
pub(super) fn forward4(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed4,
    (tuple, datagram): (Tuple, Option<Datagram>),
) -> Result<Done, Stop> {
    let plan = plan6(context, instance, nat64, parsed, packet.bytes(), (tuple, datagram))?;
    let policy = rewrite4(context, instance, parsed);
    let outcome = xlat_translate::four_to_six(packet, parsed, &plan, policy)?;
    Ok(send6(context, packet, outcome))
}

/// The second half of a packet from one IPv6 client to another (RFC 6146 3.8): it is IPv4 now and never leaves as such.
fn turn_back(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    original: &[u8],
    (tuple, datagram): (Tuple, Option<Datagram>),
) -> Result<Done, Stop> {
    let parsed = parse4(packet.bytes())?;
    let plan = plan6(context, instance, nat64, &parsed, original, (tuple, datagram))?;
    let outcome = xlat_translate::four_to_six(packet, &parsed, &plan, &instance.rewrites.hairpin_second)?;
    Ok(send6(context, packet, outcome))
}

fn plan6(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    parsed: &Parsed4,
    original: &[u8],
    (tuple, datagram): (Tuple, Option<Datagram>),
) -> Result<Plan<Ipv6Addr>, Stop> {
    let outer = &parsed.outer;
    let inbound = Inbound {
        protocol: tuple.protocol,
        src: Transport4 { addr: outer.src, port: tuple.src_port },
        dst: Transport4 { addr: outer.dst, port: tuple.dst_port },
        shared: context.origin.ingress && context.generation.host.owns4(outer.dst),
        tcp: tuple.tcp,
        original,
    };
    let now = context.tools.now;
    let client =
        nat64.tables.inbound(&nat64.policy, &inbound, now, &mut context.tools.recorder.listen(nat64));
    Recorder::flush(context.tools, context.generation, instance, context.out);
    let client = client.map_err(|refusal| stop4(refusal, tuple.protocol))?;
    let src_port = if tuple.protocol == Protocol::Icmp { client.port } else { tuple.src_port };
    Ok(Plan {
        outer: Flow {
            src: nat64.pool6.embed(outer.src),
            dst: client.addr,
            ports: Some((src_port, client.port)),
        },
        inner: None,
        datagram,
    })
}

/// An ICMPv6 error: the packet that it quotes went to the client, so the tuple is the quoted one turned around
/// (RFC 6146 3.4, 3.5.3).
fn error_six_to_four(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
) -> Result<Done, Stop> {
    let plan = error_plan4(nat64, parsed)?;
    let fresh_id = context.tools.ids.take(packet, &parsed.outer, &plan.outer);
    let hairpin = plan.inner.is_some_and(|inner| {
        let (protocol, port) = match parsed.inner.map(|inner| inner.upper) {
            Some(Upper::Tcp { src_port, .. }) => (Protocol::Tcp, src_port),
            Some(Upper::Udp { src_port, .. }) => (Protocol::Udp, src_port),
            Some(Upper::Icmp { .. } | Upper::LaterFragment | Upper::Other) | None => {
                (Protocol::Icmp, inner.ports.map_or(0, |ports| ports.0))
            }
        };
        nat64.policy.owns(protocol, Transport4 { addr: inner.src, port })
    });
    if !hairpin {
        let policy = &way6(context, instance, parsed).through;
        let outcome = xlat_translate::six_to_four(packet, parsed, &plan, policy, fresh_id)?;
        return Ok(send4(context, packet, outcome));
    }
    let first = &way6(context, instance, parsed).hairpin_first;
    xlat_translate::six_to_four(packet, parsed, &plan, first, fresh_id).map_err(Stop::from)?;
    turn_error_back(context, instance, nat64, packet).map_err(Stop::in_second_half)
}

/// The second half of an ICMP error from one IPv6 client to another.
fn turn_error_back(
    context: &mut Context<'_>,
    instance: &Instance,
    nat64: &Nat64,
    packet: &mut Buffer<'_>,
) -> Result<Done, Stop> {
    let parsed = parse4(packet.bytes())?;
    let plan = error_plan6(nat64, &parsed)?;
    let outcome = xlat_translate::four_to_six(packet, &parsed, &plan, &instance.rewrites.hairpin_second)?;
    Ok(send6(context, packet, outcome))
}

/// There is nobody to send to.
fn destination6_refused() -> Stop {
    let answer = Answer::unreachable6(ADDRESS_UNREACHABLE6);
    Stop::dropped(Reason::Address(Untranslatable::Destination6Refused), Some(answer))
}

/// The plan for an ICMPv6 error (RFC 6146 3.6.2).
pub(crate) fn error_plan4(nat64: &Nat64, parsed: &Parsed6) -> Result<Plan<Ipv4Addr>, Stop> {
    let unknown = || Stop::returned(Reason::Pipeline(Pipeline::UnknownInnerTransport), None);
    let inner = parsed.inner.ok_or_else(unknown)?;
    let tuple = Tuple::of(&inner.upper, icmpv6::is_echo).ok_or_else(unknown)?;
    let mismatch = || Stop::returned(Reason::Pipeline(Pipeline::Pool6Mismatch), None);
    let server = nat64.pool6.extract(inner.src).ok_or_else(mismatch)?;
    // The error would go there, as no other packet does.
    if is_never_translated(server) {
        return Err(Stop::dropped(Reason::Address(Untranslatable::InnerSource6), None));
    }
    let client = Transport6 { addr: inner.dst, port: tuple.dst_port };
    let mask = nat64
        .tables
        .lookup6(tuple.protocol, client)
        .ok_or_else(|| Stop::returned(Reason::State(Refusal::SessionNotFound), None))?;
    let src_port = if tuple.protocol == Protocol::Icmp { mask.port } else { tuple.src_port };
    Ok(Plan {
        outer: Flow { src: mask.addr, dst: server, ports: None },
        inner: Some(Flow { src: server, dst: mask.addr, ports: Some((src_port, mask.port)) }),
        datagram: None,
    })
}

/// The same for an ICMPv4 error about a packet from a client.
pub(crate) fn error_plan6(nat64: &Nat64, parsed: &Parsed4) -> Result<Plan<Ipv6Addr>, Stop> {
    let unknown = || Stop::returned(Reason::Pipeline(Pipeline::UnknownInnerTransport), None);
    let inner = parsed.inner.ok_or_else(unknown)?;
    let tuple = Tuple::of(&inner.upper, icmpv4::is_echo).ok_or_else(unknown)?;
    let mask = Transport4 { addr: inner.src, port: tuple.src_port };
    let client = nat64
        .tables
        .lookup4(&nat64.policy, tuple.protocol, mask)
        .map_err(|refusal| Stop::returned(Reason::State(refusal), None))?;
    let server = nat64.pool6.embed(inner.dst);
    // RFC 6146 3.6.1 would name the server; the router that complained makes traceroute work.
    let src = if nat64.source_icmpv6_errors_better { nat64.pool6.embed(parsed.outer.src) } else { server };
    let dst_port = if tuple.protocol == Protocol::Icmp { client.port } else { tuple.dst_port };
    Ok(Plan {
        outer: Flow { src, dst: client.addr, ports: None },
        inner: Some(Flow { src: client.addr, dst: server, ports: Some((client.port, dst_port)) }),
        datagram: None,
    })
}

/// RFC 7915 5.1: a source that no packet on a wire may have gets no state; it is left to the host to discard.
pub(crate) fn check_source6(src: Ipv6Addr) -> Result<(), Stop> {
    if src.is_loopback() || src.is_unspecified() || src.is_multicast() {
        return Err(Stop::returned(Reason::Address(Untranslatable::Source6Refused), None));
    }
    Ok(())
}

/// The same for IPv4 (RFC 7915 4.1). The source of an ICMP error may be anything: it only says who complains.
pub(crate) fn check_source4(src: Ipv4Addr) -> Result<(), Stop> {
    if is_never_translated(src) {
        return Err(Stop::returned(Reason::Address(Untranslatable::Source4Refused), None));
    }
    Ok(())
}

/// A protocol without state, or ICMPv6 that is neither echo nor error.
pub(crate) fn no_state6(upper: &Upper) -> Stop {
    if matches!(upper, Upper::Icmp { .. }) {
        return Stop::returned(Reason::Pipeline(Pipeline::IcmpType6), None);
    }
    // RFC 6146 3.4 asks for the code of an unreachable port, there being none for a protocol.
    let answer = Answer::unreachable6(PORT_UNREACHABLE6);
    Stop::returned(Reason::Pipeline(Pipeline::UnknownTransport), Some(answer))
}

/// The same for IPv4.
pub(crate) fn no_state4(upper: &Upper) -> Stop {
    if matches!(upper, Upper::Icmp { .. }) {
        return Stop::returned(Reason::Pipeline(Pipeline::IcmpType4), None);
    }
    let answer = Answer::unreachable4(PROTOCOL_UNREACHABLE4);
    Stop::returned(Reason::Pipeline(Pipeline::UnknownTransport), Some(answer))
}

/// A packet from IPv6 that the tables refuse (RFC 6146 3.5.1.1: no mapping is answered with address unreachable).
fn stop6(refusal: Refusal) -> Stop {
    let answer = match refusal {
        Refusal::MaskDomainNotFound | Refusal::PoolExhausted | Refusal::TableFull => {
            Some(Answer::unreachable6(ADDRESS_UNREACHABLE6))
        }
        Refusal::SessionLimit
        | Refusal::BibLimit
        | Refusal::SourceSessionLimit
        | Refusal::SourceBibLimit
        | Refusal::PrefixSessionLimit
        | Refusal::PrefixBibLimit => Some(Answer::unreachable6(ADMINISTRATIVELY_PROHIBITED6)),
        Refusal::Syn6Expected
        | Refusal::Pool4Mismatch
        | Refusal::Bib4NotFound
        | Refusal::SessionNotFound
        | Refusal::AddressDependentFiltering
        | Refusal::V4Syn
        | Refusal::Syn4Expected
        | Refusal::SynStored
        | Refusal::SynStoredFiltered
        | Refusal::SoExists
        | Refusal::SoFull => None,
    };
    Stop::dropped(Reason::State(refusal), answer)
}

/// A packet from IPv4 that the tables refuse.
pub(super) fn stop4(refusal: Refusal, protocol: Protocol) -> Stop {
    let reason = Reason::State(refusal);
    match refusal {
        Refusal::Pool4Mismatch => Stop::returned(reason, Some(Answer::unreachable4(HOST_UNREACHABLE4))),
        // A UDP port that nobody has is unreachable as on any host; an identifier says nothing about a port.
        Refusal::Bib4NotFound => {
            let code = if protocol == Protocol::Icmp { HOST_UNREACHABLE4 } else { PORT_UNREACHABLE4 };
            Stop::returned(reason, Some(Answer::unreachable4(code)))
        }
        Refusal::AddressDependentFiltering => {
            Stop::dropped(reason, Some(Answer::unreachable4(ADMINISTRATIVELY_PROHIBITED4)))
        }
        Refusal::SoFull => Stop::dropped(reason, Some(Answer::unreachable4(PORT_UNREACHABLE4))),
        Refusal::SynStored | Refusal::SynStoredFiltered => Stop::held(reason),
        Refusal::SessionLimit
        | Refusal::BibLimit
        | Refusal::SourceSessionLimit
        | Refusal::SourceBibLimit
        | Refusal::PrefixSessionLimit
        | Refusal::PrefixBibLimit
        | Refusal::TableFull => {
            Stop::dropped(reason, Some(Answer::unreachable4(ADMINISTRATIVELY_PROHIBITED4)))
        }
        Refusal::MaskDomainNotFound
        | Refusal::PoolExhausted
        | Refusal::SessionNotFound
        | Refusal::V4Syn
        | Refusal::Syn6Expected
        | Refusal::Syn4Expected
        | Refusal::SoExists => Stop::dropped(reason, None),
    }
}
