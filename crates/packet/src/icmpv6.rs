//! Types of ICMPv6 (RFC 4443), and the place of its RFC 4884 length.

/// Where the RFC 4884 length is, in bytes from the start of the header.
pub const LENGTH_AT: usize = 4;
/// Unit of the RFC 4884 length, in bytes.
pub const LENGTH_UNIT: usize = 8;

/// Destination Unreachable.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Packet Too Big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time Exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter Problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Echo Request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo Reply.
pub const ECHO_REPLY: u8 = 129;

/// True for an echo request or reply.
pub const fn is_echo(kind: u8) -> bool {
    matches!(kind, ECHO_REQUEST | ECHO_REPLY)
}

/// True for an error message (RFC 4443 2.1).
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}
