//! The command line.

use std::time::{Duration, Instant};

/// The usage.
pub(crate) const USAGE: &str = "\
paddington-models check    [--long] [--threads N]
                  replicas [--long] [--threads N]
                  mutants
                  walk     [--long] [--seed N] [--steps N] [--seconds N]
                  attack   [--long] [--seed N] [--steps N] [--seconds N]";

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Check,
    Replicas,
    Mutants,
    Walk,
    Attack,
}

/// A command and its options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) command: Command,
    pub(crate) long: bool,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    steps: Option<u64>,
    time: Option<Duration>,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let command = match arguments.next().as_deref() {
            Some("check") => Command::Check,
            Some("replicas") => Command::Replicas,
            Some("mutants") => Command::Mutants,
            Some("walk") => Command::Walk,
            Some("attack") => Command::Attack,
            other => return Err(format!("unknown command: {other:?}")),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self { command, long: false, seed: 1, threads, steps: None, time: None };
        while let Some(name) = arguments.next() {
            let mut number = || -> Result<u64, String> {
                let value = arguments.next().ok_or(format!("{name} needs a number"))?;
                value.parse().map_err(|_| format!("{name}: {value} is not a number"))
            };
            match name.as_str() {
                "--long" => options.long = true,
                "--seed" => options.seed = number()?,
                "--threads" => options.threads = number()?.max(1) as usize,
                "--steps" => options.steps = Some(number()?),
                "--seconds" => options.time = Some(Duration::from_secs(number()?)),
                _ => return Err(format!("unknown option: {name}")),
            }
        }
        Ok(options)
    }

    /// Returns whether a run of random steps is over: after the steps or the time that were asked
    /// for, or else after 60 million steps in the long form and 200 000 in the short one.
    pub(crate) fn is_enough(&self, steps: u64, start: Instant) -> bool {
        let out_of_time = self.time.is_some_and(|time| start.elapsed() >= time);
        let bar = if self.long { 60_000_000 } else { 200_000 };
        let bar = if self.time.is_some() { u64::MAX } else { bar };
        out_of_time || steps >= self.steps.unwrap_or(bar)
    }
}
