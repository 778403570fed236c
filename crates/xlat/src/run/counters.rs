//! The counters as a table for people.

use std::fmt::Write as _;

use xlat_engine::{Engine, Traffic};
use xlat_linux::datapath::Workers;
use xlat_nat64::Protocol;

/// Everything that was counted; what is zero is left out, traffic excepted.
pub(super) fn table(engine: &Engine, workers: &Workers) -> String {
    let statistics = engine.statistics();
    let mut text = String::from("traffic\n");
    let mut row = |name: &str, count: u64, note: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", format!("  {name:<28} {count:>14}  {note}").trim_end());
    };
    for traffic in Traffic::ALL {
        row(traffic.name(), statistics.traffic(traffic), "");
    }
    for (reason, count) in statistics.reasons() {
        row(reason.name(), count, &format!("{} ({})", reason.explanation(), reason.source()));
    }
    for instance in engine.gauges() {
        for protocol in Protocol::ALL {
            let (bib, sessions) =
                (instance.gauges.bib[protocol.index()], instance.gauges.sessions[protocol.index()]);
            if bib > 0 {
                row(&format!("{} {protocol} BIB entries", instance.name), bib as u64, "");
                row(&format!("{} {protocol} sessions", instance.name), sessions as u64, "");
            }
        }
    }
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for counters in workers.counters() {
        for (index, (name, count)) in counters.rows().into_iter().enumerate() {
            match sums.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => sums.push((name, count)),
            }
        }
    }
    for (name, count) in sums.into_iter().filter(|(_, count)| *count > 0) {
        row(&format!("device {name}"), count, "");
    }
    text
}
