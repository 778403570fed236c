//! From a packet to its plan: is it ours, can it be repeated, and what becomes of it. The same for every hook.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use xlat_fastpath::config::{Config, config_flag, instance_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::rewrite::{Address6, HEADER4, HEADER6, seconds};

use crate::parse::{Header4, Header6, Upper};
use crate::plan::{Plan, Stop};
use crate::steer::{NOT_OURS, check_own, is_ours6, is_pool4, owner4};
use crate::view::View;
use crate::{stateful, stateless};

/// A number of which the verifier is to know nothing more: paths that differ only in what it knew of it are one path then, and
/// the program stays far below what a verifier is ready to look at.
pub trait Forget: Copy {
    /// The same number.
    fn forget(self, value: u32) -> u32;

    /// The same reason.
    #[inline(always)]
    fn forget_reason(self, reason: Counter) -> Counter {
        // SAFETY: it is the number of one.
        unsafe { core::mem::transmute::<u16, Counter>(self.forget(reason as u32) as u16) }
    }
}

/// What the hooks differ in.
#[derive(Clone, Copy)]
pub struct Frame<C> {
    /// What is handed to the program.
    pub context: C,
    /// From the IP header on.
    pub view: View,
    /// Bytes of the IP packet, with what the link added behind it.
    pub len: u32,
    pub mark: u32,
    /// Segment size of a super-packet, or 0.
    pub gso_size: u32,
    /// The kernel's forwarding has taken a hop already.
    pub was_forwarded: bool,
}

/// A packet and what becomes of it.
pub struct Decision<H, A> {
    pub header: H,
    pub upper: Upper,
    pub plan: Plan<A>,
    /// Hop limit or TTL of the new header.
    pub hops: u32,
    /// Bytes of the new packet, or of the largest segment of a super-packet.
    pub on_wire: u32,
    /// The time in seconds.
    pub now: u32,
}

/// An IPv6 packet.
#[inline(always)]
pub fn six_to_four<const DEVICE: bool, C: Forget>(
    config: &Config,
    frame: &Frame<C>,
) -> Result<Decision<Header6, u32>, Stop> {
    let may_steer = config.flags & config_flag::STATELESS != 0;
    let part = frame.view.part::<40>(0);
    let is_ours = DEVICE || part.is_some_and(|part| is_ours6(config, [part.u64::<24>(), part.u64::<32>()]));
    if !is_ours && !may_steer {
        return Err(Stop::Pass(Counter::Passed));
    }
    let (header, upper) = match read6(frame) {
        Ok(read) => read,
        Err(reason) => return Err(unreadable6(config, frame.view, is_ours, frame.context.forget_reason(reason))),
    };
    let (mut known, mut now) = (None, 0);
    if is_ours && config.flags & config_flag::STATEFUL != 0 {
        now = check_config(config)?;
        known = stateful::six_to_four(&header, &upper, frame.mark, now)?;
    }
    let plan = match known {
        // A stateless instance that is asked earlier may have got an entry since.
        Some(plan) if may_steer && config.stateless < plan.index && stateless::takes6(config, header.dst) => {
            return Err(Stop::Up(Counter::Instance));
        }
        Some(plan) => plan,
        None if may_steer => {
            let plan = stateless::six_to_four(config, (header.src, header.dst), upper.ports, is_ours)?;
            now = check_config(config)?;
            plan
        }
        None => return Err(Stop::Up(Counter::NoFlow)),
    };
    let hops = hops::<DEVICE, C>(header.hop_limit, frame, plan.instance.flags)?;
    let total = header.payload_len + HEADER4;
    if total > 0xffff {
        return Err(Stop::Up(Counter::TooBig));
    }
    let on_wire = on_wire(total, HEADER4, &upper, frame.gso_size);
    Ok(Decision { header, upper, plan, hops, on_wire, now })
}

/// An IPv4 packet.
#[inline(always)]
pub fn four_to_six<const DEVICE: bool, C: Forget>(
    config: &Config,
    frame: &Frame<C>,
) -> Result<Decision<Header4, Address6>, Stop> {
    let may_steer = config.flags & config_flag::STATELESS != 0;
    let part = frame.view.part::<20>(0);
    let dst = part.map_or(0, |part| part.u32::<16>());
    let owner = if DEVICE { 0 } else { owner4(config, dst) };
    let is_ours = owner != NOT_OURS;
    if !is_ours && !may_steer {
        return Err(Stop::Pass(Counter::Passed));
    }
    if is_ours
        && owner != 0
        && let Err(reason) = check_own(frame.view, owner, dst)
    {
        return Err(Stop::Pass(reason));
    }
    let (header, upper) = match read4(frame) {
        Ok(read) => read,
        Err(reason) => return Err(unreadable4(config, dst, is_ours, frame.context.forget_reason(reason))),
    };
    let (mut known, mut now) = (None, 0);
    if is_ours && config.flags & config_flag::STATEFUL != 0 {
        now = check_config(config)?;
        known = stateful::four_to_six(&header, &upper, now)?;
        if known.is_none() && (!may_steer || is_pool4(config, dst)) {
            return Err(Stop::Up(Counter::NoFlow));
        }
    }
    let plan = match known {
        Some(plan) => plan,
        None => {
            let plan = stateless::four_to_six(config, (header.src, header.dst), upper.ports, is_ours)?;
            now = check_config(config)?;
            plan
        }
    };
    let hops = hops::<DEVICE, C>(header.ttl, frame, plan.instance.flags)?;
    let on_wire = on_wire(header.total_len - HEADER4 + HEADER6, HEADER6, &upper, frame.gso_size);
    // RFC 7915 section 4: without DF it is to be fragmented.
    if !header.dont_fragment && on_wire > plan.instance.lowest_ipv6_mtu {
        return Err(Stop::Up(Counter::TooBig));
    }
    Ok(Decision { header, upper, plan, hops, on_wire, now })
}

/// The headers of an IPv6 packet. Inlined: a `Result` that a function returns through memory is not written wholly, and may be
/// read so, which verifiers before Linux 6.3 do not allow.
#[inline(always)]
fn read6<C>(frame: &Frame<C>) -> Result<(Header6, Upper), Counter> {
    let header = Header6::read(frame.view, frame.len)?;
    let upper = header.upper(frame.view, frame.gso_size != 0)?;
    Ok((header, upper))
}

/// The headers of an IPv4 packet, likewise.
#[inline(always)]
fn read4<C>(frame: &Frame<C>) -> Result<(Header4, Upper), Counter> {
    let header = Header4::read(frame.view, frame.len)?;
    let upper = header.upper(frame.view, frame.gso_size != 0)?;
    Ok((header, upper))
}

/// A packet that cannot be repeated: it goes up if it is ours, which by its destination an EAM entry may say too.
#[inline(always)]
fn unreadable6(config: &Config, view: View, is_ours: bool, reason: Counter) -> Stop {
    let dst = view.part::<40>(0).map(|part| [part.u64::<24>(), part.u64::<32>()]);
    if is_ours || dst.is_some_and(|dst| stateless::steers6(config, dst)) {
        Stop::Up(reason)
    } else {
        Stop::Pass(Counter::Passed)
    }
}

#[inline(always)]
fn unreadable4(config: &Config, dst: u32, is_ours: bool, reason: Counter) -> Stop {
    if is_ours || stateless::steers4(config, dst) { Stop::Up(reason) } else { Stop::Pass(Counter::Passed) }
}

/// What ends the program's work for all packets that are ours. Gives the time.
#[inline(always)]
fn check_config(config: &Config) -> Result<u32, Stop> {
    let now = now();
    if is_orphan(config, now) {
        return Err(Stop::Pass(Counter::NoDaemon));
    }
    if config.flags & config_flag::HAND_OVER_ALL != 0 {
        return Err(Stop::Up(Counter::Instance));
    }
    Ok(now)
}

/// Seconds of CLOCK_MONOTONIC, coarse.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: no arguments.
    seconds(unsafe { bpf_ktime_get_coarse_ns() })
}

/// True if the daemon has been gone for longer than it may.
#[inline(always)]
pub fn is_orphan(config: &Config, now: u32) -> bool {
    // The heartbeat may be of a second that has begun only for the daemon.
    now > config.heartbeat && now - config.heartbeat > config.outlive
}

/// True if the daemon has given no sign of life for some seconds, instead of one each second.
#[inline(always)]
pub fn is_silent(config: &Config, now: u32) -> bool {
    const SECONDS: u32 = 5;
    now > config.heartbeat && now - config.heartbeat > SECONDS
}

/// The hop limit for one hop less in all (RFC 7915 4.1, 5.1): the kernel's forwarding takes one of what comes to it or
/// goes on into it.
#[inline(always)]
fn hops<const DEVICE: bool, C>(hops: u32, frame: &Frame<C>, flags: u32) -> Result<u32, Counter> {
    let goes_on = flags & instance_flag::OUTPUT_STACK != 0;
    let least = if DEVICE && frame.was_forwarded { 1 } else { 2 };
    if hops < least {
        return Err(Counter::HopLimit);
    }
    Ok(match (DEVICE && frame.was_forwarded, goes_on) {
        (true, true) => {
            if hops < 255 {
                hops + 1
            } else {
                255
            }
        }
        (false, false) => hops - 1,
        (true, false) | (false, true) => hops,
    })
}

/// Bytes of the largest packet on the wire.
#[inline(always)]
fn on_wire(total: u32, header: u32, upper: &Upper, gso_size: u32) -> u32 {
    let segment = header + upper.header_len + gso_size;
    if gso_size != 0 && segment < total { segment } else { total }
}
