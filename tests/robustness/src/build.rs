//! Packets from few decisions, with headers and checksums of our own: nothing here comes from the crates under test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xlat_tests::build::{add, pattern, pseudo, sum};

use crate::input::Input;

/// The SYN flag of TCP.
pub const SYN: u8 = 2;
/// Protocol numbers: TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP of IPv4.
pub const ICMP4: u8 = 1;
/// ICMP of IPv6.
pub const ICMP6: u8 = 58;

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Of an IPv4 packet.
    V4(Ipv4Addr, Ipv4Addr),
    /// Of an IPv6 packet.
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    /// The other way round.
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Self::V4(src, dst) => Self::V4(dst, src),
            Self::V6(src, dst) => Self::V6(dst, src),
        }
    }

    /// Where the packet comes from.
    pub fn source(self) -> IpAddr {
        match self {
            Self::V4(src, _) => src.into(),
            Self::V6(src, _) => src.into(),
        }
    }

    /// True for IPv6.
    pub fn is6(self) -> bool {
        matches!(self, Self::V6(..))
    }

    /// ICMP of this family.
    pub fn icmp(self) -> u8 {
        if self.is6() { ICMP6 } else { ICMP4 }
    }

    fn octets(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::V4(src, dst) => (src.octets().to_vec(), dst.octets().to_vec()),
            Self::V6(src, dst) => (src.octets().to_vec(), dst.octets().to_vec()),
        }
    }

    /// Folded sum of the pseudo-header that `protocol` has in this family.
    pub fn pseudo(self, protocol: u8, len: usize) -> u16 {
        let (src, dst) = self.octets();
        if protocol == ICMP4 { 0 } else { sum(&[&pseudo(&src, &dst, protocol, len)]) }
    }
}

/// Where a fragment belongs: offset in bytes, whether more follow, identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes in front of it.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification.
    pub id: u32,
}

/// What an IP header says besides addresses and lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic class or type of service.
    pub tos: u8,
    /// Hop limit or TTL.
    pub hops: u8,
    /// Don't Fragment (IPv4).
    pub df: bool,
    /// Identification of a packet that is no fragment (IPv4).
    pub id: u16,
    /// Flow label (IPv6).
    pub flow: u32,
    /// IPv4 options, a multiple of four bytes; not in IPv6.
    pub options: Vec<u8>,
    /// Set in a fragment.
    pub part: Option<Part>,
}

impl Default for Header {
    fn default() -> Self {
        Self { tos: 0, hops: 64, df: true, id: 7, flow: 0, options: Vec::new(), part: None }
    }
}

/// An IP packet with `payload` behind its headers.
pub fn ip(ends: Ends, header: &Header, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = ends.octets();
    let offset_and_more = header.part.map_or(0, |part| part.offset & !7 | u16::from(part.more));
    if ends.is6() {
        let chain = if header.part.is_some() { 8 } else { 0 };
        let first = 6 << 28 | u32::from(header.tos) << 20 | header.flow & 0xf_ffff;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend(((payload.len() + chain) as u16).to_be_bytes());
        packet.extend([if chain != 0 { 44 } else { protocol }, header.hops]);
        packet.extend(src);
        packet.extend(dst);
        if let Some(part) = header.part {
            packet.extend([protocol, 0]);
            packet.extend(offset_and_more.to_be_bytes());
            packet.extend(part.id.to_be_bytes());
        }
        packet.extend(payload);
        return packet;
    }
    let header_len = 20 + header.options.len();
    let id = header.part.map_or(header.id, |part| part.id as u16);
    let flags = offset_and_more >> 3 | (offset_and_more & 1) << 13 | u16::from(header.df) << 14;
    let mut packet = vec![0x40 | (header_len / 4) as u8, header.tos];
    packet.extend(((header_len + payload.len()) as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(flags.to_be_bytes());
    packet.extend([header.hops, protocol, 0, 0]);
    packet.extend(src);
    packet.extend(dst);
    packet.extend(&header.options);
    let checksum = !sum(&[&packet]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Writes the checksum of a message at its place: the right one, plus `wrong_by` in one's complement.
pub fn finish(ends: Ends, protocol: u8, message: &mut [u8], wrong_by: u16) {
    let Some(at) = checksum_at(protocol) else { return };
    let Some(field) = message.get_mut(at..at + 2) else { return };
    field.fill(0);
    let right = !add(sum(&[message]), ends.pseudo(protocol, message.len()));
    let mut value = add(right, wrong_by);
    if protocol == UDP && value == 0 {
        value = 0xffff;
    }
    message[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Where a protocol has its checksum, in bytes from its header.
pub fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP4 | ICMP6 => Some(2),
        _ => None,
    }
}

/// A TCP segment without options.
pub fn tcp(ends: Ends, ports: (u16, u16), flags: u8, data: &[u8], wrong_by: u16) -> Vec<u8> {
    let mut message = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    message.extend([0xff, 0xff, 0xf0, 0x00, 0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    message.extend(data);
    finish(ends, TCP, &mut message, wrong_by);
    message
}

/// A UDP datagram.
pub fn udp(ends: Ends, ports: (u16, u16), data: &[u8], wrong_by: u16) -> Vec<u8> {
    let mut message = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    message.extend(((8 + data.len()) as u16).to_be_bytes());
    message.extend([0, 0]);
    message.extend(data);
    finish(ends, UDP, &mut message, wrong_by);
    message
}

/// An echo request or reply of the family of `ends`.
pub fn echo(ends: Ends, request: bool, id: u16, data: &[u8], wrong_by: u16) -> Vec<u8> {
    let kind = match (ends.is6(), request) {
        (true, true) => 128,
        (true, false) => 129,
        (false, true) => 8,
        (false, false) => 0,
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(data);
    finish(ends, ends.icmp(), &mut message, wrong_by);
    message
}

/// An ICMP error of the family of `ends` about the packet whose first bytes are `quoted`.
pub fn error(ends: Ends, (kind, code): (u8, u8), rest: [u8; 4], quoted: &[u8], wrong_by: u16) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(quoted);
    finish(ends, ends.icmp(), &mut message, wrong_by);
    message
}

/// A message of a protocol that has state: protocol number and bytes. Ports are `ports`; of an echo message the first
/// is the identifier.
pub fn message(input: &mut Input<'_>, ends: Ends, ports: (u16, u16)) -> (u8, Vec<u8>) {
    let kind = input.below(5);
    let data = pattern(size(input), usize::from(ports.0));
    let wrong_by = if input.below(4) == 3 { input.word() } else { 0 };
    match kind {
        0 => {
            let flags = input.byte();
            (TCP, tcp(ends, ports, flags, &data, wrong_by))
        }
        1 | 4 => {
            let mut datagram = udp(ends, ports, &data, wrong_by);
            if kind == 4 {
                datagram[6..8].fill(0);
            }
            (UDP, datagram)
        }
        2 => (ends.icmp(), echo(ends, true, ports.0, &data, wrong_by)),
        _ => (ends.icmp(), echo(ends, false, ports.0, &data, wrong_by)),
    }
}

/// A length: small ones more often than those around an MTU, these more often than large ones.
pub fn size(input: &mut Input<'_>) -> usize {
    match input.below(8) {
        0..4 => input.below(64),
        4 | 5 => 1180 + input.below(256) * 2,
        6 => usize::from(input.word()) % 9000,
        _ => usize::from(input.word()) % 65_400,
    }
}
