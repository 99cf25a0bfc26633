//! Gives up messages whose time has run out although nobody sends and nothing is transmitted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::core::Core;

/// Time within which messages that expire are given up together.
const GATHER: Duration = Duration::from_millis(50);

/// Starts to wait for messages that may expire, and for their time to come.
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
