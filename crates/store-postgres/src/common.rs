//! What all connections of this replica to one database share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paddington_exchange::store::ReplicaId;
use paddington_exchange::store::parts::CommitTimes;
use tokio_util::sync::CancellationToken;

use crate::connect::Target;
use crate::notifier::Notifier;
use crate::survey::Survey;

/// What all connections of this replica share.
pub(crate) struct Common {
    pub(crate) target: Target,
    pub(crate) replica: ReplicaId,
    pub(crate) notifier: Notifier,
    pub(crate) stop: CancellationToken,
    pub(crate) health: Arc<Mutex<CommitTimes>>,
    pub(crate) survey: Arc<Survey>,
}

impl Common {
    pub(crate) fn number(&self) -> i32 {
        self.replica.0.cast_signed()
    }

    pub(crate) fn record(&self, took: Duration, appended: u64) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).record(took, appended);
    }
}
