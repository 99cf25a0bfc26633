//! Trials that take longer than a test may. Each prints what it has measured beside its bar, and a
//! failure prints how to run the same trial again.

#![expect(clippy::print_stdout, reason = "what it measures is printed")]

mod child;
mod countdown;
mod duplicate;
mod fleet;
mod flood;
mod gauge;
mod idle;
mod idle_proxy;
mod journal;
mod leave;
mod ledger;
mod load;
mod netns;
mod poison;
mod processes;
mod slow;
mod stats;
mod takeover;
mod timing;
mod zombie;

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
    /// Seconds instead of minutes: everything is done, but less often, and what depends on how busy
    /// the machine is has no bar.
    #[arg(long, global = true)]
    short: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Trial(Trial),
    /// One of the services of a trial.
    #[command(hide = true)]
    Child(child::Arguments),
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
    /// A countdown whose connection is cut again and again: is every number heard once?
    CountdownCuts,
    /// Processes that are killed and a network that lies: is everything handled, and once?
    Processes,
    /// Peers that are frozen: when is it noticed, and who takes over?
    Zombie,
    /// A durable pair, and a thousand peers: how fast, how much of everything, is it given back?
    Load,
    /// A peer whose handler stops under load: is memory bounded, do the others notice?
    SlowConsumer,
    /// Two services that flood each other: do they ever stop?
    MutualFlood,
    /// Services that leave under load: is everything handled, and in time?
    Shutdown,
    /// Messages that cannot be handled: do they cost only themselves?
    Poison,
    /// Two network namespaces and a cable that fails: does everything arrive, and how soon?
    Netns,
    /// Silence behind nginx: does the connection last?
    ProxyIdle,
}

impl Trial {
    const EACH: [Self; 14] = [
        Self::Timing,
        Self::Takeover,
        Self::Duplicate,
        Self::Idle,
        Self::CountdownCuts,
        Self::Processes,
        Self::Zombie,
        Self::Load,
        Self::SlowConsumer,
        Self::MutualFlood,
        Self::Shutdown,
        Self::Poison,
        Self::Netns,
        Self::ProxyIdle,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Timing => "timing",
            Self::Takeover => "takeover",
            Self::Duplicate => "duplicate",
            Self::Idle => "idle",
            Self::CountdownCuts => "countdown-cuts",
            Self::Processes => "processes",
            Self::Zombie => "zombie",
            Self::Load => "load",
            Self::SlowConsumer => "slow-consumer",
            Self::MutualFlood => "mutual-flood",
            Self::Shutdown => "shutdown",
            Self::Poison => "poison",
            Self::Netns => "netns",
            Self::ProxyIdle => "proxy-idle",
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
            Self::CountdownCuts => countdown::run(random, short),
            Self::Processes => processes::run(random, short),
            Self::Zombie => zombie::run(random, short),
            Self::Load => load::run(short),
            Self::SlowConsumer => slow::run(short),
            Self::MutualFlood => flood::run(random, short),
            Self::Shutdown => leave::run(random, short),
            Self::Poison => poison::run(),
            Self::Netns => netns::run(random, short),
            Self::ProxyIdle => idle_proxy::run(short),
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
    match arguments.command {
        Command::Trial(trial) => {
            println!("seed {seed}");
            trial.run(seed, arguments.short)
        }
        Command::Child(arguments) => in_real_time(child::run(arguments)),
    }
}

/// Runs a trial in virtual time: nobody waits for a delay, and minutes pass in no time.
fn in_virtual_time<T>(trial: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build()?.block_on(trial)
}

/// Runs a trial as a service runs: on real sockets, in real time, on several threads.
fn in_real_time<T>(trial: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(trial);
    // What blocks a thread does not keep the program.
    runtime.shutdown_background();
    ended
}

/// In seconds.
fn median_and_most(times: &mut [std::time::Duration]) -> [f64; 2] {
    times.sort_unstable();
    let at = |place: usize| times.get(place).map_or(0.0, std::time::Duration::as_secs_f64);
    [at(times.len() / 2), at(times.len().saturating_sub(1))]
}
