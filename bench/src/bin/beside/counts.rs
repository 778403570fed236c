//! What has been dropped so far, and where: the translator's reasons, the interfaces, the queues of the processors.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde_json::Value;
use xlat_bench::Error;
use xlat_engine::Reason;

use crate::lab::{self, Lab};

/// Drops by name.
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// All of them now.
    pub(crate) fn read(lab: &Lab) -> Result<Self, Error> {
        let reasons: Vec<&str> = Reason::all().map(Reason::name).collect();
        let mut counts: BTreeMap<_, _> = lab::counts(lab)?
            .into_iter()
            .filter(|(name, _)| name == "held-and-lost" || reasons.contains(&name.as_str()))
            .collect();
        for (host, namespace) in [("A", &lab.a), ("T", &lab.t), ("V", &lab.v)] {
            let links: Vec<Value> = serde_json::from_str(&namespace.run("ip -json -statistics link show")?)?;
            for link in &links {
                for way in ["rx", "tx"] {
                    let name = format!("{host} {} {way}", link["ifname"].as_str().unwrap_or("?"));
                    let of = |what: &str| link["stats64"][way][what].as_u64().ok_or("ip knows no statistics");
                    counts.insert(name, of("dropped")? + of("errors")?);
                }
            }
        }
        counts.insert("queues of the processors".to_owned(), queues()?);
        Ok(Self(counts))
    }

    /// What was added.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (name, count) in &mut self.0 {
            *count -= before.0.get(name).copied().unwrap_or_default().min(*count);
        }
        self
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut some = self.0.iter().filter(|(_, count)| **count > 0).peekable();
        if some.peek().is_none() {
            return write!(f, "nothing");
        }
        some.enumerate().try_for_each(|(number, (name, count))| {
            write!(f, "{}{name} {count}", if number > 0 { ", " } else { "" })
        })
    }
}

/// Packets that found the queue of their processor full (second column of `/proc/net/softnet_stat`, hexadecimal).
fn queues() -> Result<u64, Error> {
    let mut sum = 0;
    for line in fs::read_to_string("/proc/net/softnet_stat")?.lines() {
        let dropped = line.split_whitespace().nth(1).ok_or("softnet_stat has no second column")?;
        sum += u64::from_str_radix(dropped, 16)?;
    }
    Ok(sum)
}
