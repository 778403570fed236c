//! Time per packet: in the router alone, and in the programs that run there.

use std::collections::BTreeMap;
use std::time::Duration;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use serde_json::Value;
use xlat_bench::Error;
use xlat_bench::results::Results;

use crate::flood;
use crate::lab::Lab;
use crate::subject::{Kind, Subject};

/// Names of the programs that forward or translate begin so.
const FORWARDING: [&str; 2] = ["xlat_", "bench_forward"];

/// Flows while programs are timed.
const FLOWS: u32 = 1000;

/// Prints what each router takes: the time of the whole way without that of the cable of the same family.
pub(crate) fn print_router(results: &Results, subjects: &[Subject]) {
    let each = |subject: &Subject| results.median(subject.name).map(|rate| 1e3 / rate);
    let cable = subjects.iter().find(|subject| subject.kind == Kind::Cable).and_then(each);
    let Some(cable) = cable else { return };
    println!("\nNanoseconds per packet in the router, without the {cable:.0} of sender, cable and sink:\n");
    for subject in subjects.iter().filter(|subject| subject.kind != Kind::Cable) {
        if let Some(each) = each(subject) {
            println!("- {}: {:.0}", subject.name, each - cable);
        }
    }
}

/// Prints how long the programs of each subject run per packet, which takes counting that makes them a little slower.
pub(crate) fn programs(lab: &mut Lab, subjects: &[Subject], time: Duration) -> Result<(), Error> {
    let _counting = enable_stats(Stats::RunTime)?;
    println!("\n### Time in the programs, {FLOWS} flows\n");
    println!("| {:20} | {:4} | {:15} | runs per packet | ns per run |", "", "", "program");
    println!("|{:-<22}|{:-<6}|{:-<17}|{:->17}|{:->12}|", "", "", "", ":", ":");
    let mut counted = Vec::new();
    for subject in subjects {
        crate::flows::establish(lab, subject, FLOWS)?;
        for (direction, down) in [("up", false), ("down", true)] {
            let (before, counters) = (times()?, counters(lab, subject));
            let packets = flood::measure(lab, subject, down, FLOWS, time)?.units;
            for (id, (name, run, count)) in times()? {
                let (_, run_before, count_before) = before.get(&id).cloned().unwrap_or_default();
                let (run, count) = (run - run_before, (count - count_before) as f64);
                if count < packets / 100.0 {
                    continue;
                }
                let each = run.as_nanos() as f64 / count;
                let runs = count / packets;
                println!("| {:20} | {direction:4} | {name:15} | {runs:>15.2} | {each:>10.1} |", subject.name);
            }
            for (name, count) in self::counters(lab, subject) {
                let count = count.saturating_sub(counters.get(&name).copied().unwrap_or_default());
                if count > 0 {
                    counted.push(format!("- {} {direction}: {name} {count} of {packets}", subject.name));
                }
            }
        }
    }
    println!(
        "\nWhat the programs counted meanwhile, of so many packets that arrived:\n\n{}",
        counted.join("\n")
    );
    Ok(())
}

/// What the programs of a subject have counted so far; nothing where there is no `xlat` or nothing of it in the kernel.
fn counters(lab: &Lab, subject: &Subject) -> BTreeMap<String, u64> {
    let status = lab.status(subject).unwrap_or_default();
    let counters = status["kernel"]["counters"].as_array().cloned().unwrap_or_default();
    let pair = |counter: &Value| Some((counter["name"].as_str()?.to_owned(), counter["count"].as_u64()?));
    counters.iter().filter_map(pair).collect()
}

/// Name, time and runs so far of all programs that forward or translate, by their numbers.
fn times() -> Result<BTreeMap<u32, (String, Duration, u64)>, Error> {
    let mut times = BTreeMap::new();
    for program in loaded_programs() {
        let program = program?;
        let name = program.name_as_str().unwrap_or_default();
        if FORWARDING.iter().any(|start| name.starts_with(start)) {
            times.insert(program.id(), (name.to_owned(), program.run_time(), program.run_count()));
        }
    }
    Ok(times)
}
