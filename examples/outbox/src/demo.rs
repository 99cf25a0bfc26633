//! Runs both services, kills both, and checks the stored readings.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Error, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tracing::info;

/// A service in a process of its own.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
}

/// Starts the sensor alone at first. Kills the collector when it has stored a third of the
/// readings, and the sensor when it has taken two thirds.
pub(crate) async fn run(count: u64) -> Result<(), Error> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let folder = folder.path();
    crate::introduce(folder, free_port()?)?;
    let readings = count.to_string();
    let sensor = ["sensor", "--count", &readings];

    let mut first_sensor = Running::start(folder, &sensor)?;
    first_sensor.wait_for(&format!("took reading {}", count / 10)).await?;
    let mut first_collector = Running::start(folder, &["collector"])?;
    first_collector.wait_for(&format!("stored reading {}", count / 3)).await?;
    first_collector.kill().await?;
    info!("the collector was killed");
    first_sensor.wait_for(&format!("took reading {}", 2 * count / 3)).await?;
    first_sensor.kill().await?;
    info!("the sensor was killed");

    let collector = Running::start(folder, &["collector"])?;
    let sensor = Running::start(folder, &sensor)?;
    tokio::try_join!(collector.finish(), sensor.finish())?;
    check(&folder.join("readings"), count)?;
    info!("each of {count} readings is stored once");
    Ok(())
}

fn check(path: &Path, count: u64) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).context("cannot read the file `readings`")?;
    let numbers = text.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
    let stored: Vec<u64> = numbers.collect();
    if stored != (1..=count).collect::<Vec<_>>() {
        bail!("{} lines are stored, and they are not 1 to {count} in order", stored.len());
    }
    Ok(())
}

/// Finds a port that was free a moment ago.
fn free_port() -> Result<u16, Error> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Result<Self, Error> {
        let program = std::env::current_exe().context("cannot find the file of this program")?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = child.stdout.take().context("a service has no output")?;
        Ok(Self { child, log: BufReader::new(log).lines() })
    }

    async fn wait_for(&mut self, text: &str) -> Result<(), Error> {
        while let Some(line) = self.next_line().await? {
            if line.ends_with(text) {
                return Ok(());
            }
        }
        bail!("a service ended before it logged {text:?}: {}", self.child.wait().await?)
    }

    /// Ends the process without a warning, as a power cut would.
    async fn kill(mut self) -> Result<(), Error> {
        self.child.kill().await?;
        while self.next_line().await?.is_some() {}
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        while self.next_line().await?.is_some() {}
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { bail!("a service ended with {status}") }
    }

    #[expect(clippy::print_stdout, reason = "showing the logs is what the demo is for")]
    async fn next_line(&mut self) -> Result<Option<String>, Error> {
        let line = self.log.next_line().await?;
        if let Some(line) = &line {
            println!("{line}");
        }
        Ok(line)
    }
}
