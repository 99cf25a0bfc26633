//! The tasks that keep a replica up to date.

use std::sync::Arc;

use super::{dialing, lease, signals};
use crate::core::Core;

/// Starts the tasks of a replica.
pub(crate) fn spawn(core: &Arc<Core>) {
    let Some(cluster) = &core.cluster else { return };
    tokio::spawn(Arc::clone(cluster.receipts()).run(core.watchers.clone()));
    tokio::spawn(Arc::clone(cluster.asking()).run());
    cluster.serving().spawn(core);
    tokio::spawn(signals::listen(Arc::clone(core), cluster.store.signals()));
    tokio::spawn(lease::watch(Arc::clone(core)));
    tokio::spawn(dialing::dial(Arc::clone(core)));
}
