//! What processes use, as the operating system counts it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long the threads of these processes have run on a processor, in total.
///
/// # Errors
///
/// If a process is gone.
pub fn cpu_time(processes: &[u32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for process in processes {
        for thread in threads(*process)? {
            // a thread that has just ended is left out
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let nanos = text.split_whitespace().next().context("no time in schedstat")?;
            total += Duration::from_nanos(nanos.parse()?);
        }
    }
    Ok(total)
}

/// How often the threads of a process have given the processor up to wait for something: each time,
/// something has woken them.
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

/// How much memory a process has, and how much it had at most, in bytes.
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

/// The number behind `name` in a file of lines with a name and a number.
fn number(file: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name} in {}", file.display()))?.parse()?)
}
