//! Runs the example as a newcomer would, and checks its processes, logs and exit codes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

fn example(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-echo"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    example(folder, arguments).output().unwrap()
}

/// A running service and the lines of its log.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = example(folder, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines() {
                // The test may have seen enough.
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.seen.iter().any(|line| line.contains(text)) {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            self.seen.push(line.unwrap_or_else(|_| panic!("no {text:?} in {:#?}", self.seen)));
        }
    }

    /// Waits for a clean exit, and returns the example's own log lines without level and target.
    fn finish(mut self) -> Vec<String> {
        self.seen.extend(self.lines.iter());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.seen);
        let own = self.seen.iter().filter_map(|line| line.split_once("example_echo::"));
        own.map(|(_, line)| line.split_once(": ").unwrap().1.to_owned()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn server_arguments(port: &str) -> [String; 5] {
    let url = format!("http://localhost:{port}");
    ["server".into(), "--url".into(), url, "--port".into(), port.into()]
}

fn server(folder: &Path, port: &str, more: &[&str]) -> Running {
    let arguments = server_arguments(port);
    let arguments: Vec<_> =
        arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Running::start(folder, &arguments)
}

const CLIENT: [&str; 3] = ["client", "--invitation", "invitation.toml"];

/// Checks that every line of the two logs is as documented.
fn check_countdown(server: &[String], client: &[String], from: u32) {
    let message = |from: &str, to: &str, number| {
        format!("{to} received: Message from {from} to {to}: {number}")
    };
    let control = |service: &str, peer: &str| {
        format!("{service} received: Control message: {{\"Connected\":{{\"agent\":\"{peer}\"}}}}")
    };
    let mut expected = vec!["the invitation for echo-client is in invitation.toml".to_owned()];
    expected.push(control("echo-server", "echo-client"));
    expected.extend((0..=from).rev().map(|number| message("echo-client", "echo-server", number)));
    expected.push("Blast off!".to_owned());
    assert_eq!(server[..expected.len()], expected);
    let mut expected = vec![control("echo-client", "echo-server")];
    expected.extend((0..=from).rev().map(|number| message("echo-server", "echo-client", number)));
    assert_eq!(client[..expected.len()], expected);
    for line in &server[from as usize + 4..] {
        assert!(line.contains("Disconnected"), "{line}");
    }
}

#[test]
fn both_logs_show_the_countdown_from_a_thousand() {
    for encoding in ["sealed", "hex"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = server(folder.path(), &free_port(), &["--encoding", encoding]);
        server.wait_for("the invitation");
        let client = Running::start(folder.path(), &CLIENT).finish();
        check_countdown(&server.finish(), &client, 1000);
    }
}

#[test]
fn any_number_is_counted_down() {
    for count in ["0", "1", "7"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = server(folder.path(), &free_port(), &["--count", count]);
        server.wait_for("the invitation");
        let client = Running::start(folder.path(), &CLIENT).finish();
        check_countdown(&server.finish(), &client, count.parse().unwrap());
    }
}

#[test]
fn the_client_may_start_first_and_the_server_may_restart() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut first = server(folder.path(), &port, &["-n", "3"]);
    first.wait_for("the invitation");
    drop(first);
    let path = folder.path().join("invitation.toml");
    let old = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let mut client = Running::start(folder.path(), &CLIENT);
    client.wait_for("not connected; trying again");
    let server = server(folder.path(), &port, &["-n", "3"]);
    let (server, client) = (server.finish(), client.finish());
    check_countdown(&server, &client, 3);
    assert_ne!(fs::read_to_string(&path).unwrap(), old, "a new invitation with new keys");
}

#[test]
fn the_demo_shows_both_logs_and_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["demo", "--count", "20"]);
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{log}");
    let lines: Vec<_> = log.lines().collect();
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("echo-server | ") || line.starts_with("echo-client | "))
    );
    assert_eq!(lines.iter().filter(|line| line.ends_with("Blast off!")).count(), 1);
    for number in 0..=20 {
        let ending = format!(": {number}");
        assert!(lines.iter().filter(|line| line.ends_with(&ending)).count() >= 2, "{number}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it uses a temporary folder");
}

/// Checks that a command fails with exit code `code` and an error that contains `says`, on one line
/// unless the command line was wrong.
fn fails(folder: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let output = run(folder, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    for text in says {
        assert!(error.contains(text), "{error:?} lacks {text:?}");
    }
    if code == 1 {
        assert_eq!(error.lines().count(), 1, "{error:?} is not one line");
    }
}

#[test]
fn bad_input_gets_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = free_port();
    let arguments = server_arguments(&port);
    let server = arguments.each_ref().map(String::as_str);
    let with = |more: &[&'static str]| [&server[..], more].concat();

    fails(path, &CLIENT, 1, &["there is no file invitation.toml", "hands it over"]);
    fs::write(path.join("invitation.toml"), "name = \"x\"\nnonsense\n").unwrap();
    fails(path, &CLIENT, 1, &["invitation.toml, line 2"]);
    fails(path, &with(&[]), 1, &["invitation.toml is not an invitation", "choose another path"]);
    assert_eq!(
        fs::read_to_string(path.join("invitation.toml")).unwrap(),
        "name = \"x\"\nnonsense\n"
    );
    fs::remove_file(path.join("invitation.toml")).unwrap();

    fails(path, &with(&["--range", "10.0.0.0/99"]), 1, &["10.0.0.0/99", "is not an address range"]);
    fails(path, &with(&["--ip", "localhost"]), 1, &["is not an IP address to listen on"]);
    fails(path, &["server", "--url", "localhost"], 1, &["is not a server's URL"]);
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    fails(path, &["server", "-p", &taken_port], 1, &["another process uses this port"]);

    fails(path, &["server", "--count", "-1"], 2, &["unexpected argument"]);
    fails(path, &["server", "--port", "x"], 2, &["--port"]);
    fails(path, &["sing"], 2, &["unrecognized subcommand"]);
    fails(path, &[], 2, &["Usage: example-echo"]);
}

#[test]
fn a_second_server_leaves_the_invitation_of_the_first_one_alone() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut first = server(folder.path(), &port, &["-n", "3"]);
    first.wait_for("the invitation");
    let path = folder.path().join("invitation.toml");
    let invitation = fs::read_to_string(&path).unwrap();
    fails(folder.path(), &["server", "--port", &port], 1, &["another process uses this port"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), invitation);
    let client = Running::start(folder.path(), &CLIENT).finish();
    check_countdown(&first.finish(), &client, 3);
}

#[test]
fn the_url_of_the_invitation_has_the_port_that_the_server_listens_on() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Running::start(folder.path(), &["server", "--port", &port, "-n", "3"]);
    server.wait_for("the invitation");
    let invitation = fs::read_to_string(folder.path().join("invitation.toml")).unwrap();
    assert!(
        invitation.contains(&format!("url = \"ws://localhost:{port}/?b=000\"")),
        "the port is {port}"
    );
    let client = Running::start(folder.path(), &CLIENT).finish();
    check_countdown(&server.finish(), &client, 3);
}

#[test]
fn help_lists_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["--help"][..], &["server", "client", "demo"][..]),
        (
            &["server", "--help"],
            &[
                "-u, --url",
                "http://localhost:PORT",
                "6501",
                "-i, --ip",
                "-p, --port",
                "-r, --range",
                "-c, --invitation",
                "-n, --count",
            ],
        ),
        (&["client", "--help"], &["-c, --invitation", "invitation.toml"]),
    ] {
        let output = run(folder.path(), arguments);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(says.iter().all(|text| help.contains(text)), "{help}");
    }
}

#[test]
fn a_service_that_gets_sigterm_shuts_down_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = server(folder.path(), &free_port(), &[]);
    server.wait_for("listening");
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    server.wait_for("shutting down");
    server.finish();
}
