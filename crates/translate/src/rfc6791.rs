//! Sources of translated ICMP errors whose own source has no translation (RFC 6791, RFC 7915 5.1).
//!
//! A router on the way may have an address that no table maps. Its error still has to arrive, so that path MTU
//! discovery and traceroute work; it gets a source from a pool, the dummy address, or one of the host's addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::refused::HostAddresses;

/// The IPv4 dummy address: only ever the source of an ICMP error (RFC 7600 section 6).
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Where an IPv4 source comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source4 {
    /// A random address of a prefix (RFC 6791 section 5).
    Random(Ipv4Net),
    /// The address of a prefix whose host part is the packet's hop limit, as far as it fits.
    ByHopLimit(Ipv4Net),
    /// [`DUMMY`].
    Dummy,
    /// An address of the host suited to the destination.
    #[default]
    Host,
}

/// Where an IPv6 source comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source6 {
    /// A random address of a prefix.
    Random(Ipv6Net),
    /// An address of the host suited to the destination.
    #[default]
    Host,
}

impl Source4 {
    /// A source for an error to `destination`, from the hop limit that the error came with and 32 random bits.
    /// None if the host has no address to give.
    pub fn choose(
        &self,
        host: &HostAddresses,
        destination: Ipv4Addr,
        hop_limit: u8,
        random: u32,
    ) -> Option<Ipv4Addr> {
        let with_host_part = |prefix: Ipv4Net, part: u32| {
            Ipv4Addr::from_bits(prefix.network().to_bits() | part & prefix.hostmask().to_bits())
        };
        match *self {
            Self::Random(prefix) => Some(with_host_part(prefix, random)),
            Self::ByHopLimit(prefix) => Some(with_host_part(prefix, hop_limit.into())),
            Self::Dummy => Some(DUMMY),
            Self::Host => host.source_for4(destination),
        }
    }
}

impl Source6 {
    /// A source for an error to `destination`, from 128 random bits. None if the host has no address to give.
    pub fn choose(&self, host: &HostAddresses, destination: Ipv6Addr, random: u128) -> Option<Ipv6Addr> {
        match *self {
            Self::Random(prefix) => {
                Some(Ipv6Addr::from_bits(prefix.network().to_bits() | random & prefix.hostmask().to_bits()))
            }
            Self::Host => host.source_for6(destination),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TO: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    #[test]
    fn hop_limit_makes_the_host_part() {
        let host = HostAddresses::default();
        let by_hop_limit = |prefix: &str, hop_limit| {
            Source4::ByHopLimit(prefix.parse().unwrap()).choose(&host, TO, hop_limit, 9)
        };
        assert_eq!(by_hop_limit("203.0.113.0/24", 61), Some([203, 0, 113, 61].into()));
        assert_eq!(by_hop_limit("203.0.113.16/28", 61), Some([203, 0, 113, 16 + 13].into()));
        assert_eq!(by_hop_limit("203.0.113.8/32", 61), Some([203, 0, 113, 8].into()));
        assert_eq!(by_hop_limit("10.0.0.0/8", 255), Some([10, 0, 0, 255].into()));
    }

    #[test]
    fn dummy_and_host() {
        let host = HostAddresses::new(
            vec![([192, 0, 2, 1].into(), 24), ([198, 51, 100, 1].into(), 24)],
            vec!["2001:db8::1".parse().unwrap()],
        );
        let none = HostAddresses::default();
        assert_eq!(Source4::Dummy.choose(&none, TO, 1, 1), Some([192, 0, 0, 8].into()));
        assert_eq!(Source4::Host.choose(&host, TO, 1, 1), Some([198, 51, 100, 1].into()));
        assert_eq!(Source4::Host.choose(&none, TO, 1, 1), None);
        let to: Ipv6Addr = "2001:db8::9".parse().unwrap();
        assert_eq!(Source6::Host.choose(&host, to, 1), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(Source6::Host.choose(&none, to, 1), None);
    }

    proptest! {
        #[test]
        fn random_addresses_lie_in_the_pool(
            v4: u32, len4 in 0u8..=32, random4: u32, v6: u128, len6 in 0u8..=128, random6: u128,
        ) {
            let host = HostAddresses::default();
            let pool4 = Ipv4Net::new(Ipv4Addr::from_bits(v4), len4).unwrap();
            let chosen = Source4::Random(pool4).choose(&host, TO, 1, random4).unwrap();
            prop_assert!(pool4.contains(&chosen));
            prop_assert_eq!((chosen.to_bits() ^ random4) & pool4.hostmask().to_bits(), 0);
            let pool6 = Ipv6Net::new(Ipv6Addr::from_bits(v6), len6).unwrap();
            let chosen = Source6::Random(pool6).choose(&host, Ipv6Addr::UNSPECIFIED, random6).unwrap();
            prop_assert!(pool6.contains(&chosen));
            prop_assert_eq!((chosen.to_bits() ^ random6) & pool6.hostmask().to_bits(), 0);
        }
    }
}
