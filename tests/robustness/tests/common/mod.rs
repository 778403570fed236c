//! Packets for the property tests.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use xlat_robustness::build::{self, Ends, Header, ICMP4, ICMP6, Part, TCP, UDP};
use xlat_robustness::shape::{Shape, read};
use xlat_tests::build::{pattern, sum};

/// So many cases; what fails becomes a file of the corpus or a test by itself.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

/// Addresses that the SIIT of the setups translates: mapped ones and others.
pub(crate) fn siit4() -> impl Strategy<Value = Ipv4Addr> {
    let networks = vec![[198, 51, 100], [10, 0, 0], [203, 0, 113], [192, 168, 8]];
    (prop::sample::select(networks), 1..255_u8).prop_map(|([a, b, c], d)| Ipv4Addr::new(a, b, c, d))
}

/// The IPv6 address of the same node.
pub(crate) fn siit6(v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets();
    match [a, b, c] {
        [198, 51, 100] => [0x2001, 0xdb8, 0xa, 0, 0, 0, 0, d.into()].into(),
        [10, 0, 0] if d == 8 => [0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 8].into(),
        [10, 0, 0] => [0x2001, 0xdb8, 0xb, 0, 0, 0, 0, d.into()].into(),
        _ => by_pool6(v4),
    }
}

/// The address by pool6 of the SIIT, 2001:db8:100::/40.
pub(crate) fn by_pool6(v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets().map(u16::from);
    [0x2001, 0xdb8, 0x100 | a, b << 8 | c, d, 0, 0, 0].into()
}

/// A client of NAT64 and a server by pool6.
pub(crate) fn ends6(client: u16, server: u8) -> Ends {
    let src = [0x2001, 0xdb8, 0, 1, 0, 0, 0, client].into();
    Ends::V6(src, [0x64, 0xff9b, 0, 0, 0, 0, 0xc633, 0x6400 | u16::from(server)].into())
}

/// A packet by its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// 6, 17 or 1 for echo.
    pub(crate) protocol: u8,
    /// Bytes of data.
    pub(crate) len: usize,
    /// Ports; the first is the identifier of an echo.
    pub(crate) ports: (u16, u16),
    /// Of an echo: request.
    pub(crate) request: bool,
    /// Flags of TCP.
    pub(crate) tcp_flags: u8,
    /// Hop limit.
    pub(crate) hops: u8,
    /// Type of service.
    pub(crate) tos: u8,
    /// Don't Fragment.
    pub(crate) df: bool,
    /// IPv4 identification and, in IPv6, flow label.
    pub(crate) id: u16,
    /// By how much the checksum is wrong.
    pub(crate) wrong_by: u16,
    /// Offset (in units of eight bytes) and whether more follow; data is then what it is.
    pub(crate) part: Option<(u16, bool)>,
}

/// Packets of up to 1200 bytes.
pub(crate) fn samples() -> impl Strategy<Value = Sample> {
    let numbers = (any::<u16>(), any::<u16>(), any::<u8>(), any::<u16>());
    let wrong_by = prop_oneof![2 => Just(0), 1 => any::<u16>()];
    let part = prop::option::weighted(0.2, (0..1000_u16, any::<bool>()));
    let flags = (any::<bool>(), any::<bool>(), any::<u8>());
    (prop::sample::select(vec![TCP, UDP, ICMP4]), 0..1150_usize, numbers, 3..=255_u8, flags, wrong_by, part)
        .prop_map(|(protocol, len, (src, dst, tos, id), hops, (df, request, tcp_flags), wrong_by, part)| {
            Sample {
                protocol,
                len,
                ports: (src.max(1), dst.max(1)),
                request,
                tcp_flags,
                hops,
                tos,
                df,
                id,
                wrong_by,
                // Stateless translation takes no fragments of ICMP.
                part: part.filter(|part| protocol != ICMP4 && *part != (0, false)),
            }
        })
}

impl Sample {
    /// Protocol number and layer 4.
    pub(crate) fn message(&self, ends: Ends) -> (u8, Vec<u8>) {
        let data = pattern(self.len, self.id.into());
        let (ports, wrong_by) = (self.ports, self.wrong_by);
        match self.protocol {
            TCP => (TCP, build::tcp(ends, ports, self.tcp_flags, &data, wrong_by)),
            UDP => (UDP, build::udp(ends, ports, &data, wrong_by)),
            _echo => (ends.icmp(), build::echo(ends, self.request, ports.0, &data, wrong_by)),
        }
    }

    /// The packet.
    pub(crate) fn packet(&self, ends: Ends) -> Vec<u8> {
        let (protocol, mut message) = self.message(ends);
        let part = self.part.map(|(offset, more)| Part { offset: offset * 8, more, id: self.id.into() });
        if part.is_some_and(|part| part.more) {
            message.resize(message.len().next_multiple_of(8), 0);
        }
        let header = Header {
            tos: self.tos,
            hops: self.hops,
            df: self.df && part.is_none(),
            id: self.id,
            flow: self.id.into(),
            options: Vec::new(),
            part,
        };
        build::ip(ends, &header, protocol, &message)
    }
}

/// The packet without what translation loses: flow label, DF and (but for fragments) identification. A checksum
/// field has two forms of zero.
pub(crate) fn without_lost(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let Some(shape) = read(packet) else { return bytes };
    if shape.ends.is6() {
        bytes[1] &= 0xf0;
        bytes[2..4].fill(0);
    } else {
        bytes[6] &= !0x40;
        if shape.part.is_none() {
            bytes[4..6].fill(0);
        }
        bytes[10..12].fill(0);
        let checksum = !sum(&[&bytes[..shape.upper_at]]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let later = shape.part.is_some_and(|part| part.offset != 0);
    if let Some(at) = build::checksum_at(shape.protocol).filter(|_| !later)
        && let Some(field) = bytes.get_mut(shape.upper_at + at..shape.upper_at + at + 2)
        && *field == [0xff, 0xff]
    {
        field.fill(0);
    }
    bytes
}

/// Source and destination port; of an echo message twice the identifier.
pub(crate) fn echo_or_ports(shape: &Shape, bytes: &[u8]) -> (u16, u16) {
    let upper = shape.upper(bytes);
    match shape.protocol {
        ICMP4 | ICMP6 => {
            let id = u16::from_be_bytes([upper[4], upper[5]]);
            (id, id)
        }
        _ => shape.ports(bytes),
    }
}

/// A number that `item` gets by `key`: sorts a list into an order of its own.
pub(crate) fn scramble(key: u64, item: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, item).hash(&mut hasher);
    hasher.finish()
}
