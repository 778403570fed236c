//! Makes one frame after the other, the flows in strict rotation. The frame comes from the kernel's test runs and is one of a
//! few that are used again and again, so all of it is written anew.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{at, fold, halves};
use crate::shapes::order_flag::{DESTINATION, IPV6, TARGETS};
use crate::shapes::{FLOWS, FRAME, HEADROOM, Order};
use crate::{NEXT, ORDER};

/// Bytes of an IPv4 frame.
const FRAME4: usize = FRAME - 20;

#[xdp]
pub fn bench_send(context: XdpContext) -> u32 {
    send(&context).unwrap_or(XDP_ABORTED)
}

fn send(context: &XdpContext) -> Option<u32> {
    let order = ORDER.get(0)?;
    let next = NEXT.get_ptr_mut(0)?;
    // SAFETY: this processor's own place in the map, and test runs do not nest.
    let flow = unsafe {
        let [flow, left_out] = *next;
        if left_out + 1 < order.one_of {
            *next = [flow, left_out + 1];
            return Some(XDP_DROP);
        }
        *next = [if flow + 1 >= order.flows { 0 } else { flow + 1 }, 0];
        flow
    };
    let (address, port) = if order.flags & TARGETS != 0 {
        let target = *crate::TARGETS.get(order.set * FLOWS + flow)?;
        if target == 0 {
            return Some(XDP_DROP);
        }
        ((target >> 32) as u32, target as u16)
    } else {
        let shift = order.shift & 31;
        (order.address.wrapping_add(flow >> shift), (order.port + (flow & ((1 << shift) - 1))) as u16)
    };
    // SAFETY: the context is the one of this run.
    if unsafe { bpf_xdp_adjust_head(context.as_ptr().cast(), HEADROOM as i32) } != 0 {
        return None;
    }
    let sum = order.udp_sum + halves(address) + u32::from(port) + halves(flow);
    let checksum = match !fold(sum) {
        0 => 0xffff,
        other => other,
    };
    match order.flags & IPV6 != 0 {
        true => write6(context, order, address, port, flow, checksum)?,
        false => write4(context, order, address, port, flow, checksum)?,
    }
    // SAFETY: a helper without pointers.
    Some(unsafe { bpf_redirect(order.interface, 0) } as u32)
}

/// Half words of a frame: where an address ends that varies, a port, the number of the flow, checksums.
struct Places {
    address: usize,
    port: usize,
    udp_checksum: usize,
    flow: usize,
}

#[inline(always)]
fn write6(
    context: &XdpContext,
    order: &Order,
    address: u32,
    port: u16,
    flow: u32,
    checksum: u16,
) -> Option<()> {
    let place: *mut u16 = at::<[u16; FRAME / 2]>(context, 0)?.cast();
    let (address_at, port_at) = if order.flags & DESTINATION != 0 { (25, 28) } else { (17, 27) };
    let places = Places { address: address_at, port: port_at, udp_checksum: 30, flow: 33 };
    // SAFETY: `at` found room for a whole frame, which is what is written: nine words, two and one half.
    unsafe {
        for (number, word) in order.frame.iter().take(9).enumerate() {
            *place.cast::<u64>().add(number) = *word;
        }
        *place.cast::<u32>().add(18) = order.frame[9] as u32;
        *place.add(38) = (order.frame[9] >> 32) as u16;
        vary(place, &places, address, port, flow, checksum);
    }
    Some(())
}

#[inline(always)]
fn write4(
    context: &XdpContext,
    order: &Order,
    address: u32,
    port: u16,
    flow: u32,
    checksum: u16,
) -> Option<()> {
    let place: *mut u16 = at::<[u16; FRAME4 / 2]>(context, 0)?.cast();
    let (address_at, port_at) = if order.flags & DESTINATION != 0 { (15, 18) } else { (13, 17) };
    let places = Places { address: address_at, port: port_at, udp_checksum: 20, flow: 23 };
    // SAFETY: `at` found room for a whole frame, which is what is written: seven words and one half.
    unsafe {
        for (number, word) in order.frame.iter().take(7).enumerate() {
            *place.cast::<u64>().add(number) = *word;
        }
        *place.add(28) = order.frame[7] as u16;
        *place.add(12) = (!fold(order.header_sum + halves(address))).to_be();
        vary(place, &places, address, port, flow, checksum);
    }
    Some(())
}

/// Writes what differs between flows.
///
/// # Safety
///
/// The frame at `place` must be longer than all of `places`.
#[inline(always)]
unsafe fn vary(place: *mut u16, places: &Places, address: u32, port: u16, flow: u32, checksum: u16) {
    let writes = [
        (places.address, (address >> 16) as u16),
        (places.address + 1, address as u16),
        (places.port, port),
        (places.udp_checksum, checksum),
        (places.flow, (flow >> 16) as u16),
        (places.flow + 1, flow as u16),
    ];
    for (index, half) in writes {
        // SAFETY: the caller says so.
        unsafe { *place.add(index) = half.to_be() };
    }
}
