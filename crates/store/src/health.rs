//! The store's health: its failures, and the times of its last commits.

use paddington_exchange::store::parts::CommitTimes;
use paddington_exchange::store::{StoreError, StoreHealth};

/// The health that the thread records and any caller can ask for.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) failure: Option<StoreError>,
    /// The reason why nothing is accepted that makes the file grow, if so.
    pub(crate) shortage: Option<StoreError>,
    pub(crate) commits: CommitTimes,
}

impl Health {
    pub(crate) fn report(&self) -> StoreHealth {
        self.commits.report(self.failure.clone().or_else(|| self.shortage.clone()))
    }
}
