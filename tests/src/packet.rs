//! Layers to bytes. Headers as in RFC 791, 8200, 9293, 768, 792, 4443 and 4884; whatever the text does not
//! set gets the value that a correct host would write.

use std::collections::BTreeMap;

use crate::build::{Bytes, Hole, add, pattern, pseudo, sum};
use crate::parse::{Kind, Layer, Text, Value};

/// Values of the variables bound so far.
pub type Env = BTreeMap<String, u128>;

/// A packet with everything that travels beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The packet, from the first byte of its IP header.
    pub bytes: Vec<u8>,
    /// Where the unknown values are, if there are any.
    pub holes: Vec<Hole>,
    /// The layer 4 checksum field holds the pseudo-header's sum only: where summing starts, and where the
    /// result goes counted from there, in bytes.
    pub partial: Option<(u16, u16)>,
    /// The layer 4 checksum has been verified by somebody.
    pub verified: bool,
    /// The packet is an aggregate.
    pub gso: Option<Aggregate>,
    /// Firewall mark (of packets that go in).
    pub mark: u32,
}

/// What an aggregate consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// TCP, else UDP.
    pub tcp: bool,
    /// Layer 4 payload of each segment but the last, in bytes.
    pub size: u16,
    /// From the first byte of the IP header to the end of the layer 4 header, in bytes.
    pub headers: u16,
    /// CWR belongs to the first segment only.
    pub ecn: bool,
}

/// Compiles a packet; unbound variables become holes.
pub fn encode(text: &Text, env: &Env) -> Result<Frame, String> {
    let packet = ip(&text.layers, env, text.notes.partial)?;
    let mut frame = Frame { verified: text.notes.verified, mark: text.notes.mark, ..Frame::default() };
    if text.notes.partial || text.notes.gso.is_some() {
        let (field, header) = match packet.proto {
            6 => (16, usize::from(packet.out.bytes[packet.l4 + 12] >> 4) * 4),
            17 => (6, 8),
            other => return Err(format!("no offload for protocol {other}")),
        };
        frame.partial = text.notes.partial.then_some((packet.l4 as u16, field));
        frame.gso = text.notes.gso.map(|(tcp, size)| Aggregate {
            tcp,
            size,
            headers: (packet.l4 + header) as u16,
            ecn: text.notes.ecn,
        });
    }
    (frame.bytes, frame.holes) = (packet.out.bytes, packet.out.holes);
    Ok(frame)
}

/// A compiled IP packet and where its layer 4 is.
struct Packet {
    out: Bytes,
    l4: usize,
    proto: u8,
}

/// What the layers above need to know of the addresses.
struct Ends {
    v6: bool,
    src: Vec<u8>,
    dst: Vec<u8>,
    partial: bool,
}

fn ip(layers: &[Layer], env: &Env, partial: bool) -> Result<Packet, String> {
    let (head, mut rest) = layers.split_first().ok_or("no layers")?;
    let v6 = match head.kind {
        Kind::Raw => {
            let out = Bytes { bytes: raw(head), holes: Vec::new() };
            return Ok(Packet { out, l4: 0, proto: 0 });
        }
        Kind::Ip4 => false,
        Kind::Ip6 => true,
        other => return Err(format!("a packet cannot begin with {other:?}")),
    };
    let width = if v6 { 16 } else { 4 };
    let end = |i: usize| known(&head.args[i], env).unwrap_or(0).to_be_bytes()[16 - width..].to_vec();
    let ends = Ends { v6, src: end(0), dst: end(1), partial };

    let is_extension = |l: &Layer| matches!(l.kind, Kind::Hbh | Kind::Dest | Kind::Routing | Kind::Frag);
    let extensions = &rest[..rest.iter().take_while(|l| is_extension(l)).count()];
    rest = &rest[extensions.len()..];
    let own = rest.iter().take_while(|l| !matches!(l.kind, Kind::Ip4 | Kind::Ip6)).count();
    let nests = own < rest.len();
    let (mut proto, mut upper) = upper(rest, &ends, env)?;
    if let Some(given) = number(head, "proto", env)? {
        proto = given as u8;
    }

    let mut fragment = (0, 0);
    if !nests && let Some(slice) = rest.iter().find(|l| l.kind == Kind::Slice) {
        let (from, len) = (arg(slice, 0, env)? as usize, arg(slice, 1, env)? as usize);
        fragment = (from as u16, u16::from(from + len < upper.bytes.len()));
        upper = upper.slice(from, len);
    }
    let mut chain = Bytes::default();
    for (i, extension) in extensions.iter().enumerate() {
        let next = extensions.get(i + 1).map_or(proto, |l| extension_number(l.kind));
        chain.append(self::extension(extension, next, fragment, env)?);
    }
    let after = chain.bytes.len() + upper.bytes.len();
    let mut out = if v6 {
        let next = extensions.first().map_or(proto, |l| extension_number(l.kind));
        ip6(head, next, after, env)?
    } else {
        ip4(head, proto, after, fragment, env)?
    };
    out.append(chain);
    let l4 = out.bytes.len();
    out.append(upper);
    if !nests && let Some(cut) = rest.iter().find(|l| l.kind == Kind::Cut) {
        out = out.slice(0, arg(cut, 0, env)? as usize);
    }
    Ok(Packet { out, l4, proto })
}

fn ip4(l: &Layer, proto: u8, after: usize, fragment: (u16, u16), env: &Env) -> Result<Bytes, String> {
    let mut options = bytes(l, "opt").unwrap_or_default();
    options.resize(options.len().next_multiple_of(4), 0);
    let length = 20 + options.len();
    let ihl = number(l, "ihl", env)?.unwrap_or(length as u128 / 4);
    let mut out = Bytes::default();
    out.number(number(l, "version", env)?.unwrap_or(4) << 4 | ihl, 1);
    field(&mut out, l, "tos", 0, 1, env)?;
    field(&mut out, l, "len", (length + after) as u128, 2, env)?;
    field(&mut out, l, "id", 0, 2, env)?;
    let (df, rf) = (number(l, "df", env)?.unwrap_or(0), number(l, "rf", env)?.unwrap_or(0));
    let mf = number(l, "mf", env)?.unwrap_or(fragment.1.into());
    let off = number(l, "off", env)?.unwrap_or(fragment.0.into());
    field(&mut out, l, "flags", rf << 15 | df << 14 | mf << 13 | (off / 8), 2, env)?;
    field(&mut out, l, "ttl", 64, 1, env)?;
    out.number(proto.into(), 1);
    out.number(0, 2);
    for addr in &l.args {
        put(&mut out, addr, 4, env);
    }
    out.bytes.extend_from_slice(&options);
    let right = !sum(&[&out.bytes]);
    let value = checksum(l, right, env)?;
    out.patch(10, value);
    Ok(out)
}

fn ip6(l: &Layer, next: u8, after: usize, env: &Env) -> Result<Bytes, String> {
    let mut out = Bytes::default();
    let version = number(l, "version", env)?.unwrap_or(6);
    let class = number(l, "tc", env)?.unwrap_or(0);
    out.number(version << 28 | class << 20 | number(l, "flow", env)?.unwrap_or(0), 4);
    field(&mut out, l, "len", after as u128, 2, env)?;
    field(&mut out, l, "next", next.into(), 1, env)?;
    field(&mut out, l, "hop", 64, 1, env)?;
    for addr in &l.args {
        put(&mut out, addr, 16, env);
    }
    Ok(out)
}

fn extension_number(kind: Kind) -> u8 {
    match kind {
        Kind::Dest => 60,
        Kind::Routing => 43,
        Kind::Frag => 44,
        _ => 0,
    }
}

fn extension(l: &Layer, next: u8, fragment: (u16, u16), env: &Env) -> Result<Bytes, String> {
    let mut out = Bytes::default();
    field(&mut out, l, "next", next.into(), 1, env)?;
    if l.kind == Kind::Frag {
        field(&mut out, l, "res", 0, 1, env)?;
        let off = number(l, "off", env)?.unwrap_or(fragment.0.into());
        out.number((off & !7) | number(l, "mf", env)?.unwrap_or(fragment.1.into()), 2);
        field(&mut out, l, "id", 0, 4, env)?;
        return Ok(out);
    }
    let mut body = bytes(l, "data").unwrap_or_default();
    if l.kind == Kind::Routing {
        let kind = number(l, "type", env)?.unwrap_or(0) as u8;
        body.splice(0..0, [kind, number(l, "left", env)?.unwrap_or(0) as u8]);
    } else if body.is_empty() {
        body = vec![1, 4, 0, 0, 0, 0];
    }
    body.resize((body.len() + 2).next_multiple_of(8) - 2, 0);
    out.number((body.len() as u128 + 2) / 8 - 1, 1);
    out.bytes.extend_from_slice(&body);
    Ok(out)
}

/// Layer 4 and what follows, with its protocol number.
fn upper(layers: &[Layer], ends: &Ends, env: &Env) -> Result<(u8, Bytes), String> {
    let Some((l, rest)) = layers.split_first() else {
        return Ok((59, Bytes::default()));
    };
    let mut out = Bytes::default();
    let icmp = if ends.v6 { 58 } else { 1 };
    let (proto, at) = match l.kind {
        Kind::Tcp => {
            let mut options = bytes(l, "opt").unwrap_or_default();
            options.resize(options.len().next_multiple_of(4), 0);
            put(&mut out, &l.args[0], 2, env);
            put(&mut out, &l.args[1], 2, env);
            field(&mut out, l, "seq", 1000, 4, env)?;
            field(&mut out, l, "ack", 0, 4, env)?;
            out.number(number(l, "doff", env)?.unwrap_or(5 + options.len() as u128 / 4) << 4, 1);
            field(&mut out, l, "flags", 0x10, 1, env)?;
            field(&mut out, l, "win", 8192, 2, env)?;
            out.number(0, 2);
            field(&mut out, l, "urg", 0, 2, env)?;
            out.bytes.extend_from_slice(&options);
            out.append(payload(rest, env)?);
            (6, 16)
        }
        Kind::Udp => {
            let body = payload(rest, env)?;
            put(&mut out, &l.args[0], 2, env);
            put(&mut out, &l.args[1], 2, env);
            field(&mut out, l, "len", body.bytes.len() as u128 + 8, 2, env)?;
            out.number(0, 2);
            out.append(body);
            (17, 6)
        }
        Kind::Ping | Kind::Pong => {
            let request = l.kind == Kind::Ping;
            out.number(if ends.v6 { 129 - u128::from(request) } else { 8 * u128::from(request) }, 1);
            field(&mut out, l, "code", 0, 1, env)?;
            out.number(0, 2);
            put(&mut out, &l.args[0], 2, env);
            put(&mut out, &l.args[1], 2, env);
            out.append(payload(rest, env)?);
            (icmp, 2)
        }
        Kind::Icmp4 | Kind::Icmp6 => {
            out.number(arg(l, 0, env)?, 2);
            out.number(0, 2);
            out.append(icmp_rest(l, env)?);
            out.append(payload(rest, env)?);
            (if l.kind == Kind::Icmp6 { 58 } else { 1 }, 2)
        }
        _ => return Ok((59, payload(layers, env)?)),
    };
    let covered = if proto == 1 { Vec::new() } else { pseudo(&ends.src, &ends.dst, proto, out.bytes.len()) };
    let right = match !sum(&[&covered, &out.bytes]) {
        _ if ends.partial => sum(&[&covered]),
        0 if proto == 17 => 0xffff,
        right => right,
    };
    let value = checksum(l, right, env)?;
    out.patch(at, value);
    Ok((proto, out))
}

/// The four bytes after an ICMP checksum.
fn icmp_rest(l: &Layer, env: &Env) -> Result<Bytes, String> {
    let mut out = Bytes::default();
    if let Some(rest) = bytes(l, "rest") {
        out.bytes = rest;
        return Ok(out);
    }
    let v4 = l.kind == Kind::Icmp4;
    let kind = arg(l, 0, env)? >> 8;
    if matches!(kind, 128 | 129) || v4 && matches!(kind, 0 | 8) {
        field(&mut out, l, "id", 0, 2, env)?;
        field(&mut out, l, "seq", 0, 2, env)?;
    } else if v4 {
        field(&mut out, l, "ptr", 0, 1, env)?;
        field(&mut out, l, "len", 0, 1, env)?;
        field(&mut out, l, "mtu", 0, 2, env)?;
    } else if find(l, "len").is_some() {
        field(&mut out, l, "len", 0, 1, env)?;
        out.number(0, 3);
    } else {
        let key = if find(l, "ptr").is_some() { "ptr" } else { "mtu" };
        field(&mut out, l, key, 0, 4, env)?;
    }
    Ok(out)
}

fn payload(layers: &[Layer], env: &Env) -> Result<Bytes, String> {
    let mut out = Bytes::default();
    if layers.first().is_some_and(|l| matches!(l.kind, Kind::Ip4 | Kind::Ip6 | Kind::Raw)) {
        let end = layers.iter().position(|l| matches!(l.kind, Kind::Pad | Kind::Ext)).unwrap_or(layers.len());
        let (inner, after) = layers.split_at(end);
        out = ip(inner, env, false)?.out;
        for l in after {
            match l.kind {
                Kind::Pad => out.bytes.resize(out.bytes.len().max(arg(l, 0, env)? as usize), 0),
                Kind::Ext => out.bytes.extend(patterned(l, env)?),
                other => return Err(format!("{other:?} cannot follow pad or ext")),
            }
        }
        return Ok(out);
    }
    for l in layers {
        match l.kind {
            Kind::Data | Kind::Ext => out.bytes.extend(patterned(l, env)?),
            Kind::Zero => out.bytes.extend(vec![0; arg(l, 0, env)? as usize]),
            Kind::Hex => out.bytes.extend(raw(l)),
            Kind::Slice | Kind::Cut => break,
            other => return Err(format!("{other:?} cannot be payload")),
        }
    }
    Ok(out)
}

fn patterned(l: &Layer, env: &Env) -> Result<Vec<u8>, String> {
    let seed = if l.args.len() > 1 { arg(l, 1, env)? } else { 0 };
    let skip = if l.args.len() > 2 { arg(l, 2, env)? as usize } else { 0 };
    Ok(pattern(skip + arg(l, 0, env)? as usize, seed as usize).split_off(skip))
}

fn raw(l: &Layer) -> Vec<u8> {
    match l.args.first() {
        Some(Value::Hex(bytes)) => bytes.clone(),
        _ => Vec::new(),
    }
}

fn find<'a>(l: &'a Layer, key: &str) -> Option<&'a Value> {
    l.keys.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn bytes(l: &Layer, key: &str) -> Option<Vec<u8>> {
    match find(l, key) {
        Some(Value::Hex(bytes)) => Some(bytes.clone()),
        _ => None,
    }
}

fn known(value: &Value, env: &Env) -> Option<u128> {
    match value {
        Value::Num(number) => Some(*number),
        Value::Var(name) => env.get(name).copied(),
        Value::Hex(_) | Value::Plus(_) => None,
    }
}

fn number(l: &Layer, key: &str, env: &Env) -> Result<Option<u128>, String> {
    match find(l, key) {
        None => Ok(None),
        Some(value) => known(value, env).map(Some).ok_or_else(|| format!("`{key}` must be known here")),
    }
}

fn arg(l: &Layer, i: usize, env: &Env) -> Result<u128, String> {
    known(&l.args[i], env).ok_or_else(|| format!("an argument of {:?} must be known here", l.kind))
}

fn put(out: &mut Bytes, value: &Value, width: usize, env: &Env) {
    match (known(value, env), value) {
        (None, Value::Var(name)) => out.hole(name, width),
        (number, _) => out.number(number.unwrap_or(0), width),
    }
}

fn field(
    out: &mut Bytes,
    l: &Layer,
    key: &str,
    default: u128,
    width: usize,
    env: &Env,
) -> Result<(), String> {
    let value = find(l, key).cloned().unwrap_or(Value::Num(default));
    if width < 16 && known(&value, env).is_some_and(|number| number >> (8 * width) != 0) {
        return Err(format!("`{key}` does not fit {width} bytes"));
    }
    put(out, &value, width, env);
    Ok(())
}

fn checksum(l: &Layer, right: u16, env: &Env) -> Result<u16, String> {
    match find(l, "csum") {
        Some(Value::Plus(more)) => Ok(add(right, *more)),
        _ => Ok(number(l, "csum", env)?.map_or(right, |given| given as u16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{hex, packet};

    fn compiled(text: &str) -> Frame {
        encode(&packet(text).unwrap(), &Env::new()).unwrap()
    }

    fn is(text: &str, digits: &str) {
        assert_eq!(compiled(text).bytes, hex(digits).unwrap(), "{text}");
    }

    // The packets below were worked out by hand or come from textbooks, so that the compiler is not its own judge.

    #[test]
    fn ipv4_header_known_from_textbooks() {
        is(
            "ip4 192.168.0.1 > 192.168.0.199 df proto=17 ttl=64 len=115 | hex 0000",
            "4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7 0000",
        );
    }

    #[test]
    fn echo_request_v6() {
        // ::1 to ::1, identifier 0x1234, sequence 1, empty: sum = 2 + 8 + 58 + 0x8000 + 0x1234 + 1.
        is(
            "ip6 ::1 > ::1 | ping 0x1234 1",
            "60000000 0008 3a 40 00000000000000000000000000000001 00000000000000000000000000000001 \
             8000 6d86 1234 0001",
        );
    }

    #[test]
    fn udp_both_families() {
        is(
            "ip4 10.0.0.1 > 10.0.0.2 id=1 | udp 1 > 2 | hex ff",
            "4500 001d 0001 0000 4011 66cd 0a000001 0a000002 0001 0002 0009 ecd5 ff",
        );
        is(
            "ip6 2001:db8::1 > 2001:db8::2 hop=1 tc=0xab flow=0x12345 | udp 1 > 2 | hex ff",
            "6ab12345 0009 1101 20010db8000000000000000000000001 20010db8000000000000000000000002 \
             0001 0002 0009 a563 ff",
        );
    }

    #[test]
    fn fragments_take_their_place_from_the_slice() {
        let whole = compiled("ip6 ::1 > ::2 | udp 1 > 2 | data 100");
        let first = compiled("ip6 ::1 > ::2 | frag id=5 | udp 1 > 2 | data 100 | slice 0 48");
        let last = compiled("ip4 10.0.0.1 > 10.0.0.2 | udp 1 > 2 | data 100 | slice 48 60");
        assert_eq!(first.bytes[40..48], [17, 0, 0, 1, 0, 0, 0, 5]);
        assert_eq!(first.bytes[48..], whole.bytes[40..88]);
        assert_eq!((first.bytes[4], first.bytes[5], first.bytes[6]), (0, 56, 44));
        assert_eq!(last.bytes[6..8], [0, 6]);
        assert_eq!(last.bytes[20..], whole.bytes[88..]);
    }

    #[test]
    fn quoted_packets_are_cut_padded_and_extended() {
        let error = compiled(
            "ip4 10.0.0.1 > 10.0.0.2 | icmp4 3/3 len=33 | ip4 10.0.0.2 > 10.0.0.3 | udp 1 > 2 | data 200 | cut 40 \
             | pad 132 | ext 20 seed 3",
        );
        assert_eq!(error.bytes.len(), 20 + 8 + 132 + 20);
        assert_eq!(error.bytes[24..28], [0, 33, 0, 0]);
        assert_eq!(error.bytes[30..32], [0, 228]);
        assert_eq!(error.bytes[68..160], [0; 92]);
        assert_eq!(error.bytes[160..], pattern(20, 3));
        assert_eq!(sum(&[&error.bytes[20..]]), 0xffff);
    }

    #[test]
    fn unknown_values_are_holes() {
        let text = packet("ip4 10.0.0.1 > $a id=* | udp $p > 2").unwrap();
        let frame = encode(&text, &Env::from([("$p".into(), 7)])).unwrap();
        assert_eq!(frame.holes.iter().map(|h| (h.at, h.width)).collect::<Vec<_>>(), [(4, 2), (16, 4)]);
        assert_eq!(frame.bytes[20..22], [0, 7]);
    }

    #[test]
    fn checksums_wrong_on_purpose() {
        let right = compiled("ip4 10.0.0.1 > 10.0.0.2 | udp 1 > 2 | hex ff").bytes;
        let wrong = compiled("ip4 10.0.0.1 > 10.0.0.2 | udp 1 > 2 csum+2 | hex ff").bytes;
        assert_eq!(
            u16::from_be_bytes([wrong[26], wrong[27]]),
            u16::from_be_bytes([right[26], right[27]]) + 2
        );
        assert_eq!(compiled("ip4 10.0.0.1 > 10.0.0.2 | udp 1 > 2 csum=0").bytes[26..28], [0, 0]);
    }

    #[test]
    fn partial_checksum_and_aggregate() {
        let frame = compiled("ip6 ::1 > ::2 | tcp 1 > 2 opt=01010101 | data 3000 ~ partial gso tcp 1400 ecn");
        assert_eq!(frame.partial, Some((40, 16)));
        assert_eq!(frame.gso, Some(Aggregate { tcp: true, size: 1400, headers: 64, ecn: true }));
        // 1 + 2 + 6 + 3024, not complemented.
        assert_eq!(frame.bytes[56..58], (3033u16).to_be_bytes());
    }

    #[test]
    fn extension_headers_chain() {
        is(
            "ip6 ::1 > ::2 | hbh | routing left=1 data=00000000 | dest | frag id=1 off=8 | hex aa",
            "60000000 0021 0040 00000000000000000000000000000001 00000000000000000000000000000002 \
             2b00010400000000 3c00000100000000 2c00010400000000 3b00000800000001 aa",
        );
    }
}
