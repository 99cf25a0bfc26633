//! Targets, and whether they were reached.

use std::fmt::Write as _;

use crate::{Experiment, Spread};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The experiment that measures it.
    pub experiment: &'static str,
    /// A short description.
    pub what: &'static str,
    /// The contender whose figure it is.
    pub contender: &'static str,
    /// The position on the experiment's axis.
    pub at: f64,
    /// The figure.
    pub figure: Figure,
    /// The value that is required.
    pub bound: Bound,
}

/// A figure of a cell.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    /// The ratio that the experiment's table shows.
    Ratio,
    /// The number with this name.
    Number(&'static str),
    /// The number with this name, relative to that of this other contender at the same position.
    Beside(&'static str, &'static str),
    /// The number with this name, less that of the contender's first position on the axis.
    More(&'static str),
}

/// The value that is required, and a better one that is aimed at.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// The figure is at least this.
    AtLeast(f64, f64),
    /// The figure is at most this.
    AtMost(f64, f64),
}

impl Bound {
    fn is_reached_by(self, figure: f64) -> [bool; 2] {
        match self {
            Self::AtLeast(bar, aim) => [figure >= bar, figure >= aim],
            Self::AtMost(bar, aim) => [figure <= bar, figure <= aim],
        }
    }

    fn show(self) -> String {
        match self {
            Self::AtLeast(bar, aim) => format!("≥ {bar} (aim {aim})"),
            Self::AtMost(bar, aim) => format!("≤ {bar} (aim {aim})"),
        }
    }
}

impl Bar {
    /// The figure that was measured, over all rounds.
    fn measured(&self, experiments: &[Experiment]) -> Option<Spread> {
        let experiment = experiments.iter().find(|it| it.id == self.experiment)?;
        let cell = experiment.cells.iter().find(|cell| cell.is(self.contender, self.at))?;
        match self.figure {
            Figure::Ratio => experiment.ratio(cell),
            Figure::Number(name) => cell.spread(name),
            Figure::Beside(name, other) => {
                let other = experiment.cells.iter().find(|cell| cell.is(other, self.at))?;
                cell.beside(other, |here, there| Some(here.get(name)? / there.get(name)?))
            }
            Figure::More(name) => {
                let mut of_it = experiment.cells.iter().filter(|it| it.contender == self.contender);
                cell.beside(of_it.next()?, |here, first| Some(here.get(name)? - first.get(name)?))
            }
        }
    }
}

/// The targets that these runs have measured, as a table in Markdown with a column for each run. What is
/// not reached in each run that has measured it is missed.
#[must_use]
pub fn verdict(bars: &[Bar], runs: &[Vec<Experiment>]) -> Option<String> {
    let mut table = String::from("| # | Figure |");
    for number in 1..=runs.len() {
        let name = if runs.len() > 1 { format!("Run {number}") } else { "Measured".to_owned() };
        let _ = write!(table, " {name} |");
    }
    let _ = writeln!(table, " Target | Result |\n|{}", "---|".repeat(runs.len() + 4));
    let head = table.len();
    for bar in bars {
        let measured: Vec<_> = runs.iter().map(|run| bar.measured(run)).collect();
        let medians =
            measured.iter().flatten().map(|spread| bar.bound.is_reached_by(spread.median));
        let result = match medians.reduce(|one, other| [one[0] && other[0], one[1] && other[1]]) {
            None => continue,
            Some([_, true]) => "aim reached",
            Some([true, false]) => "reached",
            Some([false, false]) => "**missed**",
        };
        let _ = write!(table, "| {} | {} |", bar.experiment, bar.what);
        for spread in measured {
            let _ = write!(table, " {} |", spread.map_or(String::new(), |spread| spread.show()));
        }
        let _ = writeln!(table, " {} | {result} |", bar.bound.show());
    }
    (table.len() > head).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Numbers;

    #[test]
    fn a_median_is_compared_with_its_target() {
        let mut experiment = Experiment::new("P0", "test", "B", Some("base"), "per s");
        for (ours, base) in [(50.0, 100.0), (90.0, 100.0), (70.0, 100.0)] {
            for (name, at, rate) in [("ours", 1.0, 100.0), ("ours", 2.0, ours), ("base", 2.0, base)]
            {
                experiment.add(name, at, Numbers::from([("per s".to_owned(), rate)]));
            }
        }
        let bar = |figure, bound| Bar {
            experiment: "P0",
            what: "it",
            contender: "ours",
            at: 2.0,
            figure,
            bound,
        };
        let runs = [vec![experiment.clone()]];
        let judge = |figure, bound| verdict(&[bar(figure, bound)], &runs);
        let least = |bar, aim| Bound::AtLeast(bar, aim);
        assert!(
            judge(Figure::Ratio, least(0.6, 0.8))
                .unwrap()
                .contains("(0.50–0.90) | ≥ 0.6 (aim 0.8) | reached |")
        );
        assert!(judge(Figure::Ratio, least(0.6, 0.7)).unwrap().contains("aim reached"));
        assert!(judge(Figure::Number("per s"), least(71.0, 72.0)).unwrap().contains("**missed**"));
        let beside = Figure::Beside("per s", "base");
        assert!(
            judge(beside, Bound::AtMost(0.7, 0.6))
                .unwrap()
                .contains("(0.50–0.90) | ≤ 0.7 (aim 0.6) | reached |")
        );
        assert_eq!(judge(Figure::Beside("per s", "nobody"), least(0.0, 0.0)), None);
        let more = judge(Figure::More("per s"), Bound::AtMost(0.0, -20.0)).unwrap();
        assert!(more.contains("| -30.0 (-50.0–-10.0) | ≤ 0 (aim -20) | aim reached |"), "{more}");
        assert_eq!(judge(Figure::Number("nothing"), least(1.0, 1.0)), None);
        assert_eq!(verdict(&[bar(Figure::Ratio, least(1.0, 1.0))], &[]), None);

        // of several runs, one that misses is enough, and one that did not measure it says nothing
        let mut slower = experiment.clone();
        slower.cells.retain(|cell| cell.contender == "base");
        slower.add("ours", 2.0, Numbers::from([("per s".to_owned(), 50.0)]));
        let runs = [vec![experiment], vec![slower], Vec::new()];
        let judge = |bound| verdict(&[bar(Figure::Ratio, bound)], &runs).unwrap();
        let missed = judge(least(0.6, 0.7));
        assert!(missed.starts_with("| # | Figure | Run 1 | Run 2 | Run 3 | Target | Result |\n|---|---|---|---|---|---|---|\n"));
        assert!(
            missed.ends_with(
                "| P0 | it | 0.70 (0.50–0.90) | 0.50 |  | ≥ 0.6 (aim 0.7) | **missed** |\n"
            ),
            "{missed}"
        );
        assert!(judge(least(0.5, 0.7)).contains("| reached |"));
    }
}
