//! The tc and XDP programs.
#![no_std]
#![no_main]

mod maps;

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

#[classifier]
pub fn xlat_ingress(_context: TcContext) -> i32 {
    if maps::CONFIG.get(0).is_none() { return 0 }
    -1
}
#[classifier]
pub fn xlat_device(_context: TcContext) -> i32 {
    -1
}
#[xdp]
pub fn xlat_xdp(_context: XdpContext) -> u32 {
    2
}
#[xdp(frags)]
pub fn xlat_xdp_frags(_context: XdpContext) -> u32 {
    2
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
