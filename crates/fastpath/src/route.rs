//! Ways out that the program remembers by destination: flows to one destination share one, and each processor has its own, so
//! that no two write to it.

use crate::rewrite::Address6;

/// Places in a processor's memory of ways; a power of two.
pub const ROUTES: u32 = 16384;

/// Seconds that a remembered way is used without asking the kernel again.
pub const ROUTE_SECONDS: u32 = 8;

/// What a way depends on. Addresses are those of the translated packet in memory order; an IPv4 address is the first half, the
/// second is all ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    /// Destination.
    pub dst: Address6,
    /// Source where the host routes by it, otherwise zero.
    pub src: Address6,
    /// Ports and mark where the host routes by them, otherwise zero.
    pub packet: u64,
}

/// A place: one line of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Route {
    /// Whose way it is.
    pub key: Key,
    /// Six bytes of the neighbour's hardware address, then (little-endian) the interface index. Zero: nothing is remembered.
    pub way: u64,
    /// `Config::route_generation` when it was looked up.
    pub generation: u32,
    /// When it was looked up, in seconds of CLOCK_MONOTONIC. It is done again after [`ROUTE_SECONDS`], and a packet sent
    /// through the neighbour table, so that the kernel sees which neighbours are in use and checks that they are there.
    pub routed: u32,
    /// Protocol and traffic class where the host routes by them, otherwise zero.
    pub class: u32,
    /// MTU of the way in bytes.
    pub mtu: u16,
    /// Not zero: one packet went through the neighbour table since the way was looked up.
    pub is_seen: u16,
}

impl Key {
    /// The place for it. `seed` is not known to those who choose addresses.
    #[inline(always)]
    pub const fn place(&self, seed: u64) -> u32 {
        let sum = self.dst[0].wrapping_mul(seed | 1)
            ^ self.dst[1].wrapping_mul(seed.rotate_left(19) | 1)
            ^ self.src[0].wrapping_mul(seed.rotate_left(37) | 1)
            ^ self.src[1].wrapping_mul(seed.rotate_left(53) | 1)
            ^ self.packet.wrapping_mul(seed.rotate_left(11) | 1);
        (sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROUTES.ilog2())) as u32
    }
}

const _: () = assert!(size_of::<Route>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_spread_and_the_seed_matters() {
        let place = |host: u64, seed: u64| {
            Key { dst: [(0x2001_0db8u64 << 32).to_be(), host.to_be()], ..Key::default() }.place(seed)
        };
        for seed in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut places = [false; ROUTES as usize];
            (1..=1000).for_each(|host| places[place(host, seed) as usize] = true);
            let different = places.iter().filter(|taken| **taken).count();
            assert!(different > 900, "{different} places for 1000 destinations with seed {seed:#x}");
        }
        assert_ne!(place(7, 3), place(7, 5));
    }
}
