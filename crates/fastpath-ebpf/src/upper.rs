//! Layer 4 of a translated packet: ports or identifier, and the checksum by the difference of what it covers
//! (RFC 7915 4.5, 5.5; RFC 1624).

use xlat_fastpath::flow::protocol;
use xlat_fastpath::rewrite::{difference, fold, length_and_protocol, update};

use crate::parse::Upper;
use crate::view::View;

/// What changes for layer 4.
#[derive(Clone, Copy)]
pub struct Change {
    /// New ports or identifier, as they stand in the packet.
    pub ports: u32,
    /// New type of an echo message.
    pub kind: u8,
    /// Sum of the pseudo-header before, as far as it changes.
    pub old: u64,
    /// The same behind.
    pub new: u64,
}

/// True if the checksum field may hold the sum of a pseudo-header only, whose addresses have the sum `addresses`: a sender on
/// this machine leaves the rest to hardware. One right checksum in 65,536 looks the same.
#[inline(always)]
pub fn may_be_partial(upper: &Upper, addresses: u64, len: u32) -> bool {
    upper.protocol != protocol::ICMP
        && upper.checksum == fold(addresses + length_and_protocol(len, upper.protocol))
}

/// Writes the new layer 4 header at `at`, the checksum being complete. Gives the difference that the bytes of the header
/// make in a sum over the packet; None if they are not there.
#[inline(always)]
pub fn rewrite(view: View, at: usize, upper: &Upper, change: Change) -> Option<u32> {
    let Change { ports, kind, old, new } = change;
    let (before, after) = fields(upper, ports, kind);
    let checksum = update(upper.checksum, difference(old + before, new + after));
    // Zero would mean that there is none (RFC 768).
    let checksum = if upper.protocol == protocol::UDP && checksum == 0 { 0xffff } else { checksum };
    write(view, at, upper, ports, kind)?;
    match upper.protocol {
        protocol::ICMP => view.part::<8>(at)?.set_u16::<2>(checksum),
        protocol::TCP => view.part::<20>(at)?.set_u16::<16>(checksum),
        _udp => view.part::<8>(at)?.set_u16::<6>(checksum),
    }
    Some(difference(before + u64::from(upper.checksum), after + u64::from(checksum)))
}

/// Writes all but the checksum.
#[inline(always)]
pub fn write(view: View, at: usize, upper: &Upper, ports: u32, kind: u8) -> Option<()> {
    let part = view.part::<8>(at)?;
    if upper.protocol == protocol::ICMP {
        part.set_u16::<0>(u16::from_ne_bytes([kind, 0]));
        part.set_u16::<4>(ports as u16);
    } else {
        part.set_u32::<0>(ports);
    }
    Some(())
}

/// The sums of the fields that change, before and behind.
#[inline(always)]
pub fn fields(upper: &Upper, ports: u32, kind: u8) -> (u64, u64) {
    let kind = u16::from_ne_bytes([kind, 0]);
    let (before, after) = (u64::from(upper.ports), u64::from(ports));
    if upper.protocol == protocol::ICMP {
        (before + u64::from(upper.kind), after + u64::from(kind))
    } else {
        (before, after)
    }
}
