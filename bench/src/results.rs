//! What came out: the samples of each subject, their medians, ratios within a round, and the budgets.

use std::fs;
use std::time::Duration;

use crate::Error;

/// One subject's turn.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What got through per second, in the unit of the table.
    pub rate: f64,
    /// Nanoseconds of the translating process's processor time for each unit that got through.
    pub cpu: f64,
    /// Units that got through.
    pub units: f64,
}

/// All turns of all subjects, by round.
#[derive(Debug)]
pub struct Results {
    rows: Vec<(&'static str, Vec<Sample>)>,
}

/// The ratio of one subject's rate to another's has to be at least this.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Name of the one that is judged.
    pub subject: &'static str,
    /// Name of the one it is compared with.
    pub reference: &'static str,
    /// The ratio.
    pub at_least: f64,
}

impl Results {
    /// Nothing yet of these subjects; the first one is what the table's ratios refer to.
    pub fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self { rows: names.map(|name| (name, Vec::new())).collect() }
    }

    /// The next round's sample of subject number `number`.
    pub fn add(&mut self, number: usize, sample: Sample) {
        if let Some((_, samples)) = self.rows.get_mut(number) {
            samples.push(sample);
        }
    }

    /// Prints the table and the verdicts; how many budgets are missed.
    pub fn print(&self, title: &str, rate_unit: &str, cpu_unit: &str, budgets: &[Budget]) -> usize {
        println!("\n### {title}\n");
        println!("| {:20} | {rate_unit:>11} | best round | of plain IPv6 | {cpu_unit:>13} |", "");
        println!("|{:-<22}|{:->13}|{:->12}|{:->15}|{:->15}|", "", ":", ":", ":", ":");
        let reference = self.rows.first().map_or("", |(name, _)| *name);
        for (name, samples) in &self.rows {
            let rates = || samples.iter().map(|sample| sample.rate);
            let (rate, best) = (median(rates()), rates().fold(0.0, f64::max));
            let cpu = median(samples.iter().map(|sample| sample.cpu));
            let cpu = if cpu > 0.0 { format!("{cpu:.0}") } else { String::new() };
            let ratio = self.ratio(name, reference);
            println!("| {name:20} | {rate:>11.3} | {best:>10.3} | {ratio:>13.2} | {cpu:>13} |");
        }
        println!();
        let mut missed = 0;
        for Budget { subject, reference, at_least } in budgets {
            let ratio = self.ratio(subject, reference);
            let verdict = if ratio >= *at_least { "met" } else { "MISSED" };
            missed += usize::from(ratio < *at_least);
            println!("- {subject} / {reference}: {ratio:.2}, budget {at_least}: {verdict}");
        }
        missed
    }

    /// The median rate of a subject.
    pub fn median(&self, subject: &str) -> Option<f64> {
        let (_, samples) = self.rows.iter().find(|(name, _)| *name == subject)?;
        Some(median(samples.iter().map(|sample| sample.rate)))
    }

    /// The median of one subject's rate by another's in the same round: what else the machine does changes slowly.
    fn ratio(&self, subject: &str, reference: &str) -> f64 {
        let samples =
            |wanted: &str| self.rows.iter().find(|(name, _)| *name == wanted).map(|(_, samples)| samples);
        let (Some(subject), Some(reference)) = (samples(subject), samples(reference)) else {
            return f64::NAN;
        };
        median(subject.iter().zip(reference).map(|(one, other)| one.rate / other.rate))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The processor time that all threads of `process` have had (`/proc/PID/task/TID/schedstat`); zero for none.
pub fn cpu_time(process: Option<u32>) -> Result<Duration, Error> {
    let Some(process) = process else { return Ok(Duration::ZERO) };
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let line = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += line.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds() {
        let mut results = Results::new(["a", "b"].into_iter());
        for (a, b) in [(1.0, 2.0), (100.0, 150.0), (10.0, 30.0)] {
            results.add(0, Sample { rate: a, cpu: 0.0, units: 1.0 });
            results.add(1, Sample { rate: b, cpu: 0.0, units: 1.0 });
        }
        assert_eq!(results.ratio("b", "a"), 2.0);
        let budget = |at_least| [Budget { subject: "b", reference: "a", at_least }];
        assert_eq!(results.print("t", "", "", &budget(2.0)), 0);
        assert_eq!(results.print("t", "", "", &budget(2.1)), 1);
    }

    #[test]
    fn this_process_takes_time() {
        assert!(cpu_time(Some(std::process::id())).unwrap() > Duration::ZERO);
        assert_eq!(cpu_time(None).unwrap(), Duration::ZERO);
    }
}
