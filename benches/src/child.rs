//! The processes of a measurement. The harness starts them and sends them commands as lines of
//! JSON; they answer in the same way.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Role;

/// Time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The cores on which the operating system may run a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of them.
    Free,
    /// On the first core only, by `taskset`.
    OneCore,
}

/// A process of a measurement. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts `program` in `role`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(program: &Path, role: &Role) -> Result<Self> {
        Self::start_on(program, role, Placement::Free)
    }

    /// Like [`start`](Self::start), on the cores that `placement` names.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_on(program: &Path, role: &Role, placement: Placement) -> Result<Self> {
        let mut command = match placement {
            Placement::Free => Command::new(program),
            Placement::OneCore => Command::new("taskset"),
        };
        if placement == Placement::OneCore {
            command.args(["-c", "0"]).arg(program);
        }
        let mut process = command
            .arg("role")
            .arg(serde_json::to_string(role)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("the process has no output")?;
        Ok(Self { process, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// The process id.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn id(&self) -> Result<u32> {
        self.process.id().context("the process has ended")
    }

    /// Waits for the next answer of the process.
    ///
    /// # Errors
    ///
    /// If it takes too long, the process ends, or the answer is not the expected one.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.context("no answer")??;
        let Some(line) = line else { bail!("the process has ended without an answer") };
        serde_json::from_str(&line).with_context(|| format!("unexpected answer: {line}"))
    }

    /// Sends a command to the process and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`hear`](Self::hear).
    pub async fn ask<T: DeserializeOwned>(&mut self, command: &impl Serialize) -> Result<T> {
        let stdin = self.stdin.as_mut().context("the process was told to end")?;
        let line = format!("{}\n", serde_json::to_string(command)?);
        stdin.write_all(line.as_bytes()).await?;
        self.hear().await
    }

    /// Tells the process to end and waits for that.
    ///
    /// # Errors
    ///
    /// If it does not end, or has failed.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        let status = timeout(PATIENCE, self.process.wait()).await.context("no end")??;
        if status.success() { Ok(()) } else { bail!("the process has failed: {status}") }
    }

    /// Ends the process without asking it.
    ///
    /// # Errors
    ///
    /// If it cannot be ended.
    pub async fn kill(mut self) -> Result<()> {
        self.kill_now().await
    }

    /// Like [`kill`](Self::kill), for one that is replaced.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub async fn kill_now(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// Sends an answer to the process that has started this one.
///
/// # Errors
///
/// If standard output is closed.
pub fn tell(answer: &impl Serialize) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(answer)?)?;
    Ok(stdout.flush()?)
}

/// Waits until this process is told to end.
///
/// # Errors
///
/// If standard input cannot be read.
pub async fn until_closed() -> Result<()> {
    let mut lines = read_commands();
    while lines.recv().await.is_some() {}
    Ok(())
}

/// The lines of this process's standard input.
#[must_use]
pub fn read_commands() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Returns a port that nobody uses at the moment, for a configuration that names it before a process runs.
///
/// # Errors
///
/// If the operating system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
