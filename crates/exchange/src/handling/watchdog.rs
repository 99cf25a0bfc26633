//! Notices handlers that block their thread, which no timeout can end.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::RejectCode;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::worker::keep_dead_letter;
use crate::Exchange;
use crate::peer::Peer;

/// How long after its timeout a handler that can be cancelled is certainly gone.
const GRACE: Duration = Duration::from_secs(1);

/// Looks, now and then, for calls that should have ended: such a worker is left alone with its
/// permit, and another one takes its place.
pub(crate) async fn watch(exchange: Exchange, stop: CancellationToken) {
    let limit = exchange.inner().shared.config.handler_timeout;
    let period = (limit / 8).clamp(GRACE, Duration::from_secs(30));
    while stop.run_until_cancelled(sleep(period)).await.is_some() {
        for peer in exchange.inner().peers.values() {
            give_up_overdue(&exchange, peer, limit + GRACE).await;
        }
    }
}

async fn give_up_overdue(exchange: &Exchange, peer: &Arc<Peer>, limit: Duration) {
    for call in peer.remove_overdue(limit) {
        error!(
            peer = %peer.name, id = call.shown(),
            "a handler blocks its thread and cannot be stopped: it is left behind; \
             handlers must not block (use spawn_blocking)"
        );
        exchange.hire(peer);
        keep_dead_letter(peer, &call, RejectCode::TIMED_OUT).await;
        peer.leave_behind(&call);
    }
}
