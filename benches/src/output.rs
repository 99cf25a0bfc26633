//! Where results go: tables to standard output, everything to one JSON file, plots to a folder.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use paddington_bench::Experiment;
use serde::Serialize;

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

/// What the run was made on.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
}

impl Machine {
    fn here() -> Result<Self> {
        let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = information.lines().find_map(|line| line.strip_prefix("model name\t: "));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: model.unwrap_or("unknown").to_owned(),
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

    /// Shows an experiment and keeps it.
    pub(crate) fn add(&mut self, experiment: Experiment) -> Result<()> {
        writeln!(std::io::stdout(), "\n{}", experiment.table())?;
        self.experiments.push(experiment);
        self.save()
    }

    /// Draws the plots.
    pub(crate) fn finish(self) -> Result<()> {
        self.save()
    }

    fn save(&self) -> Result<()> {
        let ids: Vec<_> = self.experiments.iter().map(|one| one.id.to_lowercase()).collect();
        let name = if ids.len() == 1 { ids.concat() } else { "all".to_owned() };
        let path = self.folder.join(format!("{name}.json"));
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)?)?)
    }
}
