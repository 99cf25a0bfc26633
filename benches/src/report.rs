//! Results of experiments, as tables and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The numbers of one round, by name.
pub type Numbers = BTreeMap<String, f64>;

/// One experiment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Experiment {
    /// Its short name.
    pub id: String,
    /// A description of what was measured.
    pub title: String,
    /// The quantity that changes from row to row.
    pub axis: String,
    /// The contender that all others are compared with. If `None`, each is compared with its own
    /// first row.
    pub against: Option<String>,
    /// The number that the ratio is taken of.
    pub ratio_of: String,
    /// The rows.
    pub cells: Vec<Cell>,
    /// Remarks below the table.
    pub notes: Vec<String>,
}

/// All rounds of one contender at one position on the axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The contender.
    pub contender: String,
    /// The position on the axis.
    pub at: f64,
    /// The rounds, in order. A round of one cell happened next to the same round of the others.
    pub rounds: Vec<Numbers>,
}

/// The median of some numbers, and their range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of some numbers, or `None` if there are none.
    #[must_use]
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            len if len % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { median, min: sorted[0], max: sorted[sorted.len() - 1] })
    }

    /// Formats the median, with the range in brackets.
    #[must_use]
    pub fn show(&self) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(short);
        if min == max { median } else { format!("{median} ({min}–{max})") }
    }
}

/// Formats a number with three digits.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 999_500.0 => format!("{:.2} M", number / 1e6),
        size if size >= 99_950.0 => format!("{:.0} k", number / 1e3),
        size if size >= 9_995.0 => format!("{:.1} k", number / 1e3),
        size if size >= 99.95 => format!("{number:.0}"),
        size if size >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

impl Experiment {
    /// Creates an experiment without rows.
    #[must_use]
    pub fn new(id: &str, title: &str, axis: &str, against: Option<&str>, ratio_of: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            axis: axis.to_owned(),
            against: against.map(str::to_owned),
            ratio_of: ratio_of.to_owned(),
            cells: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a round.
    pub fn add(&mut self, contender: &str, at: f64, numbers: Numbers) {
        let cell = self.cells.iter_mut().find(|cell| cell.is(contender, at));
        match cell {
            Some(cell) => cell.rounds.push(numbers),
            None => {
                let contender = contender.to_owned();
                self.cells.push(Cell { contender, at, rounds: vec![numbers] });
            }
        }
    }

    /// Returns the ratio of `cell` to the cell that it is compared with, round by round.
    #[must_use]
    pub fn ratio(&self, cell: &Cell) -> Option<Spread> {
        let base = match &self.against {
            Some(against) => self.cells.iter().find(|base| base.is(against, cell.at)),
            None => self.cells.iter().find(|base| base.contender == cell.contender),
        };
        let base = base.filter(|base| !base.is(&cell.contender, cell.at))?;
        let of = |round: &Numbers| round.get(&self.ratio_of).copied();
        cell.beside(base, |ours, theirs| Some(of(ours)? / of(theirs)?))
    }

    /// Returns the experiment as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let names = self.names();
        let mut table = format!("**{}: {}**\n\n| {} | |", self.id, self.title, self.axis);
        for name in &names {
            let _ = write!(table, " {name} |");
        }
        let against = self.against.as_deref().unwrap_or("its own first row");
        let _ = writeln!(table, " {} relative to {against} |", self.ratio_of);
        let _ = writeln!(table, "|{}", "---|".repeat(names.len() + 3));
        let mut cells: Vec<_> = self.cells.iter().collect();
        if self.against.is_some() {
            cells.sort_by(|a, b| a.at.total_cmp(&b.at));
        }
        for cell in cells {
            let _ = write!(table, "| {} | {} |", cell.at, cell.contender);
            for name in &names {
                let _ =
                    write!(table, " {} |", cell.spread(name).map_or(String::new(), |s| s.show()));
            }
            let ratio = self.ratio(cell).map_or(String::new(), |ratio| ratio.show());
            let _ = writeln!(table, " {ratio} |");
        }
        for note in &self.notes {
            let _ = write!(table, "\n{note}\n");
        }
        table
    }

    /// The names of the numbers, in the order of the table's columns.
    fn names(&self) -> Vec<String> {
        let mut names = vec![self.ratio_of.clone()];
        for name in self.cells.iter().flat_map(|cell| &cell.rounds).flat_map(BTreeMap::keys) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

impl Cell {
    pub(crate) fn is(&self, contender: &str, at: f64) -> bool {
        self.contender == contender && self.at.total_cmp(&at).is_eq()
    }

    /// Compares each round with the same one of another cell.
    pub(crate) fn beside(
        &self,
        other: &Self,
        compare: impl Fn(&Numbers, &Numbers) -> Option<f64>,
    ) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.filter_map(|(ours, theirs)| compare(ours, theirs)))
    }

    /// Returns the spread of the numbers called `name`.
    #[must_use]
    pub fn spread(&self, name: &str) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.get(name).copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rate: f64) -> Numbers {
        Numbers::from([("per s".to_owned(), rate)])
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let mut experiment = Experiment::new("P0", "test", "B", Some("base"), "per s");
        for (ours, base) in [(50.0, 100.0), (90.0, 300.0), (400.0, 500.0)] {
            experiment.add("ours", 16.0, numbers(ours));
            experiment.add("base", 16.0, numbers(base));
            experiment.add("base", 17.0, numbers(1.0));
        }
        let ratio = experiment.ratio(&experiment.cells[0]).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.5, 0.3, 0.8));
        assert_eq!(experiment.ratio(&experiment.cells[1]), None);
        assert!(experiment.table().contains("| 16 | ours | 90.0 (50.0–400) | 0.50 (0.30–0.80) |"));
    }

    #[test]
    fn without_a_baseline_a_row_is_compared_with_the_first_of_its_own() {
        let mut experiment = Experiment::new("P0", "test", "peers", None, "per s");
        experiment.add("ours", 1.0, numbers(10.0));
        experiment.add("ours", 2.0, numbers(5.0));
        let ratio = experiment.ratio(&experiment.cells[1]).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.5, 0.5, 0.5));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 2.0, 8.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (3.0, 1.0, 8.0));
        assert_eq!(Spread::of([]), None);
    }
}
