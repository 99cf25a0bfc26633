//! Runs of several seeds, and their figures.

use std::panic::catch_unwind;
use std::time::Instant;

use anyhow::{Error, anyhow, ensure};
use paddington_test_support::Broken;

use super::run::{Figures, Outcome, run};

/// Which seeds are run, and how.
#[derive(Clone, Debug)]
pub(crate) struct Seeds {
    pub(crate) seeds: std::ops::RangeInclusive<u64>,
    /// One seed in this many runs twice: both runs have to be the same.
    pub(crate) twice: u64,
    /// Whether every step is printed.
    pub(crate) tells: bool,
    /// Whether the first seed that fails is the last one.
    pub(crate) stop: bool,
}

impl Seeds {
    /// Runs them, and prints what they have found.
    ///
    /// # Errors
    ///
    /// If a promise is broken, or two runs of a seed differ.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let begun = Instant::now();
        let (mut figures, mut failed, mut twice) = (Figures::default(), 0, 0);
        for seed in self.seeds.clone() {
            let outcome = checked(seed, Broken::default(), self.tells)?;
            figures.add(&outcome);
            outcome.ledger.told.iter().for_each(|line| println!("{line}"));
            for failure in &outcome.ledger.failures {
                println!("replicas, seed {seed}: {failure}");
            }
            if !outcome.ledger.failures.is_empty() {
                println!("again: cargo run -p paddington-sim -- --replicas --seed {seed}");
                failed += 1;
                if self.stop {
                    break;
                }
            }
            if seed.is_multiple_of(self.twice) || self.tells {
                let again = checked(seed, Broken::default(), self.tells)?;
                compare(seed, &outcome, &again)?;
                twice += 1;
            }
        }
        println!(
            "replicas: {} seeds in {:.1} s: {} faults, {:.1} virtual hours, {} handled, {} repeats, \
             {} requests of which {} were asked, {} writes of replaced owners refused, quiet at most {:.1} s after the last fault (bar \
             60 s), {twice} seeds run twice: the same; {failed} failures",
            figures.runs,
            begun.elapsed().as_secs_f64(),
            figures.faults,
            figures.time.as_secs_f64() / 3_600.0,
            figures.handled,
            figures.repeats,
            figures.requests,
            figures.asked,
            figures.refused,
            figures.quiet_after.as_secs_f64(),
        );
        ensure!(failed == 0, "{failed} seeds of replicas failed");
        Ok(())
    }
}

fn compare(seed: u64, first: &Outcome, second: &Outcome) -> Result<(), Error> {
    let mut lines = first.ledger.told.iter().zip(&second.ledger.told);
    let (a, b) = lines.find(|(a, b)| a != b).unzip();
    let same = first.ledger.hash == second.ledger.hash;
    ensure!(same, "two runs of seed {seed} with replicas differ: {a:?}, then {b:?}");
    Ok(())
}

/// Runs a seed, and names it if something panics.
///
/// # Errors
///
/// If it cannot be run.
pub(crate) fn checked(seed: u64, broken: Broken, tells: bool) -> Result<Outcome, Error> {
    let outcome = catch_unwind(|| run(seed, broken, tells));
    outcome.unwrap_or_else(|_| Err(anyhow!("a panic"))).map_err(|cause| {
        cause.context(format!("again: cargo run -p paddington-sim -- --replicas --seed {seed}"))
    })
}
