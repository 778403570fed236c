//! Stateful translation: the whole engine with new and with established flows, and what each takes of memory.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use xlat_bench::measure::{ROUND, Timing, resident, scatter};
use xlat_bench::packets::{Upper, write4, write6};
use xlat_bench::report::{Budget, Table};
use xlat_bench::{Error, measure};
use xlat_engine::{Engine, Worker};
use xlat_packet::layers::{self, Extent, Layers4};
use xlat_packet::{Buffer, tcp};

use crate::Scale;
use crate::world::{Sink, config, embed, engine, process};

/// Flows of one client.
const FLOWS_PER_CLIENT: usize = 32;

/// Milliseconds that the clock goes on between two packets of a flow whose lifetime shall be restarted each time.
const PAUSE: u64 = 2000;

pub(crate) fn measure(table: &mut Table, scale: Scale) -> Result<(), Error> {
    table.head("NAT64, whole engine, 64 bytes, flows hit at random");
    let mut worlds = Vec::new();
    for (name, flows) in [("1 k", 1000), ("1 M", 1_000_000), ("10 M", 10_000_000)] {
        let flows = scale.size(flows.max(1000 * scale.divisor));
        let mut world = World::new(flows, "203.0.113.0/24", Upper::Udp)?;
        let opened = world.open(flows)?;
        if flows >= 1_000_000 / scale.divisor {
            worlds.push((name, opened, world.memory()?, flows));
        }
        let budget = (name == "1 M").then_some(Budget::AtMost(200.0));
        for (way, batched) in [("", true), (", one by one", false)] {
            world.batched = batched;
            table.timing(&format!("UDP, {name} flows, 6 to 4{way}"), world.established6(scale, 0)?, budget);
            table.timing(&format!("UDP, {name} flows, 4 to 6{way}"), world.established4(scale, 0)?, budget);
        }
        world.batched = true;
        if name == "1 M" {
            let timing = world.established6(scale, PAUSE)?;
            table.timing("UDP, 1 M flows, 6 to 4, lifetime restarted by each", timing, None);
        }
    }
    let mut world = World::new(scale.size(1_000_000), "203.0.113.0/24", Upper::Tcp(tcp::SYN))?;
    world.open(scale.size(1_000_000))?;
    world.upper = Upper::Tcp(tcp::ACK);
    table.timing("TCP, 1 M flows, 6 to 4", world.established6(scale, 0)?, None);
    table.timing("TCP, 1 M flows, 4 to 6", world.established4(scale, 0)?, None);

    table.head("NAT64, a new flow with each packet: BIB entry, session and port");
    for (name, opened, _, _) in &worlds {
        table.timing(&format!("time for each, up to {name} flows"), *opened, None);
        // Of the middle round: the best one is not what growing tables can keep up.
        let rate = 1000.0 / opened.median;
        table.number(&format!("new flows, up to {name}"), rate, "M/s", Some(Budget::AtLeast(1.0)));
    }
    // Sixteen addresses at any scale, and hardly any port left in the end.
    let all = 16 * 65_535;
    let mut world = World::new(all, "203.0.113.0/28", Upper::Udp)?;
    world.open(all * 99 / 100 / ROUND * ROUND)?;
    table.timing("time for each, pool4 99 % full", world.open(2 * ROUND)?, None);

    table.head("NAT64, memory");
    for (name, _, memory, flows) in &worlds {
        let per_flow = |bytes: u64| bytes as f64 / *flows as f64;
        table.number(
            &format!("tables, for each of {name} flows"),
            per_flow(memory.tables),
            "bytes",
            Some(Budget::AtMost(160.0)),
        );
        table.number(
            &format!("resident, for each of {name} flows"),
            per_flow(memory.resident),
            "bytes",
            None,
        );
        let budget = (*name == "10 M").then_some(Budget::AtMost(2048.0));
        table.number(
            &format!("resident, {name} flows"),
            memory.resident as f64 / (1 << 20) as f64,
            "MiB",
            budget,
        );
    }
    Ok(())
}

/// Bytes that the flows take.
struct Memory {
    /// As the tables count them.
    tables: u64,
    /// As the kernel counts them, port maps included.
    resident: u64,
}

/// A NAT64, its flows and their masks.
struct World {
    engine: Arc<Engine>,
    worker: Worker,
    upper: Upper,
    /// Of each flow.
    masks: Vec<(Ipv4Addr, u16)>,
    opened: usize,
    /// Packets are announced to the worker a batch at a time.
    batched: bool,
    resident_before: u64,
    now: u64,
}

/// The IPv6 transport address of a flow.
fn client(flow: usize) -> (Ipv6Addr, u16) {
    let address = 0x2001_0db8 << 96 | (flow / FLOWS_PER_CLIENT) as u128;
    (Ipv6Addr::from_bits(address), 40_000 + (flow % FLOWS_PER_CLIENT) as u16)
}

/// The IPv4 transport address of a flow.
fn server(flow: usize) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from_bits(0xc633_6400 | (flow % 251) as u32), 443)
}

impl World {
    fn new(flows: usize, pool4: &str, upper: Upper) -> Result<Self, Error> {
        let config = config(&format!(
            "[[instance]]\nname = \"nat64\"\ntype = \"nat64\"\npool4 = [\"{pool4}\"]\n\
             [instance.global]\npool6 = \"64:ff9b::/96\"\n\
             [instance.limits]\nmax-sessions = 0\nmax-bib-entries = 0\n"
        ))?;
        // Written to, so that it is resident already.
        let masks = vec![(Ipv4Addr::BROADCAST, 1); flows + 2 * ROUND];
        let resident_before = resident()?;
        let engine = engine(&config)?;
        let mut worker = engine.worker();
        worker.set_now(PAUSE);
        Ok(Self { worker, engine, upper, masks, opened: 0, batched: true, resident_before, now: PAUSE })
    }

    /// Opens at least `flows` more flows, and times their first packets. TCP flows are answered too.
    fn open(&mut self, flows: usize) -> Result<Timing, Error> {
        let (upper, first) = (self.upper, self.opened);
        let fill = |number: usize, place: &mut [u8]| {
            let flow = first + number;
            write6(place, client(flow), (embed(server(flow).0), server(flow).1), upper)
        };
        let (worker, masks) = (&mut self.worker, &mut self.masks);
        let rounds = flows.div_ceil(ROUND);
        let timing = measure::packets(rounds, false, fill, |number, packet| {
            let mut out = Sink(|bytes: &[u8]| {
                if let (Some(mask), Some(seen)) = (masks.get_mut(first + number), mask_of(bytes)) {
                    *mask = seen;
                }
            });
            process(worker, packet, &mut out)
        })?;
        self.opened += rounds * ROUND;
        if matches!(upper, Upper::Tcp(_)) {
            let masks = &self.masks;
            let fill = |number, place: &mut [u8]| {
                write4(place, server(first + number), masks[first + number], upper)
            };
            let mut out = Sink(|_: &[u8]| ());
            measure::packets(rounds, false, fill, |_, packet| process(&mut self.worker, packet, &mut out))?;
        }
        Ok(timing)
    }

    /// Packets of the clients. The clock goes on by `pause` milliseconds with each.
    fn established6(&mut self, scale: Scale, pause: u64) -> Result<Timing, Error> {
        let (upper, flows) = (self.upper, self.opened);
        let fill = |number: usize, place: &mut [u8]| {
            let flow = scatter(number, flows);
            write6(place, client(flow), (embed(server(flow).0), server(flow).1), upper)
        };
        let mut out = Sink(|bytes: &[u8]| {
            black_box(bytes);
        });
        let (worker, now, batched) = (&mut self.worker, &mut self.now, self.batched);
        measure::batches(scale.rounds, true, fill, |_, batch| {
            if batched {
                worker.expect(batch.iter().map(Buffer::bytes));
            }
            batch.iter_mut().try_for_each(|packet| {
                *now += pause;
                worker.set_now(*now);
                process(worker, packet, &mut out)
            })
        })
    }

    /// Packets of the servers.
    fn established4(&mut self, scale: Scale, pause: u64) -> Result<Timing, Error> {
        let (upper, flows, masks) = (self.upper, self.opened, &self.masks);
        let fill = |number: usize, place: &mut [u8]| {
            let flow = scatter(number, flows);
            write4(place, server(flow), masks[flow], upper)
        };
        let mut out = Sink(|bytes: &[u8]| {
            black_box(bytes);
        });
        let (worker, now, batched) = (&mut self.worker, &mut self.now, self.batched);
        measure::batches(scale.rounds, true, fill, |_, batch| {
            if batched {
                worker.expect(batch.iter().map(Buffer::bytes));
            }
            batch.iter_mut().try_for_each(|packet| {
                *now += pause;
                worker.set_now(*now);
                process(worker, packet, &mut out)
            })
        })
    }

    fn memory(&self) -> Result<Memory, Error> {
        let tables = self.engine.gauges().iter().map(|instance| instance.gauges.memory as u64).sum();
        Ok(Memory { tables, resident: resident()?.saturating_sub(self.resident_before) })
    }
}

/// Source of an IPv4 packet.
fn mask_of(bytes: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let parsed = Layers4::parse(bytes, Extent::Whole).ok()?;
    match parsed.upper {
        layers::Upper::Udp { src_port, .. } | layers::Upper::Tcp { src_port, .. } => {
            Some((parsed.src, src_port))
        }
        layers::Upper::Icmp { .. } | layers::Upper::LaterFragment | layers::Upper::Other => None,
    }
}
