//! Two services that connect by means of an invitation and count down together.

mod ask;
mod client;
mod demo;
mod server;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Error;
use clap::{Parser, Subcommand, ValueEnum};
use paddington::Encoding;

/// Two services that connect by means of an invitation and count down together.
///
/// Start them in either order, as long as there is an invitation for the client: it tries until the
/// server is there, and reads the invitation again if the server has written a new one. `demo` runs
/// both.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Invite echo-client, wait for it, and count down with it.
    Server(ServerArguments),
    /// Connect to the server that wrote an invitation, and echo its messages.
    Client(ClientArguments),
    /// Connect to the server that wrote an invitation, and ask it which number follows.
    Ask(AskArguments),
    /// Run both as two processes in a temporary folder and show their logs side by side.
    Demo(DemoArguments),
}

#[derive(clap::Args)]
struct ServerArguments {
    /// The URL at which the client can reach the server [default: http://localhost:PORT].
    #[arg(short, long)]
    url: Option<String>,
    /// The IP address to listen on.
    #[arg(short, long, default_value = "127.0.0.1")]
    ip: String,
    /// The port to listen on.
    #[arg(short, long, default_value_t = 6501)]
    port: u16,
    /// The addresses that the client may connect from: an address, a network (10.0.0.0/8), or an
    /// IPv4 network with its mask (10.0.0.0/255.0.0.0).
    #[arg(short, long, default_value = "127.0.0.1")]
    range: String,
    /// The file to write the invitation to.
    #[arg(short = 'c', long, value_name = "FILE", default_value = "invitation.toml")]
    invitation: PathBuf,
    /// The number to count down from.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: u32,
    /// The encoding of the link: `hex` is for a client that runs the original paddington.
    #[arg(short, long, value_enum, default_value = "sealed")]
    encoding: EncodingName,
}

#[derive(clap::Args)]
struct ClientArguments {
    /// The invitation that the server has written.
    #[arg(short = 'c', long, value_name = "FILE", default_value = "invitation.toml")]
    invitation: PathBuf,
}

#[derive(clap::Args)]
struct AskArguments {
    /// The invitation that the server has written.
    #[arg(short = 'c', long, value_name = "FILE", default_value = "invitation.toml")]
    invitation: PathBuf,
    /// The number to ask about.
    #[arg(default_value = "1000")]
    number: String,
    /// The seconds to wait for the answer.
    #[arg(short, long, default_value_t = 10.0)]
    timeout: f64,
}

#[derive(clap::Args)]
struct DemoArguments {
    /// The number to count down from.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
    count: u32,
    /// The encoding of the link.
    #[arg(short, long, value_enum, default_value = "sealed")]
    encoding: EncodingName,
}

#[derive(Clone, Copy, ValueEnum)]
enum EncodingName {
    Sealed,
    Hex,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Sealed => Self::Sealed,
            EncodingName::Hex => Self::Hex,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let colours = std::io::stdout().is_terminal();
    tracing_subscriber::fmt().with_env_filter(log_filter()).with_ansi(colours).init();
    let ended = match Arguments::parse().command {
        Command::Server(arguments) => server::run_server(arguments).await,
        Command::Client(arguments) => client::run_client(&arguments.invitation).await,
        Command::Ask(arguments) => ask::run_ask(arguments).await,
        Command::Demo(arguments) => demo::run_demo(&arguments).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The log filter from the environment (`RUST_LOG`), or `info`.
fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into())
}

#[expect(clippy::print_stderr, reason = "a program reports its failure on standard error")]
fn report(error: &Error) {
    eprintln!("example-echo: {error:#}");
}
