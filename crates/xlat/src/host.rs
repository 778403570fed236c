//! The host's addresses and interfaces, in the forms that configuration checks, engine and routes want them.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xlat_config::{Config, Diagnostic, HostFacts, Ingress, Loaded, Severity, check_host};
use xlat_linux::clock::ephemeral_ports;
use xlat_linux::netlink::watch::HostAddresses;
use xlat_translate::refused;

/// What Linux gives to local sockets unless told otherwise.
const EPHEMERAL: (u16, u16) = (32768, 60999);

/// The host's own networks, loopback and our `device` left out: addresses with the length of their network.
pub(crate) fn connected(host: &HostAddresses, device: &str) -> Vec<IpNet> {
    let counts = |index: u32| {
        let interface = host.interfaces.iter().find(|interface| interface.index == index);
        interface.is_some_and(|interface| !interface.loopback && interface.name != device)
    };
    let v4 =
        host.v4.iter().filter(|own| counts(own.interface)).map(|own| (own.address.into(), own.prefix_len));
    let v6 =
        host.v6.iter().filter(|own| counts(own.interface)).map(|own| (own.address.into(), own.prefix_len));
    v4.chain(v6).filter_map(|(address, len)| IpNet::new(address, len).ok()).collect()
}

/// What the engine has to know: all addresses, loopback included.
pub(crate) fn own_addresses(host: &HostAddresses) -> refused::HostAddresses {
    let v4 = host.v4.iter().map(|own| (own.address, own.prefix_len)).collect();
    refused::HostAddresses::new(v4, host.v6.iter().map(|own| own.address).collect())
}

/// Checks a configuration against the host; each finding comes with its place in the file. `no_sharing` says why the
/// host's own addresses cannot be in pool4, if they cannot.
pub(crate) fn check(loaded: &Loaded, host: &HostAddresses, no_sharing: Option<&str>) -> Vec<Diagnostic> {
    findings(&loaded.config, host, no_sharing).into_iter().map(|found| loaded.source.locate(found)).collect()
}

/// Checks a configuration against the host, whether or not it comes from a file.
pub(crate) fn findings(config: &Config, host: &HostAddresses, no_sharing: Option<&str>) -> Vec<Diagnostic> {
    let (mut addresses4, mut addresses6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = (Vec::new(), Vec::new());
    for net in connected(host, &config.device.name) {
        match net {
            IpNet::V4(net) => addresses4.push(net),
            IpNet::V6(net) => addresses6.push(net),
        }
    }
    let (first, last) = own_ports();
    let interfaces = host.interfaces.iter().map(|interface| interface.name.clone()).collect();
    let turned_off = match (config.fast_path.enabled, config.fast_path.ingress) {
        // Also where it is at work still: the next start would fail.
        (false, _) => Some("the fast path is turned off ([fast-path] enabled)"),
        (true, Ingress::Off) => Some("ingress mode is turned off ([fast-path] ingress)"),
        (true, Ingress::Auto | Ingress::All) => None,
    };
    let no_sharing = no_sharing.or(turned_off).map(str::to_owned);
    let facts = HostFacts { interfaces, addresses4, addresses6, ephemeral_ports: first..=last, no_sharing };
    check_host(config, &facts)
}

/// First and last port that the host gives to its own sockets.
pub(crate) fn own_ports() -> (u16, u16) {
    ephemeral_ports().unwrap_or(EPHEMERAL)
}

/// True if one of `found` is an error.
pub(crate) fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}
