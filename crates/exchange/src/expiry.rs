//! Gives up messages whose time has run out, although nobody sends and nothing is transmitted.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Exchange;

/// What expires within so much time is given up together.
const GATHER: Duration = Duration::from_millis(50);

/// Waits for messages that may expire, and for their time to come.
pub(crate) async fn watch(exchange: Exchange, stop: CancellationToken) {
    let shared = &exchange.inner().shared;
    loop {
        let next = exchange.inner().peers.values().filter_map(|peer| peer.expire()).min();
        let expiry = async {
            match next {
                Some(delay) => sleep(delay.max(GATHER)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = shared.deadlines.notified() => sleep(GATHER).await,
            () = expiry => {}
        }
    }
}
