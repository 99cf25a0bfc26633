//! Dead letters: after how many crashes a message becomes one, and how it is stored.

use std::sync::Arc;
use std::time::SystemTime;

use paddington_wire::RejectCode;
use tracing::error;

use crate::faults::{Fault, broken};
use crate::peer::{Call, Peer, WorkerId};
use crate::store::DeadLetter;

/// Whether a message may be handled.
pub(super) enum Attempt {
    Allowed,
    /// It was being handled too often when the process ended.
    Poison,
    /// The service shuts down.
    TooLate,
}

/// Counts an attempt that may not be the first, durably and before it begins: a message whose
/// handling ends the process would otherwise be delivered for ever. A first attempt is not counted,
/// because counting costs a sync and most messages need no second attempt. What was handled before is
/// durable with the count, so that only messages that were being handled when the process ended are
/// counted again. A shutdown takes back the counts of what it interrupts.
pub(super) async fn count(peer: &Arc<Peer>, worker: WorkerId, call: &mut Call) -> Attempt {
    let (Some(store), Some(id), true) = (peer.store(), call.id, call.again) else {
        return Attempt::Allowed;
    };
    let Some(counted) = peer.count_attempt(store, worker, id) else { return Attempt::TooLate };
    let counted = peer.paused(worker, counted).await;
    call.counted = counted.is_ok();
    let max = peer.shared.config.crashes;
    match counted {
        Ok(crashes) if crashes > max && !broken(Fault::CrashesIgnored) => {
            error!(
                peer = %peer.name, %id, crashes = max,
                "rejected a message: each time that it was handled, or about to be, the process ended \
                 without order"
            );
            return Attempt::Poison;
        }
        Ok(crashes) => call.attempt = crashes.saturating_add(1),
        Err(cause) if peer.note_stale(&cause) => return Attempt::TooLate,
        Err(cause) => {
            peer.forget_attempt(worker);
            error!(peer = %peer.name, %id, %cause, "an attempt could not be counted");
        }
    }
    Attempt::Allowed
}

/// Keeps a rejected message as a dead letter, if there is a store. With that, the message counts as
/// handled: it does not become another one after a crash.
pub(super) async fn keep(peer: &Arc<Peer>, call: &Call, code: RejectCode) {
    if let (Some(store), Some(id), Some(payload)) = (peer.store(), call.id, call.payload()) {
        let at = SystemTime::now();
        let letter = DeadLetter { mailbox: peer.mailbox.clone(), id, code, at, payload };
        drop(peer.commit_cursors());
        match store.add_letter(letter, peer.fence()).await {
            Ok(()) => peer.note_dead_letter(id, code),
            Err(cause) if peer.note_stale(&cause) => {}
            Err(cause) => error!(peer = %peer.name, %id, %cause, "a dead letter could not be kept"),
        }
    }
}
