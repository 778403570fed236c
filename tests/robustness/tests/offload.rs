//! An aggregate is its segments: translated as one packet and then cut, it gives, byte for byte, what its segments give
//! when each is translated by itself. Stateless and stateful, both directions, hairpinned too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

mod common;

use common::{Sample, by_pool6, cases, echo_or_ports, ends6, siit4, siit6};
use proptest::prelude::*;
use xlat_engine::Verdict;
use xlat_packet::segment::Segments;
use xlat_packet::{Checksum, Gso, GsoKind, Offload};
use xlat_robustness::build::{self, Ends, Header, TCP, UDP};
use xlat_robustness::setups::{NAT64, SIIT, Setup};
use xlat_robustness::shape::{Packet, Shape, read};
use xlat_robustness::world::{Reply, World};
use xlat_tests::build::{pattern, sum};

/// Where an aggregate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    SiitTo4,
    SiitTo6,
    SiitHairpin,
    Nat64To4,
    Nat64To6,
    Nat64Hairpin,
}

const WAYS: [Way; 6] =
    [Way::SiitTo4, Way::SiitTo6, Way::SiitHairpin, Way::Nat64To4, Way::Nat64To6, Way::Nat64Hairpin];

impl Way {
    fn setup(self) -> Setup {
        match self {
            Self::SiitTo4 | Self::SiitTo6 | Self::SiitHairpin => SIIT,
            Self::Nat64To4 | Self::Nat64To6 | Self::Nat64Hairpin => NAT64,
        }
    }

    /// A world where a packet on this way finds state, its addresses and its ports.
    fn open(self, protocol: u8) -> (World, Ends, (u16, u16)) {
        let mut world = World::new(&self.setup());
        let (a, b) = ([198, 51, 100, 7].into(), [10, 0, 0, 5].into());
        let ports = (40_000, 80);
        let first = Sample { protocol, ports, ..OPENER };
        let mut mask = |client: Ends| {
            let reply = world.plain(&first.packet(client));
            let sent = &reply.only().bytes;
            let shape = read(sent).unwrap();
            (shape.ends, echo_or_ports(&shape, sent).0)
        };
        let (ends, ports) = match self {
            Self::SiitTo4 => (Ends::V6(siit6(a), siit6(b)), ports),
            Self::SiitTo6 => (Ends::V4(a, b), ports),
            Self::SiitHairpin => (Ends::V6(siit6(a), by_pool6(b)), ports),
            Self::Nat64To4 => (ends6(8, 16), ports),
            Self::Nat64To6 => {
                let (ends, port) = mask(ends6(8, 16));
                (ends.turned(), (80, port))
            }
            Self::Nat64Hairpin => {
                let (_, port) = mask(ends6(9, 16));
                let _other = mask(ends6(8, 16));
                let Ends::V6(src, _) = ends6(8, 16) else { panic!("IPv4") };
                (Ends::V6(src, [0x64, 0xff9b, 0, 0, 0, 0, 0xcb00, 0x7102].into()), (40_000, port))
            }
        };
        (world, ends, ports)
    }
}

/// Opens a connection.
const OPENER: Sample = Sample {
    protocol: TCP,
    len: 0,
    ports: (40_000, 80),
    request: true,
    tcp_flags: build::SYN,
    hops: 64,
    tos: 0,
    df: true,
    id: 0,
    wrong_by: 0,
    part: None,
};

/// An aggregate as the kernel hands it over.
fn aggregate(sample: Sample, ends: Ends, ports: (u16, u16), segment_size: u16, ecn: bool) -> Packet {
    let data = pattern(sample.len, 3);
    let (mut message, headers) = if sample.protocol == TCP {
        (build::tcp(ends, ports, sample.tcp_flags, &data, 0), 20)
    } else {
        (build::udp(ends, ports, &data, 0), 8)
    };
    let offset = build::checksum_at(sample.protocol).unwrap();
    let partial = xlat_tests::build::add(ends.pseudo(sample.protocol, message.len()), sample.wrong_by);
    message[offset..offset + 2].copy_from_slice(&partial.to_be_bytes());
    let header =
        Header { tos: sample.tos, hops: sample.hops, df: sample.df, id: sample.id, ..Header::default() };
    let bytes = build::ip(ends, &header, sample.protocol, &message);
    let start = (bytes.len() - message.len()) as u16;
    let kind = if sample.protocol == TCP { GsoKind::Tcp } else { GsoKind::Udp };
    let gso = Gso { kind, segment_size, header_len: start + headers, ecn: ecn && sample.protocol == TCP };
    Packet {
        bytes,
        offload: Offload { checksum: Checksum::Partial { start, offset: offset as u16 }, gso: Some(gso) },
    }
}

/// The segments of a packet, or itself.
fn cut(packet: &Packet) -> Vec<Vec<u8>> {
    if packet.offload.gso.is_none() {
        assert_eq!(packet.offload.checksum, Checksum::Complete);
        return vec![packet.bytes.clone()];
    }
    let mut segments = Segments::new(&packet.bytes, &packet.offload).unwrap();
    let (mut all, mut room) = (Vec::new(), vec![0; segments.longest()]);
    while let Some(len) = segments.next_into(&mut room).unwrap() {
        all.push(room[..len].to_vec());
    }
    all
}

/// The packet but for what depends on its neighbours: in IPv4 DF follows the size, and identifications are numbered.
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[6] &= !0x40;
        bytes[4..6].fill(0);
        bytes[10..12].fill(0);
        let checksum = !sum(&[&bytes[..20]]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
}

fn sent(replies: &[Reply]) -> Vec<Vec<u8>> {
    replies.iter().flat_map(|reply| &reply.sent).flat_map(cut).map(|bytes| comparable(&bytes)).collect()
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn an_aggregate_is_its_segments(
        way in prop::sample::select(WAYS.to_vec()),
        is_tcp: bool,
        len in prop_oneof![0..3000_usize, 3000..40_000_usize],
        segment_size in 100..1400_u16,
        flags: u8,
        df: bool,
        ecn: bool,
        wrong_by in prop_oneof![3 => Just(0), 1 => any::<u16>()],
        (tos, id, hops) in (any::<u8>(), any::<u16>(), 3..255_u8),
    ) {
        let protocol = if is_tcp { TCP } else { UDP };
        // No SYN or RST: those open and close.
        let sample = Sample { protocol, len, tcp_flags: flags & 0xf8 | 0x10, df, wrong_by, tos, id, hops, ..OPENER };
        let (mut one, ends, ports) = way.open(protocol);
        if way == Way::Nat64To4 && is_tcp {
            let _opened = one.plain(&Sample { ports, ..OPENER }.packet(ends));
        }
        let whole = aggregate(sample, ends, ports, segment_size, ecn);
        let first_translated = one.take(&whole.bytes, whole.offload, 0);
        prop_assert_eq!(first_translated.verdict, Verdict::Translated);

        let (mut other, ..) = way.open(protocol);
        if way == Way::Nat64To4 && is_tcp {
            let _opened = other.plain(&Sample { ports, ..OPENER }.packet(ends));
        }
        let first_cut: Vec<_> = cut(&whole).iter().map(|segment| other.plain(segment)).collect();
        prop_assert_eq!(sent(std::slice::from_ref(&first_translated)), sent(&first_cut));
        if is_tcp && df {
            prop_assert_eq!(first_translated.sent.len(), 1, "TCP is translated as one");
        }
    }

    /// A checksum that hardware is to finish is, when finished, the one of a complete packet.
    #[test]
    fn a_partial_checksum_is_a_checksum(src in siit4(), dst in siit4(), six: bool, is_tcp: bool, len in 0..1200_usize) {
        let protocol = if is_tcp { TCP } else { UDP };
        let ends = if six { Ends::V6(siit6(src), siit6(dst)) } else { Ends::V4(src, dst) };
        let sample = Sample { protocol, len, ..OPENER };
        let mut partial = aggregate(sample, ends, OPENER.ports, 1, false);
        partial.offload.gso = None;
        let mut world = World::new(&SIIT);
        let reply = world.take(&partial.bytes, partial.offload, 0);
        prop_assert_eq!(reply.verdict, Verdict::Translated);
        let out = reply.only();
        let shape: Shape = read(&out.bytes).unwrap();
        let start = shape.upper_at as u16;
        let offset = build::checksum_at(protocol).unwrap() as u16;
        prop_assert_eq!(out.offload.checksum, Checksum::Partial { start, offset });
        prop_assert_eq!(shape.wrong_by(out), Some(0));
    }
}
