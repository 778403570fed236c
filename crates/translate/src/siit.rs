//! Which addresses a packet gets in stateless translation: EAMT, then RFC 6052, with what must not be translated, the
//! sources of ICMP errors, and hairpinning between EAM-mapped nodes (RFC 7915 section 6, RFC 7757 3.3 and 4, RFC 6791).
//!
//! A packet and the packet that an ICMP error quotes go through the same procedure; only the source of an error
//! may be anything.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::eam::Eamt;
use crate::prefix_map::PrefixMap;
use crate::refused::HostAddresses;
use crate::rfc6052::Pool6;
use crate::rfc6791::{Source4, Source6};

xlat_packet::reasons! {
    /// Why the tables give a packet no addresses. "6" is a packet that came as IPv6, "4" one that came as IPv4.
    pub enum Untranslatable {
        Source6Loopback: "source6-loopback", "JSTAT64_SRC", "RFC 4291 2.5.3",
            "the IPv6 source is ::1, which no packet on a wire may have";
        Source6: "source6-untranslatable", "JSTAT64_SRC", "RFC 7915 6",
            "neither the EAMT nor pool6 covers the IPv6 source";
        Source6Denylisted: "source6-denylisted", "JSTAT64_SRC", "house (denylist4)",
            "pool6 maps the IPv6 source to an address in denylist4";
        Source6Refused: "source6-refused", "JSTAT64_SRC", "RFC 6890, RFC 1812 5.3.7",
            "the IPv6 source is one that no packet may have, or maps to an address of this host or one never forwarded";
        Destination6Loopback: "destination6-loopback", "JSTAT64_DST", "RFC 4291 2.5.3",
            "the IPv6 destination is ::1, which no packet on a wire may have";
        Destination6: "destination6-untranslatable", "JSTAT64_DST", "RFC 7915 6",
            "neither the EAMT nor pool6 covers the IPv6 destination";
        Destination6Denylisted: "destination6-denylisted", "JSTAT64_DST", "house (denylist4)",
            "pool6 maps the IPv6 destination to an address in denylist4";
        Destination6Refused: "destination6-refused", "JSTAT64_DST", "RFC 6890, RFC 1812 5.3.7",
            "the IPv6 destination maps to an address of this host or one that is never forwarded";
        InnerSource6: "inner-source6-untranslatable", "JSTAT64_SRC", "RFC 7915 5.3",
            "the source of the packet quoted by an ICMPv6 error has no translation or one that is not allowed";
        InnerDestination6: "inner-destination6-untranslatable", "JSTAT64_DST", "RFC 7915 5.3",
            "the destination of the packet quoted by an ICMPv6 error has no translation or one that is not allowed";
        NoErrorSource4: "no-error-source4", "JSTAT64_6791_ENOENT", "RFC 6791 5",
            "an ICMPv6 error needs an IPv4 source, there is no RFC 6791 pool and this host has no IPv4 address";
        Source4: "source4-untranslatable", "JSTAT46_SRC", "RFC 7915 6",
            "the EAMT does not cover the IPv4 source, or hairpinning forbids to use it, and there is no pool6";
        Source4Denylisted: "source4-denylisted", "JSTAT46_SRC", "house (denylist4)",
            "only pool6 covers the IPv4 source, and the source is in denylist4";
        Source4Refused: "source4-refused", "JSTAT46_SRC", "RFC 6890, RFC 1812 5.3.7",
            "the IPv4 source is an address of this host or one that is never forwarded";
        Destination4: "destination4-untranslatable", "JSTAT46_DST", "RFC 7915 6",
            "the EAMT does not cover the IPv4 destination, and there is no pool6";
        Destination4Denylisted: "destination4-denylisted", "JSTAT46_DST", "house (denylist4)",
            "only pool6 covers the IPv4 destination, and the destination is in denylist4";
        Destination4Refused: "destination4-refused", "JSTAT46_DST", "RFC 6890, RFC 1812 5.3.7",
            "the IPv4 destination is an address of this host or one that is never forwarded";
        InnerSource4: "inner-source4-untranslatable", "JSTAT46_SRC", "RFC 7915 4.3",
            "the source of the packet quoted by an ICMPv4 error has no translation or one that is not allowed";
        InnerDestination4: "inner-destination4-untranslatable", "JSTAT46_DST", "RFC 7915 4.3",
            "the destination of the packet quoted by an ICMPv4 error has no translation or one that is not allowed";
        NoErrorSource6: "no-error-source6", "JSTAT46_6791_ENOENT", "RFC 6791 5",
            "an ICMPv4 error needs an IPv6 source, there is no RFC 6791 pool and this host has no IPv6 address";
    }
}

impl Untranslatable {
    /// True if the packet is the translator's but has to be dropped; false if it is none of the translator's
    /// business and goes back to the host.
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::NoErrorSource4 | Self::NoErrorSource6)
    }
}

/// How packets between two EAM-mapped nodes that meet through pool6 are treated (RFC 7757 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HairpinMode {
    /// Not specially.
    Off,
    /// The sources of all IPv4 packets are translated with pool6 only, so that answers find their way back through
    /// the translator (RFC 7757 4.2.1).
    Simple,
    /// Such packets are turned back to IPv6 inside the translator (RFC 7757 4.2.2).
    #[default]
    Intrinsic,
}

/// Source and destination.
pub type Pair<A> = (A, A);

/// Addresses of a packet that becomes IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses4 {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Those of the packet that an ICMP error quotes.
    pub inner: Option<Pair<Ipv4Addr>>,
    /// The packet is not to leave as IPv4 but to go through [`SiitTables::four_to_six`] at once
    /// (RFC 7757 4.2.2).
    pub hairpin: bool,
}

/// Addresses of a packet that becomes IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses6 {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Those of the packet that an ICMP error quotes.
    pub inner: Option<Pair<Ipv6Addr>>,
}

/// Everything stateless address translation goes by.
#[derive(Clone, Debug)]
pub struct SiitTables {
    /// Represents IPv4 addresses that the EAMT does not map.
    pub pool6: Option<Pool6>,
    /// Explicit mappings.
    pub eamt: Eamt,
    /// IPv4 prefixes that pool6 does not translate.
    pub denylist4: PrefixMap<Ipv4Addr, ()>,
    /// Packets between EAM-mapped nodes.
    pub hairpin: HairpinMode,
    /// Sources of ICMPv6 errors whose source has no translation.
    pub error_source4: Source4,
    /// Sources of ICMPv4 errors whose source has no translation.
    pub error_source6: Source6,
}

/// Which table gave an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Eamt,
    Pool6,
}

/// Why one address has no translation.
enum Cause {
    Loopback,
    NoMapping,
    Denylisted,
    Refused,
}

/// What an address is checked for besides having a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// Denylist and refused addresses.
    All,
    /// Neither: the source of an ICMP error only says who complains.
    ErrorSource,
}

/// Whether an IPv4 address may be mapped by the EAMT (RFC 7757 4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    EamtAndPool6,
    Pool6Only,
}

impl SiitTables {
    /// Addresses of an IPv6 packet in IPv4, the destination decided first.
    ///
    /// `outer` and `inner` are the source and destination of the packet and of the one it quotes, `icmp_error` says
    /// that it is an ICMPv6 error; `hop_limit` and `random` choose the RFC 6791 source.
    pub fn six_to_four(
        &self,
        host: &HostAddresses,
        outer: Pair<Ipv6Addr>,
        icmp_error: bool,
        inner: Option<Pair<Ipv6Addr>>,
        hop_limit: u8,
        random: u32,
    ) -> Result<Addresses4, Untranslatable> {
        let (dst, dst_via) = self.to_v4(host, outer.1, Checks::All).map_err(Cause::of_destination6)?;
        let checks = if icmp_error { Checks::ErrorSource } else { Checks::All };
        let src = match self.to_v4(host, outer.0, checks) {
            Ok((src, _)) => src,
            Err(Cause::NoMapping) if icmp_error => self
                .error_source4
                .choose(host, dst, hop_limit, random)
                .ok_or(Untranslatable::NoErrorSource4)?,
            Err(cause) => return Err(cause.of_source6()),
        };
        let mut turns_back = !icmp_error && self.is_mapped_twice(dst, dst_via);
        let inner = match inner {
            None => None,
            Some(inner) => {
                let (dst, _) = self
                    .to_v4(host, inner.1, Checks::All)
                    .map_err(|_cause| Untranslatable::InnerDestination6)?;
                let (src, via) =
                    self.to_v4(host, inner.0, Checks::All).map_err(|_cause| Untranslatable::InnerSource6)?;
                turns_back |= self.is_mapped_twice(src, via);
                Some((src, dst))
            }
        };
        Ok(Addresses4 { src, dst, inner, hairpin: turns_back && self.hairpin == HairpinMode::Intrinsic })
    }

    /// Addresses of an IPv4 packet in IPv6, the destination decided first.
    ///
    /// As [`Self::six_to_four`]; `from_hairpin` says that the packet is one that it turned back.
    pub fn four_to_six(
        &self,
        host: &HostAddresses,
        outer: Pair<Ipv4Addr>,
        icmp_error: bool,
        inner: Option<Pair<Ipv4Addr>>,
        from_hairpin: bool,
        random: u128,
    ) -> Result<Addresses6, Untranslatable> {
        let bars_eamt = from_hairpin || self.hairpin == HairpinMode::Simple;
        let tables = |barred: bool| if barred { Tables::Pool6Only } else { Tables::EamtAndPool6 };
        let dst =
            self.to_v6(host, outer.1, Checks::All, Tables::EamtAndPool6).map_err(Cause::of_destination4)?;
        // An error from the very node that the quoted packet went to shows it by the address that is quoted.
        let like_quoted = inner.is_some_and(|inner| inner.1 == outer.0);
        let checks = if icmp_error { Checks::ErrorSource } else { Checks::All };
        let src = match self.to_v6(host, outer.0, checks, tables(bars_eamt && (!icmp_error || like_quoted))) {
            Ok(src) => src,
            Err(Cause::NoMapping) if icmp_error => {
                self.error_source6.choose(host, dst, random).ok_or(Untranslatable::NoErrorSource6)?
            }
            Err(cause) => return Err(cause.of_source4()),
        };
        let inner = match inner {
            None => None,
            Some(inner) => Some((
                self.to_v6(host, inner.0, Checks::All, Tables::EamtAndPool6)
                    .map_err(|_cause| Untranslatable::InnerSource4)?,
                self.to_v6(host, inner.1, Checks::All, tables(bars_eamt))
                    .map_err(|_cause| Untranslatable::InnerDestination4)?,
            )),
        };
        Ok(Addresses6 { src, dst, inner })
    }

    fn to_v4(
        &self,
        host: &HostAddresses,
        address: Ipv6Addr,
        checks: Checks,
    ) -> Result<(Ipv4Addr, Via), Cause> {
        if address == Ipv6Addr::LOCALHOST {
            return Err(Cause::Loopback);
        }
        let (mapped, via) = match self.eamt.to_v4(address) {
            Some(mapped) => (mapped, Via::Eamt),
            None => {
                let pool6 = self.pool6.as_ref().ok_or(Cause::NoMapping)?;
                (pool6.extract(address).ok_or(Cause::NoMapping)?, Via::Pool6)
            }
        };
        if checks == Checks::All {
            if via == Via::Pool6 && self.denylist4.covers(mapped) {
                return Err(Cause::Denylisted);
            }
            if host.refuses(mapped) {
                return Err(Cause::Refused);
            }
        }
        Ok((mapped, via))
    }

    fn to_v6(
        &self,
        host: &HostAddresses,
        address: Ipv4Addr,
        checks: Checks,
        tables: Tables,
    ) -> Result<Ipv6Addr, Cause> {
        if checks == Checks::All && host.refuses(address) {
            return Err(Cause::Refused);
        }
        if tables == Tables::EamtAndPool6
            && let Some(mapped) = self.eamt.to_v6(address)
        {
            return Ok(mapped);
        }
        if checks == Checks::All && self.denylist4.covers(address) {
            return Err(Cause::Denylisted);
        }
        self.pool6.as_ref().map(|pool6| pool6.embed(address)).ok_or(Cause::NoMapping)
    }

    /// True if pool6 gave `address`, but the EAMT has an IPv6 node for it: the packet's other end is behind this
    /// translator (RFC 7757 4.2.2).
    fn is_mapped_twice(&self, address: Ipv4Addr, via: Via) -> bool {
        via == Via::Pool6 && self.eamt.has_v4(address)
    }
}

impl Cause {
    fn of_source6(self) -> Untranslatable {
        match self {
            Self::Loopback => Untranslatable::Source6Loopback,
            Self::NoMapping => Untranslatable::Source6,
            Self::Denylisted => Untranslatable::Source6Denylisted,
            Self::Refused => Untranslatable::Source6Refused,
        }
    }

    fn of_destination6(self) -> Untranslatable {
        match self {
            Self::Loopback => Untranslatable::Destination6Loopback,
            Self::NoMapping => Untranslatable::Destination6,
            Self::Denylisted => Untranslatable::Destination6Denylisted,
            Self::Refused => Untranslatable::Destination6Refused,
        }
    }

    fn of_source4(self) -> Untranslatable {
        match self {
            // 127.0.0.0/8 counts as refused; the loopback address proper is one of IPv6.
            Self::NoMapping | Self::Loopback => Untranslatable::Source4,
            Self::Denylisted => Untranslatable::Source4Denylisted,
            Self::Refused => Untranslatable::Source4Refused,
        }
    }

    fn of_destination4(self) -> Untranslatable {
        match self {
            Self::NoMapping | Self::Loopback => Untranslatable::Destination4,
            Self::Denylisted => Untranslatable::Destination4Denylisted,
            Self::Refused => Untranslatable::Destination4Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;
    use crate::eam::EamEntry;

    /// A network with two mapped prefixes and pool6, T in the middle.
    fn tables(hairpin: HairpinMode) -> SiitTables {
        let mut eamt = Eamt::new([5, 6]);
        for (v6, v4) in [("2001:db8:3::/120", "192.168.3.0/24"), ("2001:db8:2::/120", "10.0.0.0/24")] {
            eamt.insert(EamEntry { v6: v6.parse().unwrap(), v4: v4.parse().unwrap() }).unwrap();
        }
        SiitTables {
            pool6: Some(Pool6::new("2001:db8:100::/40".parse().unwrap()).unwrap()),
            eamt,
            denylist4: PrefixMap::new([7, 8]),
            hairpin,
            error_source4: Source4::Random("203.0.113.8/32".parse().unwrap()),
            error_source6: Source6::Host,
        }
    }

    fn host() -> HostAddresses {
        HostAddresses::new(
            vec![([127, 0, 0, 1].into(), 8), ([198, 51, 100, 1].into(), 24)],
            vec!["2001:db8:1c0:2:1::".parse().unwrap()],
        )
    }

    fn a4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn a6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// 6 to 4, not an error.
    fn to4(tables: &SiitTables, src: &str, dst: &str) -> Result<(String, String), Untranslatable> {
        let made = tables.six_to_four(&host(), (a6(src), a6(dst)), false, None, 64, 0)?;
        assert!(!made.hairpin);
        Ok((made.src.to_string(), made.dst.to_string()))
    }

    /// 4 to 6, not an error.
    fn to6(tables: &SiitTables, src: &str, dst: &str) -> Result<(String, String), Untranslatable> {
        let made = tables.four_to_six(&host(), (a4(src), a4(dst)), false, None, false, 0)?;
        Ok((made.src.to_string(), made.dst.to_string()))
    }

    /// The source of a translated ICMPv6 error that quotes an ordinary packet.
    fn error4(tables: &SiitTables, host: &HostAddresses, src: &str) -> Result<Ipv4Addr, Untranslatable> {
        let (client, server) = (a6("2001:db8:1c0:2:21::"), a6("2001:db8:1c6:3364:2::"));
        Ok(tables.six_to_four(host, (a6(src), server), true, Some((server, client)), 64, 0)?.src)
    }

    /// The source of a translated ICMPv4 error that quotes an ordinary packet.
    fn error6(tables: &SiitTables, host: &HostAddresses, src: &str) -> Result<Ipv6Addr, Untranslatable> {
        let (client, server) = (a4("10.0.0.5"), a4("192.168.3.2"));
        Ok(tables.four_to_six(host, (a4(src), client), true, Some((client, server)), false, 2)?.src)
    }

    /// Both passes of a packet from IPv6 to IPv6: by way of [`SiitTables::six_to_four`]'s own turn, or of an
    /// IPv4 network that sends the packet back.
    fn through(
        tables: &SiitTables,
        outer: Pair<Ipv6Addr>,
        inner: Option<Pair<Ipv6Addr>>,
    ) -> Result<Addresses6, Untranslatable> {
        let error = inner.is_some();
        let first = tables.six_to_four(&host(), outer, error, inner, 64, 0)?;
        assert_eq!(first.hairpin, tables.hairpin == HairpinMode::Intrinsic);
        tables.four_to_six(&host(), (first.src, first.dst), error, first.inner, first.hairpin, 0)
    }

    #[test]
    fn eamt_goes_before_pool6() {
        let tables = tables(HairpinMode::Intrinsic);
        let strings = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(
            to4(&tables, "2001:db8:2::a", "2001:db8:1c6:3364:2::"),
            strings("10.0.0.10", "198.51.100.2")
        );
        assert_eq!(
            to6(&tables, "198.51.100.2", "10.0.0.10"),
            strings("2001:db8:1c6:3364:2::", "2001:db8:2::a")
        );
        assert_eq!(
            to6(&tables, "10.0.0.10", "192.0.2.33"),
            strings("2001:db8:2::a", "2001:db8:1c0:2:21::"),
            "intrinsic hairpinning leaves ordinary packets alone"
        );
    }

    #[test]
    fn addresses_without_translation() {
        let mut tables = tables(HairpinMode::Intrinsic);
        let (client, server) = ("2001:db8:2::a", "2001:db8:1c6:3364:2::");
        assert_eq!(to4(&tables, "2001:db8::5", server), Err(Untranslatable::Source6));
        assert_eq!(to4(&tables, client, "2001:db8::5"), Err(Untranslatable::Destination6));
        assert_eq!(to4(&tables, "2001:db8::5", "2001:db8::6"), Err(Untranslatable::Destination6));
        assert_eq!(to4(&tables, "::1", server), Err(Untranslatable::Source6Loopback));
        assert_eq!(to4(&tables, client, "::1"), Err(Untranslatable::Destination6Loopback));
        tables.pool6 = None;
        assert_eq!(to6(&tables, "198.51.100.2", "10.0.0.10"), Err(Untranslatable::Source4));
        assert_eq!(to6(&tables, "10.0.0.10", "198.51.100.2"), Err(Untranslatable::Destination4));
        assert_eq!(to4(&tables, client, server), Err(Untranslatable::Destination6));
    }

    #[test]
    fn refused_addresses() {
        let mut tables = tables(HairpinMode::Intrinsic);
        tables
            .eamt
            .insert(EamEntry {
                v6: "2001:db8:9::/128".parse().unwrap(),
                v4: "198.51.100.1/32".parse().unwrap(),
            })
            .unwrap();
        // T's own address by pool6, by EAM, and the directed broadcast address of its network.
        for own in ["2001:db8:1c6:3364:1::", "2001:db8:9::", "2001:db8:1c6:3364:ff::", "2001:db8:17f:0:1::"] {
            assert_eq!(to4(&tables, "2001:db8:2::a", own), Err(Untranslatable::Destination6Refused), "{own}");
            assert_eq!(
                to4(&tables, own, "2001:db8:1c6:3364:2::"),
                Err(Untranslatable::Source6Refused),
                "{own}"
            );
        }
        for own in ["198.51.100.1", "198.51.100.255", "127.0.0.1", "224.0.0.1"] {
            assert_eq!(to6(&tables, "10.0.0.10", own), Err(Untranslatable::Destination4Refused), "{own}");
            assert_eq!(to6(&tables, own, "10.0.0.10"), Err(Untranslatable::Source4Refused), "{own}");
        }
    }

    #[test]
    fn the_denylist_bars_pool6_only() {
        let mut tables = tables(HairpinMode::Intrinsic);
        for net in ["10.0.0.0/8", "198.51.100.3/32"] {
            let net: Ipv4Net = net.parse().unwrap();
            assert!(tables.denylist4.insert(net.addr(), net.prefix_len(), ()));
        }
        let (mapped, listed) = ("2001:db8:2::a", "2001:db8:1c6:3364:3::");
        assert_eq!(to4(&tables, mapped, listed), Err(Untranslatable::Destination6Denylisted));
        assert_eq!(to4(&tables, listed, "2001:db8:1c0:2:21::"), Err(Untranslatable::Source6Denylisted));
        assert!(to4(&tables, mapped, "2001:db8:1c0:2:21::").is_ok());
        assert_eq!(to6(&tables, "10.0.0.10", "198.51.100.3"), Err(Untranslatable::Destination4Denylisted));
        assert_eq!(to6(&tables, "198.51.100.3", "10.0.0.10"), Err(Untranslatable::Source4Denylisted));
        assert!(to6(&tables, "192.0.2.33", "10.0.0.10").is_ok());
        // The source of an error may be in the denylist, in both directions.
        assert_eq!(error4(&tables, &host(), listed), Ok(a4("198.51.100.3")));
        assert_eq!(error6(&tables, &host(), "198.51.100.3"), Ok(a6(listed)));
    }

    #[test]
    fn sources_of_errors() {
        let (mut tables, host, none) = (tables(HairpinMode::Intrinsic), host(), HostAddresses::default());
        assert_eq!(error6(&tables, &host, "127.0.0.1"), Ok(a6("2001:db8:17f:0:1::")));
        assert_eq!(error6(&tables, &host, "0.0.0.0"), Ok(a6("2001:db8:100::")));
        assert_eq!(error4(&tables, &host, "2001:db8:17f:0:1::"), Ok(a4("127.0.0.1")));
        assert_eq!(error4(&tables, &host, "2001:db8:f::1"), Ok(a4("203.0.113.8")));
        assert_eq!(error4(&tables, &host, "::1"), Err(Untranslatable::Source6Loopback));
        tables.error_source4 = Source4::Host;
        assert_eq!(error4(&tables, &host, "2001:db8:f::1"), Ok(a4("198.51.100.1")));
        assert_eq!(error4(&tables, &none, "2001:db8:f::1"), Err(Untranslatable::NoErrorSource4));
        assert!(Untranslatable::NoErrorSource4.is_drop() && !Untranslatable::Source6.is_drop());
        tables.pool6 = None;
        assert_eq!(error6(&tables, &host, "203.0.113.77"), Ok(a6("2001:db8:1c0:2:1::")));
        assert_eq!(error6(&tables, &none, "203.0.113.77"), Err(Untranslatable::NoErrorSource6));
        tables.error_source6 = Source6::Random("2001:db8:6791::/64".parse().unwrap());
        assert_eq!(error6(&tables, &none, "203.0.113.77"), Ok(a6("2001:db8:6791::2")));
    }

    #[test]
    fn quoted_addresses_have_no_exemption() {
        let tables = tables(HairpinMode::Intrinsic);
        let (client, server) = (a6("2001:db8:2::a"), a6("2001:db8:1c6:3364:2::"));
        let quote = |src, dst| {
            tables
                .six_to_four(&host(), (server, client), true, Some((src, dst)), 64, 0)
                .map(|made| made.inner)
        };
        assert_eq!(quote(client, server), Ok(Some((a4("10.0.0.10"), a4("198.51.100.2")))));
        assert_eq!(quote(client, a6("2001:db8:f::1")), Err(Untranslatable::InnerDestination6));
        assert_eq!(quote(a6("2001:db8:17f:0:1::"), server), Err(Untranslatable::InnerSource6));
        let quote = |src, dst| {
            let outer = (a4("198.51.100.2"), a4("10.0.0.10"));
            tables.four_to_six(&host(), outer, true, Some((src, dst)), false, 0).map(|made| made.inner)
        };
        assert_eq!(quote(a4("10.0.0.10"), a4("198.51.100.2")), Ok(Some((client, server))));
        assert_eq!(quote(a4("198.51.100.1"), a4("10.0.0.10")), Err(Untranslatable::InnerSource4));
        assert_eq!(quote(a4("10.0.0.10"), a4("127.0.0.1")), Err(Untranslatable::InnerDestination4));
    }

    #[test]
    fn hairpin_example() {
        for mode in [HairpinMode::Intrinsic, HairpinMode::Simple] {
            let made =
                through(&tables(mode), (a6("2001:db8:3::8"), a6("2001:db8:1c0:a803:9::")), None).unwrap();
            assert_eq!((made.src, made.dst), (a6("2001:db8:1c0:a803:8::"), a6("2001:db8:3::9")), "{mode:?}");
        }
        // Without hairpinning the packet arrives from an address that its receiver's answer will not go to.
        let made =
            through(&tables(HairpinMode::Off), (a6("2001:db8:3::8"), a6("2001:db8:1c0:a803:9::")), None);
        assert_eq!(made.unwrap().src, a6("2001:db8:3::8"));
    }

    #[test]
    fn hairpinned_error_of_a_router_without_mapping() {
        let tables = tables(HairpinMode::Intrinsic);
        let outer = (a6("2001:db8::5"), a6("2001:db8:1c0:a803:1::"));
        let inner = (a6("2001:db8:1c0:a803:1::"), a6("2001:db8:2::a"));
        let made = through(&tables, outer, Some(inner)).unwrap();
        assert_eq!((made.src, made.dst), (a6("2001:db8:1cb:71:8::"), a6("2001:db8:3::1")));
        assert_eq!(made.inner, Some((a6("2001:db8:3::1"), a6("2001:db8:10a:0:a::"))));
    }

    #[test]
    fn an_error_turns_back_by_what_it_quotes() {
        let tables = tables(HairpinMode::Intrinsic);
        let turns_back = |dst, inner| {
            let outer = (a6("2001:db8::5"), a6(dst));
            tables.six_to_four(&host(), outer, true, Some(inner), 64, 0).unwrap().hairpin
        };
        let (server, by_pool6) = (a6("2001:db8:1c6:3364:2::"), "2001:db8:1c0:a803:1::");
        assert!(!turns_back(by_pool6, (a6("2001:db8:3::1"), server)));
        assert!(turns_back("2001:db8:1c0:2:21::", (a6(by_pool6), server)));
    }

    /// An IPv4 address of either EAM, or of neither.
    fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
        (prop::sample::select(vec![[192, 168, 3], [10, 0, 0], [192, 0, 2], [203, 0, 113]]), any::<u8>())
            .prop_map(|([a, b, c], d)| Ipv4Addr::new(a, b, c, d))
    }

    proptest! {
        #[test]
        fn there_and_back(src in any_v4(), dst in any_v4(), quote: bool) {
            let tables = tables(HairpinMode::Intrinsic);
            let inner = quote.then_some((dst, src));
            let there = tables.four_to_six(&host(), (src, dst), quote, inner, false, 0).unwrap();
            let back = tables
                .six_to_four(&host(), (there.src, there.dst), quote, there.inner, 64, 0)
                .unwrap();
            prop_assert_eq!(back, Addresses4 { src, dst, inner, hairpin: false });
        }

        #[test]
        fn hairpinned_nodes_understand_each_other(a: u8, b: u8, simple: bool) {
            let tables = tables(if simple { HairpinMode::Simple } else { HairpinMode::Intrinsic });
            let pool6 = tables.pool6.unwrap();
            let (a4, b4) = (Ipv4Addr::new(192, 168, 3, a), Ipv4Addr::new(10, 0, 0, b));
            let (a6, b6) = (tables.eamt.to_v6(a4).unwrap(), tables.eamt.to_v6(b4).unwrap());
            let (a_seen, b_seen) = (pool6.embed(a4), pool6.embed(b4));
            // Request and answer.
            let arrives = Addresses6 { src: a_seen, dst: b6, inner: None };
            prop_assert_eq!(through(&tables, (a6, b_seen), None), Ok(arrives));
            let returns = Addresses6 { src: b_seen, dst: a6, inner: None };
            prop_assert_eq!(through(&tables, (b6, a_seen), None), Ok(returns));
            // An error from B quotes what arrived; A gets an error from B that quotes what A sent.
            let complaint = Addresses6 { src: b_seen, dst: a6, inner: Some((a6, b_seen)) };
            prop_assert_eq!(through(&tables, (b6, a_seen), Some((a_seen, b6))), Ok(complaint));
            // An error from a mapped router on the way keeps the router's own address.
            let router = tables.eamt.to_v6(Ipv4Addr::new(192, 168, 3, a ^ 1)).unwrap();
            let complaint = Addresses6 { src: router, ..complaint };
            prop_assert_eq!(through(&tables, (router, a_seen), Some((a_seen, b6))), Ok(complaint));
        }
    }
}
