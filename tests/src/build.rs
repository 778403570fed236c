//! Bytes under construction: a buffer that remembers where the still unknown values go, and the Internet
//! checksum (RFC 1071), written here a second time on purpose.

/// A place in a packet whose value is not known until the packet arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Variable that the value binds; names that start with `*` are anonymous.
    pub name: String,
    /// Offset of the first byte.
    pub at: usize,
    /// Number of bytes, big-endian.
    pub width: usize,
}

/// Bytes and the holes in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// The bytes; holes hold zeroes.
    pub bytes: Vec<u8>,
    /// The holes, by offset.
    pub holes: Vec<Hole>,
}

impl Bytes {
    /// Appends the low `width` bytes of `value`, most significant first.
    pub fn number(&mut self, value: u128, width: usize) {
        self.bytes.extend_from_slice(&value.to_be_bytes()[16 - width..]);
    }

    /// Appends a hole of `width` bytes.
    pub fn hole(&mut self, name: &str, width: usize) {
        self.holes.push(Hole { name: name.to_owned(), at: self.bytes.len(), width });
        self.number(0, width);
    }

    /// Appends `other`, holes included.
    pub fn append(&mut self, other: Self) {
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.holes.extend(other.holes.into_iter().map(|hole| Hole { at: hole.at + shift, ..hole }));
    }

    /// The bytes from `from`, at most `len` of them, with the holes that lie in them.
    pub fn slice(&self, from: usize, len: usize) -> Self {
        let from = from.min(self.bytes.len());
        let to = from.saturating_add(len).min(self.bytes.len());
        let holes = self.holes.iter().filter(|hole| hole.at >= from && hole.at + hole.width <= to);
        Self {
            bytes: self.bytes[from..to].to_vec(),
            holes: holes.map(|hole| Hole { at: hole.at - from, ..hole.clone() }).collect(),
        }
    }

    /// Writes a 16-bit number over what is at `at`.
    pub fn patch(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// One's-complement sum of 16-bit words, folded; an odd last byte is the high half of a word.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            total += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// `sum` of the two numbers in one's-complement arithmetic.
pub fn add(a: u16, b: u16) -> u16 {
    let total = u32::from(a) + u32::from(b);
    (total + (total >> 16)) as u16
}

/// Pseudo-header of `proto` between `src` and `dst` (4 or 16 bytes each) for `len` bytes of layer 4
/// (RFC 768, RFC 8200 8.1).
pub fn pseudo(src: &[u8], dst: &[u8], proto: u8, len: usize) -> Vec<u8> {
    let mut bytes = [src, dst].concat();
    bytes.extend_from_slice(&(len as u32).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, proto]);
    bytes
}

/// `len` bytes that differ from place to place, so that a moved or repeated piece shows.
pub fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256 * 13 + seed * 31 + 0x11) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_rfc_1071() {
        assert_eq!(sum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
        assert_eq!(sum(&[&[0x12], &[0x34]]), 0x4600);
        assert_eq!(add(0xffff, 1), 1);
    }

    #[test]
    fn holes_move_with_their_bytes() {
        let mut inner = Bytes::default();
        inner.number(1, 2);
        inner.hole("$p", 2);
        let mut outer = Bytes::default();
        outer.number(0xaabbcc, 3);
        outer.append(inner);
        assert_eq!(outer.holes, [Hole { name: "$p".into(), at: 5, width: 2 }]);
        assert_eq!(outer.slice(4, 3).holes[0].at, 1);
        assert!(outer.slice(4, 2).holes.is_empty());
    }
}
