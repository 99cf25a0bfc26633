//! The load harness of paddington. `cargo run --release -p paddington-bench -- help` lists its
//! experiments.

mod experiments;
mod output;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use paddington_bench::{
    Contender, Drive, Job, Naive, Role, Serve, Tcp, Tls, Twice, WebSocket, drive_pipe,
    drive_service, run_crowd, run_replica, runtime, serve_pipe, serve_service,
};

/// Measures paddington and other systems, as processes on loopback.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// The full form: more and longer rounds, and 10 000 connections.
    #[arg(long, global = true)]
    full: bool,
    /// The short form, which takes minutes; it is the default.
    #[arg(long, global = true, conflicts_with = "full")]
    short: bool,
    /// Number of rounds, instead of the form's.
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Between two processes, only messages of this many bytes; may be repeated.
    #[arg(long, global = true, value_name = "BYTES")]
    size: Vec<usize>,
    /// With many connections, only this number of them; may be repeated.
    #[arg(long, global = true, value_name = "NUMBER")]
    connections: Vec<usize>,
    /// Between two processes, only the system with this name in the tables; of `cluster`, only the table
    /// with this name, such as P13f; may be repeated.
    #[arg(long, global = true, value_name = "NAME")]
    only: Vec<String>,
    /// The folder for the results.
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
    /// The folder for the plots, instead of the one for the results.
    #[arg(long, global = true)]
    plots: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// All experiments.
    All,
    /// P1 to P3: one envelope, sealed and opened.
    Envelope,
    /// P4: round trips between two services.
    Ping,
    /// P5: messages one way.
    Stream,
    /// P6: both, compared with NATS, ZeroMQ, iroh, commonware-p2p, TLS and the original's format.
    Compare,
    /// P11: round trips of `request`, beside those of messages.
    Requests,
    /// P19: round trips of `request`, compared with NATS and gRPC.
    Rpc,
    /// P7: the cost of idle connections.
    Idle,
    /// P8: the cost of many peers.
    Peers,
    /// P9: messages accepted with the outbox in a file.
    Durable,
    /// P13: replicas over PostgreSQL, compared with plain programs over it and with SQLite.
    Cluster,
    /// P10: from the start of both services to the first message.
    Startup,
    /// P14: all clients reconnect after a restart of the server.
    Storm,
    /// P14: a server that knows many clients, of which none is connected.
    Links,
    /// P16: a server whose peers exchange messages while others are added and removed.
    Churn,
    /// P12: messages through the local API, compared with the service alone.
    Api,
    /// P18: the cost of a scrape of the metrics, and of an open status page.
    Seeing,
    /// Draws the plots of an earlier run again, from its JSON file.
    Draw {
        /// The file.
        results: PathBuf,
    },
    /// Prints the tables of earlier runs again, from their JSON files, and which targets those that measured them have reached.
    Report {
        /// The files, the tables of the last of which are printed.
        #[arg(required = true)]
        results: Vec<PathBuf>,
    },
    /// A process of a measurement.
    #[command(hide = true)]
    Role {
        /// The task, as JSON.
        role: String,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let What::Role { role } = &cli.what {
        return runtime()?.block_on(play(serde_json::from_str(role)?));
    }
    let mut settings = experiments::Settings::new(cli.full, cli.rounds)?;
    settings.narrow(&cli.size, &cli.connections, &cli.only);
    if let What::Draw { results } = &cli.what {
        return output::draw(results, &cli.plots.unwrap_or(cli.out));
    }
    if let What::Report { results } = &cli.what {
        return output::report(results);
    }
    let (what, output) = (cli.what, output::Output::new(cli.out, cli.plots)?);
    runtime()?.block_on(measure(what, &settings, output))
}

async fn measure(
    what: What,
    settings: &experiments::Settings,
    mut output: output::Output,
) -> Result<()> {
    let all = matches!(what, What::All);
    if all || matches!(what, What::Envelope) {
        for experiment in experiments::envelope(settings)? {
            output.add(experiment)?;
        }
    }
    measure_pairs(&what, settings, &mut output).await?;
    if all || matches!(what, What::Durable) {
        output.add(experiments::durable(settings).await?)?;
    }
    if all || matches!(what, What::Cluster) {
        experiments::cluster(settings, |experiment| output.add(experiment)).await?;
    }
    if all || matches!(what, What::Startup) {
        output.add(experiments::startup(settings).await?)?;
    }
    if all || matches!(what, What::Idle) {
        output.add(experiments::idle(settings).await?)?;
    }
    if all || matches!(what, What::Peers) {
        for experiment in experiments::peers(settings).await? {
            output.add(experiment)?;
        }
    }
    if all || matches!(what, What::Storm) {
        output.add(experiments::storm(settings).await?)?;
    }
    if all || matches!(what, What::Links) {
        output.add(experiments::links(settings).await?)?;
    }
    if all || matches!(what, What::Churn) {
        output.add(experiments::churn(settings).await?)?;
    }
    if all || matches!(what, What::Api) {
        output.add(experiments::api(settings).await?)?;
    }
    if all || matches!(what, What::Seeing) {
        output.add(experiments::seeing(settings).await?)?;
    }
    output.conclude()
}

/// The experiments with two processes and the messages between them.
async fn measure_pairs(
    what: &What,
    settings: &experiments::Settings,
    output: &mut output::Output,
) -> Result<()> {
    let all = matches!(what, What::All);
    if all || matches!(what, What::Ping) {
        for experiment in experiments::ping(settings).await? {
            output.add(experiment)?;
        }
    }
    if all || matches!(what, What::Requests) {
        for experiment in experiments::requests(settings).await? {
            output.add(experiment)?;
        }
    }
    if all || matches!(what, What::Rpc) {
        for experiment in experiments::rpc(settings).await? {
            output.add(experiment)?;
        }
    }
    if all || matches!(what, What::Stream) {
        output.add(experiments::stream(settings).await?)?;
    }
    if all || matches!(what, What::Compare) {
        for experiment in experiments::compare(settings).await? {
            output.add(experiment)?;
        }
    }
    Ok(())
}

/// Prints a line on standard output.
fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

async fn play(role: Role) -> Result<()> {
    match role {
        Role::Serve(serve) => play_server(serve).await,
        Role::Drive(drive, job) => play_driver(drive, job).await,
        Role::First(serve, port) => paddington_bench::first(serve, port).await,
        Role::Sender(serve, port) => paddington_bench::sender(serve, port).await,
        Role::Crowd(drive, count, ranges) => run_crowd(drive, count, ranges).await,
        Role::Replica(folder, port) => run_replica(&folder, port).await,
    }
}

async fn play_server(serve: Serve) -> Result<()> {
    match serve.contender {
        Contender::Sealed | Contender::Requests | Contender::Hex => serve_service(serve).await,
        Contender::Tcp => serve_pipe(Tcp).await,
        Contender::Tls => serve_pipe(Tls(serve.folder)).await,
        Contender::WebSocket => serve_pipe(WebSocket).await,
        Contender::Twice => serve_pipe(Twice).await,
        Contender::Naive => serve_pipe(Naive).await,
        foreign => anyhow::bail!("{} is in another program", foreign.name()),
    }
}

async fn play_driver(drive: Drive, job: Job) -> Result<()> {
    match drive.contender {
        Contender::Sealed | Contender::Requests | Contender::Hex => drive_service(drive, job).await,
        Contender::Tcp => drive_pipe(Tcp, drive, job).await,
        Contender::Tls => drive_pipe(Tls(drive.folder.clone()), drive, job).await,
        Contender::WebSocket => drive_pipe(WebSocket, drive, job).await,
        Contender::Twice => drive_pipe(Twice, drive, job).await,
        Contender::Naive => drive_pipe(Naive, drive, job).await,
        foreign => anyhow::bail!("{} is in another program", foreign.name()),
    }
}
