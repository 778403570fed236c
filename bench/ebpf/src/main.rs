//! The XDP programs of the measurements: `send` makes frames, `sink` counts and drops those that arrive, and `forward` is
//! what translation is compared with: the same look-ups, but no translation.
#![no_std]
#![no_main]

mod forward;
mod frame;
mod send;
#[allow(dead_code, reason = "shared with the program that loads this one")]
mod shapes;
mod sink;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use shapes::{Expected, Order};

/// What to send.
#[map(name = "ORDER")]
static ORDER: Array<Order> = Array::with_max_entries(1, 0);
/// The number of the next flow, and how many frames were left out since the last one.
#[map(name = "NEXT")]
static NEXT: PerCpuArray<[u32; 2]> = PerCpuArray::with_max_entries(1, 0);
/// What has to arrive.
#[map(name = "EXPECTED")]
static EXPECTED: Array<Expected> = Array::with_max_entries(1, 0);
/// Address and port of each flow of each set: address in the upper half, port in the lower.
#[map(name = "TARGETS")]
static TARGETS: Array<u64> = Array::with_max_entries(shapes::FLOWS * shapes::SETS, 0);
/// What was counted.
#[map(name = "COUNTS")]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(shapes::count::ALL, 0);

/// Adds one.
#[inline(always)]
fn count(index: u32) {
    if let Some(place) = COUNTS.get_ptr_mut(index) {
        // SAFETY: the kernel gave this place, which is this processor's own.
        unsafe { *place += 1 };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
