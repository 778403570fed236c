//! What a packet costs in the program, in nanoseconds, by `BPF_PROG_TEST_RUN`: `cost`. A translated packet is translated
//! back by the next run, until its hop limit ends; so figures of translations are the mean of both directions.

use std::net::Ipv6Addr;

use xlat_config::{Hint, load};
use xlat_fastpath::config::Config;
use xlat_fastpath::flow::{Key4, Session, To6, protocol};
use xlat_fastpath_tests::generate::{Ends, Random, packet};
use xlat_fastpath_tests::program::{Hook, Program, frame, steer4};
use xlat_fastpath_tests::world::{OWN, World};
use xlat_translate::refused::HostAddresses;

/// Translations of one packet: twice a hop limit would do, but for the first, which looks the way up.
const HOPS: u32 = 240;
/// Packets.
const ROUNDS: u32 = 1000;

fn main() -> Result<(), String> {
    // The neighbour is this station itself, so that a translated frame is ours again.
    let mut program = Program::load(World::enter_with(OWN)?)?;
    let mut random = Random::new(7);
    let (client, server) = ("2001:db8:1::8", "64:ff9b::203.0.113.16");
    let six = udp(&mut random, client, server);

    let nat64 = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = ['198.51.100.1']\n\
                 [instance.global]\npool6 = '64:ff9b::/96'\n[fast-path]\ningress = 'all'\n";
    configure(&mut program, nat64)?;
    let session = Session {
        protocol: protocol::UDP,
        instance: 0,
        mark: 0,
        client: (address(client), 4000),
        mask: ([198, 51, 100, 1], 5000),
        server6: address(server),
        server: ([203, 0, 113, 16], 53),
    };
    program.promote(&session)?;
    // And back again, as if the server were the client.
    let key = Key4 { src: [198, 51, 100, 1], dst: [203, 0, 113, 16], ..session.key4() };
    let key = Key4 { src_port: 5000u16.to_be_bytes(), dst_port: 53u16.to_be_bytes(), ..key };
    let to = To6 { src: address(client), dst: address(server), ..session.to6(0) };
    let to = To6 { src_port: 4000u16.to_be_bytes(), dst_port: 53u16.to_be_bytes(), ..to };
    program.promote4(&key, &to)?;
    translations(&mut program, "NAT64, UDP", &six)?;

    program.steer(&[steer4([198, 51, 100, 1], 0)], &[])?;
    foreign(&mut program, "foreign, not steered", &six)?;
    let config = program.config();
    program.set_config(Config { flags: 0, ..config })?;
    foreign(&mut program, "switched off", &six)?;

    let siit = "[[instance]]\nname = 's'\ntype = 'siit'\n[instance.global]\npool6 = '64:ff9b::/96'\n\
                [fast-path]\ningress = 'all'\n";
    configure(&mut program, siit)?;
    let mapped = udp(&mut random, "64:ff9b::198.51.100.7", server);
    translations(&mut program, "SIIT, pool6 only, UDP", &mapped)?;

    let siit = siit.replace("[instance.global]", "eamt = ['10.0.0.8 2001:db8:1::8']\n[instance.global]");
    configure(&mut program, &siit)?;
    let mapped = udp(&mut random, client, server);
    translations(&mut program, "SIIT, 1 EAM entry, UDP", &mapped)?;
    for number in 0..100_000u32 {
        let (v4, mut v6) = ((0x0b00_0000 + number).to_be_bytes(), address("2001:db8:2::"));
        v6[12..].copy_from_slice(&number.to_be_bytes());
        program.add_eam(v4, v6)?;
    }
    program.set_filter()?;
    translations(&mut program, "SIIT, 100,001 EAM entries, UDP", &mapped)?;
    program.steer(&[steer4([198, 51, 100, 1], 0)], &[])?;
    foreign(
        &mut program,
        "foreign, with 100,001 EAM entries",
        &udp(&mut random, "2001:db8:9::1", "2001:db8:9::2"),
    )?;
    Ok(())
}

fn configure(program: &mut Program, config: &str) -> Result<(), String> {
    let loaded = load("cost", config, &Hint::default()).map_err(|e| e.to_string())?;
    program.configure(&loaded.config, &HostAddresses::default())
}

/// A packet that is translated forth and back.
fn translations(program: &mut Program, what: &str, packet: &[u8]) -> Result<(), String> {
    for hook in [Hook::Ingress, Hook::Xdp] {
        let mut best = u128::MAX;
        let (mut sum, mut count) = (0, 0u128);
        for _ in 0..ROUNDS {
            // tc looks the way up where the last time was too long ago.
            program.repeat(Hook::Ingress, &frame(packet), 0, 2)?;
            let (answer, _, time) = program.repeat(hook, &frame(packet), 0, HOPS)?;
            if answer == 2 && hook == Hook::Xdp {
                // Just then the way was remembered for too long.
                continue;
            }
            if !matches!(answer, 3 | 4 | 7) {
                return Err(format!("{what}: {hook:?} answered {answer}"));
            }
            count += 1;
            best = best.min(time.as_nanos());
            sum += time.as_nanos();
        }
        println!("{what:36} {hook:7?} mean {:4} ns, best {best:4} ns", sum / count.max(1));
    }
    Ok(())
}

/// A packet that is left alone.
fn foreign(program: &mut Program, what: &str, packet: &[u8]) -> Result<(), String> {
    for hook in [Hook::Ingress, Hook::Xdp] {
        let (_, _, time) = program.repeat(hook, &frame(packet), 0, 3_000_000)?;
        println!("{what:36} {hook:7?} mean {:4} ns", time.as_nanos());
    }
    Ok(())
}

/// UDP from port 4000 to 53, with a hop limit that lasts.
fn udp(random: &mut Random, src: &str, dst: &str) -> Vec<u8> {
    let (src, dst) = (Ipv6Addr::from(address(src)), Ipv6Addr::from(address(dst)));
    let ends = Ends { protocol: 17, src, dst, src_port: 4000, dst_port: 53 };
    loop {
        let mut packet = packet(random, &ends, None);
        let right = packet[44..46] == ((packet.len() - 40) as u16).to_be_bytes() && packet[46..48] != [0, 0];
        if (64..90).contains(&packet.len()) && right {
            packet[7] = 255;
            return packet;
        }
    }
}

fn address(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().map_or([0; 16], |address| address.octets())
}
