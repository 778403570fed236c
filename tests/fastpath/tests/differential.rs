//! Generated packets through the engine and the program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_fastpath_tests::compare::{Pair, Tally};
use xlat_fastpath_tests::generate::{Address, Ends, Random, harm, packet};
use xlat_fastpath_tests::program::{Hook, Program};
use xlat_fastpath_tests::world::World;
use xlat_translate::refused::HostAddresses;

/// Packets of each test in the ordinary run; `XLAT_PACKETS` asks for more.
const PACKETS: u64 = 20_000;

fn packets() -> u64 {
    std::env::var("XLAT_PACKETS").ok().and_then(|number| number.parse().ok()).unwrap_or(PACKETS)
}

/// None, with a word why, where packets cannot be sent.
fn pair(config: &str) -> Option<Pair> {
    if let Some(why) = xlat_netlab::unavailable() {
        eprintln!("skipped: {why}");
        return None;
    }
    let world = World::enter().unwrap();
    let program = Program::load(world).unwrap();
    let config = format!("{config}\n[fast-path]\ningress = 'all'\n");
    let loaded = xlat_config::load("test", &config, &xlat_config::Hint::default()).unwrap();
    let host =
        HostAddresses::new(vec![([192, 0, 2, 250].into(), 24)], vec!["2001:db8:ffff::1".parse().unwrap()]);
    Some(Pair::new(program, &loaded.config, host).unwrap())
}

const NAT64: &str = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['198.51.100.0/30']\n\
                     [instance.global]\npool6 = '64:ff9b::/96'\n";

/// Ends of a flow from IPv6, and what the translator made of them.
type Flow = (Ends<Ipv6Addr>, Ends<Ipv4Addr>);

/// Flows that the engine has, in the program too.
fn flows(pair: &mut Pair, random: &mut Random, count: usize) -> Vec<Flow> {
    let mut flows = Vec::new();
    while flows.len() < count {
        let protocol = random.one(&[1, 6, 17]);
        let mut octets = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[8..].copy_from_slice(&random.any().to_be_bytes());
        let server = [203, 0, 113, random.any() as u8];
        let six = Ends {
            protocol,
            src: octets.into(),
            dst: Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(u32::from_be_bytes(server))),
            src_port: random.any() as u16 | 1,
            dst_port: if protocol == 1 { 0 } else { random.any() as u16 | 1 },
        };
        let first = loop {
            let first = packet(random, &six, Some(2));
            let (translated, sent) = pair.engine(&first, 0);
            if let (true, [after]) = (translated, &sent[..])
                && after.len() + 20 == first.len()
            {
                break (first, after.clone());
            }
        };
        pair.promote(&first.0, &first.1, 0).unwrap();
        let after = &first.1;
        let word = |at: usize| u16::from_be_bytes([after[at], after[at + 1]]);
        let mask: [u8; 4] = *after[12..].first_chunk().unwrap();
        let four = Ends {
            protocol,
            src: server.into(),
            dst: Ipv4Addr::from(mask),
            src_port: if protocol == 1 { word(24) } else { word(22) },
            dst_port: if protocol == 1 { 0 } else { word(20) },
        };
        // A TCP session begins by the answer.
        for _ in 0..if protocol == 6 { 20 } else { 0 } {
            let answer = packet(random, &four, Some(0x12));
            pair.engine(&answer, 0);
        }
        flows.push((six, four));
    }
    flows
}

/// Sends packets through the engine, then through tc (which looks the way up), then through XDP (which remembers it).
/// Gives what tc and XDP did.
fn run(pair: &mut Pair, mut next: impl FnMut(&mut Random) -> Vec<u8>, seed: u64) -> [Tally; 2] {
    let (mut random, mut tallies) = (Random::new(seed), [Tally::default(); 2]);
    for number in 0..packets() {
        let mut packet = next(&mut random);
        harm(&mut random, &mut packet);
        let (translated, sent) = pair.engine(&packet, 0);
        for (hook, tally) in [Hook::Ingress, Hook::Xdp].into_iter().zip(&mut tallies) {
            let result = pair.check(hook, &packet, 0, (translated, &sent), tally);
            assert!(result.is_ok(), "{hook:?}, packet {number} of seed {seed}: {}", result.unwrap_err());
        }
    }
    println!("{tallies:?} {:?}", pair.program.counters().unwrap());
    tallies
}

#[test]
fn nat64() {
    let Some(mut pair) = pair(NAT64) else { return };
    let mut random = Random::new(64);
    let flows = flows(&mut pair, &mut random, 64);
    let mut next = |random: &mut Random| {
        let (six, four) = random.one(&flows);
        if random.once_in(2) { packet(random, &six, None) } else { packet(random, &four, None) }
    };
    let [tc, xdp] = run(&mut pair, &mut next, 1);
    assert!(tc.same > packets() / 2, "{tc:?}");
    assert_eq!(tc.passed, 0, "everything is ours");
    assert!(xdp.same > packets() / 2, "{xdp:?}");
}

const SIIT: &str = "[[instance]]\nname = 's'\ntype = 'siit'\ndenylist4 = ['198.51.100.128/25']\n\
                    eamt = ['10.0.0.0/24 2001:db8:2::/120', '192.168.0.0/16 2001:db8:3::/64', \
                    '10.0.0.7 2001:db8:4::1', '172.16.0.0/12 2001:db8:5::/48']\n\
                    [instance.global]\npool6 = '2001:db8:100::/40'\n";

/// An address of one of these prefixes, any within it.
fn within6(random: &mut Random) -> Ipv6Addr {
    let (prefix, len) = random.one(&[
        ("2001:db8:2::", 120),
        ("2001:db8:3::", 64),
        ("2001:db8:4::1", 128),
        ("2001:db8:5::", 48),
        ("2001:db8:100::", 40),
        ("2001:db8:100::", 32),
        ("2001:db8:1c6:3364::", 64),
        ("2001:db8:10a::", 72),
    ]);
    let any = u128::from(random.any()) << 64 | u128::from(random.any());
    let suffix = if len == 128 { 0 } else { any & u128::MAX >> len };
    Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().unwrap().to_bits() | suffix)
}

fn within4(random: &mut Random) -> Ipv4Addr {
    let (prefix, len) = random.one(&[
        ("10.0.0.0", 24),
        ("10.0.0.7", 31),
        ("192.168.0.0", 16),
        ("172.16.0.0", 12),
        ("198.51.100.0", 24),
        ("203.0.113.0", 24),
        ("0.0.0.0", 1),
        ("192.0.2.240", 28),
        ("127.0.0.0", 8),
        ("224.0.0.0", 3),
    ]);
    Ipv4Addr::from_bits(prefix.parse::<Ipv4Addr>().unwrap().to_bits() | random.any() as u32 & u32::MAX >> len)
}

/// A packet between addresses of the tables.
fn stateless(random: &mut Random) -> Vec<u8> {
    let protocol = random.one(&[1, 6, 17, 17, 17, 47]);
    let (src_port, dst_port) = (random.any() as u16, random.any() as u16);
    if random.once_in(2) {
        let (src, dst) = (within6(random), within6(random));
        packet(random, &Ends { protocol, src, dst, src_port, dst_port }, None)
    } else {
        let (src, dst) = (within4(random), within4(random));
        packet(random, &Ends { protocol, src, dst, src_port, dst_port }, None)
    }
}

#[test]
fn siit() {
    for hairpin in ["intrinsic", "off"] {
        let Some(mut pair) = pair(&format!("{SIIT}eam-hairpin-mode = '{hairpin}'\n")) else { return };
        let [tc, xdp] = run(&mut pair, stateless, 2);
        assert!(tc.same > packets() / 4, "{tc:?}");
        assert_eq!(tc.passed, 0, "everything is ours");
        assert!(xdp.same > packets() / 4, "{xdp:?}");
    }
}

/// A stateful and a stateless instance in one daemon, in either order: each has its packets translated by the program.
#[test]
fn both_kinds_side_by_side() {
    for config in [format!("{NAT64}{SIIT}"), format!("{SIIT}{NAT64}")] {
        let Some(mut pair) = pair(&config) else { return };
        let mut random = Random::new(66);
        let flows = flows(&mut pair, &mut random, 16);
        let [tc, xdp] = run(
            &mut pair,
            |random| match (random.one(&[0, 0, 1, 2]), random.one(&flows)) {
                (0, _) => stateless(random),
                (1, (six, _)) => packet(random, &six, None),
                (_, (_, four)) => packet(random, &four, None),
            },
            3,
        );
        assert_eq!(tc.passed, 0, "everything is ours");
        // More than the flows alone, which are half of it.
        assert!(tc.same > packets() / 2 && xdp.same > packets() / 2, "{tc:?} {xdp:?}");
    }
}

#[test]
fn a_sum_given_by_hardware_follows() {
    let Some(mut pair) = pair(NAT64) else { return };
    let mut random = Random::new(65);
    let flows = flows(&mut pair, &mut random, 16);
    let mut sent = 0;
    for number in 0..packets() / 4 {
        let (six, four) = random.one(&flows);
        let mut packet = if random.once_in(2) {
            packet(&mut random, &six, None)
        } else {
            packet(&mut random, &four, None)
        };
        // A checksum that is not complete, but looks like one whose rest is left to hardware.
        let (at, pseudo) = match (packet[0] >> 4, six.protocol) {
            (6, 17) => (46, Address::pseudo(&six, packet.len() - 40)),
            (6, 6) => (56, Address::pseudo(&six, packet.len() - 40)),
            (4, 17) => (26, Address::pseudo(&four, packet.len() - 20)),
            (4, 6) => (36, Address::pseudo(&four, packet.len() - 20)),
            _echo => (0, xlat_packet::checksum::Sum::ZERO),
        };
        if at != 0 && random.once_in(4) {
            packet[at..at + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
        }
        let result = pair.program.run_with_sum(&packet);
        assert!(result.is_ok(), "packet {number}: {result:?} {packet:02x?}");
        let Ok(Some(answer)) = result else {
            return eprintln!("skipped: this kernel cannot compare");
        };
        sent += u64::from(answer == 7);
    }
    println!("{sent} {:?}", pair.program.counters().unwrap());
    assert!(sent > packets() / 8, "{sent}");
}
