//! Numbers that need only look random: identifications, RFC 6791 sources. Not for secrets.

/// A xorshift generator (Marsaglia, 2003), 64 bits of state.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let (first, second) = seed.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        // The state must not be zero.
        Self(word(first) ^ word(second).rotate_left(32) | 1)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}
