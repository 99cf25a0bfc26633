//! The watchdog: notices handlers that block their thread, which no timeout can end.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::RejectCode;
use tokio::time::{Instant, sleep};
use tracing::error;

use super::dead_letter;
use crate::core::Core;
use crate::peer::Peer;

/// Time after the timeout by which every handler that can be cancelled has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Starts the task that looks for overdue calls. The worker of such a call is left behind with its
/// permit, and another one is added.
pub(crate) fn spawn(core: &Arc<Core>) {
    tokio::spawn(watch(Arc::clone(core)));
}

async fn watch(core: Arc<Core>) {
    let limit = core.shared.config.handler_limit();
    let period = (limit.unwrap_or(Duration::MAX) / 8).clamp(GRACE, Duration::from_secs(30));
    let mut looked = Instant::now();
    while core.watchers.run_until_cancelled(sleep(period)).await.is_some() {
        let late = looked.elapsed().saturating_sub(period + GRACE);
        looked = Instant::now();
        for peer in &core.peers.peers_with_calls() {
            if !late.is_zero() {
                peer.forgive(late); // the process was stopped, or the machine has slept
            }
            if let Some(limit) = limit {
                give_up_overdue(&core, peer, limit + GRACE).await;
            }
            peer.flush_reports();
        }
    }
}

async fn give_up_overdue(core: &Arc<Core>, peer: &Arc<Peer>, limit: Duration) {
    for call in peer.remove_overdue(limit) {
        error!(
            peer = %peer.name, id = call.shown(),
            "a handler blocks its thread and cannot be stopped: it is left behind; \
             handlers must not block (use spawn_blocking)"
        );
        core.add_worker(peer);
        dead_letter::keep(peer, &call, RejectCode::TIMED_OUT).await;
        peer.leave_behind(&call);
    }
}
