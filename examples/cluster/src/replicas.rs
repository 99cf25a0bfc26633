//! The replicas as processes, and what they tell.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};

/// What all replicas have handled, in the order in which it was told.
pub(crate) type Handled = Arc<Mutex<Vec<(u64, bool)>>>;

/// The processes.
pub(crate) struct Replicas {
    config: PathBuf,
    slots: Vec<Slot>,
    handled: Handled,
}

/// The place of a replica: a port, and the process that listens there.
struct Slot {
    port: u16,
    process: Option<Process>,
}

struct Process {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<bool>,
}

/// What has become of a message that a replica was told to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Accepted,
    Refused,
    /// The replica ended before it answered.
    Unsure,
}

impl Replicas {
    pub(crate) async fn start(config: &Path, ports: &[u16]) -> Result<Self, Error> {
        let slots = ports.iter().map(|&port| Slot { port, process: None }).collect();
        let mut replicas = Self { config: config.to_owned(), slots, handled: Handled::default() };
        for slot in 0..ports.len() {
            replicas.begin(slot).await?;
        }
        Ok(replicas)
    }

    /// Returns what was handled so far.
    pub(crate) fn handled(&self) -> MutexGuard<'_, Vec<(u64, bool)>> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a replica, unless it runs. Returns once it is ready.
    pub(crate) async fn begin(&mut self, slot: usize) -> Result<(), Error> {
        if self.slots[slot].process.is_some() {
            return Ok(());
        }
        let port = self.slots[slot].port.to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", "--port", &port])
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (answer, answers) = mpsc::channel(16);
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(listen(lines, Arc::clone(&self.handled), answer, ready));
        self.slots[slot].process = Some(Process { child, input, answers });
        is_ready.await.context("a replica could not be started")
    }

    /// Kills a replica.
    pub(crate) async fn kill(&mut self, slot: usize) -> Result<(), Error> {
        if let Some(mut process) = self.slots[slot].process.take() {
            process.child.kill().await?;
        }
        Ok(())
    }

    /// Sends a signal to a replica.
    pub(crate) async fn signal(&self, slot: usize, signal: &str) -> Result<(), Error> {
        let process = self.slots[slot].process.as_ref();
        if let Some(id) = process.and_then(|process| process.child.id()) {
            Command::new("kill").args([signal, &id.to_string()]).status().await?;
        }
        Ok(())
    }

    /// Has a replica send a message, if it runs.
    pub(crate) async fn send(&mut self, slot: usize, number: u64) -> Sent {
        let Some(process) = &mut self.slots[slot].process else { return Sent::Refused };
        let line = format!("sensor-1 {number}\n");
        if process.input.write_all(line.as_bytes()).await.is_err() {
            return Sent::Unsure;
        }
        match process.answers.recv().await {
            Some(true) => Sent::Accepted,
            Some(false) => Sent::Refused,
            None => Sent::Unsure,
        }
    }

    /// Ends all replicas in order.
    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        for slot in &mut self.slots {
            if let Some(Process { mut child, input, .. }) = slot.process.take() {
                drop(input);
                child.wait().await?;
            }
        }
        Ok(())
    }
}

/// Takes what a replica tells.
async fn listen(
    mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    handled: Handled,
    answer: mpsc::Sender<bool>,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("ready"), ..) => drop(ready.take().map(|ready| ready.send(()))),
            (Some("handled"), Some(_), Some(number), Some(again)) => {
                if let Ok(number) = number.parse() {
                    let mut handled = handled.lock().unwrap_or_else(PoisonError::into_inner);
                    handled.push((number, again == "true"));
                }
            }
            (Some(word @ ("accepted" | "refused")), ..) => {
                let _ = answer.send(word == "accepted").await;
            }
            _ => {}
        }
    }
}
