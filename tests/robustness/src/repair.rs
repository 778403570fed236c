//! Repairs of random bytes, so that more of them get past the first check: lengths, addresses, checksums.

use xlat_tests::build::sum;

use crate::build::{self, Ends};
use crate::input::Input;
use crate::setups::{address4, address6};
use crate::shape::read;

/// Addresses of the setups.
pub const ADDRESSES: u8 = 1;
/// Lengths in the IP header, and its checksum.
pub const HEADER: u8 = 2;
/// The checksum of layer 4.
pub const UPPER: u8 = 4;
/// The packet that is quoted went the other way.
pub const QUOTED: u8 = 8;

/// Repairs what `which` names.
pub fn repair(packet: &mut [u8], which: u8, addresses: &mut Input<'_>) {
    let Some(shape) = read(packet) else { return };
    if which & ADDRESSES != 0 {
        set_addresses(packet, addresses);
    }
    if which & HEADER != 0 {
        set_header(packet);
    }
    let Some(ends) = read(packet).map(|shape| shape.ends) else { return };
    if which & QUOTED != 0
        && shape.is_error(packet)
        && let Some(quoted) = packet.get_mut(shape.upper_at + 8..)
    {
        if let Some(first) = quoted.first_mut() {
            *first = if ends.is6() { 0x60 } else { 0x45 };
        }
        put_ends(quoted, ends.turned());
    }
    if which & UPPER != 0
        && let Some(shape) = read(packet)
        && let Some(upper) = packet.get_mut(shape.upper_at..)
    {
        build::finish(ends, shape.protocol, upper, 0);
    }
}

fn set_addresses(packet: &mut [u8], addresses: &mut Input<'_>) {
    let ends = match packet.first().map(|byte| byte >> 4) {
        Some(6) => Ends::V6(address6(addresses), address6(addresses)),
        _four => Ends::V4(address4(addresses), address4(addresses)),
    };
    put_ends(packet, ends);
}

fn put_ends(packet: &mut [u8], ends: Ends) {
    let (at, bytes) = match ends {
        Ends::V4(src, dst) => (12, [src.octets(), dst.octets()].concat()),
        Ends::V6(src, dst) => (8, [src.octets(), dst.octets()].concat()),
    };
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(&bytes);
    }
}

fn set_header(packet: &mut [u8]) {
    let len = packet.len();
    if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        if let Some(place) = packet.get_mut(4..6) {
            place.copy_from_slice(&(len.saturating_sub(40) as u16).to_be_bytes());
        }
        return;
    }
    let header_len = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    let Some(header) = packet.get_mut(..header_len).filter(|header| header.len() >= 20) else { return };
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    header[10..12].fill(0);
    let checksum = !sum(&[header]);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
