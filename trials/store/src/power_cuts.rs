//! Cuts the power at any moment, and once more while the store recovers from that.

use std::fmt;
use std::path::{Path, PathBuf};

use paddington_models::random::Random;

use crate::disk::{Disk, Image, Promise, Survival, read_image, write_image};
use crate::facts::Facts;
use crate::recording::{Event, record};

/// The settings of a trial.
#[derive(Clone, Debug)]
pub struct PowerCuts {
    /// This program, which is run as `store-trials workload ..`.
    pub program: PathBuf,
    /// The seed of the moments.
    pub seed: u64,
    /// Number of states of the disk.
    pub states: u64,
    /// The promise of the disk.
    pub promise: Promise,
}

/// The result of a trial.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// States of the disk that were looked at.
    pub states: u64,
    /// States that were cut again during recovery.
    pub twice: u64,
    /// Recorded events that the states were made from.
    pub events: u64,
    /// Messages that were accepted before the cuts, in all.
    pub accepted: u64,
    /// States in which something is lost that was answered.
    pub lost: u64,
    /// States that cannot be opened or are not trusted.
    pub unopenable: u64,
    /// States in which a payload is wrong.
    pub wrong: u64,
    /// A description of the first failure.
    pub first: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, twice, events, accepted, lost, unopenable, wrong, first } = self;
        write!(
            f,
            "{states} states ({twice} cut twice) of {events} events, {accepted} accepted: \
             {lost} lose something, {unopenable} do not open, {wrong} with a wrong payload"
        )?;
        first.as_ref().map_or(Ok(()), |first| write!(f, "; first: {first}"))
    }
}

/// Number of states that are made from one recording.
const PER_RECORDING: u64 = 200;
/// Instances and messages of a workload: enough for some checkpoints and restarts of the log.
const INSTANCES: u8 = 3;
const MESSAGES: u64 = 900;

/// Runs the trial.
#[must_use]
pub fn run(cuts: &PowerCuts) -> Report {
    let mut report = Report::default();
    let mut random = Random::new(cuts.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while report.states < cuts.states {
        let states = PER_RECORDING.min(cuts.states - report.states);
        let (seed, folder) = (random.next_number(), memory_folder());
        let events = workload(cuts, folder.path(), seed, 1, INSTANCES, MESSAGES).unwrap();
        report.events += events.len() as u64;
        let mut moments: Vec<_> = (0..states).map(|_| random.below(events.len() + 1)).collect();
        moments.sort_unstable();
        let mut trial = Trial {
            cuts,
            random: random.clone(),
            disk: Disk::new(cuts.promise, &Image::new()),
            facts: Facts::default(),
        };
        let mut done = 0;
        for moment in moments {
            for event in &events[done..moment] {
                trial.happens(event);
            }
            done = moment;
            runtime.block_on(trial.state(&mut report));
        }
        random.next_number();
    }
    report
}

/// A disk and what was answered on it.
struct Trial<'a> {
    cuts: &'a PowerCuts,
    random: Random,
    disk: Disk,
    facts: Facts,
}

impl Trial<'_> {
    fn happens(&mut self, event: &Event) {
        self.disk.apply(event);
        if let Event::Said(line) = event {
            self.facts.note(line);
        }
    }

    async fn state(&mut self, report: &mut Report) {
        report.states += 1;
        report.accepted += self.facts.accepted();
        let survival = survival(&mut self.random);
        let mut image = self.disk.cut(survival, &mut self.random);
        let mut facts = self.facts.clone();
        let mut how = format!("{survival:?}");
        if self.random.percent(50) && self.cuts.promise != Promise::Nothing {
            report.twice += 1;
            match self.cut_again(&image, &mut facts, report) {
                Ok((again, survival)) => {
                    image = again;
                    how = format!("{how}, then {survival:?}");
                }
                Err(said) => how = format!("{how}, then {said}"),
            }
        }
        let folder = memory_folder();
        write_image(&image, folder.path());
        let findings = facts.check(&folder.path().join("store")).await;
        report.lost += u64::from(findings.lost + findings.undead + findings.behind > 0);
        report.wrong += u64::from(findings.wrong > 0);
        report.unopenable += u64::from(findings.refused.is_some());
        if !findings.is_good() && report.first.is_none() {
            report.first = Some(format!("{how}: {findings:?}"));
        }
    }

    /// Opens what is left, uses it for a moment, and cuts the power at some point of that.
    fn cut_again(
        &mut self,
        image: &Image,
        facts: &mut Facts,
        report: &mut Report,
    ) -> Result<(Image, Survival), String> {
        let folder = memory_folder();
        write_image(image, folder.path());
        let mut disk = Disk::new(self.cuts.promise, &read_image(folder.path()));
        let instance = 100 + self.random.below(100) as u8;
        let events =
            workload(self.cuts, folder.path(), self.random.next_number(), instance, 1, 10)?;
        report.events += events.len() as u64;
        let moment = self.random.below(events.len() + 1);
        for event in &events[..moment] {
            disk.apply(event);
            if let Event::Said(line) = event {
                facts.note(line);
            }
        }
        let survival = survival(&mut self.random);
        Ok((disk.cut(survival, &mut self.random), survival))
    }
}

fn survival(random: &mut Random) -> Survival {
    match random.below(6) {
        0 => Survival::None,
        1 => Survival::All,
        2 => Survival::Prefix,
        3 => Survival::Pieces(512),
        _ => Survival::Pieces(4_096),
    }
}

fn workload(
    cuts: &PowerCuts,
    folder: &Path,
    seed: u64,
    instance: u8,
    instances: u8,
    messages: u64,
) -> Result<Vec<Event>, String> {
    let path = folder.join("store");
    let numbers =
        [seed, instance.into(), instances.into(), messages].map(|number| number.to_string());
    let mut arguments = vec!["workload", path.to_str().unwrap()];
    arguments.extend(numbers.iter().map(String::as_str));
    record(folder, &cuts.program, &arguments)
}

/// Makes a folder, in memory where possible: the disk is simulated anyway.
#[must_use]
pub fn memory_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
