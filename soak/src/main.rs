//! Trials that take longer than a test may. Each prints what it has measured beside its bar, and a
//! failure prints how to run the same trial again.

#![expect(clippy::print_stdout, reason = "what it measures is printed")]

mod duplicate;
mod idle;
mod ledger;
mod stats;
mod takeover;
mod timing;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error};
use clap::{Parser, Subcommand};
use paddington_test_support::Random;

/// Runs trials of paddington that take minutes.
#[derive(Parser)]
#[command(about, max_term_width = 100)]
struct Arguments {
    /// What the trials do is drawn from this number. Keys, and the delays that the services draw
    /// themselves, are not.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Seconds instead of minutes: everything is done, but less often, and times have no bar.
    #[arg(long, global = true)]
    short: bool,
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Clone, Copy, Subcommand)]
enum Trial {
    /// All of them.
    All,
    /// Does a refusal tell by its time whether the hint was known?
    Timing,
    /// A storm of reconnects: does every message arrive once and in order?
    Takeover,
    /// A second process with the same invitation: does it leave the first one alone?
    Duplicate,
    /// A handler that takes minutes: is memory bounded, and the connection alive?
    Idle,
}

impl Trial {
    const EACH: [Self; 4] = [Self::Timing, Self::Takeover, Self::Duplicate, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Timing => "timing",
            Self::Takeover => "takeover",
            Self::Duplicate => "duplicate",
            Self::Idle => "idle",
        }
    }

    fn run(self, seed: u64, short: bool) -> Result<(), Error> {
        let random = Random::new(seed);
        let name = self.name();
        let begun = Instant::now();
        match self {
            Self::All => {
                return Self::EACH.into_iter().try_for_each(|trial| trial.run(seed, short));
            }
            Self::Timing => timing::run(random, short),
            Self::Takeover => takeover::run(random, short),
            Self::Duplicate => duplicate::run(random),
            Self::Idle => idle::run(random, short),
        }
        .with_context(|| {
            let short = if short { " --short" } else { "" };
            format!(
                "{name} failed; to run it again: \
                 cargo run --release -p paddington-soak -- --seed {seed}{short} {name}"
            )
        })?;
        println!("{name}: passed in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("seed {seed}");
    arguments.trial.run(seed, arguments.short)
}

/// Runs a trial in virtual time: nobody waits for a delay, and minutes pass in no time.
fn in_virtual_time(trial: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build()?.block_on(trial)
}
