//! The table that a program prints: what was measured, the numbers, the budget, and whether it is met.

use crate::measure::Timing;

/// What a number has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Budget {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// Prints a table as Markdown, row by row while the numbers come in.
#[derive(Debug, Default)]
pub struct Table {
    missed: usize,
}

impl Table {
    /// Prints the head of a table called `title`.
    pub fn head(&self, title: &str) {
        println!("\n### {title}\n");
        println!(
            "| {:58} | {:>9} | {:>9} | {:11} | {:>8} | {:6} |",
            "what", "best", "median", "unit", "budget", ""
        );
        println!("|{:-<60}|{:->11}|{:->11}|{:-<13}|{:->10}|{:-<8}|", "", ":", ":", "", ":", "");
    }

    /// A time per packet or look-up. The best round is held against the budget: the others measure the machine's
    /// other users too. The median shows how much of that there was.
    pub fn timing(&mut self, what: &str, timing: Timing, budget: Option<Budget>) {
        self.row(what, (timing.best, Some(timing.median)), "ns", budget);
    }

    /// A single number.
    pub fn number(&mut self, what: &str, value: f64, unit: &str, budget: Option<Budget>) {
        self.row(what, (value, None), unit, budget);
    }

    /// How many budgets were missed.
    pub fn missed(&self) -> usize {
        self.missed
    }

    fn row(&mut self, what: &str, (value, median): (f64, Option<f64>), unit: &str, budget: Option<Budget>) {
        let judgement = match budget.map(|budget| budget.is_met(value)) {
            Some(true) => "met",
            Some(false) => {
                self.missed += 1;
                "MISSED"
            }
            None => "",
        };
        let median = median.map_or(String::new(), |median| format!("{median:.1}"));
        let budget = budget.map_or(String::new(), |budget| budget.to_string());
        println!("| {what:58} | {value:>9.1} | {median:>9} | {unit:11} | {budget:>8} | {judgement:6} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_budget_is_counted() {
        let mut table = Table::default();
        table.number("met", 1.0, "s", Some(Budget::AtMost(1.0)));
        table.number("missed", 1.0, "s", Some(Budget::AtLeast(1.1)));
        table.number("free", 1.0, "s", None);
        assert_eq!(table.missed(), 1);
    }
}
