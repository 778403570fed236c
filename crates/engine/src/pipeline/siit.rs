//! Stateless translation of one packet (RFC 7915, RFC 7757).

use xlat_packet::Buffer;
use xlat_translate::plan::{Flow, Outcome, Parsed4, Parsed6, Plan, parse4};
use xlat_translate::refusal::{
    ADDRESS_UNREACHABLE6, ADMINISTRATIVELY_PROHIBITED4, Answer, HOST_UNREACHABLE4,
};
use xlat_translate::siit::{Addresses4, Addresses6, SiitTables, Untranslatable};

use super::{Context, Done, Stop, cut_before_turning, rewrite4, send4, send6, way6};
use crate::instance::Instance;
use crate::reason::Reason;

/// ICMPv6 Destination Unreachable code: source address failed ingress/egress policy (RFC 4443 3.1).
const SOURCE_FAILED_POLICY6: u8 = 5;

pub(super) fn six_to_four(
    context: &mut Context<'_>,
    instance: &Instance,
    tables: &SiitTables,
    packet: &mut Buffer<'_>,
    parsed: &Parsed6,
) -> Result<Done, Stop> {
    let outer = &parsed.outer;
    let inner = parsed.inner.map(|inner| (inner.src, inner.dst));
    let random = context.tools.random.next_u64() as u32;
    let addresses = tables
        .six_to_four(
            &context.generation.host,
            (outer.src, outer.dst),
            parsed.inner.is_some(),
            inner,
            outer.hop_limit,
            random,
        )
        .map_err(stop)?;
    let plan = plan4(&addresses);
    let fresh_id = context.tools.ids.take(packet, &parsed.outer, &plan.outer);
    if !addresses.hairpin {
        let policy = &way6(context, instance, parsed).through;
        let outcome = xlat_translate::six_to_four(packet, parsed, &plan, policy, fresh_id)?;
        return Ok(send4(context, packet, outcome));
    }
    if cut_before_turning(packet) {
        return Ok(Done::Segment);
    }
    let first = &way6(context, instance, parsed).hairpin_first;
    if xlat_translate::six_to_four(packet, parsed, &plan, first, fresh_id)? == Outcome::Segment {
        return Ok(Done::Segment);
    }
    turn_back(context, instance, tables, packet).map_err(Stop::in_second_half)
}

pub(super) fn four_to_six(
    context: &mut Context<'_>,
    instance: &Instance,
    tables: &SiitTables,
    packet: &mut Buffer<'_>,
    parsed: &Parsed4,
) -> Result<Done, Stop> {
    let plan = plan6(context, tables, parsed, false)?;
    let policy = rewrite4(context, instance, parsed);
    let outcome = xlat_translate::four_to_six(packet, parsed, &plan, policy)?;
    Ok(send6(context, packet, outcome))
}

/// The second half of a packet between two EAM nodes (RFC 7757 4.2.2): it is IPv4 now and never leaves as such.
fn turn_back(
    context: &mut Context<'_>,
    instance: &Instance,
    tables: &SiitTables,
    packet: &mut Buffer<'_>,
) -> Result<Done, Stop> {
    let parsed = parse4(packet.bytes())?;
    let plan = plan6(context, tables, &parsed, true)?;
    let outcome = xlat_translate::four_to_six(packet, &parsed, &plan, &instance.rewrites.hairpin_second)?;
    Ok(send6(context, packet, outcome))
}

fn plan4(addresses: &Addresses4) -> Plan<std::net::Ipv4Addr> {
    Plan {
        outer: Flow { src: addresses.src, dst: addresses.dst, ports: None },
        inner: addresses.inner.map(|(src, dst)| Flow { src, dst, ports: None }),
        datagram: None,
    }
}

fn plan6(
    context: &mut Context<'_>,
    tables: &SiitTables,
    parsed: &Parsed4,
    from_hairpin: bool,
) -> Result<Plan<std::net::Ipv6Addr>, Stop> {
    let outer = &parsed.outer;
    let inner = parsed.inner.map(|inner| (inner.src, inner.dst));
    let random = context.tools.random.next_u128();
    let host = &context.generation.host;
    let Addresses6 { src, dst, inner } = tables
        .four_to_six(host, (outer.src, outer.dst), parsed.inner.is_some(), inner, from_hairpin, random)
        .map_err(stop)?;
    Ok(Plan {
        outer: Flow { src, dst, ports: None },
        inner: inner.map(|(src, dst)| Flow { src, dst, ports: None }),
        datagram: None,
    })
}

/// A packet that has no addresses in the other family, and what its sender is told: that the destination is
/// unreachable, or that its own address is not welcome. An ICMP error is never answered.
fn stop(why: Untranslatable) -> Stop {
    let answer = match why {
        Untranslatable::Destination6
        | Untranslatable::Destination6Denylisted
        | Untranslatable::Destination6Refused => Some(Answer::unreachable6(ADDRESS_UNREACHABLE6)),
        Untranslatable::Source6 | Untranslatable::Source6Denylisted => {
            Some(Answer::unreachable6(SOURCE_FAILED_POLICY6))
        }
        Untranslatable::Destination4 | Untranslatable::Destination4Denylisted => {
            Some(Answer::unreachable4(HOST_UNREACHABLE4))
        }
        Untranslatable::Source4 | Untranslatable::Source4Denylisted => {
            Some(Answer::unreachable4(ADMINISTRATIVELY_PROHIBITED4))
        }
        // RFC 7915 4.1, 5.1: illegal sources are discarded silently; RFC 1812 4.3.2.7, 5.3.7: so are broadcasts and what
        // no router forwards.
        Untranslatable::Destination4Refused
        | Untranslatable::Source6Refused
        | Untranslatable::Source4Refused
        | Untranslatable::Source6Loopback
        | Untranslatable::Destination6Loopback
        | Untranslatable::InnerSource6
        | Untranslatable::InnerDestination6
        | Untranslatable::InnerSource4
        | Untranslatable::InnerDestination4
        | Untranslatable::NoErrorSource6
        | Untranslatable::NoErrorSource4 => None,
    };
    if why.is_drop() {
        Stop::dropped(Reason::Address(why), answer)
    } else {
        Stop::returned(Reason::Address(why), answer)
    }
}
