//! IPv4 addresses that are never translated, whatever the tables say, and what is known of the host's own addresses
//! (RFC 7915 1.2 leaves multicast out; RFC 6890 and RFC 1812 5.3.7 say what else no router forwards).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Networks of which no address is translated: address and prefix length.
pub const NEVER_TRANSLATED: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// The addresses of the translating host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Addresses that can be the source of an ICMP error, with the length of their network, in the host's order.
    v4: Vec<(Ipv4Addr, u8)>,
    /// Likewise.
    v6: Vec<Ipv6Addr>,
    /// Every configured address and every directed broadcast address, sorted.
    own4: Vec<Ipv4Addr>,
}

impl HostAddresses {
    /// From all addresses configured on any interface, secondary ones included, in the host's order: primary
    /// addresses first. Each IPv4 address comes with the prefix length of its network (32 and more: none).
    pub fn new(v4: Vec<(Ipv4Addr, u8)>, v6: Vec<Ipv6Addr>) -> Self {
        let broadcasts = v4
            .iter()
            .filter(|(_, len)| *len < 31)
            .map(|(address, len)| Ipv4Addr::from_bits(address.to_bits() | u32::MAX >> len));
        let mut own4: Vec<_> = v4.iter().map(|(address, _)| *address).chain(broadcasts).collect();
        own4.sort_unstable();
        own4.dedup();
        Self {
            v4: v4.into_iter().filter(|(address, _)| !is_never_translated(*address)).collect(),
            v6: v6.into_iter().filter(|address| is_universe_scope(*address)).collect(),
            own4,
        }
    }

    /// True if `address` is never translated: in [`NEVER_TRANSLATED`], an address of the host, or the directed
    /// broadcast address of one of its networks shorter than /31.
    pub fn refuses(&self, address: Ipv4Addr) -> bool {
        is_never_translated(address) || self.own4.binary_search(&address).is_ok()
    }

    /// True for an address of the host itself (or a broadcast address of its networks).
    pub fn owns4(&self, address: Ipv4Addr) -> bool {
        self.own4.binary_search(&address).is_ok()
    }

    /// True for the directed broadcast address of one of the host's networks, which no router forwards to (RFC 2644).
    pub fn is_broadcast4(&self, address: Ipv4Addr) -> bool {
        self.owns4(address) && self.v4.iter().all(|(own, _)| *own != address)
    }

    /// Every address of the host itself and every broadcast address of its networks, ascending.
    pub fn own4(&self) -> &[Ipv4Addr] {
        &self.own4
    }

    /// The global addresses of the host itself, in its order.
    pub fn global6(&self) -> &[Ipv6Addr] {
        &self.v6
    }

    /// True for a global address of the host itself.
    pub fn owns6(&self, address: Ipv6Addr) -> bool {
        self.v6.contains(&address)
    }

    /// A source for packets to `destination`: the address whose network holds it, the longest first, else the
    /// first one.
    pub fn source_for4(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let common = |address: &Ipv4Addr| (address.to_bits() ^ destination.to_bits()).leading_zeros();
        let on_link = self.v4.iter().rev().filter(|(address, len)| common(address) >= u32::from(*len));
        // Of equal ones the last is the greatest: reversed, the host's first.
        on_link.max_by_key(|(_, len)| *len).or(self.v4.first()).map(|(address, _)| *address)
    }

    /// A source for packets to `destination`: the address with the longest common prefix (RFC 6724 section 5,
    /// rule 8), of equal ones the host's first.
    pub fn source_for6(&self, destination: Ipv6Addr) -> Option<Ipv6Addr> {
        let common = |address: &Ipv6Addr| (address.to_bits() ^ destination.to_bits()).leading_zeros();
        self.v6.iter().rev().max_by_key(|address| common(address)).copied()
    }
}

/// True if `address` lies in [`NEVER_TRANSLATED`].
pub fn is_never_translated(address: Ipv4Addr) -> bool {
    NEVER_TRANSLATED.iter().any(|(network, len)| (address.to_bits() ^ network.to_bits()) >> (32 - len) == 0)
}

/// True if packets with this source can be answered from anywhere (RFC 4291 2.4, RFC 4007 section 4).
fn is_universe_scope(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostAddresses {
        HostAddresses::new(
            vec![
                ([127, 0, 0, 1].into(), 8),
                ([203, 0, 113, 1].into(), 24),
                ([203, 0, 113, 2].into(), 24),
                ([192, 0, 2, 9].into(), 30),
                ([198, 51, 100, 4].into(), 31),
                ([203, 0, 113, 130].into(), 25),
                ([198, 51, 100, 7].into(), 32),
            ],
            ["::1", "fe80::1", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:2::2"]
                .map(|address| address.parse().unwrap())
                .to_vec(),
        )
    }

    #[test]
    fn ranges_end_where_they_should() {
        let none = HostAddresses::default();
        for refused in [
            "0.0.0.0",
            "0.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "255.255.255.255",
        ] {
            assert!(none.refuses(refused.parse().unwrap()), "{refused}");
        }
        for translated in [
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "223.255.255.255",
            "240.0.0.0",
            "255.255.255.254",
            "10.0.0.1",
            "192.168.1.1",
            "192.0.2.1",
        ] {
            assert!(!none.refuses(translated.parse().unwrap()), "{translated}");
        }
    }

    #[test]
    fn own_addresses_and_directed_broadcasts() {
        let refused = |address: &str| host().refuses(address.parse().unwrap());
        assert!(refused("203.0.113.1") && refused("203.0.113.2"));
        assert!(refused("203.0.113.255"), "broadcast of the /24");
        assert!(refused("192.0.2.11"), "broadcast of the /30");
        assert!(refused("198.51.100.7"), "a /32 is no exception");
        assert!(refused("198.51.100.4") && !refused("198.51.100.5"), "a /31 has no broadcast address");
        assert!(!refused("203.0.113.3") && !refused("203.0.113.0"));
        let broadcast = |address: &str| host().is_broadcast4(address.parse().unwrap());
        assert!(broadcast("203.0.113.255") && !broadcast("203.0.113.1") && !broadcast("203.0.113.3"));
    }

    #[test]
    fn source_selection_ipv4() {
        let source = |address: &str| host().source_for4(address.parse().unwrap()).unwrap().to_string();
        assert_eq!(source("192.0.2.10"), "192.0.2.9", "same subnet");
        assert_eq!(source("203.0.113.16"), "203.0.113.1", "same subnet, the first of it");
        assert_eq!(source("203.0.113.200"), "203.0.113.130", "the longest network");
        assert_eq!(source("10.0.0.1"), "203.0.113.1", "the first that is not loopback");
        assert_eq!(HostAddresses::default().source_for4([10, 0, 0, 1].into()), None);
    }

    #[test]
    fn source_selection_ipv6() {
        let source = |address: &str| host().source_for6(address.parse().unwrap()).unwrap().to_string();
        assert_eq!(source("2001:db8:2::77"), "2001:db8:2::1");
        assert_eq!(source("2001:db8:1::77"), "2001:db8:1::1");
        assert_eq!(source("::1"), "2001:db8:1::1", "never loopback");
        assert_eq!(source("2001:db8:2::2"), "2001:db8:2::2");
        assert_eq!(HostAddresses::default().source_for6("::1".parse().unwrap()), None);
    }

    #[test]
    fn nonsense_lengths_do_no_harm() {
        let host = HostAddresses::new(vec![([192, 0, 2, 1].into(), 255), ([192, 0, 2, 2].into(), 0)], vec![]);
        assert!(host.refuses([192, 0, 2, 1].into()));
        assert_eq!(host.source_for4([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
    }
}
