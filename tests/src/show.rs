//! Bytes to lines a person can compare: a tolerant reader of whole packets, nested ones included, and the
//! difference between two packets field by field.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::build::{pseudo, sum};
use crate::packet::Frame;

/// Fields of a packet in order: name, value. Never fails: what cannot be read is shown as bytes.
pub fn fields(frame: &Frame) -> Vec<(String, String)> {
    let mut list = Fields { list: Vec::new() };
    list.ip("", &frame.bytes, frame.partial.is_some());
    list.add("", "offload.partial", format!("{:?}", frame.partial));
    list.add("", "offload.gso", format!("{:?}", frame.gso));
    list.list
}

/// One line per field that differs, then both packets in hexadecimal.
pub fn difference(expected: &Frame, actual: &Frame) -> String {
    let version = |frame: &Frame| frame.bytes.first().map(|first| first >> 4);
    if version(expected) != version(actual) {
        return format!("      expected {}\n      got      {}\n", summary(expected), summary(actual));
    }
    let (want, got) = (fields(expected), fields(actual));
    let mut text = String::new();
    let find = |list: &[(String, String)], name: &str| {
        list.iter().find(|(n, _)| n == name).map_or("(absent)".to_owned(), |(_, value)| value.clone())
    };
    let extra = got.iter().filter(|(name, _)| want.iter().all(|(n, _)| n != name));
    for (name, _) in want.iter().chain(extra) {
        let (a, b) = (find(&want, name), find(&got, name));
        if a != b {
            text += &format!("      {name}: expected {a}, got {b}\n");
        }
    }
    text + &format!("      expected {}\n      got      {}\n", hex(&expected.bytes), hex(&actual.bytes))
}

/// One line for a packet, as far as it can be read.
pub fn summary(frame: &Frame) -> String {
    let keep = |(name, _): &&(String, String)| {
        ["src", "dst", "proto", "type", "length"].iter().any(|end| name.ends_with(end))
    };
    let fields = fields(frame);
    fields.iter().filter(keep).map(|(name, value)| format!("{name}={value} ")).collect::<String>()
}

/// Hexadecimal digits, the middle of long packets left out.
pub fn hex(bytes: &[u8]) -> String {
    let digits = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match bytes.len() {
        0..=160 => digits(bytes),
        len => format!("{} ... {} ({len} bytes)", digits(&bytes[..120]), digits(&bytes[len - 24..])),
    }
}

struct Fields {
    list: Vec<(String, String)>,
}

impl Fields {
    fn add(&mut self, path: &str, name: &str, value: impl ToString) {
        self.list.push((format!("{path}{name}"), value.to_string()));
    }

    fn ip(&mut self, path: &str, b: &[u8], partial: bool) {
        self.add(path, "length", b.len());
        match b.first().map(|first| first >> 4) {
            Some(4) if b.len() >= 20 => self.ip4(path, b, partial),
            Some(6) if b.len() >= 40 => self.ip6(path, b, partial),
            _ => self.rest(path, "bytes", b),
        }
    }

    fn ip4(&mut self, path: &str, b: &[u8], partial: bool) {
        let head = usize::from(b[0] & 15) * 4;
        let flags = word(b, 6);
        self.add(path, "ip4.ihl", b[0] & 15);
        self.add(path, "ip4.tos", format!("{:#04x}", b[1]));
        self.add(path, "ip4.len", word(b, 2));
        self.add(path, "ip4.id", word(b, 4));
        self.add(path, "ip4.rf", flags >> 15);
        self.add(path, "ip4.df", flags >> 14 & 1);
        self.add(path, "ip4.mf", flags >> 13 & 1);
        self.add(path, "ip4.off", (flags & 0x1fff) * 8);
        self.add(path, "ip4.ttl", b[8]);
        self.add(path, "ip4.proto", b[9]);
        let right = if sum(&[&b[..head.clamp(20, b.len())]]) == 0xffff { "right" } else { "wrong" };
        self.add(path, "ip4.csum", right);
        self.add(path, "ip4.src", Ipv4Addr::new(b[12], b[13], b[14], b[15]));
        self.add(path, "ip4.dst", Ipv4Addr::new(b[16], b[17], b[18], b[19]));
        if head > 20 && b.len() >= head {
            self.rest(path, "ip4.opt", &b[20..head]);
        }
        let body = b.get(head..).unwrap_or_default();
        let whole = usize::from(word(b, 2)) == b.len() && flags & 0x3fff == 0;
        let covered = whole.then(|| pseudo(&b[12..16], &b[16..20], b[9], body.len()));
        self.upper(path, b[9], flags & 0x1fff != 0, body, covered.filter(|_| !partial));
    }

    fn ip6(&mut self, path: &str, b: &[u8], partial: bool) {
        self.add(path, "ip6.tc", format!("{:#04x}", word(b, 0) >> 4 & 0xff));
        self.add(path, "ip6.flow", u32::from(b[1] & 15) << 16 | u32::from(word(b, 2)));
        self.add(path, "ip6.len", word(b, 4));
        self.add(path, "ip6.next", b[6]);
        self.add(path, "ip6.hop", b[7]);
        let addr =
            |at: usize| b[at..at + 16].try_into().map_or(Ipv6Addr::UNSPECIFIED, |a: [u8; 16]| a.into());
        self.add(path, "ip6.src", addr(8));
        self.add(path, "ip6.dst", addr(24));
        let (mut next, mut at, mut later, mut fragment) = (b[6], 40, false, false);
        while let (0 | 43 | 44 | 60, Some(h)) = (next, b.get(at..at + 8)) {
            let len = if next == 44 { 8 } else { usize::from(h[1]) * 8 + 8 };
            if next == 44 {
                self.add(path, "frag.id", u32::from(word(h, 4)) << 16 | u32::from(word(h, 6)));
                self.add(path, "frag.off", word(h, 2) & !7);
                self.add(path, "frag.mf", h[3] & 1);
                (fragment, later) = (word(h, 2) & !6 != 0, word(h, 2) & !7 != 0);
            } else {
                self.rest(path, &format!("ext{next}"), &b[at..b.len().min(at + len)]);
            }
            (next, at) = (h[0], at + len);
        }
        self.add(path, "ip6.proto", next);
        let body = b.get(at..).unwrap_or_default();
        let whole = usize::from(word(b, 4)) + 40 == b.len() && !fragment && !partial;
        let covered = whole.then(|| pseudo(&b[8..24], &b[24..40], next, body.len()));
        self.upper(path, next, later, body, covered);
    }

    fn upper(&mut self, path: &str, proto: u8, later: bool, b: &[u8], covered: Option<Vec<u8>>) {
        let covered = covered.map(|bytes| if proto == 1 { Vec::new() } else { bytes });
        let state = match &covered {
            Some(bytes) if sum(&[bytes, b]) == 0xffff => "right",
            Some(_) => "wrong",
            None => "of more than is here",
        };
        match proto {
            6 if !later && b.len() >= 20 => {
                self.add(path, "tcp.src", word(b, 0));
                self.add(path, "tcp.dst", word(b, 2));
                self.rest(path, "tcp.seq+ack", &b[4..12]);
                self.rest(path, "tcp.doff+flags", &b[12..14]);
                self.add(path, "tcp.win", word(b, 14));
                self.add(path, "tcp.csum", format!("{:#06x} ({state})", word(b, 16)));
                self.rest(path, "tcp.rest", &b[18..]);
            }
            17 if !later && b.len() >= 8 => {
                self.add(path, "udp.src", word(b, 0));
                self.add(path, "udp.dst", word(b, 2));
                self.add(path, "udp.len", word(b, 4));
                self.add(path, "udp.csum", format!("{:#06x} ({state})", word(b, 6)));
                self.rest(path, "udp.data", &b[8..]);
            }
            1 | 58 if !later && b.len() >= 8 => {
                self.add(path, "icmp.type", format!("{}/{}", b[0], b[1]));
                self.add(path, "icmp.csum", state);
                self.rest(path, "icmp.rest", &b[4..8]);
                let error = if proto == 1 { matches!(b[0], 3 | 4 | 5 | 11 | 12) } else { b[0] < 128 };
                if error {
                    self.ip(&format!("{path}quoted "), &b[8..], false);
                } else {
                    self.rest(path, "icmp.data", &b[8..]);
                }
            }
            _ => self.rest(path, "payload", b),
        }
    }

    fn rest(&mut self, path: &str, name: &str, b: &[u8]) {
        let value = format!("{} bytes {}", b.len(), hex(b));
        self.add(path, name, value);
    }
}

fn word(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Env, encode};
    use crate::parse::packet;

    #[test]
    fn difference_names_the_field() {
        let frame = |text| encode(&packet(text).unwrap(), &Env::new()).unwrap();
        let a = frame("ip4 10.0.0.1 > 10.0.0.2 | icmp4 3/3 | ip4 10.0.0.2 > 10.0.0.3 | udp 1 > 2 | data 9");
        let b = frame(
            "ip4 10.0.0.1 > 10.0.0.2 ttl=63 | icmp4 3/3 | ip4 10.0.0.2 > 10.0.0.3 | udp 1 > 3 | data 9",
        );
        let text = difference(&a, &b);
        assert!(text.contains("      ip4.ttl: expected 64, got 63\n"), "{text}");
        assert!(text.contains("      quoted udp.dst: expected 2, got 3\n"), "{text}");
        assert!(!text.contains("ip4.src"), "{text}");
    }

    #[test]
    fn any_bytes_can_be_shown() {
        for len in 0..120 {
            for first in [0x00, 0x45, 0x4f, 0x60] {
                let mut bytes = vec![44; len];
                bytes.iter_mut().take(1).for_each(|b| *b = first);
                assert!(!fields(&Frame { bytes, ..Frame::default() }).is_empty());
            }
        }
    }
}
