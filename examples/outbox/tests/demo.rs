//! The demo, as a user runs it.

use std::process::Command;

#[test]
fn each_reading_is_stored_once_whatever_is_killed() {
    let demo = Command::new(env!("CARGO_BIN_EXE_example-outbox"))
        .args(["demo", "--count", "300"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{log}");
    assert!(log.contains("each of 300 readings is stored once"), "{log}");
}
