//! TCP header (RFC 9293 3.1).

mod field {
    use core::ops::Range;

    pub(super) const SOURCE: Range<usize> = 0..2;
    pub(super) const DESTINATION: Range<usize> = 2..4;
    pub(super) const SEQUENCE: Range<usize> = 4..8;
    pub(super) const ACKNOWLEDGEMENT: Range<usize> = 8..12;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: Range<usize> = 14..16;
    pub(super) const CHECKSUM: Range<usize> = 16..18;
    pub(super) const URGENT: Range<usize> = 18..20;
}

/// Length of a header without options, in bytes.
pub const LEN: usize = 20;
/// Where the sequence number is, in bytes from the start of the header.
pub const SEQUENCE_AT: usize = field::SEQUENCE.start;
/// Where the flags are, in bytes from the start of the header.
pub const FLAGS_AT: usize = field::FLAGS;
/// Where the checksum is, in bytes from the start of the header.
pub const CHECKSUM_AT: usize = field::CHECKSUM.start;

/// FIN flag.
pub const FIN: u8 = 0x01;
/// SYN flag.
pub const SYN: u8 = 0x02;
/// RST flag.
pub const RST: u8 = 0x04;
/// PSH flag.
pub const PSH: u8 = 0x08;
/// ACK flag.
pub const ACK: u8 = 0x10;
/// CWR flag (RFC 3168).
pub const CWR: u8 = 0x80;

/// The fixed part of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Length of the header with options as the data offset gives it, in bytes (0 to 60).
    pub header_len: u8,
    /// Flags, CWR (0x80) to FIN (0x01).
    pub flags: u8,
    /// Window, not scaled.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

impl Header {
    /// Reads the fixed part. None if there are fewer than 20 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let word = |at: core::ops::Range<usize>| u16::from_be_bytes([bytes[at.start], bytes[at.start + 1]]);
        let long = |at: core::ops::Range<usize>| {
            u32::from_be_bytes([
                bytes[at.start],
                bytes[at.start + 1],
                bytes[at.start + 2],
                bytes[at.start + 3],
            ])
        };
        Some(Self {
            src_port: word(field::SOURCE),
            dst_port: word(field::DESTINATION),
            sequence: long(field::SEQUENCE),
            acknowledgement: long(field::ACKNOWLEDGEMENT),
            header_len: (bytes[field::DATA_OFFSET] >> 4) * 4,
            flags: bytes[field::FLAGS],
            window: word(field::WINDOW),
            checksum: word(field::CHECKSUM),
            urgent: word(field::URGENT),
        })
    }

    /// Writes the fixed part; the reserved bits beside the data offset become zero.
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        bytes[field::SOURCE].copy_from_slice(&self.src_port.to_be_bytes());
        bytes[field::DESTINATION].copy_from_slice(&self.dst_port.to_be_bytes());
        bytes[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[field::ACKNOWLEDGEMENT].copy_from_slice(&self.acknowledgement.to_be_bytes());
        bytes[field::DATA_OFFSET] = (self.header_len / 4) << 4;
        bytes[field::FLAGS] = self.flags;
        bytes[field::WINDOW].copy_from_slice(&self.window.to_be_bytes());
        bytes[field::CHECKSUM].copy_from_slice(&self.checksum.to_be_bytes());
        bytes[field::URGENT].copy_from_slice(&self.urgent.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let bytes = [
            0x00, 0x50, 0xc3, 0x50, 0x01, 0x02, 0x03, 0x04, 0x0a, 0x0b, 0x0c, 0x0d, 0x50, 0x12, 0x20, 0x00,
            0xbe, 0xef, 0x00, 0x00,
        ];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.src_port, header.dst_port), (80, 50000));
        assert_eq!((header.sequence, header.acknowledgement), (0x0102_0304, 0x0a0b_0c0d));
        assert_eq!((header.header_len, header.flags), (20, SYN | ACK));
        assert_eq!(header.checksum, 0xbeef);
        let mut written = [0xff; 20];
        header.write(&mut written);
        assert_eq!(written, bytes);
        assert_eq!(Header::parse(&bytes[..19]), None);
    }
}
