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
