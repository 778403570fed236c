//! What differs between two configurations, in words of their files: options by their keys, lists by their elements.

use std::collections::HashMap;
use std::fmt;

use crate::model::{Config, Instance};
use crate::options::Section;
use crate::write::{TABLES, default_of, lists, own, settings, whole};

/// One difference. The values are as TOML writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The instance, if it is a part of one: `NAT64 default`.
    pub instance: Option<String>,
    /// The option with its table, or the list: `global.pool6`, `pool4`; `instance` for an instance as a whole.
    pub what: String,
    /// What is there now; `None`: nothing.
    pub old: Option<String>,
    /// What is to be; `None`: nothing.
    pub new: Option<String>,
    /// Whether only a restart can make it.
    pub takes_restart: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = match (&self.old, &self.new) {
            (None, Some(new)) => ('+', new.clone()),
            (Some(old), None) => ('-', old.clone()),
            (Some(old), Some(new)) => ('~', format!("{old} -> {new}")),
            (None, None) => ('~', String::new()),
        };
        write!(f, "{sign} ")?;
        if let Some(instance) = &self.instance {
            write!(f, "{instance}: ")?;
        }
        write!(f, "{} {value}", self.what)?;
        if self.takes_restart {
            f.write_str("  (takes a restart)")?;
        }
        Ok(())
    }
}

/// What has to change to make `new` of `old`, in the order of the file.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    for (section, table) in TABLES {
        let of = |config| settings(&mut whole(config), section, None);
        compare(&mut found, section, None, table, &of(old), &of(new));
    }
    for instance in &old.instances {
        match same(instance, new) {
            None => found.push(as_a_whole(instance, true)),
            Some(other) => instances(&mut found, instance, other),
        }
    }
    found.extend(
        new.instances
            .iter()
            .filter(|instance| same(instance, old).is_none())
            .map(|instance| as_a_whole(instance, false)),
    );
    order(&mut found, old, new);
    found
}

fn title(instance: &Instance) -> String {
    format!("{} {}", instance.kind.translator(), instance.name)
}

fn same<'c>(instance: &Instance, config: &'c Config) -> Option<&'c Instance> {
    let is_same = |other: &&Instance| {
        other.name == instance.name && other.kind.translator() == instance.kind.translator()
    };
    config.instances.iter().find(is_same)
}

fn as_a_whole(instance: &Instance, is_old: bool) -> Difference {
    let value = Some(format!("\"{}\" ({})", instance.name, instance.kind.translator()));
    let (old, new) = if is_old { (value, None) } else { (None, value) };
    Difference { instance: None, what: "instance".to_owned(), old, new, takes_restart: false }
}

/// Packets are offered to the instances in their order.
fn order(found: &mut Vec<Difference>, old: &Config, new: &Config) {
    let shared = |config: &Config, other: &Config| {
        let titles = config.instances.iter().filter(|one| same(one, other).is_some()).map(title);
        titles.collect::<Vec<_>>().join(", ")
    };
    let (before, after) = (shared(old, new), shared(new, old));
    if before != after {
        let (old, new) = (Some(before), Some(after));
        let what = "order of the instances".to_owned();
        found.push(Difference { instance: None, what, old, new, takes_restart: false });
    }
}

fn instances(found: &mut Vec<Difference>, old: &Instance, new: &Instance) {
    let (name, kind) = (title(old), Some(old.kind.translator()));
    for (section, table) in
        [(Section::Instance, ""), (Section::Global, "global"), (Section::Limits, "limits")]
    {
        let of = |instance| settings(&mut own(instance), section, kind);
        compare(found, section, Some(&name), table, &of(old), &of(new));
    }
    if old.kind == new.kind {
        // Long tables are told to be the same without being written out.
        return;
    }
    for ((key, before), (_, after)) in lists(&old.kind).into_iter().zip(lists(&new.kind)) {
        elements(found, &name, key, &before, &after);
    }
}

type Settings = [(&'static str, String)];

fn compare(
    found: &mut Vec<Difference>,
    section: Section,
    instance: Option<&str>,
    table: &str,
    old: &Settings,
    new: &Settings,
) {
    let value = |settings: &Settings, key: &str| {
        let set = settings.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
        set.or_else(|| default_of(section, key))
    };
    let mut keys: Vec<&str> = old.iter().chain(new).map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let (before, after) = (value(old, key), value(new, key));
        if before != after {
            found.push(Difference {
                instance: instance.map(str::to_owned),
                what: if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") },
                old: before,
                new: after,
                takes_restart: matches!(
                    (section, key),
                    (Section::Device, "name" | "queues") | (Section::FastPath, "enabled" | "max-flows")
                ),
            });
        }
    }
}

/// Elements that are in one list only. Their order has no meaning.
fn elements(found: &mut Vec<Difference>, instance: &str, key: &str, old: &[String], new: &[String]) {
    let count = |list: &[String], sign: i64, counts: &mut HashMap<String, i64>| {
        for element in list {
            *counts.entry(element.clone()).or_default() += sign;
        }
    };
    let mut counts = HashMap::new();
    count(old, -1, &mut counts);
    count(new, 1, &mut counts);
    let mut only = |list: &[String], is_old: bool| {
        for element in list {
            let Some(left) = counts.get_mut(element) else { continue };
            let surplus = if is_old { *left < 0 } else { *left > 0 };
            if surplus {
                *left += if is_old { 1 } else { -1 };
                let value = Some(element.clone());
                let (old, new) = if is_old { (value, None) } else { (None, value) };
                let (instance, what) = (Some(instance.to_owned()), key.to_owned());
                found.push(Difference { instance, what, old, new, takes_restart: false });
            }
        }
    };
    only(old, true);
    only(new, false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hint, load};

    const OLD: &str = r#"
[[instance]]
name = "n"
type = "nat64"
pool4 = ["203.0.113.2", "203.0.113.3"]
[instance.global]
pool6 = "64:ff9b::/96"
udp-timeout = "0:10:00"
[[instance]]
name = "s"
type = "siit"
eamt = ["192.0.2.1 2001:db8::1"]
"#;

    fn told(old: &str, new: &str) -> Vec<String> {
        let read = |text: &str| load("text", text, &Hint::default()).unwrap().config;
        diff(&read(old), &read(new)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_differs_from_itself() {
        assert_eq!(told(OLD, OLD), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_difference() {
        let new = OLD
            .replace("\"203.0.113.2\", \"203.0.113.3\"", "\"203.0.113.4\", \"203.0.113.2\"")
            .replace("udp-timeout = \"0:10:00\"", "tos = 5")
            .replace("name = \"s\"", "name = \"other\"")
            + "[device]\nqueues = 2\n";
        assert_eq!(
            told(OLD, &new),
            [
                "+ device.queues 2  (takes a restart)",
                "~ NAT64 n: global.tos 0 -> 5",
                "~ NAT64 n: global.udp-timeout \"0:10:00\" -> \"0:05:00\"",
                "- NAT64 n: pool4 \"203.0.113.3/32\"",
                "+ NAT64 n: pool4 \"203.0.113.4/32\"",
                "- instance \"s\" (SIIT)",
                "+ instance \"other\" (SIIT)",
            ]
        );
    }

    #[test]
    fn order_counts_among_instances_only() {
        let (first, second) = OLD.split_at(OLD.rfind("[[instance]]").unwrap());
        assert_eq!(
            told(OLD, &format!("{second}{first}")),
            ["~ order of the instances NAT64 n, SIIT s -> SIIT s, NAT64 n"]
        );
    }
}
