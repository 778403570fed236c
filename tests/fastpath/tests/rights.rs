//! The programs with no more rights than the service has: `CAP_NET_ADMIN` and `CAP_BPF`. The verifier is stricter then: without
//! `CAP_PERFMON` it follows what a processor may do out of turn, and forbids much that is done with pointers.

use std::net::Ipv6Addr;

use xlat_config::{Hint, load};
use xlat_fastpath::flow::{Session, protocol};
use xlat_fastpath_tests::generate::{Ends, Random, packet};
use xlat_fastpath_tests::program::{Hook, Program, Said};
use xlat_fastpath_tests::world::World;
use xlat_linux::fastpath::verify;
use xlat_linux::privileges::{Capabilities, PrivilegeError, drop_all_but};
use xlat_translate::refused::HostAddresses;

const OBJECT: &[u8] = include_bytes!("../../../crates/linux/bpf/xlat.bpf.o");

fn few_rights() -> Result<(), PrivilegeError> {
    drop_all_but(Capabilities::NET_ADMIN.or(Capabilities::BPF))
}

#[test]
fn the_kernel_takes_every_program() {
    few_rights().unwrap();
    for (name, verdict) in verify(OBJECT).unwrap() {
        let report = verdict.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.verified.is_none_or(|verified| verified < 600_000), "{report}");
    }
}

#[test]
fn packets_are_translated() {
    let world = World::enter().unwrap();
    few_rights().unwrap();
    let mut program = Program::load(world).unwrap();
    let config = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['198.51.100.1']\n\
                  [instance.global]\npool6 = '64:ff9b::/96'\n[fast-path]\ningress = 'all'\n";
    let loaded = load("rights", config, &Hint::default()).unwrap();
    program.configure(&loaded.config, &HostAddresses::default()).unwrap();
    let [src, dst]: [Ipv6Addr; 2] =
        ["2001:db8:1::8".parse().unwrap(), "64:ff9b::203.0.113.16".parse().unwrap()];
    let ends = Ends { protocol: 17, src, dst, src_port: 4000, dst_port: 53 };
    let mut random = Random::new(7);
    // One that nothing is wrong with.
    let packet = loop {
        let packet = packet(&mut random, &ends, None);
        let has_length = packet[44..46] == ((packet.len() - 40) as u16).to_be_bytes();
        if has_length && packet[46..48] != [0, 0] && packet.len() < 1000 && packet[7] > 2 {
            break packet;
        }
    };
    let session = Session {
        protocol: protocol::UDP,
        instance: 0,
        mark: 0,
        client: (src.octets(), 4000),
        mask: ([198, 51, 100, 1], 5000),
        server6: dst.octets(),
        server: ([203, 0, 113, 16], 53),
    };
    program.promote(&session).unwrap();
    // tc first: it looks the way up and sends by the neighbour table, XDP knows the way then.
    for hook in [Hook::Ingress, Hook::Xdp] {
        let (said, frame) = program.run(hook, &packet, 0).unwrap();
        assert_eq!(said, Said::Sent, "{hook:?}");
        assert_eq!(
            frame.len() + 20,
            packet.len() + 14,
            "{hook:?}: 20 bytes less than {packet:02x?}: {frame:02x?}"
        );
    }
}
