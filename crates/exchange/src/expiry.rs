//! The task that lets messages expire while none is sent or transmitted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::core::Core;

/// Time for which messages that expire are collected, to be removed together.
const GATHER: Duration = Duration::from_millis(50);

/// Starts the task that lets messages expire when their time is up.
pub(crate) fn spawn(core: &Arc<Core>) {
    tokio::spawn(watch(Arc::clone(core)));
}

async fn watch(core: Arc<Core>) {
    loop {
        let next = core.peers.values().filter_map(|peer| peer.expire()).min();
        let expiry = async {
            match next {
                Some(delay) => sleep(delay.max(GATHER)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.watchers.cancelled() => return,
            () = core.shared.deadlines.notified() => sleep(GATHER).await,
            () = expiry => {}
        }
    }
}
