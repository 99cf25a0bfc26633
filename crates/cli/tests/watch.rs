//! `paddington status --watch` where there is no terminal: a line, or an object, for each thing that
//! happens.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use support::{Pair, Place};

mod support;

/// A command that watches, and is killed in the end.
struct Watching(Child, Lines<BufReader<ChildStdout>>);

impl Watching {
    fn start(place: &Place, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paddington"));
        command.arg("-C").arg(&place.folder).args(["status", "--watch"]).args(flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    /// Reads until a line is as it should be.
    fn until(&mut self, mut is_it: impl FnMut(&str) -> bool) -> String {
        let mut seen = Vec::new();
        for line in self.1.by_ref() {
            let line = line.unwrap();
            if is_it(&line) {
                return line;
            }
            seen.push(line);
        }
        panic!("not in {seen:#?}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_watches_sees_a_peer_come_and_go_and_the_service_end() {
    let pair = Pair::at_free_port();
    let hub = pair.hub.run();
    let mut lines = Watching::start(&pair.hub, &[]);
    let mut objects = Watching::start(&pair.hub, &["--json"]);
    lines.until(|line| line.contains("sensor") && line.contains("away"));
    let first: Value = serde_json::from_str(&objects.until(|_| true)).unwrap();
    assert_eq!(first["peers"][0]["state"], "away");

    let sensor = pair.sensor.run();
    lines.until(|line| line.contains("sensor") && line.contains("connected"));
    objects.until(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        object["peers"][0]["state"] == "connected"
    });
    drop(sensor);
    objects.until(|line| serde_json::from_str::<Value>(line).unwrap()["kind"] == "down");
    drop(hub);
    lines.1.by_ref().for_each(drop);
    assert_eq!(lines.0.wait().unwrap().code(), Some(4));
}
