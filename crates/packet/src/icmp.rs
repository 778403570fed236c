//! The header that ICMP has in both families (RFC 792, RFC 4443 2.1). Types and codes are in [`crate::icmpv4`] and
//! [`crate::icmpv6`].

/// Length of the header in bytes: type, code, checksum and the four bytes whose meaning the type gives.
pub const LEN: usize = 8;
/// Where the checksum is, in bytes from the start of the header.
pub const CHECKSUM_AT: usize = 2;

/// The first eight bytes of an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum over the whole message; in ICMPv6 over the pseudo-header too.
    pub checksum: u16,
    /// Bytes 4 to 7: identifier and sequence, MTU, pointer, RFC 4884 length, or zero.
    pub rest: [u8; 4],
}

impl Header {
    /// Reads a header. None if there are fewer than 8 bytes.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        Some(Self {
            kind: bytes[0],
            code: bytes[1],
            checksum: u16::from_be_bytes([bytes[2], bytes[3]]),
            rest: [bytes[4], bytes[5], bytes[6], bytes[7]],
        })
    }

    /// Writes the header.
    #[inline]
    pub fn write(&self, bytes: &mut [u8; LEN]) {
        bytes[0] = self.kind;
        bytes[1] = self.code;
        bytes[2..4].copy_from_slice(&self.checksum.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.rest);
    }

    /// Identifier of an echo message.
    pub fn identifier(&self) -> u16 {
        u16::from_be_bytes([self.rest[0], self.rest[1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let bytes = [8, 0, 0xab, 0xcd, 0x12, 0x34, 0, 1];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.checksum, header.identifier()), (8, 0xabcd, 0x1234));
        let mut written = [0; 8];
        header.write(&mut written);
        assert_eq!(written, bytes);
        assert_eq!(Header::parse(&bytes[..7]), None);
    }
}
