//! The experiments, each as alternating rounds.

mod api;
mod bars;
mod churn;
mod cluster;
mod crowd;
mod duel;
mod durable;
mod envelope;
mod links;
mod seeing;
mod startup;

use std::path::{Path, PathBuf};

use anyhow::Result;
use paddington::Encoding;
use paddington_bench::{Child, Contender, Placement, Ranges, Role, Serve, Tls, configure};
use tempfile::TempDir;

pub(crate) use api::api;
pub(crate) use bars::BARS;
pub(crate) use churn::churn;
pub(crate) use cluster::cluster;
pub(crate) use crowd::{idle, peers, storm};
pub(crate) use duel::{compare, ping, requests, rpc, stream};
pub(crate) use durable::durable;
pub(crate) use envelope::envelope;
pub(crate) use links::links;
pub(crate) use seeing::seeing;
pub(crate) use startup::startup;

/// Duration and extent of the measurements.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) full: bool,
    pub(crate) rounds: usize,
    /// Duration of one measurement of one contender.
    pub(crate) seconds: f64,
    /// The lengths of the messages between two processes, in bytes.
    pub(crate) sizes: Vec<usize>,
    /// The numbers of connections, or none for the experiment's own.
    connections: Vec<usize>,
    /// The contenders of experiments between two processes and the parts of `cluster`, or none for all.
    only: Vec<String>,
    /// This program.
    pub(crate) program: PathBuf,
    /// The separate program with the comparisons, if it is built.
    pub(crate) foreign: Option<PathBuf>,
}

impl Settings {
    pub(crate) fn new(full: bool, rounds: Option<usize>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let foreign = program.with_file_name("paddington-compare");
        Ok(Self {
            full,
            rounds: rounds.unwrap_or(if full { 9 } else { 5 }).max(1),
            seconds: if full { 4.0 } else { 1.0 },
            sizes: vec![16, 256, 4 * 1024, 64 * 1024],
            connections: Vec::new(),
            only: Vec::new(),
            foreign: foreign.exists().then_some(foreign),
            program,
        })
    }

    /// Restricts the experiments to these sizes, numbers and contenders, if there are any.
    pub(crate) fn narrow(&mut self, sizes: &[usize], connections: &[usize], only: &[String]) {
        if !sizes.is_empty() {
            self.sizes = sizes.to_vec();
        }
        self.connections = connections.to_vec();
        self.only = only.to_vec();
    }

    /// Returns the numbers of connections of an experiment: in the full form, `most` too.
    fn connections(&self, usual: &[usize], most: usize) -> Vec<usize> {
        match (&*self.connections, self.full) {
            ([], false) => usual.to_vec(),
            ([], true) => [usual, &[most]].concat(),
            (these, _) => these.to_vec(),
        }
    }

    /// Returns whether a contender takes part.
    pub(crate) fn takes_part(&self, contender: Contender) -> bool {
        self.includes(contender.name())
    }

    /// Returns whether what has this name takes part.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Creates a folder, in memory if possible, because writing to it is not measured.
fn folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| TempDir::new_in(memory).ok()).flatten();
    Ok(match in_memory {
        Some(folder) => folder,
        None => TempDir::new()?,
    })
}

/// Writes the files that `contender` needs for `clients` clients into `folder`.
fn prepare(contender: Contender, folder: &Path, clients: usize, port: u16) -> Result<()> {
    match contender {
        Contender::Sealed | Contender::Requests => {
            configure(folder, Encoding::Sealed, clients, port, Ranges::Shared)
        }
        Contender::Hex => configure(folder, Encoding::Hex, clients, port, Ranges::Shared),
        Contender::Tls | Contender::NatsTls | Contender::NatsRequests | Contender::Grpc => {
            Tls::prepare(folder)
        }
        _ => Ok(()),
    }
}

/// Starts the server of `contender`.
fn serve(
    program: &Path,
    contender: Contender,
    folder: &Path,
    placement: Placement,
) -> Result<Child> {
    let serve = Serve { contender, folder: folder.to_owned() };
    Child::start_on(program, &Role::Serve(serve), placement)
}

/// Reports progress on standard error.
fn progress(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
