//! Notices handlers that block their thread, which no timeout can end.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::RejectCode;
use tokio::time::sleep;
use tracing::error;

use super::dead_letter;
use crate::core::Core;
use crate::peer::Peer;

/// Time after its timeout by which a handler that can be cancelled is certainly gone.
const GRACE: Duration = Duration::from_secs(1);

/// Starts to look, now and then, for calls that should have ended. The worker of such a call is left
/// behind with its permit, and another one is added.
pub(crate) fn spawn(core: &Arc<Core>) {
    tokio::spawn(watch(Arc::clone(core)));
}

async fn watch(core: Arc<Core>) {
    let limit = core.shared.config.handler_timeout;
    let period = (limit / 8).clamp(GRACE, Duration::from_secs(30));
    while core.watchers.run_until_cancelled(sleep(period)).await.is_some() {
        for peer in core.peers.values() {
            give_up_overdue(&core, peer, limit + GRACE).await;
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
