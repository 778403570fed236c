//! What is sent through a subject in one direction, and what has to arrive: from addresses to the order that the sending
//! program follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xlat_packet::checksum::Sum;
use xlat_packet::{ipv4, ipv6, protocol, udp};

use crate::shapes::{Expected, FLOWS, FRAME, MAGIC, Order, expected_flag, order_flag};

/// The port of the end that does not vary.
const PORT: u16 = 7000;
/// The first port of the end that varies.
const FIRST_PORT: u16 = 10_000;
/// The most ports that an address may need, as a power of two.
const PORT_BITS: u32 = 14;
/// Bytes of the datagram: header, [`MAGIC`], the flow's number, eight more.
const DATAGRAM: u16 = 24;
/// Hop limit and TTL of what is sent.
const HOP_LIMIT: u8 = 64;

/// Which end differs from flow to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Varies {
    /// The sender: `from` and the addresses behind it.
    From,
    /// The receiver: `to` and the addresses behind it.
    To,
    /// The receiver, whose address and port the sink has learnt from packets the other way.
    Learnt,
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Their source, or the first of them.
    pub(crate) from: IpAddr,
    /// Their destination, or the first of them; of the same family.
    pub(crate) to: IpAddr,
    /// Which of them varies.
    pub(crate) varies: Varies,
    /// Most addresses at the end that varies; so many ports of each that they suffice.
    pub(crate) addresses: u32,
    /// The set of learnt targets.
    pub(crate) set: u32,
    /// The destination on arrival: an IPv4 address, or an IPv6 address of which the first 96 bits count.
    pub(crate) arrives_at: IpAddr,
}

impl Traffic {
    /// What to send through interface number `interface`, from and to which Ethernet address, by how many flows: one of
    /// `one_of` frames. `None` if the addresses are of different families.
    pub(crate) fn order(
        &self,
        interface: u32,
        macs: ([u8; 6], [u8; 6]),
        flows: u32,
        one_of: u32,
    ) -> Option<Order> {
        let (mut src_port, mut dst_port) = (PORT, PORT);
        *(if self.varies == Varies::From { &mut src_port } else { &mut dst_port }) = 0;
        let header = udp::Header { src_port, dst_port, len: DATAGRAM, checksum: 0 };
        let mut datagram = [0; DATAGRAM as usize];
        header.write(datagram.first_chunk_mut()?);
        datagram[8..12].copy_from_slice(&MAGIC.to_be_bytes());

        let mut frame = [0; FRAME + 2];
        frame[..6].copy_from_slice(&macs.1);
        frame[6..12].copy_from_slice(&macs.0);
        let mut flags = if self.varies == Varies::From { 0 } else { order_flag::DESTINATION };
        let pseudo = Sum::length_and_protocol(u32::from(DATAGRAM), protocol::UDP);
        let (upper_at, addresses, header_sum, address);
        match (self.from, self.to) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let (src, dst, low) = split(src.to_bits(), dst.to_bits(), self.varies);
                let (src, dst) = (Ipv6Addr::from_bits(src), Ipv6Addr::from_bits(dst));
                (address, addresses, header_sum) = (low, Sum::addresses6(src, dst), 0);
                flags |= order_flag::IPV6;
                frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                upper_at = 14 + ipv6::LEN;
                let (next_header, hop_limit) = (protocol::UDP, HOP_LIMIT);
                let header = ipv6::Header {
                    traffic_class: 0,
                    flow_label: 0,
                    payload_len: DATAGRAM,
                    next_header,
                    hop_limit,
                    src,
                    dst,
                };
                header.write(frame[14..].first_chunk_mut()?);
            }
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let (src, dst, low) = split(src.to_bits().into(), dst.to_bits().into(), self.varies);
                let (src, dst) = (Ipv4Addr::from_bits(src as u32), Ipv4Addr::from_bits(dst as u32));
                (address, addresses) = (low, Sum::addresses4(src, dst));
                frame[12..14].copy_from_slice(&[0x08, 0x00]);
                upper_at = 14 + ipv4::LEN;
                let header = ipv4::Header {
                    header_len: ipv4::LEN as u8,
                    tos: 0,
                    total_len: ipv4::LEN as u16 + DATAGRAM,
                    identification: 1,
                    dont_fragment: true,
                    more_fragments: false,
                    fragment_offset: 0,
                    ttl: HOP_LIMIT,
                    protocol: protocol::UDP,
                    src,
                    dst,
                };
                header.write(frame[14..].first_chunk_mut()?);
                frame[24..26].fill(0);
                header_sum = Sum::of(&frame[14..34]).fold();
            }
            _ => return None,
        }
        frame[upper_at..][..datagram.len()].copy_from_slice(&datagram);
        if self.varies == Varies::Learnt {
            flags |= order_flag::TARGETS;
        }
        let mut words = [0; FRAME.div_ceil(8)];
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(Order {
            frame: words,
            interface,
            flags,
            flows: flows.min(FLOWS),
            address,
            shift: self.port_bits(flows),
            port: u32::from(FIRST_PORT),
            udp_sum: addresses.plus(pseudo).plus(Sum::of(&datagram)).fold().into(),
            header_sum: header_sum.into(),
            set: self.set,
            one_of,
        })
    }

    /// Bytes of one frame.
    pub(crate) fn frame_len(&self) -> usize {
        if self.from.is_ipv6() { FRAME } else { FRAME - ipv6::LEN + ipv4::LEN }
    }

    /// What has to arrive after so many hops; `more_flags` of [`expected_flag`].
    pub(crate) fn expected(&self, hops: u8, more_flags: u32) -> Expected {
        let hop_limit = u32::from(HOP_LIMIT - hops);
        match self.arrives_at {
            IpAddr::V6(address) => {
                let word = |shift: u32| (address.to_bits() >> shift) as u32;
                let flags = expected_flag::IPV6 | more_flags;
                Expected { flags, hop_limit, destination: [word(96), word(64), word(32)], set: self.set }
            }
            IpAddr::V4(address) => {
                // An address that varies has its own /12.
                let mask = if self.varies == Varies::From { u32::MAX } else { 0xfff0_0000 };
                let destination = [address.to_bits() & mask, mask, 0];
                Expected { flags: more_flags, hop_limit, destination, set: self.set }
            }
        }
    }

    /// Ports of each address that varies, as a power of two.
    fn port_bits(&self, flows: u32) -> u32 {
        (0..PORT_BITS).find(|bits| flows.div_ceil(1 << bits) <= self.addresses).unwrap_or(PORT_BITS)
    }
}

/// Takes the low 32 bits out of the address that varies, and gives them.
fn split(src: u128, dst: u128, varies: Varies) -> (u128, u128, u32) {
    let high = |address: u128| address >> 32 << 32;
    match varies {
        Varies::From => (high(src), dst, src as u32),
        Varies::To | Varies::Learnt => (src, high(dst), dst as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the sending program makes of an order: see `bench/ebpf/src/send.rs`.
    fn frame(order: &Order, ipv6: bool, down: bool, flow: u32) -> Vec<u8> {
        let mut frame: Vec<u8> = order.frame.iter().flat_map(|word| word.to_le_bytes()).collect();
        let address = order.address + (flow >> order.shift);
        let port = order.port as u16 + (flow & ((1 << order.shift) - 1)) as u16;
        let upper = if ipv6 { 14 + ipv6::LEN } else { 14 + ipv4::LEN };
        let ends = if ipv6 { [upper - 20, upper - 4] } else { [upper - 8, upper - 4] };
        frame[ends[usize::from(down)]..][..4].copy_from_slice(&address.to_be_bytes());
        frame[upper + 2 * usize::from(down)..][..2].copy_from_slice(&port.to_be_bytes());
        frame[upper + 12..][..4].copy_from_slice(&flow.to_be_bytes());
        let varied = Sum::long(address).plus(Sum::word(port)).plus(Sum::long(flow));
        let checksum = Sum::word(order.udp_sum as u16).plus(varied).finish();
        frame[upper + 6..][..2].copy_from_slice(&checksum.to_be_bytes());
        if !ipv6 {
            let checksum = Sum::word(order.header_sum as u16).plus(Sum::long(address)).finish();
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        frame.truncate(upper + usize::from(DATAGRAM));
        frame
    }

    #[test]
    fn frames_are_whole_and_their_checksums_right() {
        let six: [IpAddr; 2] = ["2001:db8:c0::".parse().unwrap(), "2001:db8:b0::2".parse().unwrap()];
        let four: [IpAddr; 2] = ["10.16.0.0".parse().unwrap(), "198.51.100.2".parse().unwrap()];
        for ([near, far], down) in [(six, false), (six, true), (four, false), (four, true)] {
            let (from, to) = if down { (far, near) } else { (near, far) };
            let varies = if down { Varies::To } else { Varies::From };
            let traffic = Traffic { from, to, varies, addresses: 64, set: 0, arrives_at: to };
            let order = traffic.order(1, ([2; 6], [4; 6]), 1_000_000, 1).unwrap();
            assert_eq!(order.shift, PORT_BITS);
            for flow in [0, 1, 999_999] {
                let frame = frame(&order, near.is_ipv6(), down, flow);
                assert_eq!(frame.len(), traffic.frame_len());
                let parsed = match near.is_ipv6() {
                    true => Sum::of(&frame[22..]).plus(Sum::length_and_protocol(24, protocol::UDP)),
                    false => Sum::of(&frame[26..]).plus(Sum::length_and_protocol(24, protocol::UDP)),
                };
                assert_eq!(parsed.fold(), 0xffff, "{from} {to} {flow}");
                assert!(near.is_ipv6() || Sum::of(&frame[14..34]).fold() == 0xffff);
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let (from, to): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let traffic = Traffic { from, to, varies: Varies::From, addresses: 1, set: 0, arrives_at: to };
        assert!(traffic.order(1, ([2; 6], [4; 6]), 1, 1).is_none());
    }
}
