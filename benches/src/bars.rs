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
    /// The number with this name, relative to the contender's first position on the axis.
    OfFirst(&'static str),
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
        let mut cells = experiment.cells.iter().filter(|cell| cell.contender == self.contender);
        let first = cells.clone().next()?;
        let cell = cells.find(|cell| cell.at.total_cmp(&self.at).is_eq())?;
        match self.figure {
            Figure::Ratio => experiment.ratio(cell),
            Figure::Number(name) => cell.spread(name),
            Figure::OfFirst(name) => {
                let pairs = cell.rounds.iter().zip(&first.rounds);
                Spread::of(
                    pairs.filter_map(|(here, there)| Some(here.get(name)? / there.get(name)?)),
                )
            }
        }
    }
}

/// The targets that these experiments have measured, as a table in Markdown.
#[must_use]
pub fn verdict(bars: &[Bar], experiments: &[Experiment]) -> Option<String> {
    let head = "| # | Figure | Measured | Target | Result |\n|---|---|---|---|---|\n";
    let mut table = head.to_owned();
    for bar in bars {
        let Some(measured) = bar.measured(experiments) else { continue };
        let reached = match bar.bound.is_reached_by(measured.median) {
            [_, true] => "aim reached",
            [true, false] => "reached",
            [false, false] => "**missed**",
        };
        let (measured, bound) = (measured.show(), bar.bound.show());
        let _ = writeln!(
            table,
            "| {} | {} | {measured} | {bound} | {reached} |",
            bar.experiment, bar.what
        );
    }
    (table.len() > head.len()).then_some(table)
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
        let judge =
            |figure, bound| verdict(&[bar(figure, bound)], std::slice::from_ref(&experiment));
        let least = |bar, aim| Bound::AtLeast(bar, aim);
        assert!(
            judge(Figure::Ratio, least(0.6, 0.8))
                .unwrap()
                .contains("(0.50–0.90) | ≥ 0.6 (aim 0.8) | reached |")
        );
        assert!(judge(Figure::Ratio, least(0.6, 0.7)).unwrap().contains("aim reached"));
        assert!(judge(Figure::Number("per s"), least(71.0, 72.0)).unwrap().contains("**missed**"));
        assert!(
            judge(Figure::OfFirst("per s"), Bound::AtMost(0.7, 0.6)).unwrap().contains("reached |")
        );
        assert_eq!(judge(Figure::Number("nothing"), least(1.0, 1.0)), None);
        assert_eq!(verdict(&[bar(Figure::Ratio, least(1.0, 1.0))], &[]), None);
    }
}
