//! A token bucket per destination for the ICMP errors that we send ourselves (RFC 4443 2.4 (f), RFC 1812 4.3.2.8).
//!
//! Buckets live in a small table of fixed size, two places per destination by keyed hash: the older of the two is
//! replaced. A flood of forged sources therefore costs no memory, and can at worst refill buckets.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

const PLACES: usize = 4096;

#[derive(Clone, Copy)]
struct Bucket {
    destination: u128,
    tokens: u32,
    /// Milliseconds.
    filled_at: u64,
}

/// Limits errors per destination.
pub(crate) struct Limiter {
    key: [u8; 16],
    buckets: Box<[Bucket]>,
}

/// How many errors one destination may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Errors per second.
    pub(crate) per_second: u32,
    /// Errors at once after a silence.
    pub(crate) burst: u32,
}

impl Limiter {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        let empty = Bucket { destination: 0, tokens: 0, filled_at: 0 };
        Self { key, buckets: vec![empty; PLACES].into() }
    }

    /// True if an error may go to `destination` now; takes a token then. A rate of zero switches errors off.
    pub(crate) fn allows(&mut self, destination: IpAddr, rate: Rate, now_ms: u64) -> bool {
        if rate.per_second == 0 {
            return false;
        }
        let name = match destination {
            // The mapped form keeps the two families apart: no packet from a wire has such a source.
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write_u128(name);
        let hash = hasher.finish() as usize;
        let places = [hash % PLACES, (hash >> 32) % PLACES];
        let place =
            places.into_iter().find(|place| self.buckets[*place].destination == name).unwrap_or_else(|| {
                let [first, second] = places;
                let place = if self.buckets[first].filled_at <= self.buckets[second].filled_at {
                    first
                } else {
                    second
                };
                self.buckets[place] = Bucket { destination: name, tokens: rate.burst, filled_at: now_ms };
                place
            });
        let bucket = &mut self.buckets[place];
        let elapsed = now_ms.saturating_sub(bucket.filled_at);
        let earned = elapsed.saturating_mul(rate.per_second.into()) / 1000;
        if earned > 0 {
            bucket.tokens =
                u32::try_from(u64::from(bucket.tokens) + earned).unwrap_or(u32::MAX).min(rate.burst);
            bucket.filled_at = now_ms;
        }
        match bucket.tokens.checked_sub(1) {
            Some(left) => {
                bucket.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 20 };

    #[test]
    fn burst_then_rate() {
        let mut limiter = Limiter::new([7; 16]);
        let destination = "2001:db8::8".parse().unwrap();
        assert_eq!((0..100).filter(|_| limiter.allows(destination, RATE, 1000)).count(), 20);
        assert!(!limiter.allows(destination, RATE, 1099));
        assert_eq!((0..100).filter(|_| limiter.allows(destination, RATE, 2000)).count(), 10);
        assert!(limiter.allows("192.0.2.1".parse().unwrap(), RATE, 2000), "another destination");
    }

    #[test]
    fn small_steps_of_time_add_up() {
        let mut limiter = Limiter::new([7; 16]);
        let destination = "192.0.2.1".parse().unwrap();
        let sent = (0..10_000).filter(|ms| limiter.allows(destination, RATE, *ms)).count();
        assert!((110..=120).contains(&sent), "{sent}");
    }

    #[test]
    fn a_rate_of_zero_is_silence() {
        let off = Rate { per_second: 0, burst: 20 };
        assert!(!Limiter::new([7; 16]).allows("192.0.2.1".parse().unwrap(), off, 1000));
    }

    #[test]
    fn a_clock_that_goes_back_is_harmless() {
        let mut limiter = Limiter::new([7; 16]);
        let destination = "192.0.2.1".parse().unwrap();
        assert!(limiter.allows(destination, RATE, 10_000));
        assert!(limiter.allows(destination, RATE, 0));
    }
}
