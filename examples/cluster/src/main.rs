//! A service of two replicas over one PostgreSQL, a peer of it, and a demo that kills replicas, stops them
//! for longer than their lease, and crashes the database.

mod demo;
mod faults;
mod proof;
mod replica;
mod replicas;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use faults::Faults;

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
    /// Run one replica of a configuration. It sends what it is told on its input.
    Replica {
        /// The configuration, the same for all replicas.
        config: PathBuf,
        /// The port that this replica listens on.
        #[arg(short, long)]
        port: u16,
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
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "info,paddington_exchange=warn,paddington_transport=error".into()),
        )
        .init();
    let done = match arguments.command {
        Command::Replica { config, port } => replica::run(&config, port).await,
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
