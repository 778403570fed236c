//! What the kernel's program has to know of a configuration: the instances, the entries of stateless tables, and which
//! packets are the translator's where they come in.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xlat_config::{self as model, Config, EamHairpinMode, Ingress, Output};
use xlat_fastpath::config::{
    INSTANCES, Instance, OWN_ADDRESSES, Steer, host_bit4, host_bit6, instance_flag as flag,
};
use xlat_fastpath::stateless::{Eam4, Eam6, EamKey4, EamKey6, FILTER4_MAX, FILTER6_MAX};
use xlat_translate::refused::HostAddresses;

use crate::routes;

/// Bits of the host's addresses, for the map of that name.
pub type HostBits = [u64; 1024];

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastPathPlan {
    /// The instances that the program can know, as the configuration has them. `table` is zero: whoever fills the maps
    /// numbers the tables.
    pub instances: Vec<Instance>,
    /// IPv4 destinations that are ours on interface ingress, longest prefix first.
    pub steer4: Vec<(Ipv4Net, Steer)>,
    /// The same for IPv6.
    pub steer6: Vec<Ipv6Net>,
    /// pool4 of all stateful instances: IPv4 packets for other destinations are the stateless ones'.
    pub pool4: Vec<Ipv4Net>,
    /// The host's own addresses that pool4 shares, by slot ([`Steer::own`] is one more).
    pub own: Vec<Ipv4Addr>,
}

impl FastPathPlan {
    /// What `config` means on the host with the addresses `host`, whose interfaces have the addresses `connected`, each
    /// with the length of its network, and which stands in for an empty pool4 with `implicit`.
    pub fn of(
        config: &Config,
        host: &HostAddresses,
        connected: &[IpNet],
        implicit: Option<Ipv4Addr>,
    ) -> Self {
        let own = shared_masks(config, host, implicit);
        let (mut steer4, mut steer6) = (Vec::new(), Vec::new());
        if config.fast_path.ingress != Ingress::Off {
            let slots = own.iter().zip(1..);
            steer4.extend(slots.map(|(address, own)| (Ipv4Net::from(*address), Steer { own })));
        }
        if config.fast_path.ingress == Ingress::All {
            for net in wanted(config, connected) {
                match net {
                    // An address that is shared is steered as such.
                    IpNet::V4(net) if steer4.iter().any(|(known, _)| *known == net) => {}
                    IpNet::V4(net) => steer4.push((net, Steer { own: 0 })),
                    IpNet::V6(net) => steer6.push(net),
                }
            }
        }
        steer4.sort_by_key(|(net, _)| Reverse(net.prefix_len()));
        steer6.sort_by_key(|net| Reverse(net.prefix_len()));
        Self {
            instances: config.instances.iter().take(INSTANCES as usize).map(instance).collect(),
            steer4,
            steer6,
            pool4: pool4(config, &own),
            own,
        }
    }
}

/// The entries of a stateless instance under a table's number, for both directions. Only the virtual side of an entry is
/// ours on interface ingress, and only if everything is taken up there.
pub fn eam_entries<'a>(
    config: &Config,
    siit: &'a model::Siit,
    connected: &'a [IpNet],
    table: u32,
) -> impl Iterator<Item = ((EamKey4, Eam4), (EamKey6, Eam6))> + 'a {
    let all = config.fast_path.ingress == Ingress::All;
    siit.eamt.iter().map(move |entry| {
        let (net4, net6) = (entry.ipv4.trunc(), entry.ipv6.trunc());
        let (len4, len6) = (net4.prefix_len().into(), net6.prefix_len().into());
        let (prefix4, prefix6) = (net4.addr().octets(), net6.addr().octets());
        let real4 = routes::is_real4(entry, connected);
        (
            (
                EamKey4 { table, len: len4, prefix: prefix4 },
                Eam4 { prefix: prefix6, len: len6, steer: u32::from(all && !real4) },
            ),
            (
                EamKey6 { table, len: len6, prefix: prefix6 },
                Eam6 { prefix: prefix4, len: len4, steer: u32::from(all && real4) },
            ),
        )
    })
}

/// The denylist of a stateless instance under a table's number.
pub fn deny_entries(siit: &model::Siit, table: u32) -> impl Iterator<Item = EamKey4> {
    siit.denylist4.iter().map(move |net| {
        let net = net.trunc();
        EamKey4 { table, len: net.prefix_len().into(), prefix: net.addr().octets() }
    })
}

/// The bits of the host's addresses, directed broadcasts included: stateless packets from or to them go to the daemon.
pub fn host_bits(host: &HostAddresses) -> Box<HostBits> {
    let mut bits = Box::new([0; 1024]);
    let mut set = |(at, mask): (usize, u64)| bits[at] |= mask;
    host.own4().iter().for_each(|address| set(host_bit4(address.octets())));
    host.global6().iter().for_each(|address| set(host_bit6(address.octets())));
    bits
}

/// Prefixes that are the translator's wherever their packets come in, each once. EAM entries are left out: those have a
/// map. What the operator routes to the translator is not if it lies around a network of the host: which of its packets
/// are the translator's, only the kernel's routes know.
fn wanted(config: &Config, connected: &[IpNet]) -> Vec<IpNet> {
    let mut all: Vec<IpNet> = Vec::new();
    let around_ours = |net: &IpNet| connected.iter().any(|own| net.trunc().contains(&own.trunc()));
    for instance in &config.instances {
        match &instance.kind {
            model::Kind::Siit(siit) => {
                let leaves_by_pool6 = routes::leaves_by_pool6(config, instance);
                all.extend(siit.pool6.filter(|_| !leaves_by_pool6).map(IpNet::V6));
                all.extend(siit.global.rfc6791v4_prefix.map(IpNet::V4));
                all.extend(siit.global.rfc6791v6_prefix.map(IpNet::V6));
            }
            model::Kind::Nat64(nat64) => {
                // Marks come from the host's firewall, which is behind interface ingress.
                if nat64.pool4.iter().all(|entry| entry.mark == 0) {
                    all.push(IpNet::V6(nat64.pool6));
                }
                all.extend(nat64.pool4.iter().map(|entry| IpNet::V4(entry.prefix)));
            }
        }
    }
    let added = config.device.routes.iter().chain(config.instances.iter().flat_map(|one| &one.routes));
    all.extend(added.filter(|net| !around_ours(net)));
    let all: BTreeSet<IpNet> = all.iter().map(IpNet::trunc).collect();
    all.into_iter().collect()
}

/// What the stateful instances take of IPv4: `own` stands in for empty pool4s.
fn pool4(config: &Config, own: &[Ipv4Addr]) -> Vec<Ipv4Net> {
    let of = |instance: &model::Instance| match &instance.kind {
        model::Kind::Nat64(nat64) => nat64.pool4.iter().map(|entry| entry.prefix.trunc()).collect(),
        model::Kind::Siit(_) => Vec::new(),
    };
    let nets: BTreeSet<Ipv4Net> =
        config.instances.iter().flat_map(of).chain(own.iter().map(|own| Ipv4Net::from(*own))).collect();
    nets.into_iter().collect()
}

/// The host's own addresses that pool4 has, each once, as many as there are slots.
fn shared_masks(config: &Config, host: &HostAddresses, implicit: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
    let mut shared = BTreeSet::new();
    for instance in &config.instances {
        let model::Kind::Nat64(nat64) = &instance.kind else { continue };
        if nat64.pool4.is_empty() {
            shared.extend(implicit);
        }
        let has = |address: &&Ipv4Addr| nat64.pool4.iter().any(|entry| entry.prefix.contains(*address));
        shared.extend(host.own4().iter().filter(has));
    }
    shared.into_iter().take(OWN_ADDRESSES as usize).collect()
}

/// One instance, as the program knows it.
fn instance(config: &model::Instance) -> Instance {
    let global = &config.global;
    let siit = match &config.kind {
        model::Kind::Siit(siit) => Some(siit),
        model::Kind::Nat64(_) => None,
    };
    let pool6 = config.kind.pool6();
    let flags = [
        (flag::ENABLED, global.manually_enabled),
        (flag::STATELESS, siit.is_some()),
        (flag::POOL6, pool6.is_some()),
        (flag::ZEROIZE_TRAFFIC_CLASS, global.zeroize_traffic_class),
        (flag::OVERRIDE_TOS, global.override_tos),
        (flag::OUTPUT_STACK, config.output == Output::Stack),
        (flag::HAIRPIN, siit.is_some_and(|siit| siit.global.eam_hairpin_mode != EamHairpinMode::Off)),
        (flag::HAND_OVER, global.logging_debug),
    ];
    let (eamt, denylist) = match siit {
        Some(siit) => (&siit.eamt[..], &siit.denylist4[..]),
        None => (&[][..], &[][..]),
    };
    let (lengths4, lengths4_count) = lengths(eamt.iter().map(|entry| entry.ipv4.prefix_len()));
    let (lengths6, lengths6_count) = lengths(eamt.iter().map(|entry| entry.ipv6.prefix_len()));
    let (deny_lengths4, deny_lengths4_count) = lengths(denylist.iter().map(Ipv4Net::prefix_len));
    Instance {
        flags: flags.iter().filter(|(_, set)| *set).fold(0, |flags, (flag, _)| flags | flag),
        tos: global.tos.into(),
        lowest_ipv6_mtu: global.lowest_ipv6_mtu,
        table: 0,
        pool6: pool6.map_or([0; 16], |net| net.network().octets()),
        pool6_len: pool6.map_or(0, |net| net.prefix_len().into()),
        lengths4_count,
        lengths6_count,
        deny_lengths4_count,
        filter4_len: shortest(&lengths4, lengths4_count).min(FILTER4_MAX),
        filter6_len: shortest(&lengths6, lengths6_count).min(FILTER6_MAX),
        lengths4,
        lengths6,
        deny_lengths4,
    }
}

/// The different lengths, longest first, and how many. There is room for every length that a prefix can have.
fn lengths<const N: usize>(of: impl Iterator<Item = u8>) -> ([u8; N], u32) {
    let different: BTreeSet<Reverse<u8>> = of.map(Reverse).collect();
    let mut lengths = [0; N];
    let count = lengths.iter_mut().zip(&different).map(|(place, length)| *place = length.0).count();
    (lengths, count as u32)
}

/// The last of so many lengths.
fn shortest(lengths: &[u8], count: u32) -> u32 {
    lengths.iter().take(count as usize).next_back().map_or(0, |length| u32::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAT64: &str = "[[instance]]\nname = 'n'\ntype = 'nat64'\npool4 = [POOL4]\n\
                         [instance.global]\npool6 = '64:ff9b::/96'\n";

    fn config(toml: &str) -> Config {
        xlat_config::load("test", toml, &xlat_config::Hint::default()).unwrap().config
    }

    fn nat64(pool4: &str, ingress: &str) -> Config {
        config(&format!("[fast-path]\ningress = '{ingress}'\n{}", NAT64.replace("POOL4", pool4)))
    }

    /// The plan on T of the design's scene: destinations with their slots, as text.
    fn steered(config: &Config) -> (Vec<String>, Vec<String>) {
        let v4 = vec![([203, 0, 113, 1].into(), 24), ([203, 0, 113, 2].into(), 24)];
        let host = HostAddresses::new(v4, vec!["2001:db8::1".parse().unwrap()]);
        let connected =
            ["203.0.113.1/24", "203.0.113.2/24", "2001:db8::1/96"].map(|net| net.parse().unwrap());
        let plan = FastPathPlan::of(config, &host, &connected, Some([203, 0, 113, 1].into()));
        let steer4 = plan.steer4.iter().map(|(net, steer)| format!("{net} {}", steer.own)).collect();
        (steer4, plan.steer6.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_steered_depends_on_what_ingress_is_for() {
        let own = vec!["203.0.113.2/32 1".to_owned()];
        let pool6 = vec!["64:ff9b::/96".to_owned()];
        assert_eq!(steered(&nat64("'203.0.113.2'", "off")), (vec![], vec![]));
        assert_eq!(steered(&nat64("'203.0.113.2'", "auto")), (own.clone(), vec![]));
        assert_eq!(steered(&nat64("'203.0.113.2'", "all")), (own, pool6.clone()));
        let mixed = ["203.0.113.1/32 1", "203.0.113.2/32 2", "203.0.113.0/28 0", "192.0.2.0/24 0"];
        let all = nat64("'192.0.2.0/24', '203.0.113.0/28'", "all");
        assert_eq!(steered(&all), (mixed.map(String::from).to_vec(), pool6.clone()));
        // Nothing in pool4: the host's address stands in.
        assert_eq!(steered(&nat64("", "all")), (vec!["203.0.113.1/32 1".to_owned()], pool6));
        // The mark is not known at ingress.
        let marked = nat64("{ prefix = '192.0.2.1', mark = 7 }", "all");
        assert_eq!(steered(&marked), (vec!["192.0.2.1/32 0".to_owned()], vec![]));
    }

    #[test]
    fn routes_around_the_hosts_networks_stay_routes() {
        let siit = "[fast-path]\ningress = 'all'\n[[instance]]\nname = 's'\ntype = 'siit'\n\
                    routes = ['0.0.0.0/0', '198.51.100.0/24', '203.0.0.0/8']\n\
                    eamt = ['192.168.0.8 2001:db8:2::']\n[instance.global]\npool6 = '64:ff9b::/96'";
        assert_eq!(steered(&config(siit)), (vec!["198.51.100.0/24 0".to_owned()], vec![]));
    }

    #[test]
    fn an_instance_is_described_in_full() {
        let siit = config(
            "[[instance]]\nname = 's'\ntype = 'siit'\ndenylist4 = ['10.0.0.0/8', '192.0.2.0/24']\n\
             eamt = ['198.51.100.0/24 2001:db8:6::/120', '192.0.2.1 2001:db8:4::1', '192.0.2.2 2001:db8:4::2']\n\
             [instance.global]\npool6 = '64:ff9b::/96'\nlogging-debug = true\noverride-tos = true\ntos = 9",
        );
        let made = instance(&siit.instances[0]);
        let set =
            [flag::ENABLED, flag::STATELESS, flag::POOL6, flag::OVERRIDE_TOS, flag::HAIRPIN, flag::HAND_OVER];
        assert_eq!(made.flags, set.iter().sum::<u32>());
        assert_eq!((made.tos, made.lowest_ipv6_mtu, made.pool6_len), (9, 1280, 96));
        assert_eq!(made.pool6[..4], [0, 0x64, 0xff, 0x9b]);
        assert_eq!((made.lengths4_count, &made.lengths4[..2]), (2, &[32, 24][..]));
        assert_eq!((made.lengths6_count, &made.lengths6[..2]), (2, &[128, 120][..]));
        assert_eq!((made.filter4_len, made.filter6_len), (24, 64));
        assert_eq!((made.deny_lengths4_count, &made.deny_lengths4[..2]), (2, &[24, 8][..]));
    }

    #[test]
    fn of_an_eam_entry_the_virtual_side_is_steered() {
        let config = config(
            "[fast-path]\ningress = 'all'\n[[instance]]\nname = 's'\ntype = 'siit'\n\
             eamt = ['198.51.100.0/24 2001:db8:6::/120', '192.0.2.0/24 2001:db8:4::/120']",
        );
        let model::Kind::Siit(siit) = &config.instances[0].kind else { panic!("not stateless") };
        let connected = ["2001:db8:6::1/96", "192.0.2.1/24"].map(|net| net.parse().unwrap());
        let entries: Vec<_> = eam_entries(&config, siit, &connected, 5).collect();
        let steers: Vec<_> = entries.iter().map(|((_, four), (_, six))| (four.steer, six.steer)).collect();
        assert_eq!(steers, [(1, 0), (0, 1)]);
        let ((key4, four), (key6, six)) = entries[0];
        assert_eq!((key4, key6.table), (EamKey4 { table: 5, len: 24, prefix: [198, 51, 100, 0] }, 5));
        assert_eq!((four.len, six.len, six.prefix, four.prefix), (120, 24, key4.prefix, key6.prefix));
    }

    #[test]
    fn own_addresses_have_their_bits() {
        let host =
            HostAddresses::new(vec![([203, 0, 113, 2].into(), 24)], vec!["2001:db8::1".parse().unwrap()]);
        let bits = host_bits(&host);
        let six: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        for (at, mask) in
            [host_bit4([203, 0, 113, 2]), host_bit4([203, 0, 113, 255]), host_bit6(six.octets())]
        {
            assert!(bits[at] & mask != 0);
        }
        assert!(bits.iter().map(|word| word.count_ones()).sum::<u32>() <= 3);
    }
}
