//! One packet with its addresses given: parsing, and rewriting as RFC 7915 says.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use xlat_bench::packets::{Upper, write4, write6};
use xlat_bench::report::{Budget, Table};
use xlat_bench::{Error, measure};
use xlat_packet::tcp;
use xlat_translate::plan::{Flow, Plan, parse4, parse6};
use xlat_translate::policy::Policy;
use xlat_translate::refusal::Refused;
use xlat_translate::{four_to_six, six_to_four};

use crate::Scale;
use crate::world::embed;

const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 8);
const CLIENT4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 16);

const PORTS: (u16, u16) = (40_000, 53);
const BUDGET: Option<Budget> = Some(Budget::AtMost(40.0));

pub(crate) fn measure(table: &mut Table, scale: Scale) -> Result<(), Error> {
    table.head("One packet of 64 bytes");
    let policy = Policy::default();
    let to4 = Plan {
        outer: Flow { src: CLIENT4, dst: SERVER, ports: Some((61_001, 53)) },
        inner: None,
        datagram: None,
    };
    let to6 = Plan {
        outer: Flow { src: embed(SERVER), dst: CLIENT6, ports: Some((53, 40_000)) },
        inner: None,
        datagram: None,
    };
    let fill6 =
        |upper| move |_, place: &mut [u8]| write6(place, (CLIENT6, PORTS.0), (embed(SERVER), PORTS.1), upper);
    let fill4 = |upper| move |_, place: &mut [u8]| write4(place, (SERVER, PORTS.1), (CLIENT4, 61_001), upper);

    let timing = measure::packets(scale.rounds, true, fill6(Upper::Udp), |_, packet| {
        black_box(parse6(black_box(packet.bytes())).map_err(refused)?);
        Ok(())
    })?;
    table.timing("parse IPv6 UDP", timing, None);
    let timing = measure::packets(scale.rounds, true, fill4(Upper::Udp), |_, packet| {
        black_box(parse4(black_box(packet.bytes())).map_err(refused)?);
        Ok(())
    })?;
    table.timing("parse IPv4 UDP", timing, None);
    for (name, upper) in [("UDP", Upper::Udp), ("TCP", Upper::Tcp(tcp::ACK))] {
        let timing = measure::packets(scale.rounds, true, fill6(upper), |number, packet| {
            let parsed = parse6(packet.bytes()).map_err(refused)?;
            black_box(
                six_to_four(packet, &parsed, black_box(&to4), &policy, number as u16).map_err(refused)?,
            );
            Ok(())
        })?;
        table.timing(&format!("parse and translate {name}, 6 to 4"), timing, BUDGET);
        let timing = measure::packets(scale.rounds, true, fill4(upper), |_, packet| {
            let parsed = parse4(packet.bytes()).map_err(refused)?;
            black_box(four_to_six(packet, &parsed, black_box(&to6), &policy).map_err(refused)?);
            Ok(())
        })?;
        table.timing(&format!("parse and translate {name}, 4 to 6"), timing, BUDGET);
    }
    Ok(())
}

fn refused(refused: Refused) -> Error {
    format!("refused: {refused:?}").into()
}
