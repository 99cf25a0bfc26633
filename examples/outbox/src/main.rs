//! A sensor that keeps producing readings, a collector that stores each of them once, and a demo
//! that kills both.

mod collector;
mod demo;
mod readings;
mod sensor;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error};
use clap::{Parser, Subcommand};
use paddington::ServiceConfig;

/// A sensor whose outbox is a file, and the collector that it reports to.
///
/// `introduce` writes the configurations of both into the current folder. Start them in any order,
/// stop or kill them at any time: in the end the file `readings` holds each reading once. `demo`
/// does all of that.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write collector.toml and sensor.toml, each with its own outbox.
    Introduce {
        /// The port that the collector listens on.
        #[arg(short, long, default_value_t = 6503)]
        port: u16,
    },
    /// Store what the sensor reports, until it says that it is done.
    Collector,
    /// Take readings and report them, starting after those that were taken before.
    Sensor {
        /// The number of readings to take in all.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
        count: u64,
        /// The time between two readings in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 5)]
        every: u64,
    },
    /// Run both in a temporary folder, start the collector late, and kill each of them once.
    Demo {
        /// The number of readings to take in all, at least 100.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
        count: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_ansi(std::io::stdout().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "info,paddington_transport=error".into()),
        )
        .init();
    let done = match arguments.command {
        Command::Introduce { port } => introduce(Path::new("."), port),
        Command::Collector => collector::run().await,
        Command::Sensor { count, every } => sensor::run(count, Duration::from_millis(every)).await,
        Command::Demo { count } => demo::run(count).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the two configurations. On two machines, the invitation would be handed over.
fn introduce(folder: &Path, port: u16) -> Result<(), Error> {
    let url = format!("ws://localhost:{port}");
    let mut collector = ServiceConfig::new("collector", &url, "127.0.0.1", &port)?;
    let mut sensor = ServiceConfig::new("sensor", "ws://localhost:1", "127.0.0.1", &1)?;
    sensor.add_server(collector.add_client("sensor", "127.0.0.1")?)?;
    collector.set_outbox("collector.sqlite");
    sensor.set_outbox("sensor.sqlite");
    collector.save(folder.join("collector.toml")).context("cannot write collector.toml")?;
    sensor.save(folder.join("sensor.toml")).context("cannot write sensor.toml")?;
    tracing::info!("collector.toml and sensor.toml are written");
    Ok(())
}
