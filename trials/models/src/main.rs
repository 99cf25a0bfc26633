//! Runs the models: `paddington-models check|replicas|mutants|walk|attack [--long] [--seed N] [--steps N]
//! [--seconds N]`. Prints what was done and fails if a promise was broken.

#![expect(clippy::print_stdout, reason = "the results are printed")]

mod options;

use std::fmt;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use paddington_models::attack::{Attempt, attack};
use paddington_models::mutants::Mutant;
use paddington_models::random::Random;
use paddington_models::walk::{self, walk};
use paddington_models::{check, keys, replicas, scenarios};

use options::{Command, Options};

/// The most states of a situation of replicas in which a broken rule is looked for.
const PATIENCE: usize = 4_000_000;
/// The most states of a situation of replicas that the long form generates, the nearest ones first.
const LONG: usize = 6_000_000;
/// The length of a random attack, in groups of eight bytes.
const RUN: usize = 100;

fn main() -> ExitCode {
    // The panic of a link is reported as the promise that it breaks.
    std::panic::set_hook(Box::new(|_| {}));
    let kept = match Options::read(std::env::args().skip(1)) {
        Ok(options) => match options.command {
            Command::Check => run_check(&options),
            Command::Replicas => run_replicas(&options),
            Command::Mutants => run_mutants(),
            Command::Walk => run_walks(&options),
            Command::Attack => run_attacks(&options),
        },
        Err(wrong) => {
            println!("{wrong}\n{}", options::USAGE);
            false
        }
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores every scenario.
fn run_check(options: &Options) -> bool {
    let (start, mut states, mut broken) = (Instant::now(), 0, 0);
    for scenario in scenarios::all(options.long) {
        let name = scenario.name;
        let found = check::explore(scenario, options.threads, usize::MAX);
        states += found.states;
        let (depth, seconds) = (found.depth, found.took.as_secs_f32());
        println!("{name:46} {:>9} states, {depth:>2} deep, {seconds:>6.1} s", found.states);
        if !found.reached {
            broken += 1;
            println!("    NOT REACHED: {:?}", scenario.bound);
        }
        broken += usize::from(print_breach(found.breach));
    }
    for (name, budget) in keys::budgets(options.long) {
        let began = Instant::now();
        let found = keys::explore(budget, usize::MAX);
        states += found.states;
        println!("{name:46} {:>9} states, {:>14.1} s", found.states, began.elapsed().as_secs_f32());
        broken += usize::from(print_breach(found.breach.map(|it| (it.promise, it.acts))));
    }
    let seconds = start.elapsed().as_secs_f32();
    println!("{states} states, {broken} broken promises, {seconds:.1} s");
    broken == 0
}

/// Explores every situation of two replicas.
fn run_replicas(options: &Options) -> bool {
    let (start, mut states, mut broken) = (Instant::now(), 0, 0);
    let limit = if options.long { LONG } else { usize::MAX };
    for situation in replicas::situations(options.long) {
        let found = replicas::explore(situation, None, options.threads, limit);
        states += found.states;
        let (name, depth, seconds) = (situation.name, found.depth, found.took.as_secs_f32());
        println!("{name:46} {:>9} states, {depth:>2} deep, {seconds:>6.1} s", found.states);
        broken += usize::from(print_breach(found.breach));
    }
    let seconds = start.elapsed().as_secs_f32();
    println!("{states} states of replicas, {broken} broken promises, {seconds:.1} s");
    broken == 0
}

/// Prints how a promise was broken, if one was.
fn print_breach<A: fmt::Debug>(breach: Option<(&'static str, Vec<A>)>) -> bool {
    let Some((promise, actions)) = breach else { return false };
    println!("    BROKEN: {promise}, by");
    actions.iter().for_each(|action| println!("        {action:?}"));
    true
}

/// Breaks every rule.
fn run_mutants() -> bool {
    let (start, mutants) = (Instant::now(), Mutant::all());
    let mut caught = 0;
    for rule in replicas::Rule::ALL {
        match replicas::hunt(*rule, PATIENCE) {
            Some((place, states, found)) => {
                caught += 1;
                let (promise, acts) = found.breach.unwrap_or_default();
                let (name, length) = (format!("{rule:?}"), acts.len());
                println!(
                    "{name:35} after {states:>6} states in \"{place}\", {length} acts: {promise}"
                );
            }
            None => println!("{rule:?} NOT NOTICED"),
        }
    }
    for mutant in &mutants {
        let name = format!("{mutant:?}");
        match mutant.hunt() {
            Some(found) => {
                caught += 1;
                let (states, place) = (found.states, found.scenario);
                println!("{name:35} after {states:>6} states in \"{place}\": {}", found.promise);
            }
            None => println!("{name:35} NOT NOTICED"),
        }
    }
    let seconds = start.elapsed().as_secs_f32();
    let all = replicas::Rule::ALL.len() + mutants.len();
    println!("{caught} of {all} broken rules noticed, {seconds:.1} s");
    if !cfg!(feature = "faults") {
        println!("Those of the link need the feature `faults`: see `make mutants`.");
    }
    caught == all
}

/// Walks from one seed on.
fn run_walks(options: &Options) -> bool {
    let (start, mut states, mut walks) = (Instant::now(), 0, 0);
    for seed in options.seed.. {
        if options.is_enough(states, start) {
            break;
        }
        let walked = walk(seed);
        states += walked.actions.len() as u64;
        walks += 1;
        if let Some(breach) = walked.breach {
            let scenario = walk::scenario(&mut Random::new(seed));
            println!("BROKEN: {}, in {scenario:#?}, by", breach.promise());
            walked.actions.iter().for_each(|action| println!("    {action:?}"));
            println!("again with: paddington-models walk --seed {seed} --steps 1");
            return false;
        }
    }
    let seconds = start.elapsed().as_secs_f32();
    println!(
        "{states} states in {walks} walks from seed {}, none broken, {seconds:.1} s",
        options.seed
    );
    true
}

/// Attacks with random bytes, from one seed on.
fn run_attacks(options: &Options) -> bool {
    let (start, mut sum) = (Instant::now(), Attempt::default());
    for seed in options.seed.. {
        if options.is_enough(sum.steps, start) {
            break;
        }
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..RUN).flat_map(|_| random.next_number().to_be_bytes()).collect();
        let Ok(attempt) = catch_unwind(|| attack(&bytes)) else {
            let _ = std::panic::take_hook();
            println!("BROKEN by seed {seed}; again, with what the link says:");
            return catch_unwind(|| attack(&bytes)).is_ok();
        };
        sum += attempt;
    }
    let (seed, seconds) = (options.seed, start.elapsed().as_secs_f32());
    println!("{sum:?} from seed {seed}, nothing broken, {seconds:.1} s");
    true
}
