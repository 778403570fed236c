//! Bytes of a frame, and one's-complement sums.

use aya_ebpf::programs::XdpContext;

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// The value at offset `at` of the frame, unless the frame ends before. `T` is an unsigned number or array of such.
#[inline(always)]
pub fn at<T>(context: &XdpContext, at: usize) -> Option<*mut T> {
    let place = context.data() + at;
    (place + size_of::<T>() <= context.data_end()).then_some(place as *mut T)
}

/// The number at offset `at`, as the processor reads it.
#[inline(always)]
pub fn load<T: Copy>(context: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` compared the end of the value with the end of the frame. Frames start at even addresses; this
    // machine reads and writes anywhere, and the verifier refuses what would not.
    at(context, offset).map(|place| unsafe { *place })
}

/// Folds a sum to 16 bits.
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Both halves of a word.
#[inline(always)]
pub fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The 32 bits at the even offset `at`, as a number.
#[inline(always)]
pub fn word(context: &XdpContext, at: usize) -> Option<u32> {
    let high = u16::from_be(load(context, at)?);
    let low = u16::from_be(load(context, at + 2)?);
    Some(u32::from(high) << 16 | u32::from(low))
}
