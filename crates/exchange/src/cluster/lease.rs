//! What a replica does about its lease, and how it finds what no signal has told (S5, S7).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paddington_wire::MessageId;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::Event;
use crate::core::Core;
use crate::faults::{Fault, broken};
use crate::peer::Peer;
use crate::store::{LaneLeft, Owned, StoreError};

/// The interval at which a replica looks at all its links (S5).
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the store has not answered.
const RETRY: Duration = Duration::from_millis(250);
/// The number of leases after which a replica without its store lets its peers go elsewhere.
const LETS_GO_AFTER: u32 = 3;

/// Looks at all links at intervals and after each lapse of the lease, until the exchange ends.
pub(super) async fn watch(core: Arc<Core>) {
    let Some(cluster) = core.cluster.clone() else { return };
    let full = cluster.store.lease();
    loop {
        tokio::select! {
            biased;
            () = core.watchers.cancelled() => return,
            () = cluster.store.lapsed() => {
                let again = recover(&core, full);
                if core.watchers.run_until_cancelled(again).await.is_none() {
                    return;
                }
            }
            () = cluster.look.notified() => look(Arc::clone(&core)).await,
            () = sleep(LOOK) => look(Arc::clone(&core)).await,
        }
    }
}

/// Waits until the store answers again after the lease has lapsed, and gives up what others own by then.
async fn recover(core: &Arc<Core>, lease: Duration) {
    warn!("the lease of this replica has lapsed: it calls no handler until the store has answered");
    core.shared.tell(Event::LeaseLapsed);
    let Some(cluster) = &core.cluster else { return };
    let (since, mut let_go) = (Instant::now(), false);
    loop {
        let compared = compare(core).await;
        if compared.is_ok() && !cluster.store.lease().is_zero() {
            break;
        }
        if !let_go && since.elapsed() >= lease.max(RETRY) * LETS_GO_AFTER {
            let_go = true;
            let cause = compared.err().map(|cause| cause.to_string());
            error!(cause, "the store does not answer: the peers of this replica go elsewhere");
            let peers = core.peers.peers();
            for peer in peers.iter().filter(|peer| peer.is_owner()) {
                peer.disconnect();
            }
        }
        sleep(RETRY).await;
    }
    core.peers.peers().iter().for_each(|peer| peer.wake_workers());
    info!("this replica has its lease again");
}

/// Looks at all links, as far as the store answers.
pub(super) async fn look(core: Arc<Core>) {
    let _ = compare(&core).await; // it is done again soon
}

/// Compares the links that this replica owns in its own eyes with what the store knows: terms of links
/// that have another owner end (S7), and messages of which no signal has come are followed (S5).
async fn compare(core: &Arc<Core>) -> Result<(), StoreError> {
    let Some(cluster) = &core.cluster else { return Ok(()) };
    // Links that are claimed while the store answers may be missing in its answer.
    let own: Vec<Arc<Peer>> = core.peers.peers().into_iter().filter(|it| it.is_owner()).collect();
    let owned = cluster.store.owned().await?;
    let owned: HashMap<_, Owned> = owned.into_iter().map(|owned| (owned.link, owned)).collect();
    for peer in own {
        let owned = owned.get(&peer.mailbox.link).filter(|owned| owned.fence == peer.fence());
        match owned {
            None if broken(Fault::LapseIgnored) => {}
            None if !peer.is_owner() => {} // it was given up meanwhile
            None if peer.depose() => {
                warn!(peer = %peer.name, "another replica has become the owner of the link meanwhile");
                core.shared.tell(Event::Deposed { peer: peer.name.clone() });
            }
            None => {}
            Some(owned) if owned.stream != peer.instance => {
                // The store has lost messages, so the link is claimed anew (S9).
                tokio::spawn({
                    let (core, peer) = (Arc::clone(core), Arc::clone(&peer));
                    async move { core.end_term(&peer, None).await }
                });
            }
            Some(_) if broken(Fault::LookOmitted) => {}
            Some(owned) => {
                peer.note_appended(MessageId { stream: owned.stream, number: owned.last });
            }
        }
    }
    // A link that is being given up is released there, together with what becomes of its lane.
    let has_ended = |link| core.peers.by_link(link).is_none_or(|peer| peer.has_ended());
    let unknown = |link| cluster.open_gate(link).is_none() && has_ended(link);
    let left = owned.into_values().filter(|owned| unknown(owned.link));
    let left: Vec<_> =
        left.map(|it| (core.mailbox_of(it.link), it.fence, LaneLeft::Free)).collect();
    if left.is_empty() {
        return Ok(());
    }
    // An answer of the store got lost, to a claim or to a release.
    cluster.store.release(left).await
}
