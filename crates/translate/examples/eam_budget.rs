//! Loads a million EAM entries and looks them up in random order, cache-cold: the budget is 1 s and 100 ns.
//!
//! `cargo run --release -p xlat-translate --example eam_budget`

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::{Ipv4Net, Ipv6Net};
use xlat_translate::eam::{EamEntry, Eamt};

const ENTRIES: u32 = 1_000_000;
/// Steps through all entries: relatively prime to their number.
const STRIDE: u32 = 387_420_489;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let entries = (0..ENTRIES)
        .map(|number| {
            let v6 = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number.wrapping_mul(STRIDE)) << 64);
            let v4 = Ipv4Addr::from_bits(0x0a00_0000 + number);
            Ok(EamEntry { v6: Ipv6Net::new(v6, 96)?, v4: Ipv4Net::new(v4, 32)? })
        })
        .collect::<Result<Vec<_>, ipnet::PrefixLenError>>()?;
    let mut eamt = Eamt::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);

    let start = Instant::now();
    for entry in &entries {
        eamt.insert(*entry)?;
    }
    println!("load     {:4} ms", start.elapsed().as_millis());

    let shuffled = (0..ENTRIES).map(|step| {
        let at = u64::from(step) * u64::from(STRIDE) % u64::from(ENTRIES);
        entries[at as usize]
    });
    let (v6, v4): (Vec<_>, Vec<_>) = shuffled.map(|entry| (entry.v6.addr(), entry.v4.addr())).unzip();
    let start = Instant::now();
    for address in &v6 {
        black_box(eamt.to_v4(*address));
    }
    println!("6 to 4   {:4} ns", start.elapsed().as_nanos() / u128::from(ENTRIES));
    let start = Instant::now();
    for address in &v4 {
        black_box(eamt.to_v6(*address));
    }
    println!("4 to 6   {:4} ns", start.elapsed().as_nanos() / u128::from(ENTRIES));
    Ok(())
}
