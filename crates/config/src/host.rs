//! What a configuration needs of the host it is to run on. Facts in, diagnostics out; gathering the facts is somebody
//! else's task.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::diagnostic::{Diagnostic, List, Place, Severity, suggestion};
use crate::model::{Config, Kind, Nat64, Pool4Entry, Protocol, Siit};

/// The host as far as a configuration depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Names of all interfaces.
    pub interfaces: Vec<String>,
    /// IPv4 addresses of all interfaces but loopback, each with the length of its network.
    pub addresses4: Vec<Ipv4Net>,
    /// IPv6 addresses of all interfaces but loopback, each with the length of its network.
    pub addresses6: Vec<Ipv6Net>,
    /// `net.ipv4.ip_local_port_range`.
    pub ephemeral_ports: RangeInclusive<u16>,
    /// Why translator and host cannot share an address (no ingress mode); `None`: they can.
    pub no_sharing: Option<String>,
}

/// Checks whether the configuration can work on this host.
#[must_use]
pub fn check_host(config: &Config, host: &HostFacts) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(name) = &config.device.proxy_interface {
        found.extend(missing_interface(name, Place::Device("proxy-interface"), host));
    }
    for name in &config.fast_path.interfaces {
        found.extend(missing_interface(name, Place::FastPath("interfaces"), host).map(|found| Diagnostic {
            // It may come later: interfaces are taken up as they appear.
            severity: Severity::Warning,
            ..found
        }));
    }
    for (index, instance) in config.instances.iter().enumerate() {
        if let Some(pool6) = instance.kind.pool6()
            && let Some(own) = host.addresses6.iter().find(|own| pool6.contains(&own.addr()))
        {
            let message = format!("pool6 {pool6} covers this host's own address {}", own.addr());
            let help =
                "packets to that address may be translated instead of delivered; use a prefix apart from it";
            found.push(Diagnostic::warning(Place::Option(index, "pool6"), message, help));
        }
        match &instance.kind {
            Kind::Siit(siit) => stateless(index, siit, host, &mut found),
            Kind::Nat64(nat64) => stateful(index, nat64, host, &mut found),
        }
    }
    found
}

fn missing_interface(name: &str, place: Place, host: &HostFacts) -> Option<Diagnostic> {
    if host.interfaces.iter().any(|known| known == name) {
        return None;
    }
    let known = host.interfaces.iter().map(String::as_str);
    let meant = suggestion(name, known.clone()).map(|meant| format!("did you mean '{meant}'? "));
    let list = known.collect::<Vec<_>>().join(", ");
    let help = format!("{}the interfaces here are: {list}", meant.unwrap_or_default());
    let message = format!("there is no interface '{name}'");
    Some(Diagnostic::error(place, message, help))
}

fn stateless(index: usize, siit: &Siit, host: &HostFacts, found: &mut Vec<Diagnostic>) {
    for (element, entry) in siit.eamt.iter().enumerate() {
        let own4 = host.addresses4.iter().find(|own| entry.ipv4.contains(&own.addr()));
        if let Some(own) = own4 {
            let message = format!("EAM prefix {} covers this host's own address {}", entry.ipv4, own.addr());
            let help = "packets to that address are never translated; leave it out if that is not meant";
            found.push(Diagnostic::warning(Place::Element(index, List::Eamt, element), message, help));
        }
        let own6 = host.addresses6.iter().find(|own| entry.ipv6.contains(&own.addr()));
        if let Some(own) = own6 {
            let message = format!("EAM prefix {} covers this host's own address {}", entry.ipv6, own.addr());
            let help =
                "packets to that address may be translated instead of delivered; use a prefix apart from it";
            found.push(Diagnostic::warning(Place::Element(index, List::Eamt, element), message, help));
        }
    }
}

fn stateful(index: usize, nat64: &Nat64, host: &HostFacts, found: &mut Vec<Diagnostic>) {
    if nat64.pool4.is_empty()
        && let Some(why) = &host.no_sharing
    {
        let message = "pool4 is empty, which means this host's own addresses";
        let help = format!(
            "{why}; give the instance an IPv4 address that no interface has, for instance pool4 = [\"203.0.113.2\"]"
        );
        found.push(Diagnostic::error(Place::Instance(index), message, help));
    }
    let mut told = HashSet::new();
    for (element, entry) in nat64.pool4.iter().enumerate() {
        let Some(own) = host.addresses4.iter().find(|own| entry.prefix.contains(&own.addr())) else {
            continue;
        };
        let place = Place::Element(index, List::Pool4, element);
        match (&host.no_sharing, ephemeral(entry, host)) {
            (Some(why), _) if told.insert(entry.prefix) => {
                let message = format!("pool4 {} has this host's own address {}", entry.prefix, own.addr());
                let help = format!("{why}; use an address that no interface has");
                found.push(Diagnostic::error(place, message, help));
            }
            (None, Some(ports)) if told.insert(entry.prefix) => {
                let message = format!(
                    "pool4 {} has this host's own address {} with ports that its own programs get too ({}-{})",
                    entry.prefix,
                    own.addr(),
                    ports.start(),
                    ports.end()
                );
                let help = "a connection of this host may meet a client's mask; give pool4 other ports, or set \
                            net.ipv4.ip_local_port_range apart from them";
                found.push(Diagnostic::warning(place, message, help));
            }
            _nothing_to_say => {}
        }
    }
}

/// Ports of an entry that this host's own programs get too.
fn ephemeral(entry: &Pool4Entry, host: &HostFacts) -> Option<RangeInclusive<u16>> {
    let (ports, taken) = (&entry.ports, &host.ephemeral_ports);
    let common = *ports.start().max(taken.start())..=*ports.end().min(taken.end());
    (entry.protocol != Protocol::Icmp && !common.is_empty()).then_some(common)
}
