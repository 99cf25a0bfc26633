//! A hub that invites and removes partners while it runs, a partner that joins it, and a demo of the
//! whole life of their link.

#![expect(clippy::print_stdout, reason = "the operator of the hub reads the answers there")]

mod demo;
mod hub;
mod partner;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Error;
use clap::{Parser, Subcommand};
use paddington::Message;

/// A hub, and a partner organisation that joins it.
///
/// Each keeps its links in a folder of its own, in the current folder. `hub` takes commands: type
/// `help`. `demo` shows the whole life of a link in half a minute.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the hub, which reads commands: invite, renew, remove, list.
    Hub {
        /// The port that it listens on.
        #[arg(short, long, default_value_t = 6504)]
        port: u16,
    },
    /// Run a partner. The invitation is needed once only.
    Partner {
        /// The name that the hub has invited.
        name: String,
        /// The invitation that the hub has written.
        #[arg(short, long, value_name = "FILE")]
        invitation: Option<PathBuf>,
        /// A file with the passphrase of the invitation.
        #[arg(long, value_name = "FILE", requires = "invitation")]
        passphrase_file: Option<PathBuf>,
    },
    /// Introduce a partner, burn the invitation, catch a thief, renew and remove, in a temporary folder.
    Demo,
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
        Command::Hub { port } => hub::run(port).await,
        Command::Partner { name, invitation, passphrase_file } => {
            partner::run(&name, invitation.as_deref(), passphrase_file.as_deref()).await
        }
        Command::Demo => demo::run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Handles a message of either side: it is shown.
async fn show(message: Message) -> Result<(), Error> {
    tracing::info!("{message}");
    Ok(())
}
