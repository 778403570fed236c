//! Packets by chance, but the same ones for the same seed: mostly what the program is for, often something that it must
//! notice, and now and then rubbish.

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_packet::checksum::Sum;

/// A small generator (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.any() >> 33) as usize % end.max(1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Ends of a flow in one family. Of an echo flow the first port is the identifier, and the second unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<A> {
    /// TCP, UDP or ICMP, as IPv4 numbers them.
    pub protocol: u8,
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// An address of either family.
pub trait Address: Copy {
    /// The header of the family, for a message of a protocol (as IPv4 numbers it).
    fn header(random: &mut Random, ends: &Ends<Self>, message: &[u8]) -> Vec<u8>;
    /// The pseudo-header's sum for a message of this length.
    fn pseudo(ends: &Ends<Self>, len: usize) -> Sum;
    /// Types of echo messages.
    const ECHO: [u8; 2];
}

impl Address for Ipv6Addr {
    const ECHO: [u8; 2] = [128, 129];

    fn header(random: &mut Random, ends: &Ends<Self>, message: &[u8]) -> Vec<u8> {
        let protocol = if ends.protocol == 1 { 58 } else { ends.protocol };
        let class = if random.once_in(2) { 0 } else { random.any() as u32 & 0xff };
        let first = 6 << 28 | class << 20 | random.any() as u32 & 0xf_ffff;
        let mut header = first.to_be_bytes().to_vec();
        header.extend((message.len() as u16).to_be_bytes());
        header.extend([protocol, hop_limit(random)]);
        header.extend(ends.src.octets());
        header.extend(ends.dst.octets());
        header
    }

    fn pseudo(ends: &Ends<Self>, len: usize) -> Sum {
        let protocol = if ends.protocol == 1 { 58 } else { ends.protocol };
        Sum::addresses6(ends.src, ends.dst).plus(Sum::length_and_protocol(len as u32, protocol))
    }
}

impl Address for Ipv4Addr {
    const ECHO: [u8; 2] = [8, 0];

    fn header(random: &mut Random, ends: &Ends<Self>, message: &[u8]) -> Vec<u8> {
        let tos = if random.once_in(2) { 0 } else { random.any() as u8 };
        let mut header = vec![0x45, tos];
        header.extend((message.len() as u16 + 20).to_be_bytes());
        header.extend((random.any() as u16).to_be_bytes());
        let fragment = if random.once_in(20) { random.any() as u16 } else { random.one(&[0, 0x4000]) };
        header.extend(fragment.to_be_bytes());
        header.extend([hop_limit(random), ends.protocol, 0, 0]);
        header.extend(ends.src.octets());
        header.extend(ends.dst.octets());
        if random.once_in(30) {
            header[0] = 0x46;
            header.extend([1, 1, 1, 0]);
            let total = message.len() as u16 + 24;
            header[2..4].copy_from_slice(&total.to_be_bytes());
        }
        if !random.once_in(50) {
            let checksum = Sum::of(&header).finish();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        header
    }

    fn pseudo(ends: &Ends<Self>, len: usize) -> Sum {
        if ends.protocol == 1 {
            return Sum::ZERO;
        }
        Sum::addresses4(ends.src, ends.dst).plus(Sum::length_and_protocol(len as u32, ends.protocol))
    }
}

fn hop_limit(random: &mut Random) -> u8 {
    if random.once_in(20) { random.one(&[0, 1, 2, 255]) } else { random.any() as u8 }
}

/// A packet between these ends.
pub fn packet<A: Address>(random: &mut Random, ends: &Ends<A>, flags: Option<u8>) -> Vec<u8> {
    let len = match random.below(8) {
        0 => 0,
        1 => random.below(1600),
        2 => 1180 + random.below(100),
        3 => 1400 + random.below(100),
        _ => random.below(64),
    };
    let payload: Vec<u8> = (0..len).map(|_| random.any() as u8).collect();
    let mut message = Vec::new();
    message.extend(ends.src_port.to_be_bytes());
    message.extend(ends.dst_port.to_be_bytes());
    let checksum_at = match ends.protocol {
        6 => {
            let options = if random.once_in(3) { 12 } else { 0 };
            message.extend(random.any().to_be_bytes());
            let any = if random.once_in(20) { random.any() as u8 } else { random.one(&[0x10, 0x18, 0x90]) };
            let offset = if random.once_in(50) { random.any() as u8 } else { (20 + options) << 2 };
            message.extend([offset, flags.unwrap_or(any)]);
            message.extend((random.any() as u16).to_be_bytes());
            message.extend([0, 0, 0, 0]);
            message.extend((0..options).map(|_| 1));
            16
        }
        17 => {
            let len = if random.once_in(50) { random.any() as u16 } else { len as u16 + 8 };
            message.extend(len.to_be_bytes());
            message.extend([0, 0]);
            6
        }
        _icmp => {
            let kind = if random.once_in(20) { random.any() as u8 } else { random.one(&A::ECHO) };
            message[..4].copy_from_slice(&[kind, u8::from(random.once_in(50)), 0, 0]);
            message.extend(ends.src_port.to_be_bytes());
            message.extend((random.any() as u16).to_be_bytes());
            2
        }
    };
    // The identifier is in one place only.
    if checksum_at == 2 {
        message.drain(4..4);
    }
    message.extend(payload);
    let sum = Sum::of(&message).plus(A::pseudo(ends, message.len()));
    let mut checksum = sum.finish();
    if ends.protocol == 17 && checksum == 0 {
        checksum = 0xffff;
    }
    match random.below(40) {
        0 => checksum = random.any() as u16,
        1 => checksum = random.one(&[0, 0xffff]),
        _right => {}
    }
    message[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = A::header(random, ends, &message);
    packet.extend(message);
    packet
}

/// Something wrong with a packet, sometimes.
pub fn harm(random: &mut Random, packet: &mut Vec<u8>) {
    match random.below(60) {
        0 => packet.truncate(random.below(packet.len())),
        1 => packet.extend((0..random.below(20)).map(|_| 0)),
        2 => {
            let at = random.below(packet.len().min(60));
            packet[at] = random.any() as u8;
        }
        3 => {
            let at = random.below(packet.len());
            packet[at] ^= 1 << random.below(8);
        }
        _unharmed => {}
    }
}
