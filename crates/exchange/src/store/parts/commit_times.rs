//! The commits of a store: how many there were, and how long the last of them took.

use std::collections::VecDeque;
use std::time::Duration;

use crate::store::{StoreError, StoreHealth};

/// Number of commits whose times are kept.
const REMEMBERED: usize = 1_024;

/// What a store records of its commits.
#[derive(Debug, Default)]
pub struct CommitTimes {
    commits: u64,
    appended: u64,
    times: VecDeque<Duration>,
}

impl CommitTimes {
    /// Records a commit, of how many messages, and how long it took.
    pub fn record(&mut self, took: Duration, appended: u64) {
        self.commits += 1;
        self.appended += appended;
        if self.times.len() == REMEMBERED {
            self.times.pop_front();
        }
        self.times.push_back(took);
    }

    /// Returns the health of a store that fails for this reason, if it does.
    #[must_use]
    pub fn report(&self, failure: Option<StoreError>) -> StoreHealth {
        let mut times: Vec<_> = self.times.iter().copied().collect();
        times.sort_unstable();
        let percentile = |percent: usize| {
            let last = times.len().saturating_sub(1);
            times.get((times.len() * percent / 100).min(last)).copied().unwrap_or_default()
        };
        StoreHealth {
            failure,
            commits: self.commits,
            appended: self.appended,
            commit_p50: percentile(50),
            commit_p99: percentile(99),
            bloat: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_those_of_the_last_commits() {
        let mut commits = CommitTimes::default();
        assert_eq!(commits.report(None), StoreHealth::default());
        for _ in 0..REMEMBERED {
            commits.record(Duration::from_secs(9), 0);
        }
        for millis in 1..=REMEMBERED as u64 {
            commits.record(Duration::from_millis(millis), 2);
        }
        let report = commits.report(None);
        assert_eq!(report.commits, 2 * REMEMBERED as u64);
        assert_eq!(report.appended, 2 * REMEMBERED as u64);
        assert_eq!(report.commit_p50, Duration::from_millis(513));
        assert_eq!(report.commit_p99, Duration::from_millis(1_014));
    }
}
