//! `paddington-models check|mutants|walk|attack [--long] [--seed N] …`: runs the models.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::process::ExitCode;

use paddington_models::mutants::Mutant;
use paddington_models::{check, scenarios};

fn main() -> ExitCode {
    let ok = match std::env::args().nth(1).as_deref() {
        Some("check") => run_check(),
        Some("mutants") => run_mutants(),
        _ => false,
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_check() -> bool {
    let (mut total, mut broken) = (0, 0);
    for scenario in scenarios::all(std::env::args().any(|arg| arg == "--long")) {
        let name = scenario.name;
        let found = check::explore(scenario, 2, usize::MAX);
        total += found.states;
        println!(
            "{name:48} {:>9} states, depth {:>3}, {:?}",
            found.states, found.depth, found.took
        );
        if let Some((promise, actions)) = found.breach {
            broken += 1;
            println!("  BROKEN: {promise}");
            for action in actions {
                println!("    {action:?}");
            }
        }
    }
    println!("{total}");
    broken == 0
}

fn run_mutants() -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let mut free = 0;
    for mutant in Mutant::all() {
        let name = format!("{mutant:?}");
        match mutant.hunt() {
            Some(caught) => println!(
                "{name:40} caught after {:>7} states: {} ({})",
                caught.states, caught.promise, caught.scenario
            ),
            None => {
                free += 1;
                println!("{name:40} NOT CAUGHT");
            }
        }
    }
    free == 0
}
