//! Runs the trials of the store in their long forms, and the workloads that the trials record.

#![expect(clippy::unwrap_used, reason = "a trial stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "a trial prints what it measures")]

use std::env;
use std::process::ExitCode;

use paddington_store_trials::disk::Promise;
use paddington_store_trials::power_cuts::{self, PowerCuts};
use paddington_store_trials::{bit_flips, faults, rate, recording, workload};

const USAGE: &str = "usage: store-trials power-cuts|bit-flips|faults|rate [--seed N] [--count N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |name: &str, default: u64| {
        let at = words.iter().position(|word| *word == name);
        at.map_or(default, |at| words[at + 1].parse().unwrap())
    };
    let (seed, good) =
        (number("--seed", 1), |good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    match words[..] {
        ["workload", path, seed, instance, instances, messages] => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let [seed, instance, instances, messages] =
                [seed, instance, instances, messages].map(|word| word.parse::<u64>().unwrap());
            let instances = u8::try_from(instances).unwrap();
            let instance = u8::try_from(instance).unwrap();
            runtime.block_on(workload::run(path.as_ref(), seed, instance, instances, messages));
            ExitCode::SUCCESS
        }
        ["stubborn", path] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let say = |line: &str| println!("{line}");
            runtime.unwrap().block_on(faults::stubborn(path.as_ref(), say));
            ExitCode::SUCCESS
        }
        ["power-cuts", ..] => good(long_power_cuts(seed, number("--count", 2_000))),
        ["bit-flips", ..] => {
            let report = bit_flips::run(seed, number("--count", 300));
            println!("flipped bits: {report} (bar: 0 wrong payloads)");
            good(report.wrong == 0)
        }
        ["faults", ..] => good(faults::all(&env::current_exe().unwrap())),
        ["rate", ..] => good(rate::all(number("--count", 5))),
        _ => {
            println!("{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn long_power_cuts(seed: u64, states: u64) -> bool {
    if !recording::is_possible() {
        println!("skipped: strace is missing or may not trace");
        return true;
    }
    let program = env::current_exe().unwrap();
    let run = |promise, states| {
        power_cuts::run(&PowerCuts { program: program.clone(), seed, states, promise })
    };
    let journal = run(Promise::Journal, states);
    println!("power cuts: {journal} (bar: 0, 0, 0)");
    let folder = run(Promise::Folder, (states * 3).div_ceil(20));
    println!("power cuts, names kept by a sync of the folder only: {folder} (bar: 0, 0, 0)");
    let control = run(Promise::Nothing, 200.min(states));
    println!("power cuts, control without syncs: {control} (bar: must lose)");
    let bad = [&journal, &folder].map(|report| report.lost + report.unopenable + report.wrong);
    bad == [0, 0] && control.lost + control.unopenable > 0
}
