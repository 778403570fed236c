//! What shells complete that only the daemon knows: names of instances, entries of tables. It is quick or it is nothing: no
//! error, no waiting.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use serde::de::DeserializeOwned;
use xlat_control::api::{BibRow, Denied, Eam, Instance, Pool4Row, Translator};
use xlat_control::globals::{self, Form};

use super::remote::{Remote, kind};
use crate::cli::common::To;

/// A person waits for it with a finger on the key.
const PATIENCE: Duration = Duration::from_millis(400);
/// Nobody reads more.
const CANDIDATES_MAX: usize = 200;

/// Names of instances.
pub(crate) fn instances(current: &OsStr) -> Vec<CompletionCandidate> {
    ask(
        current,
        None,
        |_| vec!["/v1/instances".to_owned()],
        |row: &Instance| vec![CompletionCandidate::new(&row.name).help(Some(kind(row.translator).into()))],
    )
}

/// Prefixes of pool4.
pub(crate) fn pool4(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = |row: &Pool4Row| vec![CompletionCandidate::new(row.address.to_string())];
    table(
        current,
        Translator::Nat64,
        &["pool4?protocol=tcp", "pool4?protocol=udp", "pool4?protocol=icmp"],
        rows,
    )
}

/// Transport addresses of the BIB.
pub(crate) fn bib(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = std::env::args().collect::<Vec<_>>();
    let protocol = ["udp", "icmp"].into_iter().find(|protocol| {
        words.iter().any(|word| word.trim_start_matches('-') == *protocol)
            || (*protocol == "udp" && words.iter().any(|word| word == "-u"))
    });
    let table_of = format!("bib?protocol={}", protocol.unwrap_or("tcp"));
    table(current, Translator::Nat64, &[&table_of], |row: &BibRow| {
        let (ipv6, ipv4) = (row.pair.ipv6, row.pair.ipv4);
        let (ipv6, ipv4) =
            (format!("{}#{}", ipv6.address, ipv6.port), format!("{}#{}", ipv4.address, ipv4.port));
        vec![
            CompletionCandidate::new(&ipv4).help(Some(ipv6.clone().into())),
            CompletionCandidate::new(ipv6).help(Some(ipv4.into())),
        ]
    })
}

/// Prefixes of the EAMT.
pub(crate) fn eamt(current: &OsStr) -> Vec<CompletionCandidate> {
    table(current, Translator::Siit, &["eamt"], |row: &Eam| {
        vec![
            CompletionCandidate::new(row.ipv4.to_string()).help(Some(row.ipv6.to_string().into())),
            CompletionCandidate::new(row.ipv6.to_string()).help(Some(row.ipv4.to_string().into())),
        ]
    })
}

/// Prefixes of denylist4.
pub(crate) fn denylist4(current: &OsStr) -> Vec<CompletionCandidate> {
    table(current, Translator::Siit, &["denylist4"], |row: &Denied| {
        vec![CompletionCandidate::new(row.prefix.to_string())]
    })
}

/// Values that the option before the word often has.
pub(crate) fn values(current: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let key = words.iter().rev().find_map(|word| globals::KEYS.iter().find(|key| key.name == *word));
    let values: &[&str] = match key.map(|key| key.form) {
        Some(Form::Boolean) => &["true", "false"],
        Some(Form::Hairpin) => &["off", "simple", "intrinsic"],
        Some(Form::Prefix6) => &["64:ff9b::/96", "null"],
        Some(Form::Prefix4) => &["null"],
        Some(Form::Timeout(..)) => &["0:05:00", "2:00:00"],
        Some(Form::Number(_) | Form::FArgs | Form::Plateaus) | None => &[],
    };
    fitting(current, values.iter().map(CompletionCandidate::new).collect())
}

fn table<R: DeserializeOwned>(
    current: &OsStr,
    only: Translator,
    tables: &[&str],
    candidates: impl Fn(&R) -> Vec<CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let paths =
        |target: &super::remote::Target| tables.iter().map(|table| Remote::path(target, table)).collect();
    ask(current, Some(only), paths, candidates)
}

/// Asks the daemon for rows. Any trouble leaves what is there.
fn ask<R: DeserializeOwned>(
    current: &OsStr,
    only: Option<Translator>,
    paths: impl Fn(&super::remote::Target) -> Vec<String>,
    candidates: impl Fn(&R) -> Vec<CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let asked = async {
        let to = to_of(&std::env::args().collect::<Vec<_>>());
        let remote = Remote::new(&to);
        let target = match only {
            Some(_) => remote.target(&to, only).await?,
            None => super::remote::Target { translator: Translator::Nat64, name: String::new() },
        };
        for path in paths(&target) {
            let mut rows = remote.rows(&path).await?;
            while let Some(row) = rows.next::<R>().await? {
                found.extend(fitting(current, candidates(&row)));
                if found.len() >= CANDIDATES_MAX {
                    return Ok(());
                }
            }
        }
        Ok::<_, super::trouble::Trouble>(())
    };
    // What was found until then serves.
    let _in_time = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
    found.sort();
    found.dedup_by(|one, other| one.get_value() == other.get_value());
    found
}

fn fitting(current: &OsStr, candidates: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fits =
        |candidate: &CompletionCandidate| candidate.get_value().to_string_lossy().starts_with(&*current);
    candidates.into_iter().filter(fits).collect()
}

/// Which instance the unfinished command line names.
fn to_of(words: &[String]) -> To {
    let mut to = To::default();
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1);
        match word.as_str() {
            "-i" | "--instance" => to.instance = next.cloned().or(to.instance),
            "--device" => to.device = next.cloned().or(to.device),
            "--siit" => to.siit = true,
            "--nat64" => to.nat64 = true,
            other => {
                if let Some(name) = other.strip_prefix("--instance=") {
                    to.instance = Some(name.to_owned());
                }
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instance_named_so_far() {
        let of = |line: &str| to_of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("xlat -- xlat -i office pool4 remove").instance.as_deref(), Some("office"));
        assert_eq!(of("xlat -- xlat --instance=office").instance.as_deref(), Some("office"));
        assert!(of("xlat -- xlat global --siit update").siit);
        assert_eq!(of("xlat -- xlat pool4 -i").instance, None);
    }
}
