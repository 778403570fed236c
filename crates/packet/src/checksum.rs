//! One's-complement arithmetic of the Internet checksum, full and incremental (RFC 1071, RFC 1624).
//!
//! A [`Sum`] is a value of the one's-complement ring; it is never complemented. [`Sum::finish`] gives what goes
//! into a checksum field. Updating a field by the difference of what was and what is covered keeps a wrong
//! checksum exactly as wrong as it came.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A one's-complement sum of 16-bit words in network order, not yet folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`; an odd last byte counts as if followed by a zero byte.
    #[inline]
    pub fn of(bytes: &[u8]) -> Self {
        // 32-bit big-endian words into a 64-bit accumulator: no carry can be lost below 2^32 words, and a sum of
        // 32-bit words folds to the same residue as the sum of their halves.
        let mut sum = 0u64;
        let mut blocks = bytes.chunks_exact(32);
        for block in &mut blocks {
            let mut part = 0u64;
            for word in block.chunks_exact(4) {
                part += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
            }
            sum += part;
        }
        let mut words = blocks.remainder().chunks_exact(4);
        for word in &mut words {
            sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        }
        sum += match *words.remainder() {
            [first] => u64::from(u16::from_be_bytes([first, 0])),
            [first, second] => u64::from(u16::from_be_bytes([first, second])),
            [first, second, third] => u64::from(u32::from_be_bytes([first, second, third, 0])),
            _ => 0,
        };
        Self(sum)
    }

    /// The sum of one word.
    pub const fn word(word: u16) -> Self {
        Self(word as u64)
    }

    /// The sum of two words, the first in the upper half.
    pub const fn long(long: u32) -> Self {
        Self(long as u64)
    }

    /// The sum with another one.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum without another one.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        // The complement of a folded value is its negative.
        Self(self.0 + (!other.fold()) as u64)
    }

    /// The addresses of an IPv4 pseudo-header.
    pub fn addresses4(src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        Self(u64::from(src.to_bits()) + u64::from(dst.to_bits()))
    }

    /// The addresses of an IPv6 pseudo-header.
    #[inline]
    pub fn addresses6(src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        Self::address6(src).plus(Self::address6(dst))
    }

    /// One IPv6 address, from its number: bytes just written would have to be waited for.
    #[inline]
    fn address6(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        let halves = |half: u64| (half >> 32) + (half & 0xffff_ffff);
        Self(halves((bits >> 64) as u64) + halves(bits as u64))
    }

    /// Upper-layer length and protocol of a pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
    pub const fn length_and_protocol(length: u32, protocol: u8) -> Self {
        Self(length as u64 + protocol as u64)
    }

    /// Folded to 16 bits, not complemented: what a partial checksum field holds.
    pub const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// Folded and complemented: what a checksum field holds.
    pub const fn finish(self) -> u16 {
        !self.fold()
    }
}

/// `field` after what it covers changed from `old` to `new` (RFC 1624, equation 3).
///
/// The result of a full computation over the new content, if the old field was right; else off by the same
/// difference. Where the result is congruent to zero it is 0x0000 or 0xffff as equation 3 gives it.
pub const fn update(field: u16, old: Sum, new: Sum) -> u16 {
    Sum(!field as u64).minus(old).plus(new).finish()
}

/// Like [`update`] for a field that holds a partial sum: folded, not complemented.
pub const fn update_partial(field: u16, old: Sum, new: Sum) -> u16 {
    Sum(field as u64).minus(old).plus(new).fold()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain definition, word by word (RFC 1071 section 1).
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn rfc1071_example() {
        // RFC 1071 section 3: the words 0001 f203 f4f5 f6f7 sum to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::of(&bytes).finish(), 0x220d);
    }

    #[test]
    fn equals_the_definition_at_every_length() {
        let bytes: std::vec::Vec<u8> = (0..200u32).map(|i| (i * 151 + 7) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(Sum::of(&bytes[..len]).finish(), reference(&bytes[..len]), "{len} bytes");
        }
        assert_eq!(Sum::of(&[0xff; 65535]).finish(), reference(&[0xff; 65535]));
    }

    #[test]
    fn rfc1624_example() {
        // RFC 1624 section 4: field dd2f, word 5555 becomes 3285: 0000, where the older equation gave ffff.
        assert_eq!(update(0xdd2f, Sum::word(0x5555), Sum::word(0x3285)), 0x0000);
    }

    #[test]
    fn an_error_stays_the_same_error() {
        let mut bytes = [7u8; 40];
        let right = Sum::of(&bytes).finish();
        let wrong = right.wrapping_add(0x1234);
        let old = Sum::of(&bytes[..4]);
        bytes[..4].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
        let new = Sum::of(&bytes[..4]);
        assert_eq!(update(right, old, new), Sum::of(&bytes).finish());
        let error_before = Sum::word(right).minus(Sum::word(wrong)).fold();
        let error_after = Sum::of(&bytes).fold();
        let after = Sum::word(!error_after).minus(Sum::word(update(wrong, old, new))).fold();
        assert_eq!(error_before, after);
    }

    #[test]
    fn partial() {
        let old = Sum::addresses4([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let new = Sum::addresses6("2001:db8::1".parse().unwrap(), "64:ff9b::1".parse().unwrap());
        let rest = Sum::length_and_protocol(100, 6);
        assert_eq!(update_partial(old.plus(rest).fold(), old, new), new.plus(rest).fold());
    }
}
