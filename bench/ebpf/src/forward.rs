//! Plain forwarding by XDP: what the fast path does, without translation. Packets with a route and a known neighbour, a hop
//! limit above 1 and, for IPv4, no options go out by redirection; everything else goes on to the kernel.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::helpers::{bpf_fib_lookup, bpf_redirect};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::count;
use crate::frame::{ETHERNET, IPV4, IPV6, at, load};
use crate::shapes::count::FORWARDED;

/// The kernel's `struct bpf_fib_lookup`, with the names of what is used.
#[repr(C)]
#[derive(Default)]
struct Lookup {
    family: u8,
    protocol: u8,
    ports: [u16; 2],
    total_len: u16,
    interface: u32,
    flow: u32,
    source: [u32; 4],
    destination: [u32; 4],
    table: u32,
    source_mac: [u16; 3],
    destination_mac: [u16; 3],
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[xdp]
pub fn bench_forward(context: XdpContext) -> u32 {
    forward(&context).unwrap_or(XDP_PASS)
}

fn forward(context: &XdpContext) -> Option<u32> {
    match u16::from_be(load(context, 12)?) {
        IPV6 => six(context),
        IPV4 => four(context),
        _ => None,
    }
}

#[inline(always)]
fn six(context: &XdpContext) -> Option<u32> {
    let header: *mut u8 = at::<[u8; 40]>(context, ETHERNET)?.cast();
    // SAFETY: `at` found a whole header.
    unsafe {
        if *header.add(7) <= 1 {
            return None;
        }
        let half = |index: usize| *header.cast::<u16>().add(index);
        let words = |from: usize| -> [u32; 4] {
            core::array::from_fn(|n| u32::from(half(from + 2 * n)) | u32::from(half(from + 2 * n + 1)) << 16)
        };
        let mut lookup = Lookup {
            family: AF_INET6,
            protocol: *header.add(6),
            total_len: u16::from_be(half(2)) + 40,
            source: words(4),
            destination: words(12),
            ..Lookup::default()
        };
        output(context, &mut lookup)?;
        *header.add(7) -= 1;
        send(context, &lookup)
    }
}

#[inline(always)]
fn four(context: &XdpContext) -> Option<u32> {
    let header: *mut u8 = at::<[u8; 20]>(context, ETHERNET)?.cast();
    // SAFETY: `at` found a whole header.
    unsafe {
        if *header != 0x45 || *header.add(8) <= 1 {
            return None;
        }
        let half = |index: usize| *header.cast::<u16>().add(index);
        let word = |from: usize| u32::from(half(from)) | u32::from(half(from + 1)) << 16;
        let mut lookup = Lookup {
            family: AF_INET,
            protocol: *header.add(9),
            total_len: u16::from_be(half(1)),
            source: [word(6), 0, 0, 0],
            destination: [word(8), 0, 0, 0],
            ..Lookup::default()
        };
        output(context, &mut lookup)?;
        *header.add(8) -= 1;
        let sum = u32::from(u16::from_be(half(5))) + 0x100;
        *header.cast::<u16>().add(5) = ((sum + (sum >> 16)) as u16).to_be();
        send(context, &lookup)
    }
}

/// Looks route and neighbour up.
#[inline(always)]
fn output(context: &XdpContext, lookup: &mut Lookup) -> Option<()> {
    lookup.interface = context.ingress_ifindex() as u32;
    let size = size_of::<Lookup>() as i32;
    // SAFETY: the context is the one of this run, and the structure is the kernel's, of its size.
    let result = unsafe { bpf_fib_lookup(context.as_ptr(), core::ptr::from_mut(lookup).cast(), size, 0) };
    (result == 0).then_some(())
}

/// Sends the frame to where the look-up says.
#[inline(always)]
fn send(context: &XdpContext, lookup: &Lookup) -> Option<u32> {
    let addresses = at::<[u16; 6]>(context, 0)?;
    let ([a, b, c], [d, e, f]) = (lookup.destination_mac, lookup.source_mac);
    // SAFETY: `at` found both addresses' place; the helper takes no pointers.
    unsafe {
        *addresses = [a, b, c, d, e, f];
        count(FORWARDED);
        Some(bpf_redirect(lookup.interface, 0) as u32)
    }
}
