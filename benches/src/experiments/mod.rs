//! The experiments, each as alternating rounds.

mod crowd;
mod duel;
mod startup;

use std::path::{Path, PathBuf};

use anyhow::Result;
use paddington::Encoding;
use paddington_bench::{Child, Contender, Placement, Role, Serve, Tls, configure};
use tempfile::TempDir;

pub(crate) use crowd::{idle, peers, storm};
pub(crate) use duel::{compare, ping, stream};
pub(crate) use startup::startup;

/// How long and how often is measured.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) full: bool,
    pub(crate) rounds: usize,
    /// How long one measurement of one contender takes.
    pub(crate) seconds: f64,
    /// This program.
    pub(crate) program: PathBuf,
    /// The program with the comparisons that need more than Rust, if it is built.
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
            foreign: foreign.exists().then_some(foreign),
            program,
        })
    }
}

/// A folder in memory, where there is one: what is written there is not measured.
fn folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| TempDir::new_in(memory).ok()).flatten();
    Ok(match in_memory {
        Some(folder) => folder,
        None => TempDir::new()?,
    })
}

/// Writes into `folder` what `contender` needs for so many clients.
fn prepare(contender: Contender, folder: &Path, clients: usize, port: u16) -> Result<()> {
    match contender {
        Contender::Sealed => configure(folder, Encoding::Sealed, clients, port, None),
        Contender::Hex => configure(folder, Encoding::Hex, clients, port, None),
        Contender::Tls | Contender::NatsTls => Tls::prepare(folder),
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

/// Says on standard error what goes on.
fn progress(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
