//! The tc and XDP programs: what the engine has decided is repeated here, at the speed of the kernel. Thin: parse, look
//! up, rewrite, send, or hand up with a named reason (RFC 7915 and RFC 6146 are the engine's).
#![no_std]
#![no_main]

mod count;
mod decide;
mod handover;
mod maps;
mod output;
mod parse;
mod plan;
mod stateful;
mod stateless;
mod steer;
mod tc;
mod upper;
mod view;
mod xdp;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Ingress of an interface.
#[classifier]
pub fn xlat_ingress(context: TcContext) -> i32 {
    tc::ingress(context.skb.skb)
}

/// Egress of the TUN device.
#[classifier]
pub fn xlat_device(context: TcContext) -> i32 {
    tc::device(context.skb.skb)
}

/// Ingress of an Ethernet interface, before the kernel makes a packet of the frame.
#[xdp]
pub fn xlat_xdp(context: XdpContext) -> u32 {
    xdp::ingress::<false>(context.ctx)
}

/// The same for frames in several pieces.
#[xdp(frags)]
pub fn xlat_xdp_frags(context: XdpContext) -> u32 {
    xdp::ingress::<true>(context.ctx)
}

/// Nothing here can panic; the compiler wants it said.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers to programs only that may be used under the GPL. The MIT licence, one of the two that
/// this program is under, allows that.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
