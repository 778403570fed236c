//! Stateless translation: the whole engine with pool6 and with explicit mappings, and their table by itself.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_bench::measure::scatter;
use xlat_bench::packets::{Upper, write4, write6};
use xlat_bench::report::{Budget, Table};
use xlat_bench::{Error, measure};
use xlat_config::{self as model, Config};
use xlat_translate::eam::{EamEntry, Eamt};

use crate::Scale;
use crate::world::{Sink, config, embed, engine, process};

const SIIT: &str = r#"
[[instance]]
name = "siit"
type = "siit"
[instance.global]
pool6 = "64:ff9b::/96"
"#;

const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 16), 53);
const PORT: u16 = 40_000;

/// The IPv6 side of entry `number`: a /120 of a /64 of its own.
fn node6(number: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | (number as u128) << 64 | 0x100)
}

/// The IPv4 side: one address each, from 10.0.0.0/8.
fn node4(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number as u32)
}

pub(crate) fn measure(table: &mut Table, scale: Scale) -> Result<(), Error> {
    table.head("SIIT, whole engine, UDP of 64 bytes, entries hit at random");
    let pool6_only = config(SIIT)?;
    let embedded = |number| embed(node4(number));
    one(table, scale, "pool6 only", &pool6_only, scale.size(1_000_000), embedded)?;
    for (name, entries) in
        [("EAM with 1 entry", 1), ("EAM with 100 k entries", 100_000), ("EAM with 1 M entries", 1_000_000)]
    {
        let entries = scale.size(entries);
        one(table, scale, name, &with_entries(entries)?, entries, node6)?;
    }
    eam_table(table, scale)
}

/// Both directions between `nodes` IPv6 nodes and a server behind pool6.
fn one(
    table: &mut Table,
    scale: Scale,
    name: &str,
    config: &Config,
    nodes: usize,
    address6: impl Fn(usize) -> Ipv6Addr,
) -> Result<(), Error> {
    let engine = engine(config)?;
    let mut worker = engine.worker();
    let mut out = Sink(|packet: &[u8]| {
        black_box(packet);
    });
    let fill = |number: usize, place: &mut [u8]| {
        let src = address6(scatter(number, nodes));
        write6(place, (src, PORT), (embed(SERVER.0), SERVER.1), Upper::Udp)
    };
    let timing =
        measure::packets(scale.rounds, true, fill, |_, packet| process(&mut worker, packet, &mut out))?;
    table.timing(&format!("{name}, 6 to 4"), timing, None);
    let fill = |number: usize, place: &mut [u8]| {
        write4(place, SERVER, (node4(scatter(number, nodes)), PORT), Upper::Udp)
    };
    let timing =
        measure::packets(scale.rounds, true, fill, |_, packet| process(&mut worker, packet, &mut out))?;
    table.timing(&format!("{name}, 4 to 6"), timing, None);
    Ok(())
}

fn entry(number: usize) -> Result<(Ipv6Net, Ipv4Net), Error> {
    Ok((Ipv6Net::new(node6(number), 120)?, Ipv4Net::new(node4(number), 32)?))
}

fn with_entries(entries: usize) -> Result<Config, Error> {
    let mut config = config(SIIT)?;
    for instance in &mut config.instances {
        if let model::Kind::Siit(siit) = &mut instance.kind {
            for number in 0..entries {
                let (ipv6, ipv4) = entry(number)?;
                siit.eamt.push(model::EamEntry { ipv6, ipv4 });
            }
        }
    }
    Ok(config)
}

fn eam_table(table: &mut Table, scale: Scale) -> Result<(), Error> {
    let entries = scale.size(1_000_000);
    table.head("EAM table by itself, 1 M entries, hit at random");
    let list = (0..entries)
        .map(|number| entry(number).map(|(v6, v4)| EamEntry { v6, v4 }))
        .collect::<Result<Vec<_>, _>>()?;
    let mut eamt = Eamt::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    let start = Instant::now();
    for entry in &list {
        eamt.insert(*entry)?;
    }
    table.number("load", start.elapsed().as_secs_f64(), "s", Some(Budget::AtMost(1.0)));
    let budget = Some(Budget::AtMost(100.0));
    let timing = measure::items(scale.rounds, |number| {
        black_box(eamt.to_v4(node6(scatter(number, entries))));
    })?;
    table.timing("look-up, 6 to 4", timing, budget);
    let timing = measure::items(scale.rounds, |number| {
        black_box(eamt.to_v6(node4(scatter(number, entries))));
    })?;
    table.timing("look-up, 4 to 6", timing, budget);
    Ok(())
}
