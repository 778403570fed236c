//! Text to layers: the reader of the packet language. It knows the names and keys of each layer, not what
//! they mean on the wire; that is `packet.rs`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 header.
    Ip4,
    /// IPv6 header.
    Ip6,
    /// Hop-by-Hop Options.
    Hbh,
    /// Destination Options.
    Dest,
    /// Routing header.
    Routing,
    /// Fragment header.
    Frag,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Any ICMPv4 message.
    Icmp4,
    /// Any ICMPv6 message.
    Icmp6,
    /// Echo request of the family around it.
    Ping,
    /// Echo reply of the family around it.
    Pong,
    /// Patterned payload.
    Data,
    /// Literal payload.
    Hex,
    /// Zero bytes.
    Zero,
    /// Only a part of the layer 4 datagram, as a fragment.
    Slice,
    /// The packet is cut short, its length fields are not.
    Cut,
    /// Zero padding of the quoted packet (RFC 4884).
    Pad,
    /// Extension bytes after the quoted packet (RFC 4884).
    Ext,
    /// A whole packet as hexadecimal bytes.
    Raw,
}

/// A number, a name for one, or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number or an address.
    Num(u128),
    /// A variable, `$name`, or an anonymous one, `*N`.
    Var(String),
    /// Bytes.
    Hex(Vec<u8>),
    /// Correct checksum plus this (`csum+N`).
    Plus(u16),
}

/// One layer with its arguments and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: Kind,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Named ones; a bare word counts as 1.
    pub keys: Vec<(String, Value)>,
}

/// What a packet carries besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The layer 4 checksum is still to be completed.
    pub partial: bool,
    /// Somebody has verified the checksum.
    pub verified: bool,
    /// Aggregate: true for TCP, segment size.
    pub gso: Option<(bool, u16)>,
    /// CWR belongs to the first segment only.
    pub ecn: bool,
    /// Firewall mark.
    pub mark: u32,
}

/// One packet in the language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The layers, outermost first.
    pub layers: Vec<Layer>,
    /// What follows `~`.
    pub notes: Notes,
}

/// Name, kind, number of positional arguments (least, most), keys.
const LAYERS: &[(&str, Kind, usize, usize, &str)] = &[
    ("ip4", Kind::Ip4, 2, 2, "tos id df mf rf off ttl proto ihl len csum opt flags version"),
    ("ip6", Kind::Ip6, 2, 2, "tc flow hop next len version"),
    ("hbh", Kind::Hbh, 0, 0, "next data"),
    ("dest", Kind::Dest, 0, 0, "next data"),
    ("routing", Kind::Routing, 0, 0, "next type left data"),
    ("frag", Kind::Frag, 0, 0, "next id off mf res"),
    ("tcp", Kind::Tcp, 2, 2, "flags seq ack win urg opt csum doff"),
    ("udp", Kind::Udp, 2, 2, "len csum"),
    ("icmp4", Kind::Icmp4, 1, 1, "id seq mtu ptr len rest csum"),
    ("icmp6", Kind::Icmp6, 1, 1, "id seq mtu ptr len rest csum"),
    ("ping", Kind::Ping, 2, 2, "csum code"),
    ("pong", Kind::Pong, 2, 2, "csum code"),
    ("data", Kind::Data, 1, 3, ""),
    ("hex", Kind::Hex, 1, 1, ""),
    ("zero", Kind::Zero, 1, 1, ""),
    ("slice", Kind::Slice, 2, 2, ""),
    ("cut", Kind::Cut, 1, 1, ""),
    ("pad", Kind::Pad, 1, 1, ""),
    ("ext", Kind::Ext, 1, 2, ""),
    ("raw", Kind::Raw, 1, 1, ""),
];

/// Reads one packet. The error says which word is wrong.
pub fn packet(text: &str) -> Result<Text, String> {
    let (layers, notes) = text.split_once('~').unwrap_or((text, ""));
    let mut anonymous = 0;
    let layers = layers.split('|').map(|part| layer(part, &mut anonymous)).collect::<Result<Vec<_>, _>>()?;
    Ok(Text { layers, notes: self::notes(notes)? })
}

/// A number, an address, a variable or `*` (which gets the next anonymous name).
pub fn value(word: &str, anonymous: &mut usize) -> Result<Value, String> {
    if word == "*" {
        *anonymous += 1;
        return Ok(Value::Var(format!("*{anonymous}")));
    }
    if word.starts_with('$') && word.len() > 1 {
        return Ok(Value::Var(word.to_owned()));
    }
    if let Ok(addr) = word.parse::<Ipv4Addr>() {
        return Ok(Value::Num(u32::from(addr).into()));
    }
    if let Ok(addr) = word.parse::<Ipv6Addr>() {
        return Ok(Value::Num(u128::from(addr)));
    }
    number(word).map(Value::Num)
}

/// A decimal number, or a hexadecimal one with `0x`.
pub fn number(word: &str) -> Result<u128, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("`{word}` is not a number"))
}

/// Bytes from hexadecimal digits.
pub fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let clean: Vec<u8> = digits.bytes().filter(|c| !b" _:".contains(c)).collect();
    if !clean.len().is_multiple_of(2) {
        return Err(format!("`{digits}` has an odd number of digits"));
    }
    let byte = |pair: &[u8]| {
        let text = str::from_utf8(pair).map_err(|_| format!("`{digits}` is not hexadecimal"))?;
        u8::from_str_radix(text, 16).map_err(|_| format!("`{digits}` is not hexadecimal"))
    };
    clean.chunks(2).map(byte).collect()
}

fn layer(text: &str, anonymous: &mut usize) -> Result<Layer, String> {
    let mut words = text.split_whitespace().filter(|word| *word != ">");
    let name = words.next().ok_or("an empty layer")?;
    let (_, kind, least, most, known) =
        *LAYERS.iter().find(|row| row.0 == name).ok_or_else(|| format!("no layer `{name}`"))?;
    let mut layer = Layer { kind, args: Vec::new(), keys: Vec::new() };
    if matches!(kind, Kind::Hex | Kind::Raw) {
        layer.args.push(Value::Hex(hex(&words.collect::<String>())?));
        return Ok(layer);
    }
    let allowed = |key: &str| known.split(' ').any(|k| k == key && !k.is_empty());
    for word in words {
        if let Some((key, text)) = word.split_once('=').filter(|(key, _)| allowed(key)) {
            layer.keys.push((key.to_owned(), keyed(kind, key, text, anonymous)?));
        } else if let Some((key, text)) = word.split_once('+').filter(|(key, _)| *key == "csum") {
            layer.keys.push((key.to_owned(), Value::Plus(number(text)? as u16)));
        } else if allowed(word) {
            layer.keys.push((word.to_owned(), Value::Num(1)));
        } else if matches!(kind, Kind::Icmp4 | Kind::Icmp6) && layer.args.is_empty() {
            let (t, c) = word.split_once('/').ok_or_else(|| format!("`{word}` is not type/code"))?;
            layer.args.push(Value::Num(number(t)? << 8 | number(c)?));
        } else if matches!(kind, Kind::Data | Kind::Ext) && matches!(word, "seed" | "skip") {
            continue;
        } else {
            layer.args.push(value(word, anonymous).map_err(|e| format!("{e} or key of {name}"))?);
        }
    }
    if !(least..=most).contains(&layer.args.len()) {
        return Err(format!("`{}` needs {least} to {most} arguments", text.trim()));
    }
    Ok(layer)
}

fn keyed(kind: Kind, key: &str, text: &str, anonymous: &mut usize) -> Result<Value, String> {
    match (kind, key) {
        (_, "opt" | "data" | "rest") => hex(text).map(Value::Hex),
        (Kind::Tcp, "flags") => {
            let bit =
                |c| "FSRPAUEC".find(c).map(|bit| 1u128 << bit).ok_or_else(|| format!("no TCP flag {c}"));
            text.chars().map(bit).sum::<Result<u128, _>>().map(Value::Num)
        }
        (_, "csum") if text == "bad" => Ok(Value::Plus(0x1234)),
        _ => value(text, anonymous),
    }
}

fn notes(text: &str) -> Result<Notes, String> {
    let mut notes = Notes::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("`{word}` needs an argument"));
        match word {
            "partial" => notes.partial = true,
            "verified" => notes.verified = true,
            "ecn" => notes.ecn = true,
            "mark" => notes.mark = number(next()?)? as u32,
            "gso" => {
                let tcp = match next()? {
                    "tcp" => true,
                    "udp" => false,
                    other => return Err(format!("no aggregate of `{other}`")),
                };
                notes.gso = Some((tcp, number(next()?)? as u16));
            }
            _ => return Err(format!("no note `{word}`")),
        }
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_values() {
        let text =
            packet("ip4 192.0.2.1 > $a id=* df | udp 0x10 > $p csum+3 | data 4 seed 9 ~ mark 7").unwrap();
        assert_eq!(text.layers[0].args, [Value::Num(0xc0000201), Value::Var("$a".into())]);
        assert_eq!(text.layers[0].keys[0], ("id".into(), Value::Var("*1".into())));
        assert_eq!(text.layers[1].keys, [("csum".into(), Value::Plus(3))]);
        assert_eq!(text.layers[2].args, [Value::Num(4), Value::Num(9)]);
        assert_eq!(text.notes.mark, 7);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("ip5 a > b", "no layer `ip5`"),
            ("udp 1", "`udp 1` needs 2 to 2 arguments"),
            ("udp 1 > 2 ttl=3", "`ttl=3` is not a number or key of udp"),
            ("hex abc", "`abc` has an odd number of digits"),
            ("icmp4 3", "`3` is not type/code"),
            ("tcp 1 > 2 flags=X", "no TCP flag X"),
            ("data 1 ~ gso sctp 3", "no aggregate of `sctp`"),
        ] {
            assert_eq!(packet(text).unwrap_err(), message);
        }
    }
}
