//! Resources of this process: memory, file descriptors, tasks. And latencies.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Error};
use tokio::runtime::Handle;

/// Resources of this process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauge {
    /// Resident memory, in KiB.
    pub(crate) memory: u64,
    /// Open file descriptors.
    pub(crate) files: usize,
    /// Tasks of the runtime.
    pub(crate) tasks: usize,
}

impl Gauge {
    pub(crate) fn read() -> Result<Self, Error> {
        let status = fs::read_to_string("/proc/self/status").context("this takes Linux")?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|memory| memory.split_whitespace().next());
        Ok(Self {
            memory: memory.context("no VmRSS")?.parse()?,
            files: fs::read_dir("/proc/self/fd")?.count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
        })
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, files, tasks } = self;
        write!(f, "{} MiB, {files} files, {tasks} tasks", memory / 1024)
    }
}

/// The median and the 99th percentile.
pub(crate) fn p50_and_p99(times: &mut [Duration]) -> [Duration; 2] {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    [at(50), at(99)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_times() {
        let mut times: Vec<_> = (0..1_000).rev().map(Duration::from_millis).collect();
        assert_eq!(p50_and_p99(&mut times), [500, 990].map(Duration::from_millis));
        assert_eq!(p50_and_p99(&mut []), [Duration::ZERO; 2]);
    }

    #[tokio::test]
    async fn a_task_more_is_counted() {
        let before = Gauge::read().unwrap();
        let task = tokio::spawn(std::future::pending::<()>());
        let after = Gauge::read().unwrap();
        assert_eq!(after.tasks, before.tasks + 1);
        assert!(after.memory > 0 && after.files > 0);
        task.abort();
    }
}
