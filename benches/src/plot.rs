//! Results as plots in SVG.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::Experiment;

/// One plot of an experiment.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    /// The file's name, without its ending.
    pub file: &'static str,
    /// The title.
    pub title: &'static str,
    /// The numbers to draw, over the experiment's axis.
    pub numbers: &'static [&'static str],
    /// The unit of the numbers.
    pub unit: &'static str,
    /// The contenders to draw; all of them if empty.
    pub contenders: &'static [&'static str],
}

/// A line with its points.
type Line = (String, Vec<(f64, f64)>);

const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(64, 140, 60),
    RGBColor(230, 150, 0),
    RGBColor(120, 60, 160),
    RGBColor(0, 160, 170),
    RGBColor(130, 90, 50),
    RGBColor(90, 90, 90),
];

impl Plot {
    /// Draws the plot into `folder`, both axes logarithmic: medians of all rounds.
    ///
    /// # Errors
    ///
    /// If it cannot be drawn or written.
    pub fn draw(&self, experiment: &Experiment, folder: &Path) -> Result<()> {
        let lines = self.lines(experiment);
        let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        let Some((xs, ys)) = range(points().map(|(x, _)| x)).zip(range(points().map(|(_, y)| y)))
        else {
            return Ok(());
        };
        // leave room for the legend
        let xs = (xs.0, xs.1 * (xs.1 / xs.0).powf(0.75));
        let ys = if ys.1 / ys.0 < 30.0 { decades(ys) } else { ys };
        let path = folder.join(format!("{}.svg", self.file));
        let area = SVGBackend::new(&path, (860, 480)).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", self.file);
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 24))
            .margin(12)
            .x_label_area_size(50)
            .y_label_area_size(90)
            .build_cartesian_2d((xs.0..xs.1).log_scale(), (ys.0..ys.1).log_scale())
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(experiment.axis.as_str())
            .y_desc(self.unit)
            .label_style(("sans-serif", 17))
            .axis_desc_style(("sans-serif", 18))
            .x_label_formatter(&|x| label(*x))
            .y_label_formatter(&|y| label(*y))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(|error| failed(&error))?;
        for (index, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            let drawn = chart.draw_series(line.point_size(3)).map_err(|error| failed(&error))?;
            drawn.label(name.as_str()).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .label_font(("sans-serif", 17))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))
    }

    fn lines(&self, experiment: &Experiment) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut places = BTreeMap::new();
        let drawn = experiment.cells.iter().filter(|cell| {
            self.contenders.is_empty() || self.contenders.contains(&cell.contender.as_str())
        });
        for cell in drawn {
            for number in self.numbers {
                let Some(spread) = cell.spread(number) else { continue };
                let name = match self.numbers {
                    [_] => cell.contender.clone(),
                    _ => format!("{}, {}", cell.contender, number.trim_end_matches(" µs")),
                };
                let place = *places.entry(name.clone()).or_insert_with(|| {
                    lines.push((name, Vec::new()));
                    lines.len() - 1
                });
                lines[place].1.push((cell.at, spread.median));
            }
        }
        lines
    }
}

/// A range a little larger than that of all numbers.
fn range(numbers: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let least = numbers.clone().min_by(f64::total_cmp).filter(|least| *least > 0.0)?;
    let most = numbers.max_by(f64::total_cmp)?;
    Some((least / 1.3, most * 1.3))
}

/// Extends a range to whole powers of ten: a smaller range would have no grid lines.
fn decades((least, most): (f64, f64)) -> (f64, f64) {
    (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
}

fn label(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{} M", number / 1e6),
        number if number >= 1e4 => format!("{} k", number / 1e3),
        number => format!("{}", (number * 100.0).round() / 100.0),
    }
}
