//! The Ethernet frames of a flood: UDP over IPv6 or IPv4 with right checksums, each flow with a source port of its own.

use std::net::IpAddr;

use xlat_packet::checksum::Sum;

use crate::lab::{MAC_A, MAC_T};

/// Where the datagrams go.
pub(crate) const PORT: u16 = 7000;
/// The first flow's source port.
const FIRST_PORT: u16 = 10_000;
/// Bytes of an IPv6 packet; IPv4 has the same payload.
const PACKET: u16 = 64;
const PAYLOAD: u16 = PACKET - 40 - UDP_HEADER;
const UDP_HEADER: u16 = 8;
const UDP: u8 = 17;

/// The frame of flow number `flow`; `None` if the addresses are of different families.
pub(crate) fn frame(from: IpAddr, to: IpAddr, flow: u16) -> Option<Vec<u8>> {
    let length = UDP_HEADER + PAYLOAD;
    let (kind, network, addresses) = match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let mut header = vec![0x60, 0, 0, 0, 0, 0, UDP, 64];
            header[4..6].copy_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&addresses);
            ([0x86, 0xdd], header, addresses)
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP, 0, 0];
            header[2..4].copy_from_slice(&(length + 20).to_be_bytes());
            header.extend_from_slice(&addresses);
            let sum = Sum::of(&header).finish();
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            ([0x08, 0x00], header, addresses)
        }
        _ => return None,
    };
    let mut datagram = Vec::new();
    for field in [FIRST_PORT.wrapping_add(flow), PORT, length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.resize(usize::from(length), 0xa5);
    let pseudo = Sum::of(&addresses).plus(Sum::length_and_protocol(u32::from(length), UDP));
    let sum = pseudo.plus(Sum::of(&datagram)).finish();
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    Some([&MAC_T[..], &MAC_A, &kind, &network, &datagram].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_bytes_with_right_checksums() {
        let six = frame("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), 999).unwrap();
        assert_eq!(six.len(), 14 + 64);
        let pseudo = Sum::of(&six[22..54]).plus(Sum::length_and_protocol(24, UDP));
        assert_eq!(pseudo.plus(Sum::of(&six[54..])).fold(), 0xffff);
        let four = frame("192.0.2.1".parse().unwrap(), "198.51.100.2".parse().unwrap(), 0).unwrap();
        assert_eq!(four.len(), 14 + 44);
        assert_eq!(Sum::of(&four[14..34]).fold(), 0xffff);
        assert_eq!(frame("192.0.2.1".parse().unwrap(), "2001:db8::2".parse().unwrap(), 0), None);
    }
}
