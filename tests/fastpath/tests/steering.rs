//! What is not ours stays as it is, byte for byte; on an address that the host has too, ours is by port only.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something it relies on fails")]

use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_fastpath::config::{Config, SteerPrefix6, config_flag};
use xlat_fastpath::flow::{Session, protocol};
use xlat_fastpath_tests::generate::{Ends, Random, harm, packet};
use xlat_fastpath_tests::program::{Hook, Program, Said, frame, steer4};
use xlat_fastpath_tests::world::World;
use xlat_translate::refused::HostAddresses;

/// The address that pool4 shares with the host.
const SHARED: [u8; 4] = [203, 0, 113, 2];

/// A NAT64 with the shared address in slot 1 and pool6; none with a word why where packets cannot be sent.
fn program() -> Option<Program> {
    if let Some(why) = xlat_netlab::unavailable() {
        eprintln!("skipped: {why}");
        return None;
    }
    let config = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['203.0.113.2']\n\
                  [instance.global]\npool6 = '64:ff9b::/96'\n[fast-path]\ningress = 'all'\n";
    let loaded = xlat_config::load("test", config, &xlat_config::Hint::default()).unwrap();
    let mut program = Program::load(World::enter().unwrap()).unwrap();
    program.configure(&loaded.config, &HostAddresses::default()).unwrap();
    let pool6: Ipv6Addr = "64:ff9b::".parse().unwrap();
    let mut mask = [255; 16];
    mask[12..].fill(0);
    program.steer(&[steer4(SHARED, 1)], &[SteerPrefix6 { prefix: pool6.octets(), mask }]).unwrap();
    Some(program)
}

fn udp(dst: [u8; 4], dst_port: u16) -> Vec<u8> {
    let mut message = [0x10, 0, 0, 0, 0, 12, 0x12, 0x34, 1, 2, 3, 4];
    message[2..4].copy_from_slice(&dst_port.to_be_bytes());
    ip4(17, [198, 51, 100, 9], dst, &message)
}

fn ip4(protocol: u8, src: [u8; 4], dst: [u8; 4], message: &[u8]) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(message.len() as u16 + 20).to_be_bytes());
    header[12..16].copy_from_slice(&src);
    header[16..].copy_from_slice(&dst);
    let checksum = xlat_packet::checksum::Sum::of(&header).finish();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header[..], message].concat()
}

#[test]
fn foreign_packets_are_left_alone() {
    let Some(mut program) = program() else { return };
    let mut random = Random::new(11);
    for _ in 0..5000 {
        let protocol = random.one(&[1, 6, 17, 47]);
        let (src_port, dst_port) = (random.any() as u16, random.any() as u16);
        let mut packet = if random.once_in(2) {
            let src = Ipv6Addr::from_bits(u128::from(random.any()));
            let dst = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(random.any()));
            packet(&mut random, &Ends { protocol, src, dst, src_port, dst_port }, None)
        } else {
            let (src, dst) =
                (Ipv4Addr::from_bits(random.any() as u32), Ipv4Addr::from([10, 1, 2, random.any() as u8]));
            packet(&mut random, &Ends { protocol, src, dst, src_port, dst_port }, None)
        };
        harm(&mut random, &mut packet);
        if packet.len() < 40 {
            continue;
        }
        for hook in [Hook::Ingress, Hook::Xdp] {
            let (said, frame) = program.run(hook, &packet, 0).unwrap();
            // Harm may have struck the destination.
            let ours =
                frame[14 + 16..].starts_with(&SHARED) || frame[14 + 24..].starts_with(&[0, 0x64, 0xff, 0x9b]);
            assert!(said == Said::Pass || ours, "{packet:02x?}");
            assert_eq!(frame[14..], packet[..], "unchanged");
        }
    }
}

#[test]
fn a_shared_address_is_ours_by_port() {
    let Some(mut program) = program() else { return };
    program.own_port(0, 1, Some(40_000)).unwrap();
    let mut said = |packet: &[u8]| program.run(Hook::Ingress, packet, 0).unwrap();
    let quoting = |dst_port: u16, about: [u8; 4]| {
        let mut quoted = ip4(17, about, [198, 51, 100, 9], &[0, 0, 0, 53, 0, 12, 0x12, 0x34]);
        quoted[20..22].copy_from_slice(&dst_port.to_be_bytes());
        let message = [&[3, 1, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
        ip4(1, [192, 0, 2, 77], SHARED, &message)
    };
    let mut first_fragment = udp(SHARED, 22);
    first_fragment[6] = 0x20;
    for (packet, expected, why) in [
        (udp(SHARED, 40_000), Said::Sent, "a port with BIB entry"),
        (udp(SHARED, 40_001), Said::Pass, "a port of the host's"),
        (udp([203, 0, 113, 1], 40_000), Said::Pass, "another address"),
        (ip4(6, [198, 51, 100, 9], SHARED, &[0x9c; 20]), Said::Pass, "the same port of TCP"),
        (
            ip4(1, [198, 51, 100, 9], SHARED, &[8, 0, 0, 0, 0x9c, 0x40, 0, 1]),
            Said::Pass,
            "a ping to the host",
        ),
        (ip4(47, [198, 51, 100, 9], SHARED, &[0; 20]), Said::Pass, "another protocol"),
        (quoting(40_000, SHARED), Said::Sent, "an error about a packet of ours"),
        (quoting(40_001, SHARED), Said::Pass, "an error about a packet of the host's"),
        (quoting(40_000, [203, 0, 113, 9]), Said::Pass, "an error about somebody else's packet"),
        (first_fragment, Said::Sent, "a first fragment: the daemon has to see all of a datagram"),
    ] {
        let (answer, frame) = said(&packet);
        assert_eq!(answer, expected, "{why}");
        assert_eq!(frame[14..], packet[..], "{why}: unchanged");
    }
}

#[test]
fn nothing_is_taken_without_daemon() {
    let Some(mut program) = program() else { return };
    program.own_port(0, 1, Some(40_000)).unwrap();
    let packet = udp(SHARED, 40_000);
    assert_eq!(program.run(Hook::Ingress, &packet, 0).unwrap().0, Said::Sent);
    let config = program.config();
    // A heartbeat at the start of all time, and nobody may be gone for a second.
    program.set_config(Config { heartbeat: 0, outlive: 0, ..config }).unwrap();
    assert_eq!(program.run(Hook::Ingress, &packet, 0).unwrap().0, Said::Pass);
    program.set_config(Config { flags: config.flags & !config_flag::INGRESS, ..config }).unwrap();
    assert_eq!(program.run(Hook::Ingress, &packet, 0).unwrap().0, Said::Pass);
}

/// An entry that an earlier stateless instance gets wins over a flow that is known.
#[test]
fn an_earlier_instance_is_asked_before_a_flow() {
    let Some(mut program) = program() else { return };
    let session = Session {
        protocol: protocol::UDP,
        instance: 1,
        mark: 0,
        client: ("2001:db8::8".parse::<Ipv6Addr>().unwrap().octets(), 4000),
        mask: (SHARED, 5000),
        server6: "64:ff9b::198.51.100.9".parse::<Ipv6Addr>().unwrap().octets(),
        server: ([198, 51, 100, 9], 53),
    };
    let datagram = {
        let (src, dst) = (session.client.0.into(), session.server6.into());
        let ends: Ends<Ipv6Addr> = Ends { protocol: 17, src, dst, src_port: 4000, dst_port: 53 };
        let mut random = Random::new(12);
        loop {
            let packet = packet(&mut random, &ends, None);
            if packet[7] > 1 && packet[46..48] != [0, 0] && packet.len() < 1000 {
                break packet;
            }
        }
    };
    for (eamt, translated) in
        [("192.0.2.9 64:ff9b::198.51.100.8", true), ("192.0.2.9 64:ff9b::198.51.100.9", false)]
    {
        let config = format!(
            "[[instance]]\nname = 's'\ntype = 'siit'\neamt = ['{eamt}']\n\
             [[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['203.0.113.2']\n\
             [instance.global]\npool6 = '64:ff9b::/96'\n[fast-path]\ningress = 'all'\n"
        );
        let loaded = xlat_config::load("test", &config, &xlat_config::Hint::default()).unwrap();
        program.configure(&loaded.config, &HostAddresses::default()).unwrap();
        program.promote(&session).unwrap();
        let (said, after) = program.run(Hook::Ingress, &datagram, 0).unwrap();
        assert_eq!(said, Said::Sent);
        assert_eq!(after.len() + 20 == frame(&datagram).len(), translated, "{eamt}");
    }
}
