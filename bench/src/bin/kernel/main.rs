//! Measures the kernel's fast path between three hosts made of namespaces: forwarding by the kernel and by XDP, and `xlat` as
//! NAT64 and SIIT at each of its hooks, in turns in one run, as ratios to plain IPv6 forwarding.
//!
//! `kernel [quick] [tcp|packets|programs]... [FLOWS]... [SUBJECT]...`: all parts and subjects unless some are named (a part of
//! a name is enough), with the usual numbers of flows unless some are given; `quick` takes one short round, to see that it
//! runs. Takes root, `iperf3`, `ethtool`, and the program `xlat` beside this one. Prints Markdown.
#![forbid(unsafe_code)]

mod costs;
mod flood;
mod flows;
mod lab;
mod programs;
#[path = "../../../ebpf/src/shapes.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the programs that are loaded")]
mod shapes;
mod subject;
mod traffic;

use std::time::Duration;

use lab::Lab;
use subject::{Hook, Kind, REFERENCE, SUBJECTS, Subject};
use xlat_bench::results::{Budget, Results, Sample};
use xlat_bench::{Error, tcp};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Rounds of each measurement; in each round every subject has its turn.
    rounds: usize,
    /// How long one TCP transfer lasts.
    transfer: Duration,
    /// How long one flood of packets lasts, about.
    flood: Duration,
    /// Flows of the floods, one after the other.
    flows: &'static [u32],
}

impl Scale {
    const FULL: Self = Self {
        rounds: 5,
        transfer: Duration::from_secs(1),
        flood: Duration::from_millis(500),
        flows: &[1, 20_000, 1_000_000],
    };
    const QUICK: Self = Self {
        rounds: 1,
        transfer: Duration::from_secs(1),
        flood: Duration::from_millis(200),
        flows: &[1, 1000],
    };
}

/// Connections of a transfer at the same time.
const STREAMS: [usize; 2] = [1, 4];

/// The parts of a run.
const PARTS: [&str; 3] = ["tcp", "packets", "programs"];

fn main() -> Result<(), Error> {
    let (mut scale, mut parts, mut names, mut flows) = (Scale::FULL, Vec::new(), Vec::new(), Vec::new());
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "quick" => scale = Scale::QUICK,
            part if PARTS.contains(&part) => parts.push(word),
            number if number.parse::<u32>().is_ok() => flows.push(number.parse()?),
            _ => names.push(word),
        }
    }
    if let Some(why) = lab::unavailable() {
        println!("skipped: {why}");
        return Ok(());
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let named = |subject: &&Subject| {
        names.is_empty()
            || subject.name == REFERENCE
            || names.iter().any(|name| subject.name.contains(name.as_str()))
    };
    let mut subjects: Vec<Subject> = SUBJECTS.iter().filter(named).copied().collect();
    let mut lab = Lab::build(&mut subjects)?;
    let mut missed = 0;
    if wanted("tcp") {
        let subjects: Vec<Subject> =
            subjects.iter().filter(|subject| subject.kind != Kind::Cable).copied().collect();
        for streams in STREAMS {
            for (direction, down) in [("up", false), ("down", true)] {
                let results = rounds(scale, &subjects, |subject| {
                    tcp::transfer(lab.way(subject), streams, down, scale.transfer)
                });
                let title = format!("TCP {direction}, {streams} at a time");
                missed += results.print(&title, "Gbit/s", "CPU ns/KiB", &tcp_budgets(&subjects));
            }
        }
    }
    if !wanted("packets") && !wanted("programs") {
        println!("\nBudgets missed: {missed}");
        return Ok(());
    }
    lab.prepare_floods()?;
    let working = |lab: &mut Lab, subject: &Subject| -> Result<(), Error> {
        flows::establish(lab, subject, 1000)?;
        flood::check(lab, subject, false, 1000)?;
        flood::check(lab, subject, true, 1000)
    };
    subjects.retain(|subject| {
        let result = working(&mut lab, subject);
        result.inspect_err(|error| println!("skipped: {}: {error}", subject.name)).is_ok()
    });
    let numbers = if flows.is_empty() { scale.flows } else { &flows };
    for &flows in numbers.iter().filter(|_| wanted("packets")) {
        subjects.iter().try_for_each(|subject| flows::establish(&mut lab, subject, flows))?;
        for (direction, down) in [("up", false), ("down", true)] {
            let results = rounds(scale, &subjects, |subject| {
                flood::measure(&mut lab, subject, down, flows, scale.flood)
            });
            let title = format!("Small packets {direction}, {flows} flows, one after the other");
            missed += results.print(&title, "M packets/s", "CPU ns/packet", &packet_budgets(&subjects));
            costs::print_router(&results, &subjects);
        }
    }
    if wanted("programs") {
        costs::programs(&mut lab, &subjects, scale.flood)?;
    }
    println!("\nBudgets missed: {missed}");
    Ok(())
}

/// Lets every subject have its turn, round after round. One round that does not count comes first.
fn rounds(
    scale: Scale,
    subjects: &[Subject],
    mut measure: impl FnMut(&Subject) -> Result<Sample, Error>,
) -> Results {
    let mut results = Results::new(subjects.iter().map(|subject| subject.name));
    for round in 0..=scale.rounds {
        for (number, subject) in subjects.iter().enumerate() {
            // What does not get through is a result too.
            let sample = measure(subject).unwrap_or_else(|error| {
                println!("\nfailed: {}: {error}", subject.name);
                Sample { rate: 0.0, cpu: 0.0, units: 0.0 }
            });
            if round > 0 {
                results.add(number, sample);
            }
        }
    }
    results
}

/// At tc, bulk TCP is at least as fast as plain forwarding.
fn tcp_budgets(subjects: &[Subject]) -> Vec<Budget> {
    let at_tc = subjects.iter().filter(|subject| subject.kind.hook() == Some(Hook::Tc));
    at_tc.map(|subject| Budget { subject: subject.name, reference: REFERENCE, at_least: 1.0 }).collect()
}

/// At tc, small packets are at least as fast as plain forwarding, at XDP by a third faster; many EAM entries cost
/// next to nothing.
fn packet_budgets(subjects: &[Subject]) -> Vec<Budget> {
    let mut budgets = Vec::new();
    for subject in subjects {
        let at_least = match subject.kind.hook() {
            Some(Hook::Tc) => 1.0,
            Some(Hook::Xdp) => 1.35,
            Some(Hook::None | Hook::Device) | None => continue,
        };
        budgets.push(Budget { subject: subject.name, reference: REFERENCE, at_least });
        let without =
            |other: &&Subject| subject.kind == Kind::Eam(Hook::Tc) && other.kind == Kind::Siit(Hook::Tc);
        budgets.extend(subjects.iter().find(without).map(|other| Budget {
            subject: subject.name,
            reference: other.name,
            at_least: 0.95,
        }));
    }
    budgets
}
