//! What waits for peers, and for links that are gone.

use paddington::LinkError;
use paddington::store::MailboxStatus;

use super::count;
use crate::app::App;
use crate::model::{Orphan, Outbox, OutboxEntry, time};

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
    let shown = |orphan: MailboxStatus| Orphan {
        link: orphan.mailbox.link.to_string(),
        peer: orphan.mailbox.peer.into(),
        messages: orphan.messages,
        bytes: orphan.bytes,
        dead_letters: orphan.letters,
        since: orphan.since.map(time),
    };
    Ok(app.service.orphans().await?.into_iter().map(shown).collect())
}
