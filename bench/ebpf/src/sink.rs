//! Counts the frames of [`crate::send`] where they arrive, and drops them. Everything else goes on, so that neighbours are found
//! while it is in place.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_csum_diff;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{ETHERNET, IPV4, IPV6, UDP, at, fold, load, word};
use crate::shapes::count::{LEARNT, RIGHT, WRONG};
use crate::shapes::expected_flag;
use crate::shapes::{Expected, FLOWS, FRAME, MAGIC};
use crate::{EXPECTED, TARGETS, count};

/// Bytes of a datagram.
const DATAGRAM: usize = 24;

#[xdp]
pub fn bench_sink(context: XdpContext) -> u32 {
    match sink(&context) {
        Some(true) => count(RIGHT),
        Some(false) => count(WRONG),
        None => return XDP_PASS,
    }
    XDP_DROP
}

/// Whether it is what has to arrive; `None` if it is not one of our frames.
fn sink(context: &XdpContext) -> Option<bool> {
    let expected = EXPECTED.get(0)?;
    match u16::from_be(load(context, 12)?) {
        IPV6 => six(context, expected),
        IPV4 => four(context, expected),
        _ => None,
    }
}

#[inline(always)]
fn six(context: &XdpContext, expected: &Expected) -> Option<bool> {
    at::<[u8; FRAME]>(context, 0)?;
    if load::<u8>(context, ETHERNET + 6)? != UDP || word(context, ETHERNET + 48)? != MAGIC {
        return None;
    }
    let destination =
        [word(context, ETHERNET + 24)?, word(context, ETHERNET + 28)?, word(context, ETHERNET + 32)?];
    let right = expected.flags & expected_flag::IPV6 != 0
        && u32::from(load::<u8>(context, ETHERNET + 7)?) == expected.hop_limit
        && destination == expected.destination;
    Some(right && checksum::<{ 32 + DATAGRAM }>(context, expected, ETHERNET + 8)?)
}

#[inline(always)]
fn four(context: &XdpContext, expected: &Expected) -> Option<bool> {
    at::<[u8; FRAME - 20]>(context, 0)?;
    if load::<u8>(context, ETHERNET + 9)? != UDP || word(context, ETHERNET + 28)? != MAGIC {
        return None;
    }
    let right = expected.flags & expected_flag::IPV6 == 0
        && load::<u8>(context, ETHERNET)? == 0x45
        && u32::from(load::<u8>(context, ETHERNET + 8)?) == expected.hop_limit
        && word(context, ETHERNET + 16)? & expected.destination[1] == expected.destination[0]
        && checksum::<{ 8 + DATAGRAM }>(context, expected, ETHERNET + 12)?;
    if right && expected.flags & expected_flag::LEARN != 0 {
        learn(context, expected.set)?;
    }
    Some(right)
}

/// Checks the UDP checksum, if wanted; `LENGTH` bytes from the addresses to the end of the datagram.
#[inline(always)]
fn checksum<const LENGTH: usize>(context: &XdpContext, expected: &Expected, offset: usize) -> Option<bool> {
    if expected.flags & expected_flag::CHECKSUM == 0 {
        return Some(true);
    }
    let place = at::<[u8; LENGTH]>(context, offset)?;
    let pseudo = u32::from((DATAGRAM as u16 + u16::from(UDP)).to_be());
    // SAFETY: `at` found that many bytes there.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, place.cast(), LENGTH as u32, pseudo) };
    Some(fold(sum as u32) == 0xffff)
}

/// Keeps where a flow comes from, so that it can be answered.
#[inline(always)]
fn learn(context: &XdpContext, set: u32) -> Option<()> {
    let source = word(context, ETHERNET + 12)?;
    let port = u16::from_be(load(context, ETHERNET + 20)?);
    let flow = word(context, ETHERNET + 32)?;
    let place = TARGETS.get_ptr_mut(set * FLOWS + flow)?;
    let target = u64::from(source) << 32 | u64::from(port);
    // SAFETY: the kernel gave this place; words of a map are read and written as one.
    unsafe {
        if *place == 0 {
            count(LEARNT);
        }
        *place = target;
    }
    Some(())
}
