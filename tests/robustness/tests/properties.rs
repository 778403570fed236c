//! What mathematics says of translation: there and back is the identity on what survives, an aggregate is its segments,
//! fragments are their datagram, an error quotes what its receiver sent. That checksums stay as right or as wrong as they
//! were, that sizes fit and that the books agree is checked on the way, for every packet, by the world itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

mod common;

use common::{Sample, by_pool6, echo_or_ports, ends6, samples, siit4, siit6, without_lost};
use proptest::prelude::*;
use xlat_engine::{Reason, Verdict};
use xlat_nat64::Refusal;
use xlat_robustness::build::{self, Ends, Header, Part, UDP};
use xlat_robustness::setups::{NAT64, SIIT, TOGETHER};
use xlat_robustness::shape::{Packet, Shape, read, read_made, reassemble};
use xlat_robustness::world::World;

const CASES: u32 = 96;

proptest! {
    #![proptest_config(common::cases(CASES))]

    /// IPv4 to IPv6 and back, stateless: all but two hops, and what IPv6 has no place for.
    #[test]
    fn there_and_back_from_ipv4(src in siit4(), dst in siit4(), sample in samples()) {
        let mut world = World::new(&SIIT);
        let packet = sample.packet(Ends::V4(src, dst));
        let there = world.plain(&packet);
        prop_assert_eq!(there.verdict, Verdict::Translated);
        let shape = read(&there.only().bytes).unwrap();
        prop_assert_eq!(shape.ends, Ends::V6(siit6(src), siit6(dst)));
        let back = world.plain(&there.only().bytes);
        let expected = Sample { hops: sample.hops - 2, ..sample };
        prop_assert_eq!(without_lost(&back.only().bytes), without_lost(&expected.packet(Ends::V4(src, dst))));
    }

    /// IPv6 to IPv4 and back, likewise.
    #[test]
    fn there_and_back_from_ipv6(src in siit4(), dst in siit4(), sample in samples()) {
        let mut world = World::new(&SIIT);
        let ends = Ends::V6(siit6(src), siit6(dst));
        let there = world.plain(&sample.packet(ends));
        prop_assert_eq!(there.verdict, Verdict::Translated);
        prop_assert_eq!(read(&there.only().bytes).unwrap().ends, Ends::V4(src, dst));
        let back = world.plain(&there.only().bytes);
        let expected = Sample { hops: sample.hops - 2, ..sample };
        prop_assert_eq!(without_lost(&back.only().bytes), without_lost(&expected.packet(ends)));
    }

    /// A client of NAT64 and its server: the answer to what arrived comes from where the client sent to.
    #[test]
    fn both_directions_of_a_session(sample in samples(), client: u16, server: u8) {
        let sample = Sample { part: None, wrong_by: 0, tcp_flags: build::SYN, ..sample };
        let mut world = World::new(&NAT64);
        let ends = ends6(client, server);
        let there = world.plain(&sample.packet(ends));
        prop_assert_eq!(there.verdict, Verdict::Translated);
        let answer = xlat_robustness::targets::answer(&there.only().bytes).unwrap();
        let back = world.plain(&answer);
        prop_assert_eq!(back.verdict, Verdict::Translated);
        let made = read(&back.only().bytes).unwrap();
        prop_assert_eq!(made.ends, ends.turned());
        let (sent, received) = (sample.packet(ends), &back.only().bytes);
        let (to, from) = echo_or_ports(&read(&sent).unwrap(), &sent);
        prop_assert_eq!(echo_or_ports(&made, received), (from, to));
    }

    /// Fragments in any order, through virtual reassembly, are together the translated datagram.
    #[test]
    fn fragments_are_their_datagram(
        six: bool,
        sample in samples(),
        len in 100..6000_usize,
        cuts in prop::collection::vec(1..149_usize, 1..12),
        order in any::<u64>(),
        no_checksum: bool,
    ) {
        let sample = Sample { part: None, wrong_by: 0, tcp_flags: build::SYN, len, ..sample };
        let mut world = World::new(&NAT64);
        let client = ends6(8, 16);
        let first = world.plain(&Sample { len: 8, ..sample }.packet(client));
        prop_assert_eq!(first.verdict, Verdict::Translated);
        let ends = if six { client } else { read(&first.only().bytes).unwrap().ends.turned() };
        let (protocol, mut message) = sample.message(ends);
        if !six {
            // The mask's port, or identifier, is where the answer goes.
            let (port, _) = echo_or_ports(&read(&first.only().bytes).unwrap(), &first.only().bytes);
            let place = if protocol == build::ICMP4 { 4..6 } else { 2..4 };
            message[place].copy_from_slice(&port.to_be_bytes());
            build::finish(ends, protocol, &mut message, 0);
            if protocol == UDP && no_checksum {
                message[6..8].fill(0);
            }
        }
        let mut parts = Vec::new();
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while at < message.len() {
            // A first fragment without the whole header of TCP is refused (RFC 1858 3.2).
            let least = if at == 0 { 3 } else { 1 };
            let end = (at + cuts.next().unwrap_or(1).max(least) * 8).min(message.len());
            let part = Part { offset: at as u16, more: end < message.len(), id: 77 };
            let header = Header { df: false, part: Some(part), ..Header::default() };
            parts.push(build::ip(ends, &header, protocol, &message[at..end]));
            at = end;
        }
        prop_assume!(parts.len() > 1 && parts.len() <= 60);
        parts.sort_by_key(|part| common::scramble(order, part));
        let mut made = Vec::new();
        for part in &parts {
            let reply = world.plain(part);
            prop_assert!(!matches!(reply.verdict, Verdict::Dropped(_) | Verdict::Returned(_)), "{:?}", reply.verdict);
            made.extend(reply.sent.into_iter().map(|sent| (read_made(&sent).unwrap(), sent.bytes)));
        }
        let (shape, whole) = reassemble(&made).expect("not the whole datagram");
        let head = Shape { upper_at: 0, total_len: whole.len(), part: None, ..shape };
        prop_assert_eq!(head.wrong_by(&Packet::plain(whole.clone())), Some(0));
        prop_assert_eq!(&whole[8..16], &message[8..16]);
        let from = if protocol == build::TCP { 20 } else { 8 };
        prop_assert_eq!(&whole[from..], &message[from..]);
    }

    /// A router's error about a translated packet quotes, translated, what the sender sent.
    #[test]
    fn errors_quote_what_their_receiver_sent(
        nat64: bool,
        six: bool,
        sample in samples(),
        cut in 28..1400_usize,
        src in siit4(),
        dst in siit4(),
    ) {
        let sample = Sample { part: None, wrong_by: 0, tcp_flags: build::SYN, request: true, ..sample };
        let six = six || nat64;
        let mut world = World::new(if nat64 { &NAT64 } else { &SIIT });
        let ends = match (six, nat64) {
            (true, true) => ends6(8, 16),
            (true, false) => Ends::V6(siit6(src), siit6(dst)),
            (false, _) => Ends::V4(src, dst),
        };
        let there = world.plain(&sample.packet(ends));
        prop_assert_eq!(there.verdict, Verdict::Translated);
        let arrived = &there.only().bytes;
        let shape = read(arrived).unwrap();
        let quoted = &arrived[..arrived.len().min(cut + if six { 0 } else { 40 })];
        let (router, kind) = match shape.ends {
            Ends::V4(src, _) => (Ends::V4([203, 0, 113, 99].into(), src), (11, 0)),
            Ends::V6(src, _) => (Ends::V6(by_pool6([203, 0, 113, 99].into()), src), (3, 0)),
        };
        let error = build::error(router, kind, [0; 4], quoted, 0);
        let back = world.plain(&build::ip(router, &Header::default(), router.icmp(), &error));
        prop_assert_eq!(back.verdict, Verdict::Translated);
        let error = &back.only().bytes;
        let made = read(error).unwrap();
        prop_assert!(made.is_error(error));
        prop_assert_eq!(made.ends.turned().source(), ends.source());
        let inner = &error[made.upper_at + 8..];
        let sent = Sample { hops: sample.hops - 1, ..sample }.packet(ends);
        let len = if six { (quoted.len() + 20).min(1232) } else { (quoted.len() - 20).min(548) };
        prop_assert_eq!(inner.len(), len);
        prop_assert_eq!(without_lost(inner), without_lost(&sent[..len]));
    }
}

/// A packet that the first translator turned around and then had no client for is IPv4 by then: the next translator,
/// which would have taken the packet that came in, must not see it.
#[test]
fn a_packet_that_was_turned_around_is_offered_to_nobody_else() {
    let mut world = World::new(&TOGETHER);
    let masks = [0x64, 0xff9b, 0, 0, 0, 0, 0xcb00, 0x7102];
    let ends = Ends::V6([0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 7].into(), masks.into());
    let message = build::udp(ends, (1000, 2000), b"nobody is there", 0);
    let reply = world.plain(&build::ip(ends, &Header::default(), UDP, &message));
    assert_eq!(reply.verdict, Verdict::Returned(Reason::State(Refusal::Bib4NotFound)));
    assert_eq!(reply.sent, []);
}
