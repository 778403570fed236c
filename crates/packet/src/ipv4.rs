//! IPv4 header (RFC 791 3.1).

use core::net::Ipv4Addr;

use crate::checksum::Sum;

mod field {
    use core::ops::Range;

    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LENGTH: Range<usize> = 2..4;
    pub(super) const IDENTIFICATION: Range<usize> = 4..6;
    pub(super) const FLAGS_OFFSET: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
}

/// Length of a header without options, in bytes.
pub const LEN: usize = 20;
/// Where the TTL is, in bytes from the start of the header.
pub const TTL_AT: usize = field::TTL;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_LOOSE_SOURCE_ROUTE: u8 = 131;
const OPTION_STRICT_SOURCE_ROUTE: u8 = 137;

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the header with options, in bytes (20 to 60).
    pub header_len: u8,
    /// Type of service: DSCP and ECN (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Length of header and payload, in bytes.
    pub total_len: u16,
    /// Identification.
    pub identification: u16,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// More Fragments.
    pub more_fragments: bool,
    /// Fragment offset in bytes, a multiple of 8.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
}

impl Header {
    /// Reads the fixed part. None if there are fewer than 20 bytes. Version, lengths and checksum are not judged.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let word = |at: core::ops::Range<usize>| u16::from_be_bytes([bytes[at.start], bytes[at.start + 1]]);
        let address = |at: core::ops::Range<usize>| {
            Ipv4Addr::new(bytes[at.start], bytes[at.start + 1], bytes[at.start + 2], bytes[at.start + 3])
        };
        let flags_offset = word(field::FLAGS_OFFSET);
        Some(Self {
            header_len: (bytes[field::VERSION_IHL] & 0x0f) * 4,
            tos: bytes[field::TOS],
            total_len: word(field::TOTAL_LENGTH),
            identification: word(field::IDENTIFICATION),
            dont_fragment: flags_offset & DONT_FRAGMENT != 0,
            more_fragments: flags_offset & MORE_FRAGMENTS != 0,
            fragment_offset: (flags_offset & OFFSET_MASK) << 3,
            ttl: bytes[field::TTL],
            protocol: bytes[field::PROTOCOL],
            src: address(field::SOURCE),
            dst: address(field::DESTINATION),
        })
    }

    /// Writes a header without options, checksum included; `header_len` is taken as 20.
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        let mut flags_offset = self.fragment_offset >> 3;
        if self.dont_fragment {
            flags_offset |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            flags_offset |= MORE_FRAGMENTS;
        }
        let mut words = [
            0x45 << 24 | u32::from(self.tos) << 16 | u32::from(self.total_len),
            u32::from(self.identification) << 16 | u32::from(flags_offset),
            u32::from(self.ttl) << 24 | u32::from(self.protocol) << 16,
            self.src.to_bits(),
            self.dst.to_bits(),
        ];
        // From the words, not from the bytes: those are not there yet.
        let sum = words.iter().fold(Sum::ZERO, |sum, word| sum.plus(Sum::long(*word)));
        words[2] |= u32::from(sum.finish());
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }

    /// True if the datagram is one of several fragments.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }
}

/// True if the header, options included, sums to zero. `header` is exactly the header's bytes.
#[inline]
pub fn checksum_holds(header: &[u8]) -> bool {
    Sum::of(header).fold() == 0xffff
}

/// True if `options` (the bytes between the fixed header and the payload) hold a loose or strict source route
/// that is not exhausted: its pointer is not greater than its length (RFC 791 3.1, RFC 7915 4.1).
///
/// Options that do not parse end the search: what follows cannot be told.
pub fn has_live_source_route(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match *kind {
            OPTION_END => return false,
            OPTION_NOP => options = rest,
            kind => {
                let Some(&len) = rest.first() else { return false };
                if len < 2 || usize::from(len) > options.len() {
                    return false;
                }
                if matches!(kind, OPTION_LOOSE_SOURCE_ROUTE | OPTION_STRICT_SOURCE_ROUTE)
                    && rest.get(1).is_some_and(|pointer| *pointer <= len)
                {
                    return true;
                }
                options = &options[usize::from(len)..];
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of RFC 1071 errata and many textbooks: 172.16.10.99 to 172.16.10.12.
    const BYTES: [u8; 20] = [
        0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 0xac, 0x10, 0x0a, 0x63, 0xac,
        0x10, 0x0a, 0x0c,
    ];

    #[test]
    fn parse_and_write() {
        let header = Header::parse(&BYTES).unwrap();
        assert_eq!(header.total_len, 60);
        assert_eq!(header.identification, 0x1c46);
        assert!(header.dont_fragment && !header.more_fragments);
        assert_eq!(header.src, Ipv4Addr::new(172, 16, 10, 99));
        let mut written = [0; 20];
        header.write(&mut written);
        assert_eq!(written, BYTES);
        assert!(checksum_holds(&BYTES));
        assert!(!checksum_holds(&[0x45; 20]));
        assert_eq!(Header::parse(&BYTES[..19]), None);
    }

    #[test]
    fn fragment_offset_is_in_bytes() {
        let mut header = Header::parse(&BYTES).unwrap();
        (header.fragment_offset, header.more_fragments, header.dont_fragment) = (65528, true, false);
        let mut written = [0; 20];
        header.write(&mut written);
        assert_eq!(written[6..8], [0x3f, 0xff]);
        assert_eq!(Header::parse(&written).unwrap().fragment_offset, 65528);
    }

    #[test]
    fn source_routes() {
        assert!(has_live_source_route(&[1, 131, 7, 4, 192, 0, 2, 1]));
        assert!(has_live_source_route(&[137, 7, 4, 192, 0, 2, 1, 0]));
        assert!(!has_live_source_route(&[131, 7, 8, 192, 0, 2, 1, 0]), "exhausted");
        assert!(!has_live_source_route(&[0, 131, 7, 4, 192, 0, 2, 1]), "behind the end");
        assert!(!has_live_source_route(&[7, 0, 131, 3]), "length too short");
        assert!(!has_live_source_route(&[131]));
        assert!(!has_live_source_route(&[]));
    }
}
