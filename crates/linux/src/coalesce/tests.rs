//! Coalescing against the plain definition: cutting up what came out gives what went in, byte for byte.

use proptest::prelude::*;
use xlat_packet::checksum::Sum;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Packet {
    bytes: Vec<u8>,
    offload: Offload,
}

#[derive(Default)]
struct Collected(Vec<(Packet, u16)>);

impl Sink for Collected {
    fn write(&mut self, packet: &mut Buffer<'_>, segments: u16) {
        self.0.push((Packet { bytes: packet.bytes().to_vec(), offload: packet.offload }, segments));
    }
}

/// How one generated packet is made.
#[derive(Clone, Debug)]
struct Recipe {
    v6: bool,
    tcp: bool,
    port: u8,
    payload: usize,
    flags: u8,
    /// Moves the sequence number or the identification away from what is next.
    jump: u32,
    /// What is wrong or unusual: 0 to 3 nothing, then a bad layer 4 checksum, a bad IPv4 one, another TTL.
    odd: u8,
    checksum: u8,
    dont_fragment: bool,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let kinds = (any::<bool>(), any::<bool>(), 0u8..2, prop_oneof![4 => Just(64usize), 1 => 1usize..200]);
    let flags = prop_oneof![6 => Just(TCP_ACK), 1 => Just(TCP_ACK | TCP_PSH), 1 => any::<u8>()];
    let rest = (flags, prop_oneof![8 => Just(0u32), 1 => 1u32..3], 0u8..7, 0u8..3, any::<bool>());
    (kinds, rest).prop_map(|((v6, tcp, port, payload), (flags, jump, odd, checksum, dont_fragment))| Recipe {
        v6,
        tcp,
        port,
        payload,
        flags,
        jump,
        odd,
        checksum,
        dont_fragment,
    })
}

/// Sequence number and identification of each flow, as a sender would count them.
#[derive(Default)]
struct Senders {
    sequence: std::collections::HashMap<(bool, bool, u8), (u32, u16)>,
}

impl Senders {
    fn make(&mut self, recipe: &Recipe, fill: u8) -> Packet {
        let state =
            self.sequence.entry((recipe.v6, recipe.tcp, recipe.port)).or_insert((u32::MAX - 100, 65530));
        let sequence = state.0.wrapping_add(recipe.jump);
        let id = state.1.wrapping_add(recipe.jump as u16);
        *state = (sequence.wrapping_add(recipe.payload as u32), id.wrapping_add(1));
        let mut transport = vec![0, recipe.port, 0, 9];
        if recipe.tcp {
            transport.extend(sequence.to_be_bytes());
            transport.extend([0, 0, 0, 7, 8 << 4, recipe.flags, 1, 2, 0, 0, 0, 0]);
            transport.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            transport.extend((8 + recipe.payload as u16).to_be_bytes());
            transport.extend([0, 0]);
        }
        transport.extend(std::iter::repeat_n(fill, recipe.payload));
        let protocol = if recipe.tcp { protocol::TCP } else { protocol::UDP };
        let ttl = if recipe.odd == 6 { 9 } else { 63 };
        let mut bytes = if recipe.v6 {
            let mut header = vec![0x60, 0, 0, 5, 0, 0, protocol, ttl];
            header.extend([1; 16]);
            header.extend([2; 16]);
            header[4..6].copy_from_slice(&(transport.len() as u16).to_be_bytes());
            header
        } else {
            let flags = if recipe.dont_fragment { 0x40 } else { 0 };
            let mut header = vec![0x45, 3, 0, 0, 0, 0, flags, 0, ttl, protocol, 0, 0];
            header.extend([192, 0, 2, 1, 203, 0, 113, 1]);
            header[2..4].copy_from_slice(&(20 + transport.len() as u16).to_be_bytes());
            header[4..6].copy_from_slice(&id.to_be_bytes());
            let sum = Sum::of(&header).finish() ^ u16::from(recipe.odd == 5);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        };
        let start = bytes.len();
        bytes.extend(transport);
        let offset = if recipe.tcp { 16 } else { 6 };
        let pseudo = pseudo(&bytes, start);
        let (value, checksum) = if recipe.checksum == 0 {
            (pseudo.fold(), Checksum::Partial { start: start as u16, offset: offset as u16 })
        } else {
            let whole = pseudo.plus(Sum::of(&bytes[start..])).finish();
            let state = if recipe.checksum == 1 { Checksum::Complete } else { Checksum::Verified };
            (whole, state)
        };
        // "Verified" is a promise that nothing is wrong, so nothing is made wrong there.
        let wrong = u16::from(recipe.odd == 4 && recipe.checksum != 2);
        bytes[start + offset..start + offset + 2].copy_from_slice(&(value ^ wrong).to_be_bytes());
        Packet { bytes, offload: Offload { checksum, gso: None } }
    }
}

fn pseudo(bytes: &[u8], start: usize) -> Sum {
    let addresses = if start == 20 { 12..20 } else { 8..40 };
    let protocol = if start == 20 { bytes[9] } else { bytes[6] };
    Sum::of(&bytes[addresses]).plus(Sum::length_and_protocol((bytes.len() - start) as u32, protocol))
}

/// What goes to the wire: an aggregate cut up as the kernel does it, and partial checksums finished.
fn wire(packet: &Packet) -> Vec<Vec<u8>> {
    let start = if packet.bytes[0] >> 4 == 4 { 20 } else { 40 };
    let mut pieces = Vec::new();
    if let Some(gso) = packet.offload.gso {
        let header_len = usize::from(gso.header_len);
        let payload = &packet.bytes[header_len..];
        let count = payload.chunks(usize::from(gso.segment_size)).count();
        for (nth, chunk) in payload.chunks(usize::from(gso.segment_size)).enumerate() {
            let mut piece = packet.bytes[..header_len].to_vec();
            piece.extend(chunk);
            let length = piece.len();
            if start == 20 {
                piece[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                let id = u16::from_be_bytes([piece[4], piece[5]]).wrapping_add(nth as u16);
                piece[4..6].copy_from_slice(&id.to_be_bytes());
                piece[10..12].fill(0);
                let sum = Sum::of(&piece[..20]).finish();
                piece[10..12].copy_from_slice(&sum.to_be_bytes());
            } else {
                piece[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
            }
            if gso.kind == GsoKind::Udp {
                piece[start + 4..start + 6].copy_from_slice(&((length - start) as u16).to_be_bytes());
            } else {
                let first = u32::from_be_bytes(piece[start + 4..start + 8].try_into().unwrap());
                let sequence = first.wrapping_add((nth * usize::from(gso.segment_size)) as u32);
                piece[start + 4..start + 8].copy_from_slice(&sequence.to_be_bytes());
                if nth + 1 < count {
                    piece[start + 13] &= !TCP_PSH;
                }
            }
            let Checksum::Partial { offset, .. } = packet.offload.checksum else {
                panic!("GSO must be partial")
            };
            let field = start + usize::from(offset);
            piece[field..field + 2].fill(0);
            let sum = pseudo(&piece, start).plus(Sum::of(&piece[start..])).finish();
            piece[field..field + 2].copy_from_slice(&sum.to_be_bytes());
            pieces.push(piece);
        }
        return pieces;
    }
    let mut bytes = packet.bytes.clone();
    if let Checksum::Partial { start, offset } = packet.offload.checksum {
        let (start, field) = (usize::from(start), usize::from(start + offset));
        let sum = Sum::of(&bytes[start..]).finish();
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    vec![bytes]
}

/// The identification counts only where a packet may be fragmented (RFC 6864 4.1): cleared elsewhere.
fn without_atomic_id(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] >> 4 == 4 && bytes[6] & 0x40 != 0 {
        let header_was_right = Sum::of(&bytes[..20]).fold() == 0xffff;
        bytes[4..6].fill(0);
        bytes[10..12].copy_from_slice(&u16::from(header_was_right).to_be_bytes());
    }
    bytes
}

/// Packets of each flow, in order.
fn by_flow(packets: impl Iterator<Item = Vec<u8>>) -> std::collections::BTreeMap<(u8, u8, u8), Vec<Vec<u8>>> {
    let mut flows: std::collections::BTreeMap<_, Vec<Vec<u8>>> = std::collections::BTreeMap::new();
    for bytes in packets {
        let (start, protocol) = if bytes[0] >> 4 == 4 { (20, bytes[9]) } else { (40, bytes[6]) };
        flows.entry((bytes[0] >> 4, protocol, bytes[start + 1])).or_default().push(without_atomic_id(bytes));
    }
    flows
}

fn coalesce(packets: &[Packet], slots: usize) -> Collected {
    let mut coalescer = Coalescer::new(slots, Kinds { tcp: true, udp: true });
    let mut out = Collected::default();
    for packet in packets {
        let mut storage = vec![0; HEADROOM];
        storage.extend(&packet.bytes);
        let end = storage.len();
        coalescer.push(&mut Buffer::new(&mut storage, HEADROOM, end, packet.offload), &mut out);
    }
    coalescer.flush(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_wire_sees_the_same_packets(
        recipes in proptest::collection::vec(recipe(), 1..60),
        slots in 1usize..5,
    ) {
        let mut senders = Senders::default();
        let packets: Vec<Packet> =
            recipes.iter().enumerate().map(|(n, recipe)| senders.make(recipe, n as u8)).collect();
        let out = coalesce(&packets, slots);
        let total: usize = out.0.iter().map(|(_, segments)| usize::from(*segments)).sum();
        prop_assert_eq!(total, packets.len());
        let got = by_flow(out.0.iter().flat_map(|(packet, _)| wire(packet)));
        let wanted = by_flow(packets.iter().flat_map(wire));
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn any_bytes_pass(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..20)) {
        let packets: Vec<Packet> =
            packets.into_iter().map(|bytes| Packet { bytes, offload: Offload::NONE }).collect();
        let out = coalesce(&packets, 2);
        prop_assert_eq!(out.0.len(), packets.len());
    }
}

const PLAIN: Recipe = Recipe {
    v6: true,
    tcp: false,
    port: 1,
    payload: 64,
    flags: TCP_ACK,
    jump: 0,
    odd: 0,
    checksum: 1,
    dont_fragment: false,
};

fn segments(recipes: &[Recipe]) -> Vec<u16> {
    let mut senders = Senders::default();
    let packets: Vec<Packet> = recipes.iter().map(|recipe| senders.make(recipe, 1)).collect();
    coalesce(&packets, 4).0.iter().map(|(_, segments)| *segments).collect()
}

#[test]
fn equal_datagrams_merge_up_to_the_bound() {
    for v6 in [true, false] {
        assert_eq!(segments(&vec![Recipe { v6, ..PLAIN }; 70]), [64, 6]);
    }
}

#[test]
fn tcp_segments_merge_until_psh() {
    let data = Recipe { tcp: true, ..PLAIN };
    let push = Recipe { flags: TCP_ACK | TCP_PSH, ..data.clone() };
    assert_eq!(segments(&[data.clone(), data.clone(), push, data.clone(), data]), [3, 2]);
}

#[test]
fn a_shorter_one_is_the_last_and_a_longer_one_starts_anew() {
    let short = Recipe { payload: 10, ..PLAIN };
    assert_eq!(segments(&[PLAIN, PLAIN, short.clone(), PLAIN, PLAIN]), [3, 2]);
    assert_eq!(segments(&[short, PLAIN, PLAIN]), [1, 2]);
}

#[test]
fn what_merging_would_repair_is_left_alone() {
    let bad = Recipe { odd: 4, ..PLAIN };
    assert_eq!(segments(&[PLAIN, PLAIN, bad, PLAIN]), [2, 1, 1]);
    let bad_header = Recipe { odd: 5, v6: false, ..PLAIN };
    let v4 = Recipe { v6: false, ..PLAIN };
    assert_eq!(segments(&[v4.clone(), bad_header, v4]), [1, 1, 1]);
}

#[test]
fn identifications_count_only_without_df() {
    let v4 = Recipe { v6: false, ..PLAIN };
    let jump = Recipe { jump: 2, ..v4.clone() };
    assert_eq!(segments(&[v4.clone(), jump.clone()]), [1, 1]);
    let atomic = |recipe: Recipe| Recipe { dont_fragment: true, ..recipe };
    assert_eq!(segments(&[atomic(v4), atomic(jump)]), [2]);
}
