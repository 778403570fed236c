//! IPv4-embedded IPv6 addresses: the prefix that represents the IPv4 Internet inside IPv6 (RFC 6052 section 2).
//!
//! The four octets of an IPv4 address follow the prefix, but step over bits 64 to 71, the "u" octet. Seen as one
//! 128-bit number this is one shift and, for the part behind bit 64, a second one of eight bits; a /96 prefix lies
//! behind the u octet and has no gap.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use thiserror::Error;

/// The lower half of an IPv6 address: the u octet and all behind it.
const LOWER_HALF: u128 = u64::MAX as u128;
/// The u octet, bits 64 to 71 (RFC 6052 2.2).
const U_OCTET: u128 = 0xff << 56;

/// An RFC 6052 prefix, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool6 {
    prefix: u128,
    mask: u128,
    /// Bits from the end of the IPv4 address to the end of the IPv6 address, were there no gap.
    shift: u32,
    /// Width of the gap in bits: that of the u octet, or 0 for /96.
    gap: u32,
}

/// Why a prefix cannot represent IPv4: the operator's configuration.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Pool6Error {
    /// A length that RFC 6052 2.2 does not define.
    #[error("the length must be 32, 40, 48, 56, 64 or 96, not {0}")]
    Length(u8),
    /// Bits set behind the prefix.
    #[error("bits are set behind the prefix; meant is probably {0}")]
    HostBits(Ipv6Net),
    /// Bits 64 to 71 of a /96 prefix are not zero (RFC 6052 2.2).
    #[error("bits 64 to 71 (the u octet) must be zero")]
    UOctet,
}

impl Pool6 {
    /// Checks `prefix` (RFC 6052 2.2).
    pub fn new(prefix: Ipv6Net) -> Result<Self, Pool6Error> {
        let len = prefix.prefix_len();
        if !matches!(len, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Pool6Error::Length(len));
        }
        if prefix.trunc() != prefix {
            return Err(Pool6Error::HostBits(prefix.trunc()));
        }
        let bits = prefix.addr().to_bits();
        if bits & U_OCTET != 0 {
            return Err(Pool6Error::UOctet);
        }
        Ok(Self {
            prefix: bits,
            mask: prefix.netmask().to_bits(),
            shift: 96 - u32::from(len),
            gap: if len == 96 { 0 } else { 8 },
        })
    }

    /// The IPv6 address that represents `address`; u octet and suffix are zero (RFC 6052 2.3).
    pub fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let bits = u128::from(address.to_bits()) << self.shift;
        Ipv6Addr::from_bits(self.prefix | bits & !LOWER_HALF | (bits & LOWER_HALF) >> self.gap)
    }

    /// The IPv4 address that `address` represents; u octet and suffix are ignored (RFC 6052 2.3). None outside the
    /// prefix.
    pub fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let bits = address.to_bits();
        if bits & self.mask != self.prefix {
            return None;
        }
        let rest = bits & !self.mask;
        // Shifting the lower half as 64 bits pushes the u octet out.
        let lower = (rest as u64) << self.gap;
        Some(Ipv4Addr::from_bits(((rest & !LOWER_HALF | u128::from(lower)) >> self.shift) as u32))
    }

    /// True if `address` lies in the prefix.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask == self.prefix
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6052 2.4: 192.0.2.33 by prefixes of every length, and the well-known prefix.
    const RFC6052_2_4: [(&str, &str); 7] = [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ];

    /// The bytes that the octets a, b, c, d go to, by prefix length (RFC 6052 2.2, figure 1).
    const POSITIONS: [(u8, [usize; 4]); 6] = [
        (32, [4, 5, 6, 7]),
        (40, [5, 6, 7, 9]),
        (48, [6, 7, 9, 10]),
        (56, [7, 9, 10, 11]),
        (64, [9, 10, 11, 12]),
        (96, [12, 13, 14, 15]),
    ];

    fn pool6(prefix: &str) -> Pool6 {
        Pool6::new(prefix.parse().unwrap()).unwrap()
    }

    #[test]
    fn rfc6052_text_representation_examples() {
        for (prefix, embedded) in RFC6052_2_4 {
            let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 33), embedded.parse().unwrap());
            assert_eq!(pool6(prefix).embed(v4), v6, "{prefix}");
            assert_eq!(pool6(prefix).extract(v6), Some(v4), "{prefix}");
        }
    }

    #[test]
    fn refused_prefixes() {
        let error = |prefix: &str| Pool6::new(prefix.parse().unwrap()).unwrap_err();
        for len in (0..=128).filter(|len| ![32, 40, 48, 56, 64, 96].contains(len)) {
            assert_eq!(error(&format!("::/{len}")), Pool6Error::Length(len));
        }
        assert_eq!(error("64:ff9b::1/96"), Pool6Error::HostBits("64:ff9b::/96".parse().unwrap()));
        assert_eq!(error("2001:db8:0:0:100::/96"), Pool6Error::UOctet);
        assert_eq!(error("2001:db8:0:0:100::/64"), Pool6Error::HostBits("2001:db8::/64".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn octets_lie_where_the_figure_says(
            row in 0..POSITIONS.len(), prefix: u128, v4: [u8; 4], noise: [u8; 16],
        ) {
            let (len, positions) = POSITIONS[row];
            let net = Ipv6Net::new(Ipv6Addr::from_bits(prefix & !U_OCTET), len).unwrap().trunc();
            let pool = Pool6::new(net).unwrap();
            let mut expected = net.addr().octets();
            for (octet, at) in v4.iter().zip(positions) {
                expected[at] = *octet;
            }
            prop_assert_eq!(pool.embed(v4.into()).octets(), expected);
            // The u octet and the suffix may hold anything when they come in.
            for (at, octet) in expected.iter_mut().enumerate().skip(usize::from(len / 8)) {
                if !positions.contains(&at) {
                    *octet = noise[at];
                }
            }
            prop_assert_eq!(pool.extract(expected.into()), Some(v4.into()));
            prop_assert!(pool.contains(expected.into()));
            // One bit of the prefix changed: not ours.
            expected[usize::from(noise[0] % (len / 8))] ^= 1 << (noise[1] % 8);
            prop_assert_eq!(pool.extract(expected.into()), None);
            prop_assert!(!pool.contains(expected.into()));
        }
    }
}
