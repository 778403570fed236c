//! ICMP for IPv4 (RFC 792), with the lengths of RFC 4884.

/// Length of the header in bytes: type, code, checksum and the four bytes whose meaning the type gives.
pub const LEN: usize = 8;
/// Where the checksum is, in bytes from the start of the header.
pub const CHECKSUM_AT: usize = 2;
/// Where the RFC 4884 length is, in bytes from the start of the header.
pub const LENGTH_AT: usize = 5;
/// Unit of the RFC 4884 length, in bytes.
pub const LENGTH_UNIT: usize = 4;

/// Echo Reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination Unreachable.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Source Quench (deprecated by RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo Request.
pub const ECHO_REQUEST: u8 = 8;
/// Time Exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter Problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// The first eight bytes of an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum over the whole message.
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

    /// True for an echo request or reply.
    pub fn is_echo(&self) -> bool {
        matches!(self.kind, ECHO_REQUEST | ECHO_REPLY)
    }

    /// True for a message that quotes the packet it is about (RFC 1122 3.2.2).
    pub fn is_error(&self) -> bool {
        matches!(
            self.kind,
            DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write() {
        let bytes = [8, 0, 0xab, 0xcd, 0x12, 0x34, 0, 1];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.kind, header.identifier()), (ECHO_REQUEST, 0x1234));
        assert!(header.is_echo() && !header.is_error());
        let mut written = [0; 8];
        header.write(&mut written);
        assert_eq!(written, bytes);
        assert_eq!(Header::parse(&bytes[..7]), None);
    }
}
