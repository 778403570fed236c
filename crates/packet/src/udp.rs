//! UDP header (RFC 768).

mod field {
    use core::ops::Range;

    pub(super) const SOURCE: Range<usize> = 0..2;
    pub(super) const DESTINATION: Range<usize> = 2..4;
    pub(super) const LENGTH: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
}

/// Length of the header in bytes.
pub const LEN: usize = 8;
/// Where the checksum is, in bytes from the start of the header.
pub const CHECKSUM_AT: usize = field::CHECKSUM.start;

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and data.
    pub len: u16,
    /// Checksum; zero means that the sender made none (IPv4 only).
    pub checksum: u16,
}

impl Header {
    /// Reads a header. None if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let word = |at: core::ops::Range<usize>| u16::from_be_bytes([bytes[at.start], bytes[at.start + 1]]);
        Some(Self {
            src_port: word(field::SOURCE),
            dst_port: word(field::DESTINATION),
            len: word(field::LENGTH),
            checksum: word(field::CHECKSUM),
        })
    }

    /// Writes the header.
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        bytes[field::SOURCE].copy_from_slice(&self.src_port.to_be_bytes());
        bytes[field::DESTINATION].copy_from_slice(&self.dst_port.to_be_bytes());
        bytes[field::LENGTH].copy_from_slice(&self.len.to_be_bytes());
        bytes[field::CHECKSUM].copy_from_slice(&self.checksum.to_be_bytes());
    }
}

/// A checksum as it may be sent: a computed zero is sent as all ones, because zero means "none" (RFC 768).
pub const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let bytes = [0x03, 0xe8, 0x00, 0x35, 0x00, 0x14, 0xab, 0xcd];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header, Header { src_port: 1000, dst_port: 53, len: 20, checksum: 0xabcd });
        let mut written = [0; 8];
        header.write(&mut written);
        assert_eq!(written, bytes);
        assert_eq!(Header::parse(&bytes[..7]), None);
        assert_eq!((nonzero(0), nonzero(7)), (0xffff, 7));
    }
}
