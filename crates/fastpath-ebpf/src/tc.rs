//! The tc hooks: ingress of interfaces and egress of the TUN device. Super-packets stay whole, checksums that hardware
//! is to finish stay so (`bpf_l4_csum_replace` knows both).

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_INGRESS, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC,
};
use aya_ebpf::helpers::{
    bpf_csum_update, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head,
    bpf_skb_change_proto, bpf_skb_change_tail, bpf_skb_pull_data,
};
use xlat_fastpath::config::{Config, config_flag, link_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::protocol;
use xlat_fastpath::rewrite::{
    Address6, HEADER4, HEADER6, MAY_FRAGMENT_UP_TO, difference, fold32, header4, header6,
    length_and_protocol, sum6,
};

use crate::count::{count, identification, traffic};
use crate::decide::{self, Decision, Forget, Frame, is_orphan, is_silent, now};
use crate::handover;
use crate::maps::{CONFIG, LINKS};
use crate::output::{Asked, Nexthop, Question4, Question6, Way, addresses, by, way};
use crate::parse::{Header4, Header6, ICMPV6, LOOKED_AT, Upper};
use crate::plan::Stop;
use crate::steer;
use crate::upper::{Change, fields, may_be_partial, rewrite, write};
use crate::view::View;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Index of the loopback interface, in every network namespace.
const LOOPBACK: u32 = 1;
/// `skb->pkt_type` of a frame for this station.
const HOST: u32 = 0;
/// EtherTypes, in memory order.
pub const IPV4: u16 = 0x0800u16.to_be();
pub const IPV6: u16 = 0x86ddu16.to_be();

/// What a program answers, and how it is counted.
type Answer = (i32, Counter);

/// An interface's ingress.
#[inline(always)]
pub fn ingress(skb: *mut __sk_buff) -> i32 {
    let Some(config) = CONFIG.get(0) else { return TC_ACT_UNSPEC };
    if config.flags & config_flag::INGRESS == 0 {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: fields of the context.
    let (kind, vlan, interface) = unsafe { ((*skb).pkt_type, (*skb).vlan_present, (*skb).ifindex) };
    let (answer, counter) = if kind != HOST {
        (TC_ACT_UNSPEC, Counter::OtherHost)
    } else if vlan != 0 {
        (TC_ACT_UNSPEC, Counter::Vlan)
    } else {
        match LINKS.get(interface).map_or(0, |link| link.flags) {
            _ if interface == LOOPBACK => loopback(skb, config),
            flags if flags & link_flag::INGRESS == 0 => (TC_ACT_UNSPEC, Counter::Passed),
            flags => {
                let mac = if flags & link_flag::ETHERNET != 0 { ETHERNET as u32 } else { 0 };
                run::<false>(skb, config, skb.forget(mac) as usize & 15)
            }
        }
    };
    count(counter);
    answer
}

/// Loopback: what the host sends to an address that it shares with us, where that is about or for a client of ours. All else
/// is left alone.
#[inline(always)]
fn loopback(skb: *mut __sk_buff, config: &Config) -> Answer {
    let passed = (TC_ACT_UNSPEC, Counter::Passed);
    // SAFETY: fields of the context.
    let (len, ethertype) = unsafe { ((*skb).len, (*skb).protocol as u16) };
    if ethertype != IPV4 || is_orphan(config, now()) {
        return passed;
    }
    let wanted = (ETHERNET as u32 + LOOKED_AT).min(len);
    if view(skb, 0).len() < wanted {
        // SAFETY: the context; pointers into the packet are taken anew.
        unsafe { bpf_skb_pull_data(skb, wanted) };
    }
    match steer::on_loopback(config, view(skb, ETHERNET)) {
        Some(reason) => (handover::send_up(skb, config, reason), reason),
        None => passed,
    }
}

/// The TUN device's egress.
#[inline(always)]
pub fn device(skb: *mut __sk_buff) -> i32 {
    if handover::is_marked(skb) {
        return handover::push_marked(skb);
    }
    let Some(config) = CONFIG.get(0) else { return TC_ACT_UNSPEC };
    // SAFETY: a field of the context.
    if unsafe { (*skb).ingress_ifindex } == config.device {
        count(Counter::Loop);
        return handover::push(skb, Counter::Loop);
    }
    let (answer, counter) = run::<true>(skb, config, 0);
    count(counter);
    answer
}

/// A packet with `mac` bytes in front of its IP header.
#[inline(always)]
fn run<const DEVICE: bool>(skb: *mut __sk_buff, config: &Config, mac: usize) -> Answer {
    // SAFETY: fields of the context.
    let (len, ethertype) = unsafe { ((*skb).len, (*skb).protocol as u16) };
    if ethertype != IPV4 && ethertype != IPV6 {
        return (TC_ACT_UNSPEC, Counter::Passed);
    }
    let wanted = mac as u32 + LOOKED_AT;
    let there = view(skb, 0).len();
    if there < wanted && there < len {
        // Headers in fragments of the packet's memory are brought together. If that fails they cannot be read.
        // SAFETY: the context; pointers into the packet are taken anew.
        unsafe { bpf_skb_pull_data(skb, if len < wanted { len } else { wanted }) };
    }
    // SAFETY: fields of the context.
    let frame = unsafe {
        Frame {
            context: skb,
            view: view(skb, mac),
            len: len.wrapping_sub(mac as u32),
            mark: (*skb).mark,
            gso_size: (*skb).gso_size,
            was_forwarded: DEVICE && (*skb).ingress_ifindex != 0,
        }
    };
    let result = if ethertype == IPV6 {
        match decide::six_to_four::<DEVICE, _>(config, &frame) {
            Ok(decision) => send4(skb, config, mac, &decision, &frame),
            Err(stop) => Err(stop),
        }
    } else {
        match decide::four_to_six::<DEVICE, _>(config, &frame) {
            Ok(decision) => send6(skb, config, mac, &decision, &frame),
            Err(stop) => Err(stop),
        }
    };
    let result = result.map_err(|stop| match stop {
        Stop::Up(reason) => Stop::Up(skb.forget_reason(reason)),
        pass => pass,
    });
    match result {
        Ok(answer) => answer,
        Err(Stop::Pass(reason)) => (TC_ACT_UNSPEC, reason),
        // Nobody is there to take it. What may be the host's is left to it at once.
        Err(Stop::Up(_)) if is_orphan(config, now()) => (TC_ACT_UNSPEC, Counter::NoDaemon),
        Err(Stop::Up(_))
            if !DEVICE
                && ethertype == IPV4
                && is_silent(config, now())
                && is_shared(config, view(skb, mac)) =>
        {
            (TC_ACT_UNSPEC, Counter::NoDaemon)
        }
        Err(Stop::Up(reason)) => {
            let answer =
                if DEVICE { handover::push(skb, reason) } else { handover::send_up(skb, config, reason) };
            (answer, reason)
        }
    }
}

/// True if the IPv4 packet is for an address that the host has too.
#[inline(always)]
fn is_shared(config: &Config, view: View) -> bool {
    view.part::<20>(0)
        .is_some_and(|header| !matches!(steer::owner4(config, header.u32::<16>()), 0 | steer::NOT_OURS))
}

/// Makes an IPv6 packet IPv4 and sends it.
#[inline(always)]
fn send4(
    skb: *mut __sk_buff,
    config: &Config,
    mac: usize,
    decision: &Decision<Header6, u32>,
    frame: &Frame<*mut __sk_buff>,
) -> Result<Answer, Stop> {
    let Decision { header, upper, plan, hops, on_wire, now } = decision;
    let tos = plan.instance.tos_of(header.traffic_class);
    let mut nexthop = Nexthop::default();
    let question = Question4(plan, tos);
    let asked =
        Asked { protocol: upper.protocol, mark: frame.mark, len: *on_wire, now: *now, by_xdp: false };
    let way = way(skb.cast(), config, plan, question, asked, &mut nexthop)?;
    let way = Way { by: skb.forget(way.by), ..way };
    change_family(skb, IPV4)?;

    let total = header.payload_len + HEADER4;
    let is_atomic = *on_wire > MAY_FRAGMENT_UP_TO;
    let identification = identification(plan.index, is_atomic);
    let words = header4(tos, total, identification, is_atomic, *hops, upper.protocol, (plan.src, plan.dst));
    let Some(part) = view(skb, mac).part::<20>(0) else { return LOST };
    part.set_u32::<0>(words[0]);
    part.set_u32::<4>(words[1]);
    part.set_u32::<8>(words[2]);
    part.set_u32::<12>(words[3]);
    part.set_u32::<16>(words[4]);
    let old = sum6(header.src) + sum6(header.dst);
    let new = u64::from(plan.src) + u64::from(plan.dst);
    let kind = if upper.kind as u8 == 128 { 8 } else { 0 };
    // The header that was there is partly gone already, with its part of the sum; the new one sums to nothing.
    let covered = (header.src[1] >> 32) + sum6(header.dst);
    let is_partial = frame.gso_size != 0 || may_be_partial(upper, old, header.payload_len);
    let (old, new) = if upper.protocol == protocol::ICMP {
        (old + length_and_protocol(header.payload_len, ICMPV6), 0)
    } else {
        (old, new)
    };
    let change = Change { ports: plan.ports, kind, old, new };
    if !rewrite_upper(skb, mac, HEADER4 as usize, upper, change, !fold32(covered), is_partial) {
        return LOST;
    }
    let packets = packets(skb);
    traffic(plan.index, |traffic| {
        traffic.packets64 += packets;
        traffic.bytes64 += u64::from(frame.len);
    });
    emit(skb, mac, way, nexthop, IPV4)
}

/// Makes an IPv4 packet IPv6 and sends it.
#[inline(always)]
fn send6(
    skb: *mut __sk_buff,
    config: &Config,
    mac: usize,
    decision: &Decision<Header4, Address6>,
    frame: &Frame<*mut __sk_buff>,
) -> Result<Answer, Stop> {
    let Decision { header, upper, plan, hops, on_wire, now } = decision;
    let class = plan.instance.traffic_class_of(header.tos);
    let mut nexthop = Nexthop::default();
    let question = Question6(plan, class);
    let asked =
        Asked { protocol: upper.protocol, mark: frame.mark, len: *on_wire, now: *now, by_xdp: false };
    let way = way(skb.cast(), config, plan, question, asked, &mut nexthop)?;
    let way = Way { by: skb.forget(way.by), ..way };
    if frame.len > header.total_len {
        // Cutting it would make one packet of the aggregate.
        if frame.gso_size != 0 {
            return Err(Stop::Up(Counter::Malformed));
        }
        // SAFETY: the context; pointers into the packet are taken anew.
        let result = unsafe { bpf_skb_change_tail(skb, mac as u32 + header.total_len, 0) };
        if result != 0 {
            return Err(Stop::Up(Counter::Failed));
        }
    }
    change_family(skb, IPV6)?;

    let len = header.total_len - HEADER4;
    let next_header = if upper.protocol == protocol::ICMP { ICMPV6 } else { upper.protocol };
    let words = header6(class, len, next_header, *hops);
    let Some(part) = view(skb, mac).part::<40>(0) else { return LOST };
    part.set_u32::<0>(words[0]);
    part.set_u32::<4>(words[1]);
    part.set_u64::<8>(plan.src[0]);
    part.set_u64::<16>(plan.src[1]);
    part.set_u64::<24>(plan.dst[0]);
    part.set_u64::<32>(plan.dst[1]);
    let old = u64::from(header.src) + u64::from(header.dst);
    let new = sum6(plan.src) + sum6(plan.dst);
    let kind = if upper.kind as u8 == 8 { 128 } else { 129 };
    // The header that was there summed to nothing.
    let covered = u64::from(words[0]) + u64::from(words[1]) + new;
    let is_partial = frame.gso_size != 0 || may_be_partial(upper, old, len);
    let (old, new) = if upper.protocol == protocol::ICMP {
        (0, new + length_and_protocol(len, ICMPV6))
    } else {
        (old, new)
    };
    let change = Change { ports: plan.ports, kind, old, new };
    if !rewrite_upper(skb, mac, HEADER6 as usize, upper, change, fold32(covered), is_partial) {
        return LOST;
    }
    let packets = packets(skb);
    traffic(plan.index, |traffic| {
        traffic.packets46 += packets;
        traffic.bytes46 += u64::from(header.total_len);
    });
    emit(skb, mac, way, nexthop, IPV6)
}

impl Forget for *mut __sk_buff {
    /// By way of a field of the context, of which the verifier knows nothing.
    #[inline(always)]
    fn forget(self, value: u32) -> u32 {
        // SAFETY: programs may use the field as they like.
        unsafe {
            let place = &raw mut (*self).cb[0];
            place.write_volatile(value);
            place.read_volatile()
        }
    }
}

/// A helper failed when it was too late to give the packet to somebody else.
const LOST: Result<Answer, Stop> = Ok((TC_ACT_SHOT as i32, Counter::Lost));

/// Makes room for the other family's header, or takes it away. On failure nothing is changed.
#[inline(always)]
fn change_family(skb: *mut __sk_buff, ethertype: u16) -> Result<(), Stop> {
    // SAFETY: the context; pointers into the packet are taken anew.
    match unsafe { bpf_skb_change_proto(skb, ethertype, 0) } {
        0 => Ok(()),
        _error => Err(Stop::Up(Counter::Failed)),
    }
}

/// Rewrites layer 4, which is `at` bytes behind the start of the IP header. False if that fails.
///
/// `headers` is the difference that the IP headers make in a sum over the packet, which the hardware may have given.
/// Where the checksum is or may be partial, the kernel's helpers rewrite it, which know; they cost more than all the rest of
/// the rewrite.
#[inline(always)]
fn rewrite_upper(
    skb: *mut __sk_buff,
    mac: usize,
    at: usize,
    upper: &Upper,
    change: Change,
    headers: u32,
    is_partial: bool,
) -> bool {
    if !is_partial {
        let Some(body) = rewrite(view(skb, mac), at, upper, change) else { return false };
        // SAFETY: the context. Refused unless the hardware gave a sum; then it has to follow.
        unsafe { bpf_csum_update(skb, fold32(u64::from(headers) + u64::from(body))) };
        return true;
    }
    let Change { ports, kind, old, new } = change;
    if write(view(skb, mac), at, upper, ports, kind).is_none() {
        return false;
    }
    let (field_at, flags) = if upper.protocol == protocol::TCP { (16, 0) } else { (6, BPF_F_MARK_MANGLED_0) };
    let (before, after) = fields(upper, ports, kind);
    let (pseudo, fields) = (difference(old, new), difference(before, after));
    let field_at = (mac + at + field_at) as u32;
    // SAFETY: the context; pointers into the packet are not used behind this.
    unsafe {
        bpf_csum_update(skb, headers);
        bpf_l4_csum_replace(skb, field_at, 0, pseudo.into(), u64::from(BPF_F_PSEUDO_HDR | flags)) == 0
            && (ports == upper.ports
                || bpf_l4_csum_replace(skb, field_at, 0, fields.into(), flags.into()) == 0)
    }
}

/// Sends a packet that has been translated.
#[inline(always)]
fn emit(
    skb: *mut __sk_buff,
    mac: usize,
    way: Way,
    mut nexthop: Nexthop,
    ethertype: u16,
) -> Result<Answer, Stop> {
    // SAFETY: the context, and a structure of the size that the kernel expects.
    let (answer, counter) = unsafe {
        let Way { interface, hardware, .. } = way;
        match way.by {
            by::STACK => (bpf_redirect(interface, BPF_F_INGRESS.into()), Counter::Stack),
            by::MEMORY => {
                let Some(link) = LINKS.get(interface) else { return LOST };
                if mac == 0 && bpf_skb_change_head(skb, ETHERNET as u32, 0) != 0 {
                    return LOST;
                }
                let Some(part) = view(skb, 0).part::<ETHERNET>(0) else { return LOST };
                let words = addresses(hardware, link);
                part.set_u32::<0>(words[0]);
                part.set_u32::<4>(words[1]);
                part.set_u32::<8>(words[2]);
                part.set_u16::<12>(ethertype);
                (bpf_redirect(interface, 0), Counter::Direct)
            }
            by::NEIGHBOUR => {
                // Without room for a hardware header the kernel takes no packet for this, and drops it.
                if mac == 0 && bpf_skb_change_head(skb, ETHERNET as u32, 0) != 0 {
                    return LOST;
                }
                (bpf_redirect_neigh(interface, (&raw mut nexthop).cast(), 20, 0), Counter::Neighbour)
            }
            _plain => (bpf_redirect(interface, 0), Counter::Direct),
        }
    };
    Ok((answer as i32, counter))
}

/// Packets that a super-packet stands for.
#[inline(always)]
fn packets(skb: *mut __sk_buff) -> u64 {
    // SAFETY: a field of the context.
    match unsafe { (*skb).gso_segs } {
        0 => 1,
        segments => segments.into(),
    }
}

/// The packet's bytes as they are now, without the first `skipped`.
#[inline(always)]
pub fn view(skb: *mut __sk_buff, skipped: usize) -> View {
    // SAFETY: fields of the context.
    unsafe { View::new((*skb).data, (*skb).data_end, skipped) }
}
