//! The XDP hook: the same for frames that the kernel has not made packets of yet. What it cannot send goes on to the tc
//! program behind it, and so does one packet of a destination in a while, for the neighbour table.

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use xlat_fastpath::config::{Config, Link, config_flag, link_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::protocol;
use xlat_fastpath::rewrite::{
    Address6, HEADER4, HEADER6, MAY_FRAGMENT_UP_TO, header4, header6, length_and_protocol, sum6,
};

use crate::count::{count, identification, traffic};
use crate::decide::{Decision, Forget, Frame};
use crate::maps::{CONFIG, LINKS};
use crate::output::{Asked, Nexthop, Question, Question4, Question6, addresses, by};
use crate::parse::{Header4, Header6, ICMPV6, Upper};
use crate::plan::{Plan, Stop};
use crate::{decide, output};
use crate::tc::{ETHERNET, IPV4, IPV6};
use crate::upper::{Change, may_be_partial, rewrite};
use crate::view::{Part, View};

/// The way out: six bytes of the neighbour's address and the interface index, and the interface.
type Way = (u64, &'static Link);

/// An interface's ingress. `FRAGS`: frames may be in several pieces.
#[inline(always)]
pub fn ingress<const FRAGS: bool>(context: *mut xdp_md) -> u32 {
    let Some(config) = CONFIG.get(0) else { return XDP_PASS };
    if config.flags & config_flag::INGRESS == 0 {
        return XDP_PASS;
    }
    match run::<FRAGS>(context, config) {
        Ok((action, counter)) => {
            count(counter);
            action
        }
        // The tc program counts it.
        Err(Stop::Pass(_)) => XDP_PASS,
        Err(Stop::Up(_)) => {
            count(Counter::Xdp2Tc);
            XDP_PASS
        }
    }
}

#[inline(always)]
fn run<const FRAGS: bool>(context: *mut xdp_md, config: &Config) -> Result<(u32, Counter), Stop> {
    const FOREIGN: Stop = Stop::Pass(Counter::Passed);
    const WANTED: u16 = link_flag::INGRESS | link_flag::ETHERNET;
    // SAFETY: a field of the context.
    let interface = unsafe { (*context).ingress_ifindex };
    let link = LINKS.get(interface).filter(|link| link.flags & WANTED == WANTED).ok_or(FOREIGN)?;
    let ethernet = view(context, 0).part::<ETHERNET>(0).ok_or(FOREIGN)?;
    let own = addresses(0, link);
    // The frame is for this station.
    if ethernet.u16::<0>() != (own[1] >> 16) as u16 || ethernet.u32::<2>() != own[2] {
        return Err(FOREIGN);
    }
    let view = view(context, ETHERNET);
    let len = if FRAGS {
        // SAFETY: the context.
        (unsafe { bpf_xdp_get_buff_len(context) } as u32).wrapping_sub(ETHERNET as u32)
    } else {
        view.len()
    };
    let frame = Frame { context, view, len, mark: 0, gso_size: 0, was_forwarded: false };
    match ethernet.u16::<12>() {
        IPV6 => {
            let decision = decide::six_to_four::<false, _>(config, &frame)?;
            send4(context, config, &decision)
        }
        IPV4 => {
            let decision = decide::four_to_six::<false, _>(config, &frame)?;
            send6(context, config, &decision, &frame)
        }
        _other => Err(FOREIGN),
    }
}

/// Makes an IPv6 packet IPv4 and sends it.
#[inline(always)]
fn send4(
    context: *mut xdp_md,
    config: &Config,
    decision: &Decision<Header6, u32>,
) -> Result<(u32, Counter), Stop> {
    let Decision { header, upper, plan, hops, on_wire, now } = decision;
    let old = sum6(header.src) + sum6(header.dst);
    check_complete(upper, old, header.payload_len)?;
    let tos = plan.instance.tos_of(header.traffic_class);
    let asked = Asked { protocol: upper.protocol, mark: 0, len: *on_wire, now: *now, by_xdp: true };
    let way = way(context, config, plan, Question4(plan, tos), asked)?;
    adjust_head(context, 20)?;

    let total = header.payload_len + HEADER4;
    let is_atomic = *on_wire > MAY_FRAGMENT_UP_TO;
    let identification = identification(plan.index, is_atomic);
    let words = header4(tos, total, identification, is_atomic, *hops, upper.protocol, (plan.src, plan.dst));
    let view = view(context, 0);
    let Some(part) = view.part::<{ ETHERNET + 20 }>(0) else { return LOST };
    ethernet(part, way, IPV4);
    part.set_u32::<14>(words[0]);
    part.set_u32::<18>(words[1]);
    part.set_u32::<22>(words[2]);
    part.set_u32::<26>(words[3]);
    part.set_u32::<30>(words[4]);
    let (old, new) = if upper.protocol == protocol::ICMP {
        (old + length_and_protocol(header.payload_len, ICMPV6), 0)
    } else {
        (old, u64::from(plan.src) + u64::from(plan.dst))
    };
    let kind = if upper.kind as u8 == 128 { 8 } else { 0 };
    let change = Change { ports: plan.ports, kind, old, new };
    if rewrite(view, ETHERNET + 20, upper, change).is_none() {
        return LOST;
    }
    traffic(plan.index, |traffic| {
        traffic.packets64 += 1;
        traffic.bytes64 += u64::from(header.payload_len + HEADER6);
    });
    Ok(emit(context, way))
}

/// Makes an IPv4 packet IPv6 and sends it.
#[inline(always)]
fn send6(
    context: *mut xdp_md,
    config: &Config,
    decision: &Decision<Header4, Address6>,
    frame: &Frame<*mut xdp_md>,
) -> Result<(u32, Counter), Stop> {
    let Decision { header, upper, plan, hops, on_wire, now } = decision;
    let old = u64::from(header.src) + u64::from(header.dst);
    let len = header.total_len - HEADER4;
    check_complete(upper, old, len)?;
    let class = plan.instance.traffic_class_of(header.tos);
    let asked = Asked { protocol: upper.protocol, mark: 0, len: *on_wire, now: *now, by_xdp: true };
    let way = way(context, config, plan, Question6(plan, class), asked)?;
    if frame.len > header.total_len {
        // SAFETY: the context; pointers into the packet are taken anew.
        let result = unsafe { bpf_xdp_adjust_tail(context, header.total_len as i32 - frame.len as i32) };
        if result != 0 {
            return Err(Stop::Up(Counter::Failed));
        }
    }
    adjust_head(context, -20)?;

    let next_header = if upper.protocol == protocol::ICMP { ICMPV6 } else { upper.protocol };
    let words = header6(class, len, next_header, *hops);
    let view = view(context, 0);
    let Some(part) = view.part::<{ ETHERNET + 40 }>(0) else { return LOST };
    ethernet(part, way, IPV6);
    part.set_u32::<14>(words[0]);
    part.set_u32::<18>(words[1]);
    part.set_u64::<22>(plan.src[0]);
    part.set_u64::<30>(plan.src[1]);
    part.set_u64::<38>(plan.dst[0]);
    part.set_u64::<46>(plan.dst[1]);
    let new = sum6(plan.src) + sum6(plan.dst);
    let (old, new) = if upper.protocol == protocol::ICMP {
        (0, new + length_and_protocol(len, ICMPV6))
    } else {
        (old, new)
    };
    let kind = if upper.kind as u8 == 8 { 128 } else { 129 };
    let change = Change { ports: plan.ports, kind, old, new };
    if rewrite(view, ETHERNET + 40, upper, change).is_none() {
        return LOST;
    }
    traffic(plan.index, |traffic| {
        traffic.packets46 += 1;
        traffic.bytes46 += u64::from(header.total_len);
    });
    Ok(emit(context, way))
}

/// What was checked is no longer so: cannot be, but it is too late to give the packet to somebody else.
const LOST: Result<(u32, Counter), Stop> = Ok((aya_ebpf::bindings::xdp_action::XDP_DROP, Counter::Lost));

/// Of a partial checksum tc knows, XDP does not.
#[inline(always)]
fn check_complete(upper: &Upper, addresses: u64, len: u32) -> Result<(), Stop> {
    if may_be_partial(upper, addresses, len) { Err(Stop::Up(Counter::Xdp2Tc)) } else { Ok(()) }
}

/// The way of a packet, if frames can go it.
#[inline(always)]
fn way<A, Q: Question>(
    context: *mut xdp_md,
    config: &Config,
    plan: &Plan<A>,
    question: Q,
    asked: Asked,
) -> Result<Way, Stop> {
    const NONE: Stop = Stop::Up(Counter::Xdp2Tc);
    let way = output::way(context.cast(), config, plan, question, asked, &mut Nexthop::default())?;
    if way.by != by::MEMORY {
        return Err(NONE);
    }
    let link = LINKS.get(way.interface).ok_or(NONE)?;
    // SAFETY: a field of the context.
    let is_back = way.interface == unsafe { (*context).ingress_ifindex };
    if link.flags & link_flag::ETHERNET == 0 || !is_back && link.flags & link_flag::XDP_TARGET == 0 {
        return Err(NONE);
    }
    Ok((way.hardware, link))
}

impl Forget for *mut xdp_md {
    /// There is no place for it, and little to win: all reasons to hand a packet up are one here.
    #[inline(always)]
    fn forget(self, value: u32) -> u32 {
        value
    }
}

/// Moves the start of the frame. On failure nothing is changed.
#[inline(always)]
fn adjust_head(context: *mut xdp_md, by: i32) -> Result<(), Stop> {
    // SAFETY: the context; pointers into the packet are taken anew.
    match unsafe { bpf_xdp_adjust_head(context, by) } {
        0 => Ok(()),
        _error => Err(Stop::Up(Counter::Failed)),
    }
}

/// Writes the Ethernet header.
#[inline(always)]
fn ethernet<const LEN: usize>(part: Part<LEN>, (way, link): Way, ethertype: u16) {
    let words = addresses(way, link);
    part.set_u32::<0>(words[0]);
    part.set_u32::<4>(words[1]);
    part.set_u32::<8>(words[2]);
    part.set_u16::<12>(ethertype);
}

/// Sends a frame that has been translated.
#[inline(always)]
fn emit(context: *mut xdp_md, (way, _): Way) -> (u32, Counter) {
    let interface = (way >> 48) as u32;
    // SAFETY: a field of the context.
    if interface == unsafe { (*context).ingress_ifindex } {
        return (XDP_TX, Counter::Xdp);
    }
    // SAFETY: numbers only.
    (unsafe { bpf_redirect(interface, 0) } as u32, Counter::Xdp)
}

/// The frame's bytes as they are now, without the first `skipped`.
#[inline(always)]
fn view(context: *mut xdp_md, skipped: usize) -> View {
    // SAFETY: fields of the context.
    unsafe { View::new((*context).data, (*context).data_end, skipped) }
}
