//! Real services on a simulated network and simulated disks. Everything is drawn from a seed, so
//! that a failure can be repeated.

#![expect(clippy::print_stdout, reason = "the results are printed")]

mod bounds;
mod keys;
mod ledger;
mod mutants;
mod network;
mod node;
mod plan;
mod replicas;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, anyhow, bail, ensure};
use clap::Parser;
use ledger::{Bound, Summary};
use replicas::Seeds;
use run::{Outcome, run};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Number of seeds in which every common bound has to be reached.
const ENOUGH: u64 = 20;

/// Runs simulations of paddington.
#[derive(Parser)]
#[command(about, max_term_width = 100)]
struct Arguments {
    /// Run only this seed, and print everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Run one seed in this many twice: both runs have to be the same.
    #[arg(long, default_value_t = 10)]
    twice: u64,
    /// Stop at the first seed that fails.
    #[arg(long)]
    stop: bool,
    /// Only run replicas of one service over a store that they share.
    #[arg(long)]
    replicas: bool,
    /// Only break one rule at a time, which a situation at a bound has to notice.
    #[arg(long)]
    mutants: bool,
}

impl Arguments {
    /// Returns the seeds that are run.
    fn seeds(&self) -> RangeInclusive<u64> {
        self.seed.map_or(self.first..=self.first + self.seeds - 1, |seed| seed..=seed)
    }

    /// Returns the seeds with which replicas are run.
    fn replicas(&self) -> Seeds {
        let tells = self.seed.is_some();
        Seeds { seeds: self.seeds(), twice: self.twice, tells, stop: self.stop }
    }
}

/// The figures of all runs.
#[derive(Default)]
struct Totals {
    seeds: u64,
    with_disks: u64,
    spoiled: u64,
    faults: usize,
    crashes: usize,
    time: Duration,
    handled: u64,
    repeats: u64,
    failures: u64,
    quiet_after: Duration,
    others_quiet_after: Duration,
    run_twice: u64,
    /// Number of seeds whose keys are renewed, of renewals, and of sides that were put back.
    renewing: u64,
    renewals: u64,
    restored: usize,
    /// Number of seeds that have reached each bound.
    reached: BTreeMap<Bound, u64>,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.with_disks += u64::from(outcome.has_disks);
        self.spoiled += u64::from(outcome.is_spoiled);
        self.faults += outcome.faults;
        self.crashes += outcome.crashes;
        self.renewing += u64::from(outcome.renewals > 0);
        self.renewals += outcome.renewals;
        self.restored += outcome.restored;
        self.time += outcome.time;
        self.handled += outcome.ledger.handled;
        self.repeats += outcome.ledger.repeats;
        for bound in &outcome.ledger.reached {
            *self.reached.entry(*bound).or_default() += 1;
        }
        self.failures += u64::from(!outcome.ledger.failures.is_empty());
        let quiet_after = match outcome.is_spoiled {
            true => &mut self.others_quiet_after,
            false => &mut self.quiet_after,
        };
        *quiet_after = outcome.quiet_after.max(*quiet_after);
    }

    fn print(&self, begun: Instant) {
        println!(
            "{} seeds ({} with disks, {} with something that stays broken) in {:.1} s: {} faults, \
             {} crashes, {:.1} virtual hours, {} handled, {} repeats after crashes",
            self.seeds,
            self.with_disks,
            self.spoiled,
            begun.elapsed().as_secs_f64(),
            self.faults,
            self.crashes,
            self.time.as_secs_f64() / 3_600.0,
            self.handled,
            self.repeats,
        );
        println!(
            "quiet at most {:.1} s after the last fault, {:.1} s (bar 60 s) beside what stays broken",
            self.quiet_after.as_secs_f64(),
            self.others_quiet_after.as_secs_f64(),
        );
        println!(
            "{} seeds renew keys: {} generations, {} times put back to a copy",
            self.renewing, self.renewals, self.restored
        );
        println!("seeds that reach a bound: {:?}", self.reached);
        println!("{} seeds run twice: the same; {} failures", self.run_twice, self.failures);
        println!("{} situations at a bound hold", bounds::ALL.len());
    }
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    // Quiet unless RUST_LOG says otherwise.
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    let filter = filter.from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_timer(Simulated).with_ansi(false).init();
    if arguments.mutants {
        return mutants::check();
    }
    if arguments.replicas {
        return arguments.replicas().check();
    }
    let begun = Instant::now();
    for situation in bounds::ALL.iter().filter(|_| arguments.seed.is_none()) {
        situation.check().with_context(|| format!("where {}", situation.name))?;
    }
    let mut totals = Totals::default();
    for seed in arguments.seeds() {
        let twice = seed.is_multiple_of(arguments.twice) || arguments.seed.is_some();
        let outcome = checked(seed, twice)?;
        totals.add(&outcome);
        if arguments.seed.is_some() {
            outcome.ledger.told.iter().for_each(|line| println!("{line}"));
        }
        for failure in &outcome.ledger.failures {
            println!("seed {seed}: {failure}");
        }
        if !outcome.ledger.failures.is_empty() {
            println!("again: cargo run -p paddington-sim -- --seed {seed}");
        }
        if arguments.stop && totals.failures > 0 {
            break;
        }
        if twice {
            compare(seed, &outcome.ledger, &checked(seed, true)?.ledger)?;
            totals.run_twice += 1;
        }
    }
    totals.print(begun);
    ensure!(totals.failures == 0, "{} seeds failed", totals.failures);
    let missed = Bound::COMMON.into_iter().find(|bound| !totals.reached.contains_key(bound));
    if let Some(bound) = missed.filter(|_| totals.seeds >= ENOUGH) {
        bail!("no seed has reached the bound {bound:?}");
    }
    if arguments.seed.is_none() {
        arguments.replicas().check()?;
    }
    Ok(())
}

/// The simulated time, for the log.
struct Simulated;

impl FormatTime for Simulated {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = replicas::elapsed().unwrap_or_else(ledger::now);
        write!(w, "{:10.3}", now.as_secs_f64())
    }
}

/// Fails if two runs of the same seed differ.
fn compare(seed: u64, first: &Summary, second: &Summary) -> Result<(), Error> {
    let mut lines = first.told.iter().zip(&second.told);
    let (a, b) = lines.find(|(a, b)| a != b).unzip();
    let same = first.hash == second.hash;
    ensure!(same, "two runs of seed {seed} differ: {a:?}, then {b:?}");
    println!("seed {seed}: trace {:016x}, twice", first.hash);
    Ok(())
}

/// Runs a seed, and names it if something panics.
fn checked(seed: u64, tells: bool) -> Result<Outcome, Error> {
    let outcome = catch_unwind(|| run(seed, tells));
    outcome.unwrap_or_else(|_| Err(anyhow!("a panic"))).map_err(|cause| {
        cause.context(format!("seed {seed}; again: cargo run -p paddington-sim -- --seed {seed}"))
    })
}
