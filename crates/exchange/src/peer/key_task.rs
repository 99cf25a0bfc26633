//! The task that looks after the keys of a peer's link while there is something to do about them.
//! Implements `docs/protocol.md` §3.6 and §5.5.

use std::sync::Arc;
use std::time::Duration;

use paddington_wire::keys::{Generation, Storing};
use tokio::time::sleep;
use tracing::{error, info};

use super::Peer;
use super::keys::{Change, LinkKeys, Next};

/// The longest wait of a task, in seconds: no session lasts as long.
const LONGEST: u64 = 30 * 60 * 60;

impl Peer {
    /// Looks after the keys, because something has happened.
    pub(crate) fn attend_keys(self: &Arc<Self>) {
        if let Some(keys) = self.keys()
            && keys.poke()
        {
            self.shared.key_tasks.spawn(attend(Arc::clone(self)));
        }
    }
}

async fn attend(peer: Arc<Peer>) {
    let Some(keys) = peer.keys() else { return };
    loop {
        match keys.next() {
            Next::Store(change) => store(&peer, keys, change).await,
            Next::Say(saying) => saying.say(),
            Next::Wait(until) if until.saturating_sub(keys.now()) < LONGEST => {
                let wait = Duration::from_secs(until.saturating_sub(keys.now()).max(1));
                tokio::select! {
                    () = keys.news() => {}
                    () = sleep(wait) => {}
                    () = peer.shared.stopping.cancelled() => {
                        if keys.leave() { return }
                    }
                }
            }
            Next::Wait(_) | Next::Nothing => {
                if keys.leave() {
                    return;
                }
            }
        }
    }
}

async fn store(peer: &Arc<Peer>, keys: &LinkKeys, change: Change) {
    let newest = change.ring.generations().last().map(Generation::number);
    let storing = match keys.store(&peer.name, &change.ring).await {
        Ok(()) => Storing::Done,
        Err(cause) => {
            error!(
                peer = %peer.name, %cause,
                "new keys could not be stored; the former ones stay in use"
            );
            Storing::Failed
        }
    };
    if storing == Storing::Done && change.is_agreed() {
        info!(peer = %peer.name, generation = newest, "the keys of the link were renewed");
    }
    if let Some(saying) = keys.settle(peer, change, storing) {
        saying.say();
    }
}
