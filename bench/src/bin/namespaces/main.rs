//! Measures forwarding and translation between three hosts made of namespaces: plain IPv6 and IPv4 forwarding by the
//! kernel, `xlat` as NAT64 and as SIIT, and tayga, in turns in one run, as ratios to plain IPv6 forwarding.
//!
//! `namespaces [quick] [tcp|packets]...`: all parts unless some are named; `quick` takes one short round, to see that it
//! runs. Takes root, `iperf3`, `tayga`, and the program `xlat` beside this one. Prints Markdown.
#![forbid(unsafe_code)]

mod flood;
mod frame;
mod lab;

use std::time::Duration;

use lab::{Lab, Subject};
use xlat_bench::results::{Budget, Results, Sample};
use xlat_bench::{Error, tcp};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Rounds of each measurement; in each round every subject has its turn.
    rounds: usize,
    /// How long one TCP transfer lasts.
    transfer: Duration,
    /// How long one flood of packets lasts.
    flood: Duration,
}

impl Scale {
    const FULL: Self = Self { rounds: 5, transfer: Duration::from_secs(2), flood: Duration::from_secs(1) };
    const QUICK: Self =
        Self { rounds: 1, transfer: Duration::from_secs(1), flood: Duration::from_millis(300) };
}

/// Flows of a flood: one, some, and more than can be merged at a time.
const FLOWS: [usize; 3] = [1, 64, 1000];

/// Connections of a transfer at the same time.
const STREAMS: [usize; 2] = [1, 4];

/// TCP bulk on the TUN path.
const TCP_BUDGETS: [Budget; 6] = [
    Budget { subject: "xlat NAT64", reference: "plain IPv6", at_least: 0.8 },
    Budget { subject: "xlat SIIT", reference: "plain IPv6", at_least: 0.8 },
    Budget { subject: "NAT64, 1 queue", reference: "plain IPv6", at_least: 0.8 },
    Budget { subject: "xlat NAT64", reference: "tayga", at_least: 4.5 },
    Budget { subject: "xlat SIIT", reference: "tayga", at_least: 4.5 },
    Budget { subject: "NAT64, 1 queue", reference: "tayga", at_least: 4.5 },
];

/// Small packets on the TUN path.
const PACKET_BUDGETS: [Budget; 3] = [
    Budget { subject: "xlat NAT64", reference: "tayga", at_least: 1.5 },
    Budget { subject: "xlat SIIT", reference: "tayga", at_least: 1.5 },
    Budget { subject: "NAT64, 1 queue", reference: "tayga", at_least: 1.5 },
];

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["send", rest @ ..] = words.as_slice() {
        return flood::send(rest);
    }
    if words == ["receive"] {
        return flood::receive();
    }
    let (mut scale, mut tcp, mut packets) = (Scale::FULL, false, false);
    for word in words {
        match word {
            "quick" => scale = Scale::QUICK,
            "tcp" => tcp = true,
            "packets" => packets = true,
            other => return Err(format!("'{other}' is neither 'quick', 'tcp' nor 'packets'").into()),
        }
    }
    if let Some(why) = lab::unavailable() {
        println!("skipped: {why}");
        return Ok(());
    }
    let lab = Lab::build()?;
    let mut missed = 0;
    if tcp || !packets {
        for streams in STREAMS {
            for (direction, down) in [("up", false), ("down", true)] {
                let title = format!("TCP {direction}, {streams} at a time");
                let results = rounds(scale, &lab, |subject| {
                    tcp::transfer(lab.way(subject), streams, down, scale.transfer)
                })?;
                missed += results.print(&title, "Gbit/s", "CPU ns/KiB", &TCP_BUDGETS);
            }
        }
    }
    if packets || !tcp {
        for flows in FLOWS {
            let title = format!("Packets of 64 bytes, {flows} flows, one after the other");
            let results = rounds(scale, &lab, |subject| flood::measure(&lab, subject, flows, scale.flood))?;
            missed += results.print(&title, "M packets/s", "CPU ns/packet", &PACKET_BUDGETS);
        }
    }
    println!("\nBudgets missed: {missed}");
    Ok(())
}

/// Lets every subject have its turn, round after round. One round that does not count comes first.
fn rounds(
    scale: Scale,
    lab: &Lab,
    mut measure: impl FnMut(&Subject) -> Result<Sample, Error>,
) -> Result<Results, Error> {
    let mut results = Results::new(lab.subjects().iter().map(|subject| subject.name));
    for round in 0..=scale.rounds {
        for (number, subject) in lab.subjects().iter().enumerate() {
            let sample = measure(subject)?;
            if round > 0 {
                results.add(number, sample);
            }
        }
    }
    Ok(results)
}
