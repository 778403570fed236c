//! What the parts of a configuration must be to each other: nothing twice, nothing claimed by two, everything complete.
//! Near linear in the number of entries, also with a million of them.

use std::collections::{BTreeMap, HashMap};

use ipnet::Ipv4Net;

use crate::check;
use crate::diagnostic::{Diagnostic, Diagnostics, List, Place};
use crate::model::{BibEntry, Config, EamEntry, Instance, Kind, Nat64, Pool4Entry, Protocol, Siit};
use crate::value::Problem;

/// Ports that an empty pool4 stands for.
const IMPLICIT_PORTS_FIRST: u16 = 61001;

/// Checks a whole configuration, also one that was made without a file. Bounds of single numbers are the readers' task.
#[must_use]
pub fn validate(config: &Config) -> Diagnostics {
    let mut found = Diagnostics::default();
    if config.instances.is_empty() {
        let help = "add [[instance]] with name, type and what it translates; see docs/configuration.md";
        // Instances can be made by command, too.
        let message = "the configuration has no instance: nothing is translated";
        found.push(Diagnostic::warning(Place::File, message, help));
    }
    names(config, &mut found);
    pool6_of_instances(config, &mut found);
    let blocks = pool4_blocks(config, &mut found);
    for (index, instance) in config.instances.iter().enumerate() {
        single_values(index, instance, &mut found);
        match &instance.kind {
            Kind::Siit(siit) => stateless(index, siit, &mut found),
            Kind::Nat64(nat64) => stateful(index, nat64, &blocks, &mut found),
        }
    }
    found
}

fn names(config: &Config, found: &mut Diagnostics) {
    let mut seen = HashMap::new();
    for (index, instance) in config.instances.iter().enumerate() {
        let translator = instance.kind.translator();
        if let Some(first) = seen.insert((translator, instance.name.as_str()), index) {
            let message = format!("two {translator} instances have the name '{}'", instance.name);
            let help = format!("the other one is number {}; rename one of them", first + 1);
            found.push(Diagnostic::error(Place::Instance(index), message, help));
        }
    }
}

/// One prefix can belong to one NAT64 only; nested ones are legal though seldom meant.
fn pool6_of_instances(config: &Config, found: &mut Diagnostics) {
    let mut prefixes: Vec<_> = config.instances.iter().enumerate().collect();
    prefixes.retain(|(_, instance)| instance.kind.pool6().is_some());
    // Of equal prefixes those of NAT64s stand together.
    prefixes.sort_by_key(|(_, instance)| (instance.kind.pool6(), matches!(instance.kind, Kind::Siit(_))));
    for pair in prefixes.windows(2) {
        let [(_, first), (index, second)] = pair else { continue };
        let (Some(outer), Some(inner)) = (first.kind.pool6(), second.kind.pool6()) else { continue };
        let place = Place::Option(*index, "pool6");
        let stateful = |instance: &Instance| matches!(instance.kind, Kind::Nat64(_));
        if outer == inner && stateful(first) && stateful(second) {
            let message = format!("the instances '{}' and '{}' have the same pool6", first.name, second.name);
            let help = "give each NAT64 a prefix of its own, or join the two into one instance";
            found.push(Diagnostic::error(place, message, help));
        } else if outer.contains(&inner) {
            let message =
                format!("pool6 {inner} of '{}' overlaps with pool6 {outer} of '{}'", second.name, first.name);
            let help = "packets for both go to only one of them; use prefixes that do not overlap";
            found.push(Diagnostic::warning(place, message, help));
        }
    }
}

/// For configurations made by hand; what the readers made passes.
fn single_values(index: usize, instance: &Instance, found: &mut Diagnostics) {
    let mut check = |place, result: Result<(), Problem>| {
        if let Err(Problem { message, help }) = result {
            found.push(Diagnostic::error(place, message, help));
        }
    };
    check(Place::Instance(index), check::instance_name(&instance.name).map(drop));
    check(Place::Option(index, "pool6"), instance.kind.pool6().map_or(Ok(()), check::pool6));
    match &instance.kind {
        Kind::Siit(siit) => {
            let prefix = siit.global.rfc6791v4_prefix;
            check(Place::Option(index, "rfc6791v4-prefix"), prefix.map_or(Ok(()), check::rfc6791v4));
            for (element, entry) in siit.eamt.iter().enumerate() {
                check(Place::Element(index, List::Eamt, element), check::eam(*entry));
            }
        }
        Kind::Nat64(nat64) => {
            for (element, entry) in nat64.pool4.iter().enumerate() {
                check(Place::Element(index, List::Pool4, element), check::pool4(entry.prefix));
            }
        }
    }
}

fn stateless(index: usize, siit: &Siit, found: &mut Diagnostics) {
    if siit.pool6.is_none() && siit.eamt.is_empty() {
        let help = "add pool6 to its global options, or an eamt";
        found.push(Diagnostic::warning(Place::Instance(index), "this instance translates nothing", help));
    }
    if siit.global.rfc6791v4_dummy && siit.global.rfc6791v4_prefix.is_some() {
        let message = "rfc6791v4-dummy has no effect where rfc6791v4-prefix is set";
        let place = Place::Option(index, "rfc6791v4-dummy");
        found.push(Diagnostic::warning(place, message, "leave one of them out"));
    }
    for (element, prefix) in siit.denylist4.iter().enumerate() {
        if let Some(network) = check::subnet_scoped(*prefix) {
            let message = format!("Prefix {prefix} intersects with subnet scoped network {network}.");
            let help = "addresses of that network are never translated anyway";
            found.push(Diagnostic::warning(Place::Element(index, List::Denylist4, element), message, help));
        }
    }
    eam_conflicts(index, &siit.eamt, found);
}

/// The same prefix twice on either side is an error; one within another is RFC 7757's longest prefix first.
fn eam_conflicts(index: usize, eamt: &[EamEntry], found: &mut Diagnostics) {
    let mut order: Vec<usize> = (0..eamt.len()).collect();
    order.sort_by_key(|&element| (eamt[element].ipv4, element));
    let same4 = |a: usize, b: usize| eamt[a].ipv4 == eamt[b].ipv4;
    let inside4 = |outer: usize, inner: usize| eamt[outer].ipv4.contains(&eamt[inner].ipv4);
    let nested4 = neighbours(index, eamt, &order, same4, inside4, found);
    order.sort_by_key(|&element| (eamt[element].ipv6, element));
    let same6 = |a: usize, b: usize| eamt[a].ipv6 == eamt[b].ipv6;
    let inside6 = |outer: usize, inner: usize| eamt[outer].ipv6.contains(&eamt[inner].ipv6);
    let nested6 = neighbours(index, eamt, &order, same6, inside6, found);
    if let Some((inner, outer)) = nested4.or(nested6) {
        let message = format!("EAM {} overlaps with EAM {}", pair(&eamt[inner]), pair(&eamt[outer]));
        let help = "where EAMs overlap the longest prefix wins (RFC 7757), in each direction by itself";
        found.push(Diagnostic::warning(Place::Element(index, List::Eamt, inner), message, help));
    }
}

/// Looks at entries in the order of their prefixes, where an outer prefix comes before those inside: equal ones are
/// reported; the first that lies within another is returned with it.
fn neighbours(
    index: usize,
    eamt: &[EamEntry],
    order: &[usize],
    same: impl Fn(usize, usize) -> bool,
    inside: impl Fn(usize, usize) -> bool,
    found: &mut Diagnostics,
) -> Option<(usize, usize)> {
    let mut nested = None;
    for neighbours in order.windows(2) {
        let &[before, element] = neighbours else { continue };
        if same(before, element) {
            let (entry, other) = (pair(&eamt[element]), pair(&eamt[before]));
            let message = format!("EAM {entry} has a prefix that EAM {other} has already");
            let help = "a prefix can be mapped only once; remove one of the two entries";
            found.push(Diagnostic::error(Place::Element(index, List::Eamt, element), message, help));
        } else if nested.is_none() && inside(before, element) {
            nested = Some((element, before));
        }
    }
    nested
}

fn pair(entry: &EamEntry) -> String {
    format!("[{} | {}]", entry.ipv6, entry.ipv4)
}

fn stateful(index: usize, nat64: &Nat64, blocks: &Blocks, found: &mut Diagnostics) {
    let (mut clients, mut masks) = (HashMap::new(), HashMap::new());
    for (element, entry) in nat64.bib.iter().enumerate() {
        let place = Place::Element(index, List::Bib, element);
        let BibEntry { protocol, ipv6, ipv4 } = *entry;
        let mut error = |message: String, help: &str| found.push(Diagnostic::error(place, message, help));
        if protocol != Protocol::Icmp && (ipv6.1 == 0 || ipv4.1 == 0) {
            error(format!("port 0 does not exist for {protocol}"), "write a port from 1 to 65535");
            continue;
        }
        let owned = match nat64.pool4.is_empty() {
            true => ipv4.1 >= IMPLICIT_PORTS_FIRST,
            false => blocks.owner(protocol, ipv4) == Some(index),
        };
        if !owned {
            let taddr = format!("{}#{}", ipv4.0, ipv4.1);
            let message = format!("{protocol} BIB transport address '{taddr}' does not belong to pool4.");
            error(message, "Please add it there first.");
        }
        let again = clients.insert((protocol, ipv6), element).is_some();
        if again {
            let message = format!("{protocol} BIB: '{}#{}' is mapped twice", ipv6.0, ipv6.1);
            error(message, "a client's transport address has one mask; remove one of the entries");
        }
        if masks.insert((protocol, ipv4), element).is_some() && !again {
            let message = format!("{protocol} BIB: '{}#{}' masks two clients", ipv4.0, ipv4.1);
            error(message, "a mask belongs to one client's transport address; remove one of the entries");
        }
    }
}

/// Puts every instance's pool4 into one collection; what two instances claim is reported. The sets of one instance's marks
/// may share ports: each transport address is given to one client at a time, whichever set it was chosen from.
fn pool4_blocks(config: &Config, found: &mut Diagnostics) -> Blocks {
    let mut entries = Vec::new();
    for (instance, nat64) in config.instances.iter().enumerate() {
        if let Kind::Nat64(nat64) = &nat64.kind {
            entries.extend(nat64.pool4.iter().enumerate().map(|(element, entry)| (instance, element, entry)));
        }
    }
    // Outer prefixes first: a new one can then only lie within those that are there.
    entries.sort_by_key(|(_, _, entry)| entry.prefix.prefix_len());
    let mut blocks = Blocks::default();
    for (owner, element, entry) in entries {
        let Some(other) = blocks.insert(entry, owner) else { continue };
        let place = Place::Element(owner, List::Pool4, element);
        let (start, end) = (entry.ports.start(), entry.ports.end());
        let whose = config.instances.get(other).map_or("", |instance| instance.name.as_str());
        let message = format!(
            "{} ports {start}-{end} of {} overlap with pool4 of instance '{whose}'",
            entry.protocol, entry.prefix
        );
        let help = "a port of an address can belong to one instance only; split the range";
        found.push(Diagnostic::error(place, message, help));
    }
    blocks
}

/// Disjoint port ranges (first port -> last port and the instance that has them) by protocol and prefix.
#[derive(Default)]
struct Blocks {
    ranges: HashMap<(Protocol, Ipv4Net), BTreeMap<u16, (u16, usize)>>,
}

impl Blocks {
    /// Adds an entry whose prefix is not shorter than those added before, or gives another instance that has part of it.
    fn insert(&mut self, entry: &Pool4Entry, owner: usize) -> Option<usize> {
        let (mut start, mut end) = (*entry.ports.start(), *entry.ports.end());
        if start > end {
            return None;
        }
        for prefix in enclosing(entry.prefix) {
            let Some(ranges) = self.ranges.get_mut(&(entry.protocol, prefix)) else { continue };
            let overlapping: Vec<(u16, u16, usize)> = ranges
                .range(..=end)
                .rev()
                .take_while(|(_, (last, _))| *last >= start)
                .map(|(&first, &(last, other))| (first, last, other))
                .collect();
            if let Some((_, _, other)) = overlapping.iter().find(|(_, _, other)| *other != owner) {
                return Some(*other);
            }
            // Ranges of one instance may overlap and are merged.
            if prefix == entry.prefix {
                for (first, last, _) in overlapping {
                    (start, end) = (start.min(first), end.max(last));
                    ranges.remove(&first);
                }
            }
        }
        self.ranges.entry((entry.protocol, entry.prefix)).or_default().insert(start, (end, owner));
        None
    }

    fn owner(&self, protocol: Protocol, (address, port): (std::net::Ipv4Addr, u16)) -> Option<usize> {
        enclosing(Ipv4Net::from(address)).find_map(|prefix| {
            let (_, &(last, owner)) = self.ranges.get(&(protocol, prefix))?.range(..=port).next_back()?;
            (last >= port).then_some(owner)
        })
    }
}

/// The prefix and all around it, shortest first.
fn enclosing(prefix: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    (0..=prefix.prefix_len())
        .filter_map(move |length| Some(Ipv4Net::new(prefix.network(), length).ok()?.trunc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MaxIterations;
    use proptest::prelude::*;

    fn eam(ipv6: &str, ipv4: &str) -> EamEntry {
        EamEntry { ipv6: ipv6.parse().unwrap(), ipv4: ipv4.parse().unwrap() }
    }

    fn eam_findings(eamt: &[EamEntry]) -> (usize, usize) {
        let mut found = Diagnostics::default();
        eam_conflicts(0, eamt, &mut found);
        let errors = found.list.iter().filter(|one| one.severity == crate::Severity::Error).count();
        (errors, found.list.len() - errors)
    }

    #[test]
    fn eam_conflicts_are_errors_and_overlaps_warnings() {
        let entry = eam("2001:db8::/120", "192.0.2.0/24");
        assert_eq!(eam_findings(&[entry, eam("2001:db8:1::/120", "198.51.100.0/24")]), (0, 0));
        assert_eq!(eam_findings(&[entry, eam("2001:db8:1::/120", "192.0.2.0/24")]), (1, 0));
        assert_eq!(eam_findings(&[entry, eam("2001:db8::/120", "198.51.100.0/24")]), (1, 0));
        assert_eq!(eam_findings(&[entry, eam("2001:db8:1::/128", "192.0.2.7/32")]), (0, 1));
        assert_eq!(eam_findings(&[eam("2001:db8::7/128", "198.51.100.7/32"), entry]), (0, 1));
    }

    #[test]
    fn two_nat64s_with_one_pool6_are_found_whatever_lies_between() {
        let pool6 = "64:ff9b::/96".parse().unwrap();
        let instance = |name: &str, kind| Instance {
            name: name.to_owned(),
            global: Default::default(),
            limits: Default::default(),
            routes: Vec::new(),
            output: crate::Output::Direct,
            kind,
        };
        let nat64 = || {
            let (pool4, bib) = Default::default();
            Kind::Nat64(Box::new(Nat64 { pool6, global: Default::default(), pool4, bib }))
        };
        let siit = Kind::Siit(Box::new(Siit { pool6: Some(pool6), ..Default::default() }));
        let instances = vec![instance("a", nat64()), instance("b", siit), instance("c", nat64())];
        let found = validate(&Config { instances, ..Default::default() });
        assert!(found.has_errors(), "{found}");
    }

    fn block() -> impl Strategy<Value = (Pool4Entry, usize)> {
        let numbers = (0..8_u32, 29..=32_u8, 1..12_u16, 0..4_u16, 0..3_u32, 0..3_usize);
        numbers.prop_map(|(host, length, start, more, mark, instance)| {
            let prefix = Ipv4Net::new((0xC000_0200 + host).into(), length).unwrap().trunc();
            let ports = start..=start + more;
            let max_iterations = MaxIterations::Auto;
            (Pool4Entry { protocol: Protocol::Udp, prefix, ports, mark, max_iterations }, instance)
        })
    }

    proptest! {
        /// Against a map with one entry per transport address.
        #[test]
        fn blocks_find_every_overlap(mut blocks in prop::collection::vec(block(), 0..12)) {
            blocks.sort_by_key(|(entry, _)| entry.prefix.prefix_len());
            let (mut tested, mut model) = (Blocks::default(), HashMap::new());
            for (entry, owner) in blocks {
                let all = || (u32::from(entry.prefix.network())..=u32::from(entry.prefix.broadcast()))
                    .flat_map(|address| entry.ports.clone().map(move |port| (address.into(), port)));
                let conflict = all().any(|taddr| model.get(&taddr).is_some_and(|other| *other != owner));
                prop_assert_eq!(tested.insert(&entry, owner).is_some(), conflict);
                if !conflict {
                    model.extend(all().map(|taddr| (taddr, owner)));
                }
            }
            for host in 0..8_u32 {
                for port in 0..20 {
                    let taddr: (std::net::Ipv4Addr, u16) = ((0xC000_0200 + host).into(), port);
                    prop_assert_eq!(tested.owner(Protocol::Udp, taddr), model.get(&taddr).copied());
                }
            }
        }
    }
}
