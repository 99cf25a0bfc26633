//! A service of two replicas over one PostgreSQL, a peer of it, and a demo that kills replicas, stops them
//! for longer than their lease, and crashes the database.

#![expect(clippy::print_stdout, reason = "the proof is printed")]

mod demo;
mod faults;
mod introduction;
mod node;
mod proof;
mod replicas;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Error};
use clap::{Parser, Subcommand};
use faults::Faults;
use paddington::Cluster;
use paddington_test_support::PostgresServer;

/// A hub of two replicas, and a sensor that is connected to one of them.
///
/// `demo` starts a PostgreSQL in a temporary folder, two replicas of the hub, and the sensor. Both sides send
/// numbered messages all the time, and replicas are killed. In the end it proves that every message was
/// handled, once, in order.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a PostgreSQL in a temporary folder, and print its URL. It ends with the input, and crashes at a line
    /// `crash` of it.
    Database {
        /// Start a standby of it, too, and print the URL of that.
        #[arg(long)]
        standby: bool,
    },
    /// Write hub.toml and sensor-1.toml, … into the current folder.
    Introduce {
        /// The URL of the database that the replicas share.
        #[arg(long, value_name = "URL")]
        database: String,
        /// The schema that holds the tables.
        #[arg(long, default_value = "paddington")]
        schema: String,
        /// Where sensors reach the hub: each replica, or the load balancer in front of them.
        #[arg(long, value_name = "URL", required = true)]
        url: Vec<String>,
        /// The number of sensors.
        #[arg(long, default_value_t = 1)]
        sensors: usize,
    },
    /// Run a replica or a sensor. Each line of its input is a recipient and a text to send.
    Run {
        /// The configuration, the same for all replicas.
        config: PathBuf,
        /// The port that this replica listens on.
        #[arg(short, long)]
        port: Option<u16>,
    },
    /// Run everything on this machine, and prove that nothing got lost.
    Demo {
        /// How long faults go on, in seconds.
        #[arg(short, long, default_value_t = 12)]
        seconds: u64,
        /// The time between two faults, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 2_500)]
        every: u64,
        /// Which faults there are.
        #[arg(long, value_enum, default_value_t = Faults::Kills)]
        faults: Faults,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
                "info,paddington_exchange=warn,paddington_transport=error".into()
            }),
        )
        .init();
    let done = match arguments.command {
        Command::Database { standby } => tokio::task::spawn_blocking(move || database(standby))
            .await
            .unwrap_or_else(|end| Err(end.into())),
        Command::Introduce { database, schema, url, sensors } => {
            introduce(&database, schema, &url, sensors)
        }
        Command::Run { config, port } => node::run(&config, port).await,
        Command::Demo { seconds, every, faults } => {
            let (time, every) = (Duration::from_secs(seconds), Duration::from_millis(every));
            demo::run(time, every, faults).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a database, and perhaps a standby, until the input ends.
fn database(has_standby: bool) -> Result<(), Error> {
    let server = PostgresServer::start().context("PostgreSQL is not installed")?;
    println!("{}", server.url());
    let standby = has_standby.then(|| server.standby()).flatten();
    if let Some(standby) = &standby {
        println!("{}", standby.url());
    }
    for line in std::io::stdin().lines() {
        if line?.trim() == "crash" {
            server.crash();
            println!("crashed");
        }
    }
    Ok(())
}

fn introduce(database: &str, schema: String, urls: &[String], sensors: usize) -> Result<(), Error> {
    let cluster = Cluster::new(database)?.with_schema(schema);
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    introduction::introduce(cluster, &urls, sensors)?.save(Path::new("."))
}
