//! Dead letters: after how many attempts a message becomes one, and how it is stored.

use std::time::SystemTime;

use paddington_wire::RejectCode;
use tracing::error;

use crate::peer::{Call, Peer, WorkerId};
use crate::store::DeadLetter;

/// Number of attempts after which a message is rejected if its handling ends the process each time.
const MAX_ATTEMPTS: u32 = 5;

/// Counts an attempt that may not be the first, durably and before it begins: a message whose
/// handling ends the process would otherwise be delivered for ever. Returns whether the message may
/// be handled. A first attempt is not counted, because counting costs a sync and most messages need
/// no second attempt. What was handled before is durable with the count, so that only messages that
/// were being handled when the process ended are counted again.
pub(super) async fn may_attempt(peer: &Peer, worker: WorkerId, call: &mut Call) -> bool {
    if let (Some(store), Some(id), true) = (peer.store(), call.id, call.again) {
        drop(peer.commit_cursors());
        let counted = peer.paused(worker, store.attempt(&peer.name, id, peer.fence())).await;
        call.counted = counted.is_ok();
        match counted.map(|attempts| attempts.saturating_add(1)) {
            Ok(attempt) if attempt > MAX_ATTEMPTS => {
                error!(
                    peer = %peer.name, %id, attempt,
                    "rejected a message: its handling has crashed the process repeatedly"
                );
                return false;
            }
            Ok(attempt) => call.attempt = attempt,
            Err(cause) => error!(peer = %peer.name, %id, %cause, "an attempt could not be counted"),
        }
    }
    true
}

/// Keeps a rejected message as a dead letter, if there is a store. With that, the message counts as
/// handled: it does not become another one after a crash.
pub(super) async fn keep(peer: &Peer, call: &Call, code: RejectCode) {
    if let (Some(store), Some(id), Some(payload)) = (peer.store(), call.id, call.payload()) {
        let at = SystemTime::now();
        let letter = DeadLetter { peer: peer.name.clone(), id, code, at, payload };
        drop(peer.commit_cursors());
        match store.add_letter(letter).await {
            Ok(()) => peer.note_dead_letter(id, code),
            Err(cause) => error!(peer = %peer.name, %id, %cause, "a dead letter could not be kept"),
        }
    }
}
