//! A sender and a receiver, each a process of its own, which can be stopped, killed and ended.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, anyhow, bail, ensure};
use paddington::ServiceConfig;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::child::{FINISH, LISTENING, Role, SETTLED};
use crate::journal::{Verdict, next_handled, next_number};

/// A process of this program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

/// The longest wait for a process.
const PATIENCE: Duration = Duration::from_secs(150);

impl Process {
    /// Starts a process, in a network namespace if one is given.
    pub(crate) fn start(
        role: Role,
        folder: &Path,
        instance: u64,
        namespace: Option<&str>,
    ) -> Result<Self, Error> {
        let program = std::env::current_exe().context("this program has to start itself")?;
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(["child", role.name(), "--instance", &instance.to_string(), "--folder"])
            .arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("a process could not be started")?;
        let says = child.stdout.take().context("a process has no output")?;
        Ok(Self { child, says: BufReader::new(says).lines() })
    }

    /// Waits for the address that it listens on.
    pub(crate) async fn address(&mut self) -> Result<SocketAddr, Error> {
        let line = timeout(PATIENCE, self.says.next_line()).await??;
        let line = line.ok_or_else(|| anyhow!("a receiver ended before it listened"))?;
        let address = line.strip_prefix(LISTENING).context("a receiver says something else")?;
        Ok(address.parse()?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(kill_process(id.context("the process has ended by itself")?, signal)?)
    }

    pub(crate) async fn kill(&mut self) -> Result<(), Error> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "a process has ended by itself: {ended:?}");
        Ok(self.child.kill().await?)
    }

    /// Waits until it ends by itself, and returns whether it does.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> Result<bool, Error> {
        let begun = Instant::now();
        // `wait` would close its input, and that makes it end.
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > limit {
                return Ok(false);
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(true)
    }

    /// Makes it end in order.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        let mut input = self.child.stdin.take().context("a process has no input")?;
        input.write_all(format!("{FINISH}\n").as_bytes()).await?;
        let mut said = Vec::new();
        while let Some(line) = timeout(PATIENCE, self.says.next_line()).await?? {
            said.push(line);
        }
        let status = self.child.wait().await?;
        ensure!(status.success(), "a process ended with {status}");
        ensure!(said.iter().any(|line| line == SETTLED), "at its end a process said {said:?}");
        Ok(())
    }
}

/// A folder with the configurations, stores and journals of both.
#[derive(Debug)]
pub(crate) struct Depot {
    folder: TempDir,
    server: ServiceConfig,
    client: ServiceConfig,
}

impl Depot {
    /// The receiver is reached at `url` and listens on `ip` and `port`. Both keep their outboxes
    /// in files.
    pub(crate) fn new(url: &str, ip: &str, port: u16, range: &str) -> Result<Self, Error> {
        let mut depot = Self::in_memory(url, ip, port, range)?;
        depot.server.set_outbox(depot.folder.path().join("receiver.sqlite"));
        depot.client.set_outbox(depot.folder.path().join("sender.sqlite"));
        depot.configure(|_| ())?;
        Ok(depot)
    }

    /// As [`new`](Self::new), with outboxes that end with their processes.
    pub(crate) fn in_memory(url: &str, ip: &str, port: u16, range: &str) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let mut server = ServiceConfig::new("receiver", url, ip, &port)?;
        let mut client = ServiceConfig::new("sender", "ws://localhost:1", "127.0.0.1", &0)?;
        client.add_server(server.add_client("sender", range)?)?;
        let depot = Self { folder, server, client };
        depot.configure(|_| ())?;
        Ok(depot)
    }

    /// Configures the next processes: the defaults, changed by `change`.
    pub(crate) fn configure(&self, change: impl Fn(&mut ServiceConfig)) -> Result<(), Error> {
        for (config, role) in [(&self.server, Role::Receiver), (&self.client, Role::Sender)] {
            let mut config = config.clone();
            change(&mut config);
            config.save(role.config(self.path()))?;
        }
        Ok(())
    }

    pub(crate) fn server(&self) -> &ServiceConfig {
        &self.server
    }

    pub(crate) fn client(&self) -> &ServiceConfig {
        &self.client
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn verdict(&self) -> Result<Verdict, Error> {
        Verdict::of(self.path())
    }

    /// Returns the time from now until a message is handled that is sent from now on.
    pub(crate) async fn heals(&self) -> Result<Duration, Error> {
        let begun = Instant::now();
        let due = next_number(self.path())?;
        while next_handled(self.path())? <= due {
            if begun.elapsed() > PATIENCE {
                bail!("nothing is handled any more");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(begun.elapsed())
    }
}
