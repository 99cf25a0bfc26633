//! The demo, as a user runs it.

use std::process::Command;

#[test]
fn a_link_lives_from_its_invitation_to_its_end() {
    let demo = Command::new(env!("CARGO_BIN_EXE_example-partner")).arg("demo").output().unwrap();
    let log = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{log}");
    for said in
        ["the invitation is burned", "was refused", "were renewed", "same partner", "the end"]
    {
        assert!(log.contains(said), "{said}: {log}");
    }
}
