//! Resources that processes use, as the operating system counts them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Total processor time of all threads of these processes.
///
/// # Errors
///
/// If a process is gone.
pub fn cpu_time(processes: &[u32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for process in processes {
        for thread in threads(*process)? {
            // leave out a thread that has just ended
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let nanos = text.split_whitespace().next().context("no time in schedstat")?;
            total += Duration::from_nanos(nanos.parse()?);
        }
    }
    Ok(total)
}

/// Total processor time of the processes with the same parent as this one that have ended, in steps of a
/// hundredth of a second.
///
/// # Errors
///
/// If one of the two is gone.
pub(crate) fn ended_siblings(process: u32) -> Result<Duration> {
    let parent: u32 = field(process, PARENT)?;
    let ticks: u64 = field::<u64>(parent, CHILDREN_USER)? + field::<u64>(parent, CHILDREN_SYSTEM)?;
    Ok(Duration::from_millis(10 * ticks))
}

/// Places of fields in `/proc/…/stat`, after the name.
const PARENT: usize = 1;
const CHILDREN_USER: usize = 13;
const CHILDREN_SYSTEM: usize = 14;

fn field<T: std::str::FromStr>(process: u32, place: usize) -> Result<T> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = text.rsplit_once(')').map(|(_, fields)| fields);
    let field = fields.and_then(|fields| fields.split_whitespace().nth(place)?.parse().ok());
    field.with_context(|| format!("no field {place} in the state of process {process}"))
}

/// Number of times that threads of a process have given up the processor to wait. Each wait ended
/// with a wake-up.
///
/// # Errors
///
/// If the process is gone.
pub fn wake_ups(process: u32) -> Result<u64> {
    let mut total = 0;
    for thread in threads(process)? {
        total += number(&thread?.path().join("status"), "voluntary_ctxt_switches:")?;
    }
    Ok(total)
}

/// Resident memory of a process and its peak, in bytes.
///
/// # Errors
///
/// If the process is gone.
pub fn memory(process: u32) -> Result<(u64, u64)> {
    let status = format!("/proc/{process}/status");
    let status = Path::new(&status);
    Ok((1024 * number(status, "VmRSS:")?, 1024 * number(status, "VmHWM:")?))
}

fn threads(process: u32) -> Result<std::fs::ReadDir> {
    Ok(std::fs::read_dir(format!("/proc/{process}/task"))?)
}

/// The number after `name` in a file of lines with a name and a number.
fn number(file: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name} in {}", file.display()))?.parse()?)
}
