//! Pseudo-random bytes that both sides of a transfer can make, and a checksum over what arrived.

use std::hash::Hasher as _;
use std::io;

use siphasher::sip::SipHasher13;

/// Bytes made at a time; a multiple of 8.
const BLOCK: usize = 1 << 16;

/// Gives `sink` the first `length` bytes of the stream number `seed`, block by block.
///
/// # Errors
///
/// Those of `sink`, which end it.
pub(super) fn generate(
    seed: u64,
    length: u64,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut word = seed << 40;
    let mut left = length;
    while left > 0 {
        for bytes in block.chunks_exact_mut(8) {
            bytes.copy_from_slice(&mix(word).to_le_bytes());
            word = word.wrapping_add(1);
        }
        let now = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        sink(&block[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// The checksum of the first `length` bytes of the stream number `seed`.
pub(super) fn checksum(seed: u64, length: u64) -> io::Result<u64> {
    let mut sum = Checksum::default();
    generate(seed, length, |block| {
        sum.add(block);
        Ok(())
    })?;
    Ok(sum.value())
}

/// A 64-bit checksum (SipHash-1-3 with key zero): any difference shows, save one in 2^64.
#[derive(Debug, Default)]
pub(super) struct Checksum {
    hasher: SipHasher13,
}

impl Checksum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
    }

    pub(super) fn value(&self) -> u64 {
        self.hasher.finish()
    }
}

/// Spreads a counter over 64 bits (the finalizer of SplitMix64).
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_does_not_depend_on_the_pieces_but_on_every_byte() {
        let mut all = Vec::new();
        generate(3, 200_001, |block| {
            all.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        assert_eq!(all.len(), 200_001);
        let mut pieces = Checksum::default();
        all.chunks(977).for_each(|piece| pieces.add(piece));
        assert_eq!(pieces.value(), checksum(3, 200_001).unwrap());
        assert_ne!(pieces.value(), checksum(4, 200_001).unwrap());
        all[150_000] ^= 1;
        let mut other = Checksum::default();
        other.add(&all);
        assert_ne!(pieces.value(), other.value());
    }
}
