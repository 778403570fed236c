//! IPv6 header (RFC 8200 section 3) and the form that its extension headers share (RFC 8200 section 4).

use core::net::Ipv6Addr;

mod field {
    use core::ops::Range;

    pub(super) const PAYLOAD_LENGTH: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// Length of the header in bytes.
pub const LEN: usize = 40;
/// The smallest MTU of an IPv6 link, in bytes (RFC 8200 section 5).
pub const MINIMUM_MTU: u32 = 1280;
/// Where the hop limit is, in bytes from the start of the header.
pub const HOP_LIMIT_AT: usize = field::HOP_LIMIT;
/// Where Segments Left is in a Routing header, in bytes from the start of that header (RFC 8200 4.4).
pub const SEGMENTS_LEFT_AT: usize = 3;

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Bytes after this header, extension headers included.
    pub payload_len: u16,
    /// Protocol number of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
}

impl Header {
    /// Reads a header. None if there are fewer than 40 bytes. Version and lengths are not judged.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let address = |at: core::ops::Range<usize>| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[at]);
            Ipv6Addr::from(octets)
        };
        let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Some(Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            payload_len: u16::from_be_bytes([
                bytes[field::PAYLOAD_LENGTH.start],
                bytes[field::PAYLOAD_LENGTH.start + 1],
            ]),
            next_header: bytes[field::NEXT_HEADER],
            hop_limit: bytes[field::HOP_LIMIT],
            src: address(field::SOURCE),
            dst: address(field::DESTINATION),
        })
    }

    /// Writes the header; bits of the flow label above 20 are cut off.
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        bytes[..4].copy_from_slice(&first.to_be_bytes());
        bytes[field::PAYLOAD_LENGTH].copy_from_slice(&self.payload_len.to_be_bytes());
        bytes[field::NEXT_HEADER] = self.next_header;
        bytes[field::HOP_LIMIT] = self.hop_limit;
        bytes[field::SOURCE].copy_from_slice(&self.src.octets());
        bytes[field::DESTINATION].copy_from_slice(&self.dst.octets());
    }
}

/// The start of a Hop-by-Hop Options, Routing or Destination Options header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Protocol number of what follows.
    pub next_header: u8,
    /// Length of the whole extension header, in bytes (8 to 2048).
    pub len: usize,
}

impl Extension {
    /// Reads the first two bytes. None if they, or the length they claim, are not there.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [next_header, units, ..] = *bytes else { return None };
        let len = (usize::from(units) + 1) * 8;
        (len <= bytes.len()).then_some(Self { next_header, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let header = Header {
            traffic_class: 0xab,
            flow_label: 0x12345,
            payload_len: 0x0102,
            next_header: 17,
            hop_limit: 63,
            src: "2001:db8::8".parse().unwrap(),
            dst: "64:ff9b::203.0.113.16".parse().unwrap(),
        };
        let mut bytes = [0; 40];
        header.write(&mut bytes);
        assert_eq!(bytes[..8], [0x6a, 0xb1, 0x23, 0x45, 0x01, 0x02, 17, 63]);
        assert_eq!(bytes[36..], [203, 0, 113, 16]);
        assert_eq!(Header::parse(&bytes), Some(header));
        assert_eq!(Header::parse(&bytes[..39]), None);
    }

    #[test]
    fn extension() {
        assert_eq!(Extension::parse(&[17, 0, 0, 0, 0, 0, 0, 0]), Some(Extension { next_header: 17, len: 8 }));
        assert_eq!(Extension::parse(&[17, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Extension::parse(&[17]), None);
    }
}
