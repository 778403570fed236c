//! What has to reach the engine on the routed path: prefixes for the kernel's routing table, and those of them that
//! neighbours on a link will ask for.
//!
//! An EAM entry (RFC 7757 3.1) pairs the addresses that nodes really have with addresses that only the translator
//! knows. The table does not say which is which, but where the nodes are tells: only the other side is routed to the
//! translator, or nobody could reach the nodes themselves any more.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use xlat_config::{self as model, Config};
use xlat_translate::rfc6052::Pool6;

/// Prefixes that have to reach the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// To be routed to the device.
    pub routes: Vec<IpNet>,
    /// Of these, IPv4 prefixes for which somebody on a link may ask by ARP.
    pub proxied4: Vec<Ipv4Net>,
    /// Of these, IPv6 prefixes for which somebody on a link may ask by neighbour discovery.
    pub proxied6: Vec<Ipv6Net>,
}

impl Routes {
    /// What `config` needs on a host whose interfaces have the addresses `connected`, each with the length of its
    /// network: pool6, pool4, the virtual side of each EAM entry, RFC 6791 pools, and what the operator added.
    ///
    /// Where all of IPv4 is to be translated (`0.0.0.0/0` among what the operator added to a stateless translator), pool6
    /// is where the packets leave to: the host is a CLAT (RFC 6877) or an edge relay (RFC 7756), and pool6 stays as it was
    /// routed.
    ///
    /// The nodes of a connected network within a stateless pool6 are reached by the IPv4 addresses in theirs: these are routed,
    /// too.
    ///
    /// The real side of an EAM entry is the IPv6 one, unless only the IPv4 one lies in a connected network.
    pub fn of(config: &Config, connected: &[IpNet]) -> Self {
        let on_link = |net: &IpNet| is_on_link(net, connected);
        let mut wanted: Vec<IpNet> = config.device.routes.clone();
        let mut routes: Vec<IpNet> = Vec::new();
        for instance in &config.instances {
            wanted.extend(&instance.routes);
            let leaves_by_pool6 = leaves_by_pool6(config, instance);
            match &instance.kind {
                model::Kind::Siit(siit) => {
                    if let Some(pool6) = siit.pool6.filter(|_| !leaves_by_pool6) {
                        routes.push(IpNet::V6(pool6));
                        let known = connected.iter().filter_map(|own| known_by(pool6, own)).map(IpNet::V4);
                        // What is on a link here stays there.
                        let here = |net: &IpNet| {
                            connected
                                .iter()
                                .any(|own| net.contains(&own.trunc()) || own.trunc().contains(net))
                        };
                        routes.extend(known.filter(|net| !here(net)));
                    }
                    for entry in &siit.eamt {
                        let real4 = is_real4(entry, connected);
                        routes.push(if real4 { IpNet::V6(entry.ipv6) } else { IpNet::V4(entry.ipv4) });
                    }
                    routes.extend(siit.global.rfc6791v4_prefix.map(IpNet::V4));
                    routes.extend(siit.global.rfc6791v6_prefix.map(IpNet::V6));
                }
                model::Kind::Nat64(nat64) => {
                    routes.push(IpNet::V6(nat64.pool6));
                    routes.extend(nat64.pool4.iter().map(|entry| IpNet::V4(entry.prefix)));
                }
            }
        }
        // What the operator added is not joined with the rest: within a default route, a pool4 address of a connected
        // network still needs its own.
        let mut routes = IpNet::aggregate(&routes);
        routes.extend(wanted.iter().map(IpNet::trunc));
        routes.sort_unstable();
        routes.dedup();
        let moving = moving(config);
        let moves = |net: &IpNet| moving.iter().any(|other| other.contains(net) || net.contains(other));
        let asked_for = |net: &&IpNet| match config.device.proxy_interface {
            Some(_) => net.prefix_len() != 0,
            None => on_link(net) && !moves(net),
        };
        let (mut proxied4, mut proxied6) = (Vec::new(), Vec::new());
        for net in routes.iter().filter(asked_for) {
            match net {
                IpNet::V4(net) => proxied4.push(*net),
                // Where an interface is named, nobody can ask for all of a pool6 there one by one.
                IpNet::V6(net) if on_link(&IpNet::V6(*net)) || net.prefix_len() == 128 => proxied6.push(*net),
                IpNet::V6(_) => {}
            }
        }
        Self { routes, proxied4, proxied6 }
    }
}

/// What several translators have together: who of them answers for it on a link is decided elsewhere (VRRP).
fn moving(config: &Config) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for instance in &config.instances {
        let model::Kind::Nat64(nat64) = &instance.kind else { continue };
        if nat64.global.ss_enabled {
            nets.push(IpNet::V6(nat64.pool6));
            nets.extend(nat64.pool4.iter().map(|entry| IpNet::V4(entry.prefix)));
        }
    }
    nets
}

/// By which IPv4 addresses the nodes of a connected network within `pool6` are reached. Nothing for a network that has all of
/// IPv4.
fn known_by(pool6: Ipv6Net, own: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(own) = own else { return None };
    let own = own.trunc();
    if !pool6.contains(&own) {
        return None;
    }
    // Bits 64 to 71 hold no address (RFC 6052 2.2).
    let bits = (pool6.prefix_len()..own.prefix_len()).filter(|bit| !(64..72).contains(bit)).count().min(32);
    let address = Pool6::new(pool6).ok()?.extract(own.network())?;
    Ipv4Net::new(address, u8::try_from(bits).ok()?).ok().filter(|net| net.prefix_len() != 0)
}

/// Whether all of IPv4 is translated, so that pool6 is where the packets leave to.
pub(crate) fn leaves_by_pool6(config: &Config, instance: &model::Instance) -> bool {
    let is_all4 = |net: &IpNet| matches!(net, IpNet::V4(net) if net.prefix_len() == 0);
    config.device.routes.iter().chain(&instance.routes).any(is_all4)
}

/// Whether the nodes of an EAM entry really have its IPv4 addresses.
pub(crate) fn is_real4(entry: &model::EamEntry, connected: &[IpNet]) -> bool {
    is_on_link(&IpNet::V4(entry.ipv4), connected) && !is_on_link(&IpNet::V6(entry.ipv6), connected)
}

fn is_on_link(net: &IpNet, connected: &[IpNet]) -> bool {
    connected.iter().any(|own| own.trunc().contains(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Routes, and what neighbours are answered for, as text.
    fn routes(config: &str, connected: &[&str]) -> (Vec<String>, Vec<String>) {
        let config = xlat_config::load("test", config, &xlat_config::Hint::default()).unwrap().config;
        let connected: Vec<IpNet> = connected.iter().map(|net| net.parse().unwrap()).collect();
        let routes = Routes::of(&config, &connected);
        let proxied4 = routes.proxied4.iter().map(ToString::to_string);
        let proxied: Vec<String> = proxied4.chain(routes.proxied6.iter().map(ToString::to_string)).collect();
        (routes.routes.iter().map(ToString::to_string).collect(), proxied)
    }

    #[test]
    fn nat64_answers_for_pool4_on_its_link() {
        let config = "[[instance]]\nname = 'a'\ntype = 'nat64'\npool4 = ['203.0.113.2']\n\
                      [instance.global]\npool6 = '64:ff9b::/96'";
        let all = vec!["203.0.113.2/32".to_owned(), "64:ff9b::/96".to_owned()];
        assert_eq!(
            routes(config, &["2001:db8::1/96", "203.0.113.1/24"]),
            (all.clone(), vec!["203.0.113.2/32".to_owned()])
        );
        assert_eq!(routes(config, &["2001:db8::1/96"]), (all.clone(), vec![]));
        // Another translator may be the one to answer.
        let shared = format!("{config}\nss-enabled = true");
        assert_eq!(routes(&shared, &["2001:db8::1/96", "203.0.113.1/24"]), (all.clone(), vec![]));
        let told = format!("device.proxy-interface = 'eth0'\n{shared}");
        assert_eq!(routes(&told, &["203.0.113.1/24"]), (all, vec!["203.0.113.2/32".to_owned()]));
    }

    #[test]
    fn nodes_within_pool6_are_reached_by_their_ipv4_addresses() {
        let siit = |pool6: &str| {
            format!("[[instance]]\nname = 'a'\ntype = 'siit'\n[instance.global]\npool6 = '{pool6}'")
        };
        let stock = siit("2001:db8::/96");
        for (own, net) in [
            ("2001:db8::198.51.100.1/120", Some("198.51.100.0/24")),
            ("2001:db8::198.51.100.1/128", Some("198.51.100.1/32")),
            ("2001:db8::1/96", None),
            ("2001:db8::1/64", None),
            ("2001:db8::192.0.2.1/120", None),
            ("2001:db8:1::1/120", None),
        ] {
            let mut all: Vec<&str> = net.into_iter().collect();
            all.push("2001:db8::/96");
            assert_eq!(routes(&stock, &[own, "192.0.2.1/24"]).0, all, "{own}");
        }
        // Around bits 64 to 71.
        let short = siit("2001:db8:100::/40");
        for (own, net) in [
            ("2001:db8:1c0:2:1::/64", "192.0.2.0/24"),
            ("2001:db8:1c0:2:1::/68", "192.0.2.0/24"),
            ("2001:db8:1c0:2:21::/80", "192.0.2.33/32"),
            ("2001:db8:1c0:2:21::/96", "192.0.2.33/32"),
        ] {
            assert_eq!(routes(&short, &[own]).0, [net, "2001:db8:100::/40"], "{own}");
        }
    }

    #[test]
    fn of_an_eam_entry_only_the_virtual_side_is_routed() {
        let siit = |eam: &str| format!("[[instance]]\nname = 'a'\ntype = 'siit'\neamt = [{eam}]");
        // Two networks on one host, each with a virtual one on the other side.
        let both = siit("'198.51.100.0/24 2001:db8:6::/120', '192.0.2.0/24 2001:db8:4::/120'");
        assert_eq!(
            routes(&both, &["2001:db8:6::1/96", "192.0.2.1/24"]).0,
            ["198.51.100.0/24", "2001:db8:4::/120"]
        );
        // 464XLAT: the IPv4 host is on the link.
        let clat = siit("'192.168.0.8 2001:db8:2::'").replace("eamt", "routes = ['0.0.0.0/0']\neamt");
        assert_eq!(
            routes(&clat, &["192.168.0.1/24", "2001:db8:100::1/64"]).0,
            ["0.0.0.0/0", "2001:db8:2::/128"]
        );
        // pool6 is where its packets leave to, unless some of IPv4 is on this side only.
        let pool6 = "\n[instance.global]\npool6 = '64:ff9b::/96'";
        let connected = ["192.168.0.1/24", "2001:db8:100::1/64"];
        assert_eq!(routes(&format!("{clat}{pool6}"), &connected), routes(&clat, &connected));
        let part = clat.replace("0.0.0.0/0", "10.0.0.0/8");
        assert!(routes(&format!("{part}{pool6}"), &connected).0.contains(&"64:ff9b::/96".to_owned()));
        // SIIT-DC: the IPv6 server is somewhere behind; on the server's own link the IPv4 address is asked for.
        let border = siit("'192.0.2.1 2001:db8:12:34::1'");
        assert_eq!(routes(&border, &["203.0.113.9/24"]), (vec!["192.0.2.1/32".to_owned()], vec![]));
        let both_on_link = routes(&border, &["192.0.2.9/24", "2001:db8:12:34::9/64"]);
        assert_eq!(both_on_link.0, both_on_link.1);
        assert_eq!(both_on_link.0, ["192.0.2.1/32"]);
    }
}
