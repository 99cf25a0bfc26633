//! Output of results: tables to standard output, everything to one JSON file, plots to a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use paddington_bench::{Experiment, Plot, verdict};
use serde::{Deserialize, Serialize};

use crate::experiments::BARS;

/// The results of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Output {
    machine: Machine,
    experiments: Vec<Experiment>,
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    plots: PathBuf,
}

/// The machine of the run.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
}

/// The plots, each with the experiment that it shows.
const PLOTS: [(&str, Plot); 6] = [
    (
        "P4",
        Plot {
            file: "latency",
            title: "Round trip between two processes",
            numbers: &["p50 µs", "p99 µs", "p99.9 µs"],
            unit: "µs",
            contenders: &["paddington", "tokio-tungstenite"],
        },
    ),
    (
        "P5",
        Plot {
            file: "throughput",
            title: "Messages one way between two processes",
            numbers: &["per s"],
            unit: "messages per second",
            contenders: &[],
        },
    ),
    (
        "P6",
        Plot {
            file: "compare",
            title: "Messages one way, compared with other systems",
            numbers: &["per s"],
            unit: "messages per second",
            contenders: &[],
        },
    ),
    (
        "P7",
        Plot {
            file: "memory",
            title: "The server's resident memory for each idle connection",
            numbers: &["KiB each"],
            unit: "KiB",
            contenders: &[],
        },
    ),
    (
        "P8",
        Plot {
            file: "peers",
            title: "1 000 round trips of 256 B in flight, by number of peers",
            numbers: &["per s"],
            unit: "round trips per second",
            contenders: &[],
        },
    ),
    (
        "P8p",
        Plot {
            file: "peers-cpu",
            title: "Processor time of a round trip at a constant rate, by number of peers",
            numbers: &["CPU µs each"],
            unit: "µs",
            contenders: &[],
        },
    ),
];

/// The processor's name.
pub(crate) fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name\t: "));
    model.unwrap_or("an unknown processor").to_owned()
}

/// The part of an earlier run that is read.
#[derive(Debug, Deserialize)]
struct Earlier {
    experiments: Vec<Experiment>,
}

/// Returns the experiments of an earlier run.
fn read(results: &Path) -> Result<Vec<Experiment>> {
    let text = std::fs::read_to_string(results);
    let text = text.with_context(|| format!("{} cannot be read", results.display()))?;
    let earlier: Earlier = serde_json::from_str(&text)
        .with_context(|| format!("{} is no result of a run", results.display()))?;
    Ok(earlier.experiments)
}

/// Draws the plots of an earlier run into `folder`.
pub(crate) fn draw(results: &Path, folder: &Path) -> Result<()> {
    let experiments = read(results)?;
    std::fs::create_dir_all(folder)?;
    experiments.iter().try_for_each(|experiment| draw_one(experiment, folder))
}

/// Prints the tables of the last of several earlier runs, and which targets those that measured them have reached.
pub(crate) fn report(results: &[PathBuf]) -> Result<()> {
    let runs = results.iter().map(|results| read(results)).collect::<Result<Vec<_>>>()?;
    for experiment in runs.last().into_iter().flatten() {
        crate::say(&format!("\n{}", experiment.table()))?;
    }
    conclude(&runs)
}

/// Prints which of the targets that were measured were reached.
fn conclude(runs: &[Vec<Experiment>]) -> Result<()> {
    match verdict(BARS, runs) {
        Some(table) => crate::say(&format!("\n{table}")),
        None => Ok(()),
    }
}

fn draw_one(experiment: &Experiment, folder: &Path) -> Result<()> {
    let mut plots = PLOTS.iter().filter(|(id, _)| *id == experiment.id);
    plots.try_for_each(|(_, plot)| plot.draw(experiment, folder))
}

impl Machine {
    fn here() -> Result<Self> {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor(),
            kernel: kernel.trim().to_owned(),
        })
    }
}

impl Output {
    pub(crate) fn new(folder: PathBuf, plots: Option<PathBuf>) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let plots = plots.unwrap_or_else(|| folder.clone());
        std::fs::create_dir_all(&plots)?;
        Ok(Self { machine: Machine::here()?, experiments: Vec::new(), folder, plots })
    }

    /// Prints, draws and saves an experiment.
    pub(crate) fn add(&mut self, experiment: Experiment) -> Result<()> {
        crate::say(&format!("\n{}", experiment.table()))?;
        draw_one(&experiment, &self.plots)?;
        self.experiments.push(experiment);
        self.save()
    }

    /// Prints which of the measured targets were reached.
    pub(crate) fn conclude(&self) -> Result<()> {
        conclude(std::slice::from_ref(&self.experiments))
    }

    fn save(&self) -> Result<()> {
        let ids: Vec<_> = self.experiments.iter().map(|one| one.id.to_lowercase()).collect();
        let name = if ids.len() <= 2 { ids.join("-") } else { "all".to_owned() };
        let path = self.folder.join(format!("{name}.json"));
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)?)?)
    }
}
