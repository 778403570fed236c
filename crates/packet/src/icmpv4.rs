//! Types of ICMP for IPv4 (RFC 792), and the place of its RFC 4884 length.

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

/// True for an echo request or reply.
pub const fn is_echo(kind: u8) -> bool {
    matches!(kind, ECHO_REQUEST | ECHO_REPLY)
}

/// True for a message that quotes the packet it is about (RFC 1122 3.2.2).
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
}
