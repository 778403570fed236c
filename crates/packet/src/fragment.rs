//! IPv6 Fragment header (RFC 8200 4.5).

/// Length of the header in bytes.
pub const LEN: usize = 8;

const OFFSET_MASK: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 0x0001;

/// A Fragment header. Reserved fields are ignored when read and written as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Protocol number of what follows in the first fragment.
    pub next_header: u8,
    /// Offset of this fragment's data in bytes, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl Header {
    /// Reads a header. None if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let offset_flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        Some(Self {
            next_header: bytes[0],
            offset: offset_flags & OFFSET_MASK,
            more: offset_flags & MORE_FRAGMENTS != 0,
            identification: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
    }

    /// Writes the header.
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        let offset_flags = self.offset & OFFSET_MASK | u16::from(self.more);
        bytes[0] = self.next_header;
        bytes[1] = 0;
        bytes[2..4].copy_from_slice(&offset_flags.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.identification.to_be_bytes());
    }

    /// True for a datagram that is whole although it carries the header (RFC 6946).
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let header = Header { next_header: 6, offset: 1232, more: true, identification: 0x0102_0408 };
        let mut bytes = [0xff; 8];
        header.write(&mut bytes);
        assert_eq!(bytes, [6, 0, 0x04, 0xd1, 1, 2, 4, 8]);
        assert_eq!(Header::parse(&bytes), Some(header));
        assert!(!header.is_atomic());
        assert_eq!(Header::parse(&bytes[..7]), None);
    }
}
