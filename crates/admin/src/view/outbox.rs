//! The mail that waits for peers, and for links that are gone.

use paddington::LinkError;

use super::count;
use crate::app::App;
use crate::model::{Orphan, Outbox, OutboxEntry};

/// Returns what waits for each peer, and for links that are gone.
pub(crate) async fn outbox(app: &App) -> Result<Outbox, LinkError> {
    let entry = |status: paddington::PeerStatus| OutboxEntry {
        messages: count(status.outbox_messages),
        bytes: status.outbox_bytes,
        oldest_seconds: status.oldest.as_secs_f64(),
        peer: status.name.into(),
    };
    let peers = app.service.peers().into_iter().map(entry).collect();
    Ok(Outbox { peers, orphans: orphans(app).await? })
}

/// Returns what is stored for links that are gone.
pub(crate) async fn orphans(app: &App) -> Result<Vec<Orphan>, LinkError> {
    Ok(app.service.orphans().await?.iter().map(Orphan::from).collect())
}
