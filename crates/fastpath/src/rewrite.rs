//! The arithmetic of a rewrite: checksums (RFC 1071, RFC 1624), addresses of pool6 (RFC 6052 2.2), prefixes of the EAMT
//! (RFC 7757 3.3), the new headers (RFC 7915 4.1, 5.1). On plain numbers, so that the program needs no memory for it.
//!
//! An address is in *memory order*: the number that the machine reads from the packet. One's-complement sums are of
//! such numbers too; they come out in the machine's order, which is what goes back into the packet.

use core::hint::black_box;

/// IPv4 header without options, in bytes.
pub const HEADER4: u32 = 20;
/// IPv6 header, in bytes.
pub const HEADER6: u32 = 40;
/// Largest IPv4 packet without Fragment header in the original that may be fragmented on its way, in bytes
/// (RFC 7915 5.1).
pub const MAY_FRAGMENT_UP_TO: u32 = 1260;

/// An IPv6 address: its two halves in memory order.
pub type Address6 = [u64; 2];

/// The sum of the four halves of two words.
#[inline(always)]
pub const fn sum(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// The sum of an IPv6 address.
#[inline(always)]
pub const fn sum6(address: Address6) -> u64 {
    sum(address[0]) + sum(address[1])
}

/// A sum as 32 bits.
#[inline(always)]
pub const fn fold32(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// A sum as 16 bits.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = fold32(sum) as u64;
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// What has to be added for `old` to become `new`.
#[inline(always)]
pub const fn difference(old: u64, new: u64) -> u32 {
    fold32(new + !fold32(old) as u64)
}

/// A checksum field after what it covers changed by `difference` (RFC 1624, equation 3).
#[inline(always)]
pub const fn update(field: u16, difference: u32) -> u16 {
    !fold(!field as u64 + difference as u64)
}

/// Upper-layer length and protocol as an IPv6 pseudo-header has them (RFC 8200 8.1).
#[inline(always)]
pub const fn length_and_protocol(length: u32, protocol: u8) -> u64 {
    length.to_be() as u64 + (protocol as u32).to_be() as u64
}

/// Nanoseconds as whole seconds, without a division, which costs more than the rest of a small packet's arithmetic.
#[inline(always)]
pub const fn seconds(nanoseconds: u64) -> u32 {
    // The upper half of the product with 2^93 / 10^9, rounded up (Granlund and Montgomery 1994).
    const FACTOR: u64 = 0x8970_5f41_36b4_a598;
    const LOW: u64 = FACTOR & 0xffff_ffff;
    const HIGH: u64 = FACTOR >> 32;
    let (low, high) = (nanoseconds & 0xffff_ffff, nanoseconds >> 32);
    let middle = high * LOW + ((low * LOW) >> 32);
    let other = low * HIGH + (middle & 0xffff_ffff);
    let upper = high * HIGH + (middle >> 32) + (other >> 32);
    (upper >> 29) as u32
}

/// The masks of the two halves of an address, in host order, for a prefix of `len` bits, at most 128. Without branches: in the
/// program's loops a verifier follows every one of them.
#[inline(always)]
const fn masks(len: u32) -> (u64, u64) {
    let beyond = len as i64 - 64;
    // The compiler would make a branch of it.
    let is_less = black_box(beyond >> 63);
    (mask((64 + (beyond & is_less)) as u64), mask((beyond & !is_less) as u64))
}

/// The mask of the first `len` bits, at most 64.
#[inline(always)]
const fn mask(len: u64) -> u64 {
    let half = len >> 1 & 63;
    !((u64::MAX >> half) >> (len.wrapping_sub(half) & 63))
}

/// The first `len` bits of an address.
#[inline(always)]
pub const fn prefix6(address: Address6, len: u32) -> Address6 {
    let (high, low) = masks(len);
    [address[0] & high.to_be(), address[1] & low.to_be()]
}

/// The first `len` bits of an IPv4 address.
#[inline(always)]
pub const fn prefix4(address: u32, len: u32) -> u32 {
    // In 64 bits, where a length of 32 is nothing special.
    address & (!(0xffff_ffff_u64 >> (len & 63)) as u32).to_be()
}

/// The IPv6 address that represents `address` under the RFC 6052 prefix `pool6` of `len` bits.
#[inline(always)]
pub const fn embed(pool6: Address6, len: u32, address: u32) -> Address6 {
    let bits = u32::from_be(address) as u64;
    if len > 64 {
        return [pool6[0], pool6[1] | bits.to_be()];
    }
    // What does not fit in front of the u octet goes behind it.
    let behind = len.wrapping_sub(32) & 63;
    let low = (bits & !(u64::MAX << behind)) << (56u32.wrapping_sub(behind) & 63);
    [pool6[0] | (bits >> behind).to_be(), low.to_be()]
}

/// True if `address` lies in the RFC 6052 prefix `pool6` of `len` bits.
#[inline(always)]
pub const fn in_pool6(pool6: Address6, len: u32, address: Address6) -> bool {
    if len > 64 {
        return address[0] == pool6[0] && (address[1] ^ pool6[1]) & (u64::MAX << 32).to_be() == 0;
    }
    (address[0] ^ pool6[0]) & (u64::MAX << (64u32.wrapping_sub(len) & 63)).to_be() == 0
}

/// The IPv4 address that `address` represents under an RFC 6052 prefix of `len` bits.
#[inline(always)]
pub const fn extract(len: u32, address: Address6) -> u32 {
    let low = u64::from_be(address[1]);
    if len > 64 {
        return (low as u32).to_be();
    }
    let behind = len.wrapping_sub(32) & 63;
    let high = u64::from_be(address[0]) << behind;
    let low = (low >> (56u32.wrapping_sub(behind) & 63)) & !(u64::MAX << behind);
    ((high | low) as u32).to_be()
}

/// The IPv4 address of `address` by an EAM entry: the prefix of the IPv4 side, then the bits behind the first
/// `len6` (RFC 7757 3.3.2).
#[inline(always)]
pub const fn eam4(address: Address6, len6: u32, prefix: u32, len4: u32) -> u32 {
    let (high, low) = (u64::from_be(address[0]), u64::from_be(address[1]));
    // The 32 bits behind the prefix.
    let behind = if len6 >= 128 {
        0
    } else if len6 >= 64 {
        low << ((len6 - 64) & 63)
    } else if len6 == 0 {
        high
    } else {
        high << (len6 & 63) | low >> ((64 - len6) & 63)
    } >> 32;
    let suffix = if len4 >= 32 { 0 } else { behind >> len4 };
    prefix | (suffix as u32).to_be()
}

/// The IPv6 address of `address` by an EAM entry: the prefix of the IPv6 side, then the bits behind the first `len4`,
/// then zeros (RFC 7757 3.3.1).
#[inline(always)]
pub const fn eam6(address: u32, len4: u32, prefix: Address6, len6: u32) -> Address6 {
    if len4 >= 32 || len6 >= 128 {
        return prefix;
    }
    let suffix = (u32::from_be(address) as u64) << (32 + (len4 & 31));
    if len6 >= 64 {
        return [prefix[0], prefix[1] | (suffix >> ((len6 - 64) & 63)).to_be()];
    }
    let low = if len6 == 0 { 0 } else { suffix << ((64 - len6) & 63) };
    [prefix[0] | (suffix >> (len6 & 63)).to_be(), prefix[1] | low.to_be()]
}

/// True for IPv4 addresses that are never translated: 0/8, 127/8, 169.254/16, 224/4 and 255.255.255.255 (RFC 6890,
/// RFC 1812 5.3.7).
#[inline(always)]
pub const fn is_never_translated(address: u32) -> bool {
    let bits = u32::from_be(address);
    let first = bits >> 24;
    first == 0 || first == 127 || bits >> 16 == 0xa9fe || first >> 4 == 14 || bits == u32::MAX
}

/// An IPv4 header (RFC 791 3.1) as five words in memory order, its checksum included. `total_len` in bytes.
#[inline(always)]
pub const fn header4(
    tos: u32,
    total_len: u32,
    identification: u16,
    dont_fragment: bool,
    ttl: u32,
    protocol: u8,
    (src, dst): (u32, u32),
) -> [u32; 5] {
    let fragment = if dont_fragment { 0x4000 } else { 0 };
    let first = (0x4500_0000 | (tos & 0xff) << 16 | total_len & 0xffff).to_be();
    let second = ((identification as u32) << 16 | fragment).to_be();
    let third = ((ttl & 0xff) << 24 | (protocol as u32) << 16).to_be();
    let sum = first as u64 + second as u64 + third as u64 + src as u64 + dst as u64;
    let checksum = !fold(sum);
    // The checksum is already in memory order: its place is the word's second half in memory.
    let third =
        third | if cfg!(target_endian = "little") { (checksum as u32) << 16 } else { checksum as u32 };
    [first, second, third, src, dst]
}

/// The first eight bytes of an IPv6 header (RFC 8200 3) as two words in memory order; the flow label is zero
/// (RFC 7915 4.1).
#[inline(always)]
pub const fn header6(traffic_class: u32, payload_len: u32, next_header: u8, hop_limit: u32) -> [u32; 2] {
    [
        (6 << 28 | (traffic_class & 0xff) << 20).to_be(),
        ((payload_len & 0xffff) << 16 | (next_header as u32) << 8 | hop_limit & 0xff).to_be(),
    ]
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn a6(text: &str) -> Address6 {
        let bytes = text.parse::<Ipv6Addr>().unwrap().octets();
        [0, 8].map(|at| u64::from_ne_bytes(*bytes[at..].first_chunk().unwrap()))
    }

    fn a4(text: &str) -> u32 {
        u32::from_ne_bytes(text.parse::<Ipv4Addr>().unwrap().octets())
    }

    #[test]
    fn rfc6052_2_4() {
        for (prefix, len, address) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::", 96, "64:ff9b::192.0.2.33"),
        ] {
            let (pool6, address, v4) = (a6(prefix), a6(address), a4("192.0.2.33"));
            assert_eq!(embed(pool6, len, v4), address, "{prefix}/{len}");
            assert_eq!(extract(len, address), v4, "{prefix}/{len}");
            assert!(in_pool6(pool6, len, address));
            assert!(!in_pool6(pool6, len, a6("2001:db9::1")));
        }
        assert!(!in_pool6(a6("64:ff9b::"), 96, a6("64:ff9b::1:192.0.2.33")));
    }

    #[test]
    fn eam_there_and_back() {
        for (v4, len4, v6, len6, address4, address6) in [
            ("192.168.3.0", 24, "2001:db8:3::", 120, "192.168.3.7", "2001:db8:3::7"),
            ("192.0.2.1", 32, "2001:db8:aaaa::", 128, "192.0.2.1", "2001:db8:aaaa::"),
            ("10.0.0.0", 8, "2001:db8::", 64, "10.1.2.3", "2001:db8::102:300:0:0"),
            ("10.0.0.0", 8, "2001:db8::", 40, "10.1.2.3", "2001:db8:1:203::"),
            ("10.0.0.0", 8, "2001:db8:ff00::", 56, "10.1.2.3", "2001:db8:ff00:1:203::"),
            ("10.0.0.0", 8, "2001:db8::", 104, "10.1.2.3", "2001:db8::1:203"),
            ("0.0.0.0", 0, "2001:db8::", 96, "203.0.113.9", "2001:db8::203.0.113.9"),
        ] {
            assert_eq!(eam6(a4(address4), len4, a6(v6), len6), a6(address6), "{address4}");
            assert_eq!(eam4(a6(address6), len6, a4(v4), len4), a4(address4), "{address6}");
            assert_eq!(prefix6(a6(address6), len6), a6(v6));
            assert_eq!(prefix4(a4(address4), len4), a4(v4));
        }
        // What is behind the IPv4 suffix does not matter (RFC 7757 3.3.2).
        assert_eq!(
            eam4(a6("2001:db8::102:3ff:0:1"), 64, a4("10.0.0.0"), 8),
            a4("10.1.2.3"),
            "bits behind the suffix"
        );
    }

    #[test]
    fn prefixes_of_every_length() {
        let all = u128::MAX;
        for len in 0..=128 {
            let wanted = if len == 0 { 0 } else { all << (128 - len) };
            let found = prefix6([u64::MAX; 2], len).map(u64::from_be);
            assert_eq!(u128::from(found[0]) << 64 | u128::from(found[1]), wanted, "{len}");
        }
        for len in 0..=32 {
            let wanted = if len == 0 { 0 } else { u32::MAX << (32 - len) };
            assert_eq!(u32::from_be(prefix4(u32::MAX, len)), wanted, "{len}");
        }
    }

    #[test]
    fn never_translated() {
        for (address, expected) in [
            ("0.0.0.1", true),
            ("127.1.1.1", true),
            ("169.254.9.9", true),
            ("224.0.0.1", true),
            ("239.255.255.255", true),
            ("255.255.255.255", true),
            ("240.0.0.1", false),
            ("255.255.255.254", false),
            ("169.253.0.1", false),
            ("203.0.113.1", false),
        ] {
            assert_eq!(is_never_translated(a4(address)), expected, "{address}");
        }
    }

    #[test]
    fn whole_seconds() {
        for second in [0u64, 1, 2, 59, 3600, 86_400, 31_536_000, 4_000_000_000] {
            for part in [0, 1, 500_000_000, 999_999_999] {
                let nanoseconds = second * 1_000_000_000 + part;
                assert_eq!(u64::from(seconds(nanoseconds)), second, "{nanoseconds}");
            }
        }
    }

    #[test]
    fn headers() {
        let words = header4(0xb8, 84, 0x1234, true, 63, 17, (a4("203.0.113.2"), a4("203.0.113.16")));
        let total = words.iter().map(|word| u64::from(*word)).sum();
        assert_eq!(fold(total), 0xffff, "a right header checksum");
        assert_eq!(words[0].to_ne_bytes(), [0x45, 0xb8, 0, 84]);
        assert_eq!(words[1].to_ne_bytes(), [0x12, 0x34, 0x40, 0]);
        assert_eq!(words[2].to_ne_bytes()[..2], [63, 17]);
        let words = header6(0xb8, 84, 58, 63);
        assert_eq!(words.map(u32::to_ne_bytes).concat(), [0x6b, 0x80, 0, 0, 0, 84, 58, 63]);
    }

    #[test]
    fn rfc1624_example() {
        // RFC 1624 section 4: field dd2f, word 5555 becomes 3285.
        let swap = |word: u16| u64::from(word.to_be());
        let difference = difference(swap(0x5555), swap(0x3285));
        assert_eq!(update(0xdd2fu16.to_be(), difference), 0);
    }
}
