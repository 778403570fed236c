//! The scene of the design: a client, a translator, a server; each path once, byte by byte where it matters.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::sync::Arc;

use xlat_engine::{Engine, EngineOptions, Origin, Output, Reason, Verdict, Worker};
use xlat_packet::checksum::Sum;
use xlat_packet::layers::{Extent, Layers4, Layers6, Upper};
use xlat_packet::{Buffer, Offload, buffer, ipv4, ipv6, udp};
use xlat_translate::policy::Hops;
use xlat_translate::refused::HostAddresses;

const NAT64: &str = r#"
[[instance]]
name = "default"
type = "nat64"
pool4 = ["203.0.113.2"]
[instance.global]
pool6 = "64:ff9b::/96"
"#;

#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Output for Sent {
    fn send(&mut self, packet: &mut Buffer<'_>) {
        self.0.push(packet.bytes().to_vec());
    }
}

fn engine(toml: &str) -> Arc<Engine> {
    engine_with(toml, Hops::Decrement)
}

fn engine_with(toml: &str, hops: Hops) -> Arc<Engine> {
    engine_on(toml, hops, vec![([203, 0, 113, 1].into(), 24)])
}

/// On a host with these IPv4 addresses.
fn engine_on(toml: &str, hops: Hops, own4: Vec<(std::net::Ipv4Addr, u8)>) -> Arc<Engine> {
    let loaded = xlat_config::load("test.toml", toml, &xlat_config::Hint::default()).unwrap();
    let host = HostAddresses::new(own4, vec!["2001:db8::1".parse().unwrap()]);
    let options =
        EngineOptions { hops, mtu4: 1500, mtu6: 1500, secret: [7; 16], shards: 4, flows: None, peers: None };
    Engine::new(&loaded.config, host, options).unwrap()
}

const ROUTED: Origin = Origin::routed(0);
const INGRESS: Origin = Origin { mark: 0, ingress: true, interface: 2, looped: false };

fn take(worker: &mut Worker, bytes: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    take_from(worker, ROUTED, bytes)
}

fn take_from(worker: &mut Worker, origin: Origin, bytes: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    let mut storage = vec![0; buffer::HEADROOM + bytes.len() + 64];
    let mut packet = Buffer::new(&mut storage, 0, 0, Offload::NONE);
    assert!(packet.replace(buffer::HEADROOM, bytes));
    let mut sent = Sent::default();
    let verdict = worker.process(&mut packet, origin, &mut sent);
    (verdict, sent.0)
}

fn udp6(src: &str, dst: &str, ports: (u16, u16), hop_limit: u8, data: &[u8]) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let len = (udp::LEN + data.len()) as u16;
    let mut message = vec![0; udp::LEN];
    let mut header = udp::Header { src_port: ports.0, dst_port: ports.1, len, checksum: 0 };
    header.write(message.first_chunk_mut().unwrap());
    message.extend(data);
    let pseudo = Sum::addresses6(src, dst).plus(Sum::length_and_protocol(len.into(), 17));
    header.checksum = udp::nonzero(Sum::of(&message).plus(pseudo).finish());
    header.write(message.first_chunk_mut().unwrap());
    let mut packet = vec![0; ipv6::LEN];
    ipv6::Header { traffic_class: 0, flow_label: 9, payload_len: len, next_header: 17, hop_limit, src, dst }
        .write(packet.first_chunk_mut().unwrap());
    packet.extend(message);
    packet
}

fn udp4(src: &str, dst: &str, ports: (u16, u16), ttl: u8, data: &[u8]) -> Vec<u8> {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let len = (udp::LEN + data.len()) as u16;
    let mut message = vec![0; udp::LEN];
    let mut header = udp::Header { src_port: ports.0, dst_port: ports.1, len, checksum: 0 };
    header.write(message.first_chunk_mut().unwrap());
    message.extend(data);
    let pseudo = Sum::addresses4(src, dst).plus(Sum::length_and_protocol(len.into(), 17));
    header.checksum = udp::nonzero(Sum::of(&message).plus(pseudo).finish());
    header.write(message.first_chunk_mut().unwrap());
    let mut packet = vec![0; ipv4::LEN];
    ipv4::Header {
        header_len: 20,
        tos: 0,
        total_len: ipv4::LEN as u16 + len,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol: 17,
        src,
        dst,
    }
    .write(packet.first_chunk_mut().unwrap());
    packet.extend(message);
    packet
}

fn checksum_holds4(bytes: &[u8]) -> bool {
    let layers = Layers4::parse(bytes, Extent::Whole).unwrap();
    let pseudo = Sum::addresses4(layers.src, layers.dst)
        .plus(Sum::length_and_protocol(layers.upper_len() as u32, layers.protocol));
    Sum::of(&bytes[layers.upper_at..]).plus(pseudo).fold() == 0xffff
}

fn checksum_holds6(bytes: &[u8]) -> bool {
    let layers = Layers6::parse(bytes, Extent::Whole).unwrap();
    let pseudo = Sum::addresses6(layers.src, layers.dst)
        .plus(Sum::length_and_protocol(layers.upper_len() as u32, layers.protocol));
    Sum::of(&bytes[layers.upper_at..]).plus(pseudo).fold() == 0xffff
}

#[test]
fn udp_there_and_back() {
    let engine = engine(NAT64);
    let mut worker = engine.worker();
    worker.set_now(1000);
    let out = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 64, b"question");
    let (verdict, sent) = take(&mut worker, &out);
    assert_eq!(verdict, Verdict::Translated);
    let layers = Layers4::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!(
        (layers.src.to_string(), layers.dst.to_string()),
        ("203.0.113.2".into(), "203.0.113.16".into())
    );
    assert_eq!(layers.hop_limit, 63);
    assert!(checksum_holds4(&sent[0]));
    let Upper::Udp { src_port, dst_port, .. } = layers.upper else { panic!("{layers:?}") };
    assert_eq!(dst_port, 53);

    let back = udp4("203.0.113.16", "203.0.113.2", (53, src_port), 64, b"answer");
    let (verdict, sent) = take(&mut worker, &back);
    assert_eq!(verdict, Verdict::Translated);
    let layers = Layers6::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!(
        (layers.src.to_string(), layers.dst.to_string()),
        ("64:ff9b::cb00:7110".into(), "2001:db8::8".into())
    );
    assert!(matches!(layers.upper, Upper::Udp { src_port: 53, dst_port: 1000, .. }), "{layers:?}");
    assert!(checksum_holds6(&sent[0]));
    assert_eq!(engine.statistics().traffic(xlat_engine::Traffic::Translated), 2);
}

#[test]
fn hop_limit_one_is_answered_by_the_host() {
    let mut worker = engine(NAT64).worker();
    let (verdict, sent) =
        take(&mut worker, &udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 1, b"x"));
    assert_eq!(verdict.reason().map(Reason::name), Some("hop-limit-exceeded"));
    let layers = Layers6::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!(
        (layers.src.to_string(), layers.dst.to_string()),
        ("2001:db8::1".into(), "2001:db8::8".into())
    );
    assert!(matches!(layers.upper, Upper::Icmp { kind: 3, code: 0, .. }), "{layers:?}");
    assert!(checksum_holds6(&sent[0]));
}

#[test]
fn two_clients_meet_through_their_masks() {
    let engine = engine(NAT64);
    let mut worker = engine.worker();
    let (_, sent) = take(&mut worker, &udp6("2001:db8::9", "64:ff9b::203.0.113.16", (9, 53), 64, b"x"));
    let Upper::Udp { src_port: mask, .. } = Layers4::parse(&sent[0], Extent::Whole).unwrap().upper else {
        panic!()
    };
    let (verdict, sent) =
        take(&mut worker, &udp6("2001:db8::8", "64:ff9b::203.0.113.2", (8, mask), 64, b"hello"));
    assert_eq!(verdict, Verdict::Translated);
    let layers = Layers6::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!(
        (layers.src.to_string(), layers.dst.to_string()),
        ("64:ff9b::cb00:7102".into(), "2001:db8::9".into())
    );
    assert_eq!(layers.hop_limit, 63);
    assert!(matches!(layers.upper, Upper::Udp { dst_port: 9, .. }));
    assert!(checksum_holds6(&sent[0]));
}

#[test]
fn a_new_configuration_keeps_flows_and_a_refused_one_changes_nothing() {
    let engine = engine(NAT64);
    let mut worker = engine.worker();
    let out = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 64, b"question");
    let (_, first) = take(&mut worker, &out);
    let more = NAT64.replace("[\"203.0.113.2\"]", "[\"203.0.113.2\", \"198.51.100.1\"]");
    let loaded = xlat_config::load("test.toml", &more, &xlat_config::Hint::default()).unwrap();
    engine.reconfigure(&loaded.config).unwrap();
    let (verdict, second) = take(&mut worker, &out);
    assert_eq!(verdict, Verdict::Translated);
    assert_eq!(first[0][20..22], second[0][20..22], "the same mask");
    let other = NAT64.replace("203.0.113.2", "198.51.100.7");
    let loaded = xlat_config::load("test.toml", &other, &xlat_config::Hint::default()).unwrap();
    engine.reconfigure(&loaded.config).unwrap();
    let (_, third) = take(&mut worker, &out);
    assert_eq!(third[0][12..16], [198, 51, 100, 7]);
    assert_eq!(engine.gauges()[0].gauges.bib, [0, 1, 0]);
}

#[test]
fn explaining_a_packet_makes_no_mapping() {
    let engine = engine(NAT64);
    let packet = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 64, b"question");
    let explanation = engine.explain(&packet, 0);
    assert_eq!(explanation.verdict, Verdict::Translated);
    let text = explanation.to_string();
    assert!(text.contains("64:ff9b::cb00:7110 is in pool6: 203.0.113.16"), "{text}");
    assert!(text.contains("no BIB entry for 2001:db8::8#1000 (UDP) yet"), "{text}");
    assert_eq!(engine.gauges()[0].gauges.bib, [0, 0, 0]);
    take(&mut engine.worker(), &packet);
    assert!(engine.explain(&packet, 0).to_string().contains("BIB entry 2001:db8::8#1000 - 203.0.113.2#"));
    let refused = engine.explain(&udp6("2001:db8::8", "2001:db8::9", (1, 2), 64, b""), 0);
    assert_eq!(refused.verdict.reason().map(Reason::name), Some("pool6-mismatch"));
}

#[test]
fn a_static_entry_is_there_from_the_start() {
    let toml = NAT64.replace(
        "[instance.global]",
        "bib = [{ protocol = \"UDP\", ipv6-address = \"2001:db8::8#80\", ipv4-address = \"203.0.113.2#8080\" }]\n\
         [instance.global]",
    );
    let mut worker = engine(&toml).worker();
    let (verdict, sent) = take(&mut worker, &udp4("203.0.113.16", "203.0.113.2", (9, 8080), 64, b"hello"));
    assert_eq!(verdict, Verdict::Translated);
    assert_eq!(Layers6::parse(&sent[0], Extent::Whole).unwrap().dst.to_string(), "2001:db8::8");
}

/// A stateless instance with pool6 has an address for everything in IPv4, and still leaves a pool4 to its owner.
#[test]
fn a_pool6_without_state_does_not_take_what_is_for_a_pool4() {
    const SIIT: &str = "[[instance]]\nname = 'servers'\ntype = 'siit'\neamt = ['203.0.113.80 2001:db8::80']\n\
                        [instance.global]\npool6 = '2001:db8:46::/96'\n";
    for config in [format!("{SIIT}{NAT64}"), format!("{NAT64}\n{SIIT}")] {
        let mut worker = engine(&config).worker();
        let (_, sent) = take(&mut worker, &udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1, 53), 64, b"x"));
        let Upper::Udp { src_port: mask, .. } = Layers4::parse(&sent[0], Extent::Whole).unwrap().upper else {
            panic!()
        };
        for (dst, port, becomes) in
            [("203.0.113.2", mask, "2001:db8::8"), ("203.0.113.80", 53, "2001:db8::80")]
        {
            let (verdict, sent) = take(&mut worker, &udp4("203.0.113.16", dst, (53, port), 64, b"x"));
            assert_eq!(verdict, Verdict::Translated);
            assert_eq!(Layers6::parse(&sent[0], Extent::Whole).unwrap().dst.to_string(), becomes);
        }
    }
}

#[test]
fn nobody_is_reached_behind_loopback_multicast_and_broadcast() {
    let engine = engine(NAT64);
    let mut worker = engine.worker();
    for dst in ["127.0.0.1", "0.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "203.0.113.255"] {
        let packet = udp6("2001:db8::8", &format!("64:ff9b::{dst}"), (1000, 53), 64, b"x");
        assert_eq!(
            engine.explain(&packet, 0).verdict.reason().map(Reason::name),
            Some("destination6-refused")
        );
        let (verdict, sent) = take(&mut worker, &packet);
        assert_eq!(verdict.reason().map(Reason::name), Some("destination6-refused"), "{dst}");
        let layers = Layers6::parse(&sent[0], Extent::Whole).unwrap();
        assert!(matches!(layers.upper, Upper::Icmp { kind: 1, code: 3, .. }), "{layers:?}");
    }
    assert_eq!(engine.gauges()[0].gauges.bib, [0, 0, 0]);
}

#[test]
fn a_packet_to_a_mask_that_nobody_has_is_explained_as_it_is_treated() {
    let engine = engine(NAT64);
    let packet = udp4("203.0.113.16", "203.0.113.2", (9, 8080), 64, b"hello");
    let explained = engine.explain(&packet, 0).verdict;
    assert_eq!(explained.reason().map(Reason::name), Some("bib4-not-found"));
    assert_eq!(take(&mut engine.worker(), &packet).0, explained);
}

/// The engine gives a hop back to the host around it, which takes two: what is explained is the packet before and behind both.
#[test]
fn an_explanation_counts_the_hops_of_the_wire() {
    for hops in [Hops::Restore, Hops::Decrement] {
        let engine = engine_with(NAT64, hops);
        let text = |hop_limit| {
            let packet = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), hop_limit, b"x");
            engine.explain(&packet, 0).to_string()
        };
        let came_and_left = text(64);
        assert!(
            came_and_left.contains("hop limit 64") && came_and_left.contains("hop limit 63"),
            "{came_and_left}"
        );
        assert!(text(1).contains("hop-limit-exceeded"), "{hops:?}: {}", text(1));
    }
}

#[test]
fn what_is_taken_up_at_ingress_loses_its_hop_behind_the_engine() {
    let mut worker = engine_with(NAT64, Hops::Restore).worker();
    let question = |hops| udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), hops, b"question");
    for (origin, came, left) in [(ROUTED, 63, 64), (INGRESS, 64, 64), (INGRESS, 2, 2)] {
        let (verdict, sent) = take_from(&mut worker, origin, &question(came));
        assert_eq!(verdict, Verdict::Translated);
        assert_eq!(Layers4::parse(&sent[0], Extent::Whole).unwrap().hop_limit, left, "{origin:?}");
    }
    let (verdict, sent) = take_from(&mut worker, INGRESS, &question(1));
    assert_eq!(verdict.reason().map(Reason::name), Some("hop-limit-exceeded"));
    assert!(matches!(Layers6::parse(&sent[0], Extent::Whole).unwrap().upper, Upper::Icmp { kind: 3, .. }));
    // Back, with the last hop taken: told by IPv4.
    let Upper::Udp { src_port, .. } =
        Layers4::parse(&take_from(&mut worker, INGRESS, &question(9)).1[0], Extent::Whole).unwrap().upper
    else {
        panic!("no UDP")
    };
    let answer = |ttl| udp4("203.0.113.16", "203.0.113.2", (53, src_port), ttl, b"answer");
    let (_, sent) = take_from(&mut worker, INGRESS, &answer(64));
    assert_eq!(Layers6::parse(&sent[0], Extent::Whole).unwrap().hop_limit, 64);
    let (_, sent) = take_from(&mut worker, INGRESS, &answer(1));
    let expired = Layers4::parse(&sent[0], Extent::Whole).unwrap();
    assert!(matches!(expired.upper, Upper::Icmp { kind: 11, code: 0, .. }), "{expired:?}");
}

#[test]
fn nobody_gets_in_with_an_address_of_the_host() {
    let own4 = vec![([203, 0, 113, 1].into(), 24), ([203, 0, 113, 2].into(), 24)];
    let mut worker = engine_on(NAT64, Hops::Restore, own4).worker();
    let forged = udp4("203.0.113.1", "203.0.113.2", (9, 8080), 64, b"trust me");
    let (verdict, sent) = take_from(&mut worker, INGRESS, &forged);
    assert!(matches!(verdict, Verdict::Dropped(_)), "{verdict:?}");
    assert_eq!(verdict.reason().map(Reason::name), Some("source4-refused"));
    assert!(sent.is_empty());
    // What the host says to itself is what it says it is.
    let looped = Origin { interface: 1, ..INGRESS };
    assert!(matches!(take_from(&mut worker, looped, &forged).0, Verdict::Returned(_)));
}

#[test]
fn what_is_not_ours_goes_back_as_it_came() {
    let engine = engine_with(NAT64, Hops::Restore);
    let mut worker = engine.worker();
    let nobodys = [
        udp4("203.0.113.16", "203.0.113.2", (9, 8080), 64, b"nobody has this port"),
        udp4("203.0.113.16", "198.51.100.7", (9, 8080), 1, b"not in pool4"),
        udp6("2001:db8::8", "2001:db8::9", (9, 8080), 1, b"not in pool6"),
    ];
    for packet in nobodys {
        let (verdict, sent) = take_from(&mut worker, INGRESS, &packet);
        assert!(matches!(verdict, Verdict::Returned(_)), "{verdict:?}");
        assert_eq!(sent, std::slice::from_ref(&packet));
        // On the routed path there is nobody behind us.
        let (verdict, sent) = take(&mut worker, &packet);
        assert!(matches!(verdict, Verdict::Returned(_)), "{verdict:?}");
        assert!(sent.iter().all(|answer| *answer != packet));
    }
}

#[test]
fn fragments_of_the_hosts_own_datagrams_go_back() {
    let mut worker = engine_with(NAT64, Hops::Restore).worker();
    worker.set_now(1000);
    let whole = udp4("203.0.113.16", "203.0.113.2", (9, 8080), 64, &[7; 100]);
    let fragment = |from: usize, to: usize| {
        let mut header = ipv4::Header::parse(&whole).unwrap();
        header.total_len = (ipv4::LEN + to - from) as u16;
        (header.dont_fragment, header.more_fragments) = (false, ipv4::LEN + to < whole.len());
        header.fragment_offset = from as u16;
        let mut packet = vec![0; ipv4::LEN];
        header.write(packet.first_chunk_mut().unwrap());
        packet.extend(&whole[ipv4::LEN + from..ipv4::LEN + to]);
        packet
    };
    let pieces = [fragment(48, 88), fragment(0, 48), fragment(88, 108)];
    let returned: Vec<_> = pieces.iter().flat_map(|piece| take_from(&mut worker, INGRESS, piece).1).collect();
    // The first waited for the one with the ports.
    assert_eq!(returned.len(), 3);
    assert!(pieces.iter().all(|piece| returned.contains(piece)), "{returned:02x?}");
}

/// An engine on the T of the design's scene, which shares its own address with pool4.
fn sharing() -> Arc<Engine> {
    engine_on(NAT64, Hops::Restore, vec![([203, 0, 113, 1].into(), 24), ([203, 0, 113, 2].into(), 24)])
}

fn tcp4(flags: u8) -> Vec<u8> {
    let mut packet = udp4("203.0.113.16", "203.0.113.2", (4000, 22), 64, &[0; 12]);
    packet[9] = 6;
    packet[32] = 5 << 4;
    packet[33] = flags;
    // The header checksum covers the protocol; that of TCP stands at another place.
    let mut header = ipv4::Header::parse(&packet).unwrap();
    header.protocol = 6;
    header.write(packet.first_chunk_mut().unwrap());
    packet
}

#[test]
fn the_hosts_own_sockets_on_a_shared_address_keep_their_packets() {
    let engine = sharing();
    let mut worker = engine.worker();
    worker.set_now(1000);
    for flags in [xlat_packet::tcp::SYN, xlat_packet::tcp::ACK, xlat_packet::tcp::RST] {
        let (verdict, sent) = take_from(&mut worker, INGRESS, &tcp4(flags));
        assert_eq!(verdict.reason().map(Reason::name), Some("bib4-not-found"));
        assert_eq!(sent, [tcp4(flags)]);
    }
    assert_eq!(engine.gauges()[0].gauges.stored_syns, 0);
    // An address that is the translator's alone has nobody else to answer.
    let mut alone = engine_with(NAT64, Hops::Restore).worker();
    let (verdict, _) = take_from(&mut alone, INGRESS, &tcp4(xlat_packet::tcp::SYN));
    assert_eq!(verdict.reason().map(Reason::name), Some("syn-stored"));
}

#[test]
fn clients_meet_through_a_shared_address_and_reach_the_others_of_the_host() {
    let mut worker = sharing().worker();
    let to_server = |src: &str| udp6(src, "64:ff9b::203.0.113.16", (1000, 53), 64, b"x");
    let (_, sent) = take_from(&mut worker, INGRESS, &to_server("2001:db8::8"));
    let Upper::Udp { src_port: mask, .. } = Layers4::parse(&sent[0], Extent::Whole).unwrap().upper else {
        panic!("no UDP")
    };
    let hello = udp6("2001:db8::9", "64:ff9b::203.0.113.2", (7, mask), 64, b"hello");
    let (verdict, sent) = take_from(&mut worker, INGRESS, &hello);
    assert_eq!(verdict, Verdict::Translated);
    let turned = Layers6::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!((turned.dst.to_string(), turned.hop_limit), ("2001:db8::8".to_owned(), 64));
    // Another address of the host answers the mask, which comes back.
    let to_host = |port| udp6("2001:db8::9", "64:ff9b::203.0.113.1", (7, port), 64, b"hello");
    let (verdict, sent) = take_from(&mut worker, INGRESS, &to_host(53));
    assert_eq!(verdict, Verdict::Translated);
    let asked = Layers4::parse(&sent[0], Extent::Whole).unwrap();
    assert_eq!((asked.src.to_string(), asked.dst.to_string()), ("203.0.113.2".into(), "203.0.113.1".into()));
    // A directed broadcast would bring the whole link's answers.
    let (verdict, sent) =
        take_from(&mut worker, INGRESS, &udp6("2001:db8::9", "64:ff9b::203.0.113.255", (7, 53), 64, b"x"));
    assert_eq!(verdict.reason().map(Reason::name), Some("destination6-refused"));
    assert!(is_unreachable(&sent[0]));
    // What an address answers to itself stays in the host.
    let ports = NAT64.replace(
        "\"203.0.113.2\"",
        "{ protocol = \"UDP\", prefix = \"203.0.113.2\", port-range = \"61001-65535\" }",
    );
    let mut worker = engine_on(&ports, Hops::Restore, vec![([203, 0, 113, 2].into(), 24)]).worker();
    let to_itself = udp6("2001:db8::9", "64:ff9b::203.0.113.2", (7, 53), 64, b"x");
    let (verdict, sent) = take_from(&mut worker, INGRESS, &to_itself);
    assert_eq!(verdict.reason().map(Reason::name), Some("destination6-refused"));
    assert!(is_unreachable(&sent[0]));
}

/// Whether a packet is ICMPv6's "address unreachable".
fn is_unreachable(packet: &[u8]) -> bool {
    matches!(Layers6::parse(packet, Extent::Whole).unwrap().upper, Upper::Icmp { kind: 1, code: 3, .. })
}

#[test]
fn an_empty_pool4_is_the_hosts_address_of_the_moment() {
    let empty = NAT64.replace("\"203.0.113.2\"", "");
    let engine = engine_with(&empty, Hops::Restore);
    let mut worker = engine.worker();
    let question = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 64, b"x");
    let mut source = || {
        let (verdict, sent) = take(&mut worker, &question);
        assert_eq!(engine.explain(&question, 0).verdict, verdict);
        let layers = Layers4::parse(sent.first()?, Extent::Whole).ok()?;
        let Upper::Udp { src_port, .. } = layers.upper else { panic!("{layers:?}") };
        assert!(src_port >= 61_001);
        Some(layers.src.to_string())
    };
    assert_eq!(source(), None, "no address is known");
    engine.set_implicit(Some([203, 0, 113, 1].into())).unwrap();
    assert_eq!(source().as_deref(), Some("203.0.113.1"));
    // A reload knows the address too.
    let config = xlat_config::load("test.toml", &empty, &xlat_config::Hint::default()).unwrap().config;
    engine.reconfigure(&config).unwrap();
    assert_eq!(source().as_deref(), Some("203.0.113.1"));
    engine.set_implicit(Some([203, 0, 113, 7].into())).unwrap();
    assert_eq!(engine.gauges()[0].gauges.bib, [0, 0, 0], "the address went with its mappings");
    assert_eq!(source().as_deref(), Some("203.0.113.7"));
    engine.set_implicit(None).unwrap();
    assert_eq!(source(), None);
}

#[test]
fn each_instance_counts_its_own() {
    use xlat_config::Translator::{Nat64, Siit};
    use xlat_engine::Traffic::{Received4, Received6, Translated};
    const SIIT: &str = r#"
[[instance]]
name = "default"
type = "siit"
[instance.global]
pool6 = "2001:db8:64::/96"
"#;
    let config =
        |toml: &str| xlat_config::load("t.toml", toml, &xlat_config::Hint::default()).unwrap().config;
    let both = format!("{NAT64}{SIIT}");
    let engine = engine(&both);
    let mut workers = [engine.worker(), engine.worker()];
    let counts = |kind, what| engine.view(kind, "default").map(|view| view.statistics().traffic(what));
    let stateful = udp6("2001:db8::8", "64:ff9b::203.0.113.16", (1000, 53), 64, b"x");
    let stateless = udp6("2001:db8:64::192.0.2.8", "2001:db8:64::198.51.100.1", (1000, 53), 64, b"x");
    let nobodys = udp6("2001:db8::8", "2001:db8:9::9", (1000, 53), 64, b"x");
    for worker in &mut workers {
        for (packet, translated) in
            [(&stateful, true), (&stateless, true), (&stateless, true), (&nobodys, false)]
        {
            assert_eq!(take(worker, packet).0 == Verdict::Translated, translated);
        }
        // Without state: the first that is stateful refuses it, and the other takes it.
        assert_eq!(take(worker, &udp4("192.0.2.9", "198.51.100.1", (7, 7), 64, b"x")).0, Verdict::Translated);
    }
    assert_eq!(
        (counts(Nat64, Received6), counts(Nat64, Received4), counts(Nat64, Translated)),
        (Some(4), Some(0), Some(2))
    );
    assert_eq!(
        (counts(Siit, Received6), counts(Siit, Received4), counts(Siit, Translated)),
        (Some(4), Some(2), Some(6))
    );
    let all = |what| engine.statistics().traffic(what);
    assert_eq!((all(Received6), all(Translated)), (8, 8));

    // A changed option leaves them, also where the places change.
    engine
        .reconfigure(&config(&format!("{SIIT}{}", NAT64.replace("96\"", "96\"\nudp-timeout = \"0:10:00\""))))
        .unwrap();
    assert_eq!(take(&mut workers[0], &stateful).0, Verdict::Translated);
    assert_eq!((counts(Nat64, Translated), counts(Siit, Translated)), (Some(3), Some(6)));
    engine.view(Nat64, "default").unwrap().restart_statistics();
    assert_eq!(take(&mut workers[1], &stateful).0, Verdict::Translated);
    assert_eq!(
        (counts(Nat64, Translated), counts(Siit, Translated), all(Translated)),
        (Some(1), Some(6), 10)
    );

    // One that comes anew begins at zero; what the former counted stays in the sum.
    engine.reconfigure(&config(NAT64)).unwrap();
    assert_eq!((counts(Siit, Translated), all(Translated)), (None, 10));
    engine.reconfigure(&config(&both)).unwrap();
    assert_eq!((counts(Siit, Translated), all(Translated)), (Some(0), 10));
    assert_eq!(take(&mut workers[0], &stateless).0, Verdict::Translated);
    assert_eq!(
        (counts(Siit, Translated), counts(Nat64, Translated), all(Translated)),
        (Some(1), Some(1), 11)
    );
}
