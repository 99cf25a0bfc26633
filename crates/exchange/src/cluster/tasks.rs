//! The tasks that keep a replica up to date. Whatever waits for the store has one for each shard, so that none waits for
//! another one.

use std::sync::Arc;

use super::{dialing, lease, signals};
use crate::core::Core;

/// Starts the tasks of a replica.
pub(crate) fn spawn(core: &Arc<Core>) {
    let Some(cluster) = &core.cluster else { return };
    let shards = 0..cluster.store.shards();
    for shard in shards.clone() {
        tokio::spawn(Arc::clone(cluster.receipts()).run(shard, core.watchers.clone()));
        tokio::spawn(Arc::clone(cluster.asking()).run(shard));
    }
    cluster.serving().spawn(core);
    tokio::spawn(signals::listen(Arc::clone(core), cluster.store.signals()));
    for shard in shards {
        tokio::spawn(lease::watch(Arc::clone(core), shard));
        tokio::spawn(dialing::dial(Arc::clone(core), shard));
    }
}
