//! The trials in their short forms. The long ones: `cargo run --release -p
//! paddington-store-trials`.

#![expect(clippy::print_stdout, reason = "a test prints what it measures")]

use std::path::PathBuf;

use paddington_store_trials::disk::Promise;
use paddington_store_trials::power_cuts::{self, PowerCuts, Report};
use paddington_store_trials::{bit_flips, drained, faults, rate, recording};

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_store-trials").into()
}

fn cuts(promise: Promise, states: u64) -> Option<Report> {
    if !recording::is_possible() {
        println!("skipped: strace is missing or may not trace");
        return None;
    }
    Some(power_cuts::run(&PowerCuts { program: program(), seed: 7, states, promise }))
}

#[test]
fn a_power_cut_loses_nothing_that_was_answered() {
    let Some(report) = cuts(Promise::Journal, 100) else { return };
    println!("power cuts: {report} (bar: 0, 0, 0)");
    assert_eq!((report.lost, report.unopenable, report.wrong), (0, 0, 0), "{report}");
    assert!(report.states == 100 && report.twice > 20);
}

#[test]
fn names_need_a_sync_of_their_folder_only() {
    let Some(report) = cuts(Promise::Folder, 30) else { return };
    println!("power cuts: {report} (bar: 0, 0, 0)");
    assert_eq!((report.lost, report.unopenable, report.wrong), (0, 0, 0), "{report}");
}

#[test]
fn without_syncs_it_would_lose() {
    let Some(report) = cuts(Promise::Nothing, 30) else { return };
    println!("power cuts without syncs: {report} (bar: must lose)");
    assert!(report.lost > 0, "{report}: these trials do not see a loss");
}

#[test]
fn a_flipped_bit_passes_nothing_wrong_on() {
    let report = bit_flips::run(7, 50);
    println!("flipped bits: {report} (bar: 0 wrong payloads)");
    assert_eq!((report.flips, report.wrong), (50, 0), "{report}");
    assert!(report.refused > 0, "{report}: nothing was noticed");
}

#[test]
fn a_full_disk_loses_nothing_and_accepts_again() {
    let Some(report) = faults::full_disk() else {
        println!("skipped: only the superuser may mount a small disk");
        return;
    };
    println!("full disk: {report}");
    assert!(report.is_good() && report.failures > 0, "{report}");
}

#[test]
fn a_backlog_drains_on_a_full_disk() {
    let Some(drained) = drained::run() else {
        println!("skipped: only the superuser may mount a small disk");
        return;
    };
    println!("drained: {drained:?}");
    assert!(drained.accepted > 1_000 && drained.found == drained.accepted, "{drained:?}");
    assert_eq!(drained.stuck, 0, "{drained:?}");
    assert!(drained.refused.contains("the disk is full"), "{drained:?}");
    assert!(drained.again < std::time::Duration::from_secs(5), "{drained:?}");
}

#[test]
fn failing_and_slow_disks_lose_nothing() {
    if !recording::is_possible() {
        println!("skipped: strace is missing or may not trace");
        return;
    }
    for (name, injection) in faults::INJECTIONS {
        let report = faults::injected(&program(), injection);
        println!("{name}: {report}");
        assert!(report.is_good(), "{name}: {report}");
        assert_eq!(report.failures > 0, injection.contains("error"), "{name}: {report}");
    }
}

/// The bars are for a release build and a quiet machine; here only the order of magnitude counts.
#[test]
fn many_senders_share_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let time = std::time::Duration::from_millis(500);
    let one = rate::senders_rate(&folder.path().join("one"), 1, 1, time);
    let many = rate::senders_rate(&folder.path().join("many"), 64, 8, time);
    println!("1 sender: {one:?}, 64 senders: {many:?}");
    assert!(many.group > 8.0, "{many:?}");
    assert!(many.accepted > one.accepted, "{one:?} {many:?}");
}
