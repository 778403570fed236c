//! Time per packet, taken many times over: on a machine shared with others the best and the median of many rounds
//! say more than one long run.

use std::time::{Duration, Instant};

use xlat_packet::{Buffer, Offload, buffer};

use crate::Error;

/// Packets between two looks at the clock: the clock's own time disappears, and all of them stay in the first-level
/// cache, so that what is cold is what the translator itself keeps.
const BATCH: usize = 64;

/// Bytes of one packet's buffer: headroom, the packet, and room behind it.
const SLOT: usize = buffer::HEADROOM + 128;

/// Batches in a round.
const BATCHES: usize = 64;

/// Packets in a round: the smallest number that is timed by itself.
pub const ROUND: usize = BATCH * BATCHES;

/// Nanoseconds per packet, over all rounds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The fastest round.
    pub best: f64,
    /// The middle round.
    pub median: f64,
    /// All rounds together.
    pub mean: f64,
}

impl Timing {
    /// From the nanoseconds per packet of each round; `None` without any.
    pub fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_unstable_by(f64::total_cmp);
        Some(Self {
            best: *rounds.first()?,
            median: *rounds.get(rounds.len() / 2)?,
            mean: rounds.iter().sum::<f64>() / rounds.len() as f64,
        })
    }
}

/// Times `work` on packets that `fill` writes.
///
/// `fill` gets the running number of a packet and the place for it, and gives its length; its time does not count.
/// `work` gets the number and the packet. One round that does not count comes first if `warm` is set.
pub fn packets(
    rounds: usize,
    warm: bool,
    fill: impl FnMut(usize, &mut [u8]) -> usize,
    mut work: impl FnMut(usize, &mut Buffer<'_>) -> Result<(), Error>,
) -> Result<Timing, Error> {
    batches(rounds, warm, fill, |number, batch| {
        batch.iter_mut().enumerate().try_for_each(|(at, packet)| work(number + at, packet))
    })
}

/// The same with a batch of packets at a time; `work` gets the number of the first one.
pub fn batches(
    rounds: usize,
    warm: bool,
    mut fill: impl FnMut(usize, &mut [u8]) -> usize,
    mut work: impl FnMut(usize, &mut [Buffer<'_>]) -> Result<(), Error>,
) -> Result<Timing, Error> {
    let mut slots = vec![[0u8; SLOT]; BATCH];
    let mut ends = [0; BATCH];
    let mut times = Vec::with_capacity(rounds);
    let mut number = 0;
    for round in 0..rounds + usize::from(warm) {
        let mut time = Duration::ZERO;
        for _ in 0..BATCHES {
            for (at, (slot, end)) in slots.iter_mut().zip(&mut ends).enumerate() {
                *end = buffer::HEADROOM + fill(number + at, &mut slot[buffer::HEADROOM..]);
            }
            let buffer = |(slot, end)| Buffer::new(slot, buffer::HEADROOM, end, Offload::NONE);
            let mut batch: Vec<_> =
                slots.iter_mut().map(<[u8; SLOT]>::as_mut_slice).zip(ends).map(buffer).collect();
            let start = Instant::now();
            work(number, &mut batch)?;
            time += start.elapsed();
            number += BATCH;
        }
        if round != 0 || !warm {
            times.push(time.as_nanos() as f64 / ROUND as f64);
        }
    }
    Timing::of(times).ok_or_else(|| "no rounds".into())
}

/// Times `work` on the numbers of one round after the other.
pub fn items(rounds: usize, mut work: impl FnMut(usize)) -> Result<Timing, Error> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let start = Instant::now();
        for number in round * ROUND..(round + 1) * ROUND {
            work(number);
        }
        times.push(start.elapsed().as_nanos() as f64 / ROUND as f64);
    }
    Timing::of(times).ok_or_else(|| "no rounds".into())
}

/// A number below `below` that looks random, the same in every run (the finalizer of SplitMix64).
pub fn scatter(number: usize, below: usize) -> usize {
    let mut word = (number as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(word ^ word >> 31) * below as u128) >> 64) as usize
}

/// Resident memory of this process in bytes (`VmRSS` of `/proc/self/status`).
pub fn resident() -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_sorts() {
        let timing = Timing::of(vec![9.0, 1.0, 2.0]).unwrap();
        assert_eq!((timing.best, timing.median, timing.mean), (1.0, 2.0, 4.0));
        assert!(Timing::of(Vec::new()).is_none());
    }

    #[test]
    fn every_packet_is_filled_and_worked_on_once() {
        let (mut filled, mut worked) = (0, 0);
        let fill = |number: usize, place: &mut [u8]| {
            filled += 1;
            place[..8].copy_from_slice(&number.to_be_bytes());
            8
        };
        let timing = packets(2, true, fill, |number, packet| {
            worked += 1;
            assert_eq!(packet.bytes(), number.to_be_bytes());
            Ok(())
        });
        assert!(timing.is_ok());
        assert_eq!((filled, worked), (3 * ROUND, 3 * ROUND));
    }

    #[test]
    fn scatter_stays_below_and_spreads() {
        let mut seen = [0; 10];
        (0..10_000).for_each(|number| seen[scatter(number, 10)] += 1);
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident().unwrap() > 100_000);
    }
}
