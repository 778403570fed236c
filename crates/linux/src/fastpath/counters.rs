//! What the program has counted, added up over the processors.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use xlat_fastpath::config::INSTANCES;
use xlat_fastpath::count::{COUNT, Counter, Traffic};
use zerocopy::{FromBytes, IntoBytes};

use super::bpf;

/// All that was counted.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// One number for each [`Counter`].
    pub counters: [u64; COUNT as usize],
    /// What each instance has translated.
    pub traffic: [Traffic; INSTANCES as usize],
}

impl Statistics {
    /// One counter.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }
}

/// The maps of counters, one value for each processor.
#[derive(Debug)]
pub(super) struct CounterMaps {
    counters: OwnedFd,
    traffic: OwnedFd,
}

impl CounterMaps {
    /// The maps behind the descriptors, whose sizes were checked.
    pub(super) fn new(counters: OwnedFd, traffic: OwnedFd) -> Self {
        Self { counters, traffic }
    }

    pub(super) fn read(&self) -> io::Result<Statistics> {
        let cpus = possible_cpus()?;
        let mut all =
            Statistics { counters: [0; COUNT as usize], traffic: [Traffic::default(); INSTANCES as usize] };
        let mut values = vec![0u64; cpus];
        for (index, sum) in (0u32..).zip(&mut all.counters) {
            bpf::lookup(&self.counters, index.as_bytes(), values.as_mut_bytes())?;
            *sum = values.iter().fold(0, |sum, value| sum.wrapping_add(*value));
        }
        let mut values = vec![0u8; cpus * size_of::<Traffic>()];
        for (index, sum) in (0u32..).zip(&mut all.traffic) {
            bpf::lookup(&self.traffic, index.as_bytes(), &mut values)?;
            for one in values.chunks_exact(size_of::<Traffic>()) {
                let Ok(one) = Traffic::read_from_bytes(one) else { continue };
                sum.packets64 = sum.packets64.wrapping_add(one.packets64);
                sum.bytes64 = sum.bytes64.wrapping_add(one.bytes64);
                sum.packets46 = sum.packets46.wrapping_add(one.packets46);
                sum.bytes46 = sum.bytes46.wrapping_add(one.bytes46);
            }
        }
        Ok(all)
    }

    /// Gives each instance the traffic of the one whose former place is said, or none.
    pub(super) fn rearrange(&self, from: &[Option<usize>; INSTANCES as usize]) -> io::Result<()> {
        let nothing = vec![0u8; possible_cpus()? * size_of::<Traffic>()];
        let mut former = vec![nothing.clone(); INSTANCES as usize];
        for (index, values) in (0u32..).zip(&mut former) {
            bpf::lookup(&self.traffic, index.as_bytes(), values)?;
        }
        for (index, place) in (0u32..).zip(from) {
            let values = place.and_then(|place| former.get(place)).unwrap_or(&nothing);
            bpf::update(&self.traffic, index.as_bytes(), values)?;
        }
        Ok(())
    }
}

/// How many processors the kernel counts for: as many values it writes on a look-up.
fn possible_cpus() -> io::Result<usize> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_processor() {
        assert!(super::possible_cpus().unwrap() >= 1);
    }
}
