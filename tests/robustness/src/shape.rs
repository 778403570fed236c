//! An independent reading of packets: what the world behind the translator would see. Nothing here comes from the
//! crates under test.

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_packet::{Checksum, Offload};
use xlat_tests::build::{add, sum};

use crate::build::{Ends, ICMP4, ICMP6, Part, TCP, UDP, checksum_at};

/// A packet with its offload state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// From the first byte of the IP header on.
    pub bytes: Vec<u8>,
    /// What it owes to hardware.
    pub offload: Offload,
}

impl Packet {
    /// A packet that owes nothing.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, offload: Offload::NONE }
    }
}

/// What there is to know of a packet's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Addresses.
    pub ends: Ends,
    /// Of layer 4.
    pub protocol: u8,
    /// Hop limit or TTL.
    pub hops: u8,
    /// Traffic class or type of service.
    pub tos: u8,
    /// IPv4: Don't Fragment.
    pub df: bool,
    /// IPv4: identification, also of a packet that is no fragment.
    pub id: u16,
    /// Set if there is a Fragment header, or an IPv4 packet is one of several fragments.
    pub part: Option<Part>,
    /// Where layer 4 begins.
    pub upper_at: usize,
    /// Length by the packet's own header.
    pub total_len: usize,
}

impl Shape {
    /// True if the packet is one of several fragments.
    pub fn is_fragment(&self) -> bool {
        self.part.is_some_and(|part| part.offset != 0 || part.more)
    }

    /// True for an ICMP error whose type can be seen.
    pub fn is_error(&self, bytes: &[u8]) -> bool {
        let kind = bytes.get(self.upper_at).copied();
        if self.is_fragment() {
            return false;
        }
        match self.protocol {
            ICMP4 if !self.ends.is6() => kind.is_some_and(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
            ICMP6 if self.ends.is6() => kind.is_some_and(|kind| kind < 128),
            _ => false,
        }
    }

    /// Layer 4 and all behind it.
    pub fn upper<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.upper_at..self.total_len.min(bytes.len())).unwrap_or(&[])
    }

    /// The two ports (or the first four bytes of whatever it is).
    pub fn ports(&self, bytes: &[u8]) -> (u16, u16) {
        let word = |at: usize| match self.upper(bytes).get(at..at + 2) {
            Some(pair) => u16::from_be_bytes([pair[0], pair[1]]),
            None => 0,
        };
        (word(0), word(2))
    }

    /// By how much the layer 4 checksum of a whole packet is wrong, in one's complement: 0 if it is right. None where
    /// there is none.
    pub fn wrong_by(&self, packet: &Packet) -> Option<u16> {
        let upper = self.upper(&packet.bytes);
        let at = checksum_at(self.protocol)?;
        let field = upper.get(at..at + 2)?;
        let field = u16::from_be_bytes([field[0], field[1]]);
        let pseudo = self.ends.pseudo(self.protocol, upper.len());
        let difference = match packet.offload.checksum {
            // Finishing adds the claimed pseudo-header where the right one belongs.
            Checksum::Partial { .. } => add(pseudo, !field),
            Checksum::Complete | Checksum::Verified if self.protocol == UDP && field == 0 => return None,
            Checksum::Complete | Checksum::Verified => add(pseudo, sum(&[upper])),
        };
        Some(if difference == 0xffff { 0 } else { difference })
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Reads any packet as far as that is possible.
pub fn read(bytes: &[u8]) -> Option<Shape> {
    match bytes.first()? >> 4 {
        4 => read4(bytes),
        6 => read6(bytes),
        _ => None,
    }
}

fn read4(bytes: &[u8]) -> Option<Shape> {
    let header_len = usize::from(bytes.first()? & 0xf) * 4;
    if header_len < 20 || bytes.len() < header_len {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let flags = word(bytes, 6);
    let part = Part { offset: flags << 3, more: flags & 0x2000 != 0, id: word(bytes, 4).into() };
    Some(Shape {
        ends: Ends::V4(address(12), address(16)),
        protocol: bytes[9],
        hops: bytes[8],
        tos: bytes[1],
        df: flags & 0x4000 != 0,
        id: word(bytes, 4),
        part: (part.more || part.offset != 0).then_some(part),
        upper_at: header_len,
        total_len: word(bytes, 2).into(),
    })
}

fn read6(bytes: &[u8]) -> Option<Shape> {
    let address = |at: usize| bytes.get(at..at + 16).and_then(|b| <[u8; 16]>::try_from(b).ok());
    let ends = Ends::V6(Ipv6Addr::from(address(8)?), Ipv6Addr::from(address(24)?));
    let (mut protocol, mut at, mut part) = (bytes[6], 40, None);
    while matches!(protocol, 0 | 43 | 44 | 60) {
        let extension = bytes.get(at..at + 8)?;
        if protocol == 44 {
            let place = word(extension, 2);
            let id = u32::from(word(extension, 4)) << 16 | u32::from(word(extension, 6));
            part = Some(Part { offset: place & !7, more: place & 1 != 0, id });
            at += 8;
        } else {
            at += 8 + usize::from(extension[1]) * 8;
        }
        protocol = extension[0];
    }
    Some(Shape {
        ends,
        protocol,
        hops: bytes[7],
        tos: (word(bytes, 0) >> 4) as u8,
        df: true,
        id: 0,
        part,
        upper_at: at,
        total_len: 40 + usize::from(word(bytes, 4)),
    })
}

/// Reads a packet that the translator made. The error says what is wrong with it.
pub fn read_made(packet: &Packet) -> Result<Shape, String> {
    let bytes = &packet.bytes;
    let shape = read(bytes).ok_or("cannot be read")?;
    let demand = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    demand(shape.total_len == bytes.len(), "its length is not what its header says")?;
    demand(shape.hops != 0, "no hop is left")?;
    if shape.ends.is6() {
        let plain = if shape.part.is_some() { 48 } else { 40 };
        demand(shape.upper_at == plain, "extension headers other than one Fragment header")?;
        demand(shape.part.is_none() || bytes[41] == 0 && bytes[43] & 6 == 0, "reserved bits are set")?;
        demand(shape.protocol != ICMP4, "ICMPv4 in IPv6")?;
    } else {
        demand(shape.upper_at == 20, "IPv4 options")?;
        demand(sum(&[&bytes[..20]]) == 0xffff, "the IPv4 header checksum is wrong")?;
        demand(bytes[6] & 0x80 == 0, "the reserved flag is set")?;
        demand(shape.protocol != ICMP6, "ICMPv6 in IPv4")?;
    }
    let upper_len = shape.total_len.checked_sub(shape.upper_at).ok_or("shorter than its headers")?;
    if let Some(part) = shape.part.filter(|part| part.more || part.offset != 0) {
        demand(upper_len != 0, "an empty fragment")?;
        demand(!part.more || upper_len % 8 == 0, "a fragment in the middle with an odd length")?;
        demand(usize::from(part.offset) + upper_len <= 65535, "a fragment behind the end")?;
    }
    let smallest = match shape.protocol {
        _ if shape.part.is_some_and(|part| part.offset != 0) => 0,
        TCP => 20,
        UDP | ICMP4 | ICMP6 => 8,
        _ => 0,
    };
    demand(upper_len >= smallest, "too short for its protocol")?;
    if shape.is_error(bytes) {
        let quoted = &bytes[shape.upper_at + 8..];
        demand(
            quoted.first().is_some_and(|byte| (byte >> 4 == 6) == shape.ends.is6()),
            "quotes the other family",
        )?;
        demand(bytes.len() <= if shape.ends.is6() { 1280 } else { 576 }, "an ICMP error that is too long")?;
        demand(shape.wrong_by(packet) == Some(0), "an ICMP error with a wrong checksum")?;
    }
    Ok(shape)
}

/// Puts fragments of one datagram together: the first's headers, and layer 4. None if there is a gap or an overlap.
pub fn reassemble(parts: &[(Shape, Vec<u8>)]) -> Option<(Shape, Vec<u8>)> {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|(shape, _)| shape.part.map_or(0, |part| part.offset));
    let mut whole = Vec::new();
    for (shape, bytes) in &sorted {
        let part = shape.part.unwrap_or(Part { offset: 0, more: false, id: 0 });
        if usize::from(part.offset) != whole.len() {
            return None;
        }
        whole.extend(shape.upper(bytes));
    }
    let last = sorted.last()?;
    let more = last.0.part.is_some_and(|part| part.more);
    (!more).then(|| (sorted[0].0.clone(), whole))
}
