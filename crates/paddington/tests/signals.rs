//! SIGINT and SIGTERM end a process whose service runs, wherever it runs, and the second of them
//! does so at once. The processes are this test program, which runs one of its tests by itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "a child process reports to its test")]

use std::future::pending;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use paddington::{
    Error, Message, SendError, Service, ServiceConfig, Signals, run, send, set_handler,
};
use paddington_test_support::free_port;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// The variable that tells a child process that it is one.
const CHILD: &str = "PADDINGTON_TEST_CHILD";

/// A child process and what it reports.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts a process that runs one of the tests below.
    fn start(test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                // The test may have seen enough.
                let _ = sender.send(line.unwrap());
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `text`, and returns it.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: i32) {
        let (signal, pid) = (format!("-{signal}"), self.child.id().to_string());
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
    }

    /// Waits for the end of the output, which is that of the process.
    fn end(mut self) -> ExitStatus {
        while self.lines.recv_timeout(Duration::from_secs(30))
            != Err(mpsc::RecvTimeoutError::Disconnected)
        {}
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the configurations of a service and of its client, which shut down as slowly as can be.
fn configurations() -> [ServiceConfig; 2] {
    let port = free_port();
    let url = format!("ws://127.0.0.1:{port}");
    let mut server = ServiceConfig::new("server", &url, "127.0.0.1", &port).unwrap();
    let mut client = ServiceConfig::new("client", "ws://localhost:1", "127.0.0.1", &1).unwrap();
    client.add_server(server.add_client("client", "127.0.0.1").unwrap()).unwrap();
    server.settings_mut().drain = Duration::from_secs(3_600);
    [server, client]
}

/// Handles `Connected`, reports the first message, and then hangs.
async fn hang(message: Message) -> Result<(), Error> {
    if !message.is_control() {
        println!("\nhandling");
        pending::<()>().await;
    }
    Ok(())
}

#[test]
fn a_second_signal_ends_the_shutdown_at_once_with_the_report() {
    for (first, second) in [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGINT, SIGTERM)] {
        let mut child = Running::start("child_that_drains");
        child.wait_for("handling");
        child.signal(first);
        child.wait_for("shutting down");
        child.signal(second);
        let report = child.wait_for("report");
        assert!(report.contains("unfinished: [\"client\"]"), "{report}");
        let status = child.end();
        assert!(status.success(), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child process of another test"]
async fn child_that_drains() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let [server, client] = configurations();
    set_handler(hang).await.unwrap();
    let client = Service::start(&client, async |_| Ok::<(), Error>(())).await.unwrap();
    client.send(Message::new("server", "hang")).await.unwrap();
    tokio::spawn(async {
        // Once the exchange is shutting down it refuses everybody but its handlers.
        let shutting_down = |sent| matches!(sent, Err(Error::Send(SendError::ShuttingDown)));
        while !shutting_down(send(Message::new("client", "are you there?")).await) {
            tokio::task::yield_now().await;
        }
        println!("\nshutting down");
    });
    let report = run(server).await.unwrap();
    println!("\nreport: {report:?}");
}

#[test]
fn a_signal_ends_a_process_whose_service_runs_in_a_spawned_task() {
    let children = [SIGTERM, SIGINT].map(|signal| {
        let mut child = Running::start("child_that_spawns_its_service");
        child.wait_for("running");
        child.signal(signal);
        (child, signal)
    });
    for (child, signal) in children {
        assert_eq!(child.end().signal(), Some(signal));
    }
}

#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_spawns_its_service() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let [server, _] = configurations();
    set_handler(hang).await.unwrap();
    tokio::spawn(run(server));
    while paddington::current().is_err() {
        tokio::task::yield_now().await;
    }
    println!("\nrunning");
    pending::<()>().await;
}

#[test]
fn signals_have_their_default_effect_after_the_service() {
    for way in ["child_that_goes_on", "child_that_gives_up"] {
        let mut child = Running::start(way);
        child.wait_for("going on");
        child.signal(SIGTERM);
        assert_eq!(child.end().signal(), Some(SIGTERM), "{way}");
    }
}

#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_goes_on() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let [server, _] = configurations();
    let service = Service::start(&server, hang).await.unwrap();
    service.exchange().ask_to_shut_down();
    assert!(Signals::take().run(&service).await.is_clean());
    println!("\ngoing on");
    pending::<()>().await;
}

#[tokio::test]
#[ignore = "a child process of another test"]
async fn child_that_gives_up() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let [server, _] = configurations();
    let service = Service::start(&server, hang).await.unwrap();
    let limit = Duration::from_millis(10);
    assert!(tokio::time::timeout(limit, Signals::take().run(&service)).await.is_err());
    println!("\ngoing on");
    pending::<()>().await;
}
