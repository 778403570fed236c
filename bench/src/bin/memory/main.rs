//! Measures everything that needs no network: parsing, translation, the engine, its tables and their memory.
//!
//! `memory [quick] [translate|siit|nat64]...`: all parts unless some are named; `quick` takes small tables and few
//! rounds, to see that it runs. Prints Markdown; `bench/README.md` says what each row is.
#![forbid(unsafe_code)]

mod nat64;
mod siit;
mod translate;
mod world;

use xlat_bench::Error;
use xlat_bench::report::Table;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Rounds of each row.
    rounds: usize,
    /// Table sizes are divided by this.
    divisor: usize,
}

impl Scale {
    const FULL: Self = Self { rounds: 250, divisor: 1 };
    const QUICK: Self = Self { rounds: 3, divisor: 1000 };

    /// A table size at this scale.
    fn size(self, full: usize) -> usize {
        (full / self.divisor).max(1)
    }
}

/// A part of the measurements.
type Part = fn(&mut Table, Scale) -> Result<(), Error>;

const PARTS: [(&str, Part); 3] =
    [("translate", translate::measure), ("siit", siit::measure), ("nat64", nat64::measure)];

fn main() -> Result<(), Error> {
    let mut scale = Scale::FULL;
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "quick" => scale = Scale::QUICK,
            part if PARTS.iter().any(|(name, _)| *name == part) => wanted.push(argument),
            other => return Err(format!("'{other}' is neither 'quick' nor a part").into()),
        }
    }
    let mut table = Table::default();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&mut table, scale)?;
        }
    }
    println!("\nBudgets missed: {}", table.missed());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_run() {
        let mut table = Table::default();
        for (_, part) in PARTS {
            part(&mut table, Scale::QUICK).unwrap();
        }
    }
}
