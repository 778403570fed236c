//! What is compared: ways from A to V through router number N, with all that the network and the translators need to know
//! of them. Addresses, for router N of at most 15:
//!
//! - `2001:db8:aN::/64` and `192.0.2.(16 N)/28` between A and T, `2001:db8:bN::/64` and `198.51.100.(16 N)/28` between T and V;
//! - `2001:db8:cN::/64` and `10.(16 N).0.0/12` behind A, from which A sends floods;
//! - pool6 `2001:db8:64:N::/96`, pool4 `172.16.N.0/27`;
//! - `2001:db8:eN::/64`, which EAM entries map to `10.(16 N).0.0/12`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::shapes::FLOWS;
use crate::traffic::{Traffic, Varies};

/// EAM entries of those that have many.
pub(crate) const EAM_ENTRIES: u32 = 100_000;

/// What is in the router, or instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A cable from A to V: what sender and sink need by themselves.
    Cable,
    /// The kernel's forwarding.
    Plain,
    /// Forwarding by XDP.
    Xdp,
    /// `xlat` as NAT64, ...
    Nat64(Hook),
    /// ... as SIIT with pool6 only, ...
    Siit(Hook),
    /// ... and as SIIT with [`EAM_ENTRIES`].
    Eam(Hook),
}

/// Where the kernel's part of `xlat` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Nowhere: everything goes through the daemon.
    None,
    /// At the egress of the TUN device, to which packets are routed.
    Device,
    /// At tc ingress.
    Tc,
    /// At XDP in the driver.
    Xdp,
}

/// One way from A to V.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    /// Its name in the tables.
    pub(crate) name: &'static str,
    /// What is on it.
    pub(crate) kind: Kind,
    /// The router that it goes through.
    pub(crate) router: u8,
    /// The family of its packets on both sides, where nothing is translated.
    ipv6: bool,
}

const fn subject(name: &'static str, kind: Kind, router: u8, ipv6: bool) -> Subject {
    Subject { name, kind, router, ipv6 }
}

/// What all the others are compared with.
pub(crate) const REFERENCE: &str = "plain IPv6";

/// All that can be measured. A router belongs to the first that names it; those that go *past* a translator are packets that
/// the kernel forwards because they are not the translator's.
pub(crate) const SUBJECTS: [Subject; 18] = [
    subject(REFERENCE, Kind::Plain, 0, true),
    subject("plain IPv4", Kind::Plain, 0, false),
    subject("XDP forwarding IPv6", Kind::Xdp, 1, true),
    subject("XDP forwarding IPv4", Kind::Xdp, 1, false),
    subject("NAT64 tc", Kind::Nat64(Hook::Tc), 2, true),
    subject("NAT64 routed", Kind::Nat64(Hook::Device), 3, true),
    subject("NAT64 XDP", Kind::Nat64(Hook::Xdp), 4, true),
    subject("NAT64 daemon only", Kind::Nat64(Hook::None), 5, true),
    subject("SIIT tc", Kind::Siit(Hook::Tc), 6, true),
    subject("SIIT tc, 100 k EAM", Kind::Eam(Hook::Tc), 7, true),
    subject("SIIT routed", Kind::Siit(Hook::Device), 8, true),
    subject("SIIT XDP", Kind::Siit(Hook::Xdp), 9, true),
    subject("SIIT XDP, 100 k EAM", Kind::Eam(Hook::Xdp), 10, true),
    subject("past NAT64 tc", Kind::Plain, 2, true),
    subject("past NAT64 XDP", Kind::Plain, 4, true),
    subject("past daemon only", Kind::Plain, 5, true),
    subject("cable IPv6", Kind::Cable, 11, true),
    subject("cable IPv4", Kind::Cable, 11, false),
];

impl Kind {
    /// The hook, of those with `xlat`.
    pub(crate) fn hook(self) -> Option<Hook> {
        match self {
            Self::Cable | Self::Plain | Self::Xdp => None,
            Self::Nat64(hook) | Self::Siit(hook) | Self::Eam(hook) => Some(hook),
        }
    }

    /// Whether packets arrive by XDP, which needs NAPI at the cables' other ends.
    pub(crate) fn has_xdp(self) -> bool {
        self == Self::Xdp || self.hook() == Some(Hook::Xdp)
    }
}

impl Subject {
    /// The configuration of `xlat`, of those that have it.
    pub(crate) fn config(&self) -> Option<String> {
        let n = self.router;
        let (enabled, ingress, xdp) = match self.kind.hook()? {
            Hook::None => (false, "auto", "off"),
            Hook::Device => (true, "auto", "off"),
            Hook::Tc => (true, "all", "off"),
            Hook::Xdp => (true, "all", "native"),
        };
        let mut text = format!(
            "[fast-path]\nenabled = {enabled}\ningress = \"{ingress}\"\nxdp = \"{xdp}\"\nmax-flows = {}\n\
             [[instance]]\nname = \"bench\"\n",
            2 * FLOWS
        );
        match self.kind {
            Kind::Nat64(_) => writeln!(text, "type = \"nat64\"\npool4 = [\"172.16.{n}.0/27\"]"),
            Kind::Eam(_) => {
                text.push_str("type = \"siit\"\neamt = [\n");
                for number in 0..EAM_ENTRIES {
                    let (six, four) = (self.behind_a(number), self.behind_a4(number));
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "\"{four}/32 {six}/128\",");
                }
                text.push_str("]\n");
                Ok(())
            }
            Kind::Cable | Kind::Plain | Kind::Xdp | Kind::Siit(_) => {
                writeln!(text, "type = \"siit\"\nroutes = [\"{}/12\"]", self.behind_a4(0))
            }
        }
        .ok()?;
        writeln!(text, "[instance.global]\npool6 = \"{}/96\"", self.pool6(Ipv4Addr::UNSPECIFIED)).ok()?;
        Some(text)
    }

    /// Node number `number` behind A, as IPv6 has it.
    pub(crate) fn behind_a(&self, number: u32) -> Ipv6Addr {
        let n = u16::from(self.router);
        let [high, low] = [(number >> 16) as u16, number as u16];
        match self.kind {
            Kind::Siit(_) => self.pool6(self.behind_a4(number)),
            Kind::Eam(_) => Ipv6Addr::new(0x2001, 0xdb8, 0xe0 + n, 0, 0, 0, high, low),
            Kind::Cable | Kind::Plain | Kind::Xdp | Kind::Nat64(_) => {
                Ipv6Addr::new(0x2001, 0xdb8, 0xc0 + n, 0, 0, 0, high, low)
            }
        }
    }

    /// Node number `number` behind A, as IPv4 has it.
    pub(crate) fn behind_a4(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 + (u32::from(self.router) << 20) + number)
    }

    /// V's address on the link to the router.
    pub(crate) fn v(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xb0 + u16::from(self.router), 0, 0, 0, 0, 2)
    }

    /// The same of IPv4.
    pub(crate) fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.router * 16 + 2)
    }

    /// `address` in pool6.
    pub(crate) fn pool6(&self, address: Ipv4Addr) -> Ipv6Addr {
        let [a, b, c, d] = address.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ipv6Addr::new(0x2001, 0xdb8, 0x64, u16::from(self.router), 0, 0, high, low)
    }

    /// Where A connects to, in order to reach V this way.
    pub(crate) fn destination(&self) -> IpAddr {
        match self.kind.hook() {
            Some(_) => self.pool6(self.v4()).into(),
            None if self.ipv6 => self.v().into(),
            None => self.v4().into(),
        }
    }

    /// A flood from A to V, or back.
    pub(crate) fn traffic(&self, down: bool) -> Traffic {
        let (six, four): (IpAddr, IpAddr) = (self.behind_a(0).into(), self.behind_a4(0).into());
        let near = if self.ipv6 { six } else { four };
        let far: IpAddr = self.v4().into();
        let (addresses, set) = match self.kind {
            Kind::Cable | Kind::Plain | Kind::Xdp => (64, 0),
            Kind::Nat64(hook) => (64, hook as u32),
            Kind::Siit(_) | Kind::Eam(_) => (EAM_ENTRIES, 0),
        };
        let (from, to, varies, arrives_at) = match (self.kind, down) {
            (Kind::Cable | Kind::Plain | Kind::Xdp, false) => {
                (near, self.destination(), Varies::From, self.destination())
            }
            (Kind::Cable | Kind::Plain | Kind::Xdp, true) => (self.destination(), near, Varies::To, near),
            (_, false) => (near, self.destination(), Varies::From, far),
            (Kind::Nat64(_), true) => (far, Ipv4Addr::UNSPECIFIED.into(), Varies::Learnt, near),
            (Kind::Siit(_) | Kind::Eam(_), true) => (far, four, Varies::To, near),
        };
        Traffic { from, to, varies, addresses, set, arrives_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_traffic_both_ways() {
        for subject in SUBJECTS {
            for down in [false, true] {
                let order = subject.traffic(down).order(1, ([2; 6], [4; 6]), 1000, 1);
                assert!(order.is_some(), "{} {down}", subject.name);
            }
        }
    }

    #[test]
    fn configurations_are_accepted() {
        for subject in SUBJECTS {
            let Some(text) = subject.config() else { continue };
            let checked = xlat_config::load("bench.toml", &text, &xlat_config::Hint::default());
            assert!(checked.is_ok(), "{}: {checked:?}", subject.name);
        }
    }
}
