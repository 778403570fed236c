//! A captured packet as one line for a person.

use std::fmt::Write as _;
use std::io::{self, Write};

use xlat_control::capture::{CapturedPacket, Fate};
use xlat_packet::{ipv4, ipv6};

use super::bytes;

/// Writes the line, and flushes it.
pub(super) fn line(packet: &CapturedPacket, out: &mut impl Write) -> io::Result<()> {
    let second = packet.time / 1_000_000_000;
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    let interface = packet.interface.as_deref().unwrap_or("-");
    writeln!(
        out,
        "{hour:02}:{minute:02}:{second:02}.{:03}Z {interface} {}, {} bytes; {}",
        packet.time / 1_000_000 % 1000,
        ends(&bytes(&packet.packet)),
        packet.length,
        reason(packet)
    )?;
    out.flush()
}

/// What was done, and why.
pub(super) fn reason(packet: &CapturedPacket) -> String {
    let fate = match packet.fate {
        Fate::Dropped => "dropped",
        Fate::Returned => "not for this translator",
        Fate::Held => "held",
    };
    let source = if packet.source == "house" { String::new() } else { format!(" ({})", packet.source) };
    format!("{fate}: {}: {}{source}", packet.reason, packet.explanation)
}

/// From whom to whom, as far as it can be read.
fn ends(packet: &[u8]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    // The parsers do not judge the version.
    let version = packet.first().map(|first| first >> 4);
    if let Some(header) = ipv6::Header::parse(packet).filter(|_| version == Some(6)) {
        let ports = ports(header.next_header, packet.get(ipv6::LEN..));
        let (from, to) = ports.unwrap_or_default();
        _ = write!(text, "{}{from} -> {}{to} {}", header.src, header.dst, protocol(header.next_header));
    } else if let Some(header) = ipv4::Header::parse(packet).filter(|_| version == Some(4)) {
        let first = header.fragment_offset == 0;
        let ports = ports(header.protocol, packet.get(usize::from(header.header_len)..).filter(|_| first));
        let (from, to) = ports.unwrap_or_default();
        _ = write!(text, "{}{from} -> {}{to} {}", header.src, header.dst, protocol(header.protocol));
    } else {
        text.push_str("unreadable packet");
    }
    text
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        44 => "fragment".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// Ports of TCP and UDP, as they are written behind an address.
fn ports(protocol: u8, upper: Option<&[u8]>) -> Option<(String, String)> {
    if protocol != 6 && protocol != 17 {
        return None;
    }
    let [source, destination] = upper?.first_chunk::<4>()?.as_chunks::<2>().0 else { return None };
    let port = |bytes: &[u8; 2]| format!("#{}", u16::from_be_bytes(*bytes));
    Some((port(source), port(destination)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_where_who_and_why() {
        // TCP from 203.0.113.16, port 80, to 203.0.113.2, port 1000.
        let packet = CapturedPacket {
            time: 1_764_000_000_123_456_789,
            interface: Some("eth0".to_owned()),
            ingress: true,
            mark: 0,
            fate: Fate::Dropped,
            reason: "no-state".to_owned(),
            explanation: "nobody asked for it".to_owned(),
            source: "RFC 6146 3.5".to_owned(),
            length: 40,
            segment_size: None,
            packet: "450000280000400040060000cb007110cb007102005003e8".to_owned(),
        };
        let mut out = Vec::new();
        line(&packet, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "16:00:00.123Z eth0 203.0.113.16#80 -> 203.0.113.2#1000 TCP, 40 bytes; \
             dropped: no-state: nobody asked for it (RFC 6146 3.5)\n"
        );
    }

    #[test]
    fn the_version_says_what_a_packet_is() {
        // An echo request over IPv4 that is long enough to be a header of IPv6.
        let mut packet = bytes("450000540000400040010000cb007110cb007102");
        packet.resize(84, 0);
        assert_eq!(ends(&packet), "203.0.113.16 -> 203.0.113.2 ICMP");
    }

    #[test]
    fn packets_that_cannot_be_read_have_a_line_too() {
        assert_eq!(ends(&[0; 84]), "unreadable packet");
        assert_eq!(ends(&[]), "unreadable packet");
        assert_eq!(ends(&[0x45; 7]), "unreadable packet");
    }
}
