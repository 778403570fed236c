//! Is a packet on interface ingress ours? By its destination, and on an address that the host has too, by port or
//! identifier: that of the packet, or for an ICMP error that of the packet it quotes.

use aya_ebpf::maps::lpm_trie::Key;
use xlat_fastpath::config::{Config, INLINE_STEERS, config_flag};
use xlat_fastpath::count::Counter;
use xlat_fastpath::flow::protocol;
use xlat_fastpath::rewrite::Address6;

use crate::maps::{OWN_PORTS, POOL4, STEER4, STEER6};
use crate::parse::is_error4;
use crate::view::View;

/// Not our destination.
pub const NOT_OURS: u32 = u32::MAX;

/// Whose an IPv4 destination is: [`NOT_OURS`], 0 if ours alone, else the slot + 1 of an address that is the host's too.
#[inline(always)]
pub fn owner4(config: &Config, dst: u32) -> u32 {
    for at in 0..INLINE_STEERS {
        if at as u32 >= config.steer4_count {
            break;
        }
        let entry = &config.steer4[at];
        if dst & u32::from_ne_bytes(entry.mask) == u32::from_ne_bytes(entry.prefix) {
            return entry.steer.own;
        }
    }
    if config.flags & config_flag::STEER4_MAP == 0 {
        return NOT_OURS;
    }
    STEER4.get(&Key::new(32, dst.to_ne_bytes())).map_or(NOT_OURS, |steer| steer.own)
}

/// True if an IPv4 destination is in the pool4 of a stateful instance, or if only the daemon knows.
#[inline(always)]
pub fn is_pool4(config: &Config, dst: u32) -> bool {
    config.flags & config_flag::POOL4_MAP == 0 || POOL4.get(&Key::new(32, dst.to_ne_bytes())).is_some()
}

/// True if an IPv6 destination is ours.
#[inline(always)]
pub fn is_ours6(config: &Config, dst: Address6) -> bool {
    for at in 0..INLINE_STEERS {
        if at as u32 >= config.steer6_count {
            break;
        }
        let entry = &config.steer6[at];
        let (prefix, mask) = (halves(&entry.prefix), halves(&entry.mask));
        if dst[0] & mask[0] == prefix[0] && dst[1] & mask[1] == prefix[1] {
            return true;
        }
    }
    config.flags & config_flag::STEER6_MAP != 0 && STEER6.get(&Key::new(128, bytes(dst))).is_some()
}

/// An address in a map: its halves in memory order.
#[inline(always)]
pub fn halves(address: &[u8; 16]) -> Address6 {
    let words = address.as_ptr().cast::<u32>();
    // SAFETY: sixteen bytes; in every type of the maps an IPv6 address is at a multiple of four bytes.
    let word = |at: usize| u64::from(unsafe { words.add(at).read() });
    [word(0) | word(1) << 32, word(2) | word(3) << 32]
}

#[inline(always)]
fn bytes(address: Address6) -> [u8; 16] {
    // SAFETY: both are 16 bytes, of which every value is valid.
    unsafe { core::mem::transmute(address) }
}

/// Whether a packet to the host's own address in `slot` (counted from 1) is ours: `Ok` if it is, or if only the daemon
/// can tell.
#[inline(always)]
pub fn check_own(view: View, slot: u32, dst: u32) -> Result<(), Counter> {
    // What cannot be read is not known to be the host's: the daemon gives it back.
    let Some(header) = view.part::<20>(0) else { return Ok(()) };
    let index = match header.u8::<9>() {
        protocol::TCP => 0,
        protocol::UDP => 1,
        protocol::ICMP => 2,
        _other => return Err(Counter::OwnPort),
    };
    // The first fragment too: the daemon needs it to know whose the others are.
    if u16::from_be(header.u16::<6>()) & 0x3fff != 0 {
        return Ok(());
    }
    // Options do not hide the port: what comes back from the daemon has lost the interface that it came in by.
    let upper_at = usize::from(header.u8::<0>() & 15) * 4;
    let Some(upper) = view.part::<8>(upper_at) else { return Ok(()) };
    let port = match (index, upper.u8::<0>()) {
        (2, 0 | 8) => upper.u16::<4>(),
        (2, kind) if is_error4(kind) => return check_quoted(view, upper_at + 8, slot, dst),
        (2, _other) => return Err(Counter::OwnPort),
        _ports => upper.u16::<2>(),
    };
    check_port(slot, index, port)
}

/// Why an IPv4 packet that the host sends to itself is to be handed up, if it is ours: an ICMP error about a packet of ours, or an
/// answer of one of its other addresses to a client of ours.
#[inline(always)]
pub fn on_loopback(config: &Config, view: View) -> Option<Counter> {
    let header = view.part::<20>(0)?;
    let is_fragment = u16::from_be(header.u16::<6>()) & 0x3fff != 0;
    if header.u8::<0>() != 0x45 || is_fragment {
        return None;
    }
    let (src, dst) = (header.u32::<12>(), header.u32::<16>());
    let slot = owner4(config, dst);
    let upper = view.part::<8>(20)?;
    let is_error = header.u8::<9>() == protocol::ICMP && is_error4(upper.u8::<0>());
    // What an address says to itself is the host's own talk, as is all of 127.0.0.0/8.
    let is_foreign = slot == NOT_OURS || slot == 0 || !is_error && (src == dst || src.to_ne_bytes()[0] == 127);
    if is_foreign || check_own(view, slot, dst).is_err() {
        return None;
    }
    Some(if is_error { Counter::IcmpError } else { Counter::NoFlow })
}

/// The same as [`check_own`] for an ICMP error that quotes the packet at `at`.
#[inline(always)]
fn check_quoted(view: View, at: usize, slot: u32, dst: u32) -> Result<(), Counter> {
    let Some(header) = view.part::<20>(at) else { return Ok(()) };
    if header.u32::<12>() != dst {
        return Err(Counter::OwnPort);
    }
    if header.u8::<0>() != 0x45 || u16::from_be(header.u16::<6>()) & 0x1fff != 0 {
        return Ok(());
    }
    let Some(upper) = view.part::<8>(at + 20) else { return Ok(()) };
    let (index, port) = match header.u8::<9>() {
        protocol::TCP => (0, upper.u16::<0>()),
        protocol::UDP => (1, upper.u16::<0>()),
        protocol::ICMP => (2, upper.u16::<4>()),
        _other => return Err(Counter::OwnPort),
    };
    check_port(slot, index, port)
}

/// `Ok` if a BIB entry has the port (as it stands in the packet).
#[inline(always)]
fn check_port(slot: u32, index: u32, port: u16) -> Result<(), Counter> {
    let port = usize::from(u16::from_be(port));
    let Some(words) = OWN_PORTS.get((slot - 1) * 3 + index) else { return Err(Counter::OwnPort) };
    // SAFETY: there are 1024 words; the daemon writes them at any time, each as a whole.
    let word = unsafe { core::ptr::read_volatile(words.as_ptr().add(port >> 6 & 1023)) };
    if word >> (port & 63) & 1 == 0 { Err(Counter::OwnPort) } else { Ok(()) }
}
