//! Trials that take longer than a test may. Each prints what it has measured beside its bar, and a
//! failure prints how to run the same trial again.

#![expect(clippy::print_stdout, reason = "the results are printed")]

mod child;
mod figures;
mod fleet;
mod gauge;
mod idle_proxy;
mod journal;
mod leave;
mod load;
mod netns;
mod processes;
mod renewals;
mod replicas;
mod services;
mod slow;
mod stats;
mod timing;
mod zombie;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Error};
use clap::{Parser, Subcommand};
use paddington_test_support::Random;

/// Runs trials of paddington that need real processes, real time, real networks or long runs.
#[derive(Parser)]
#[command(about, max_term_width = 100)]
struct Arguments {
    /// The seed of everything that the trials do, except keys and the delays that the services draw
    /// themselves.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Run for seconds instead of minutes: everything is done, but less often, and figures that
    /// depend on how busy the machine is have no bar.
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
    /// Runs all of them.
    All,
    /// Does a refusal tell by its time whether the hint was known?
    Timing,
    /// Processes that are killed and a network that lies: is everything handled, and once?
    Processes,
    /// Processes that are killed while their keys are renewed: is one locked out, is anything lost?
    Renewals,
    /// Replicas over a PostgreSQL that are killed and paused: is all handled, and what comes again?
    Replicas,
    /// The same without one of the rules that replicas keep: is it missed?
    ReplicasControl,
    /// Processes that are frozen: when is it noticed, and does another one take over?
    Zombie,
    /// A durable pair, and a thousand peers: how fast, how much of everything, is it given back?
    Load,
    /// A peer whose handler stops under load: is memory bounded, do the others notice?
    SlowConsumer,
    /// Services that leave under load: is everything handled, and in time?
    Shutdown,
    /// Two network namespaces and a cable that fails: does everything arrive, and how soon?
    Netns,
    /// Hostile peers, strangers, slow lines, restarts and full disks: what do they cost the others?
    Figures,
    /// Silence behind nginx: does the connection last?
    ProxyIdle,
}

impl Trial {
    const EACH: [Self; 12] = [
        Self::Timing,
        Self::Processes,
        Self::Renewals,
        Self::ReplicasControl,
        Self::Replicas,
        Self::Zombie,
        Self::Load,
        Self::SlowConsumer,
        Self::Shutdown,
        Self::Figures,
        Self::Netns,
        Self::ProxyIdle,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Timing => "timing",
            Self::Processes => "processes",
            Self::Renewals => "renewals",
            Self::Replicas => "replicas",
            Self::ReplicasControl => "replicas-control",
            Self::Zombie => "zombie",
            Self::Load => "load",
            Self::SlowConsumer => "slow-consumer",
            Self::Shutdown => "shutdown",
            Self::Netns => "netns",
            Self::Figures => "figures",
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
            Self::Processes => processes::run(random, short),
            Self::Renewals => renewals::run(random, short),
            Self::Replicas => replicas::run(random, short),
            Self::ReplicasControl => replicas::control(random),
            Self::Zombie => zombie::run(short),
            Self::Load => load::run(short),
            Self::SlowConsumer => slow::run(short),
            Self::Shutdown => leave::run(random, short),
            Self::Netns => netns::run(random, short),
            Self::Figures => figures::run(random, short),
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

/// Runs a trial as a service runs: on real sockets, in real time, on several threads.
fn in_real_time<T>(trial: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(trial);
    // A blocked thread does not keep the program from ending.
    runtime.shutdown_background();
    ended
}

/// The median and the longest of some times, in seconds.
fn median_and_most(times: &mut [std::time::Duration]) -> [f64; 2] {
    times.sort_unstable();
    let at = |place: usize| times.get(place).map_or(0.0, std::time::Duration::as_secs_f64);
    [at(times.len() / 2), at(times.len().saturating_sub(1))]
}
