//! What a replica does about its lease, and how it finds what no signal has told (S5, S7).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use paddington_wire::MessageId;
use tokio::time::{Instant, sleep, timeout};
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
/// The longest time that a look at all links may take, and any question on which no message depends: a store that hangs
/// does not answer either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest lease that a configuration can have.
const SHORTEST: Duration = Duration::from_secs(4);
/// The number of leases after which a replica without a shard of its store lets the peers go elsewhere whose links live
/// there.
const LETS_GO_AFTER: u32 = 3;

/// Looks at all links of a shard at intervals and after each lapse of the lease there, until the exchange ends.
pub(super) async fn watch(core: Arc<Core>, shard: usize) {
    let Some(cluster) = core.cluster.clone() else { return };
    let mut full = SHORTEST;
    loop {
        full = full.max(cluster.store.lease(shard));
        tokio::select! {
            biased;
            () = core.watchers.cancelled() => return,
            () = cluster.store.lapsed(shard) => {
                let again = recover(&core, shard, full);
                if core.watchers.run_until_cancelled(again).await.is_none() {
                    return;
                }
            }
            () = cluster.shard(shard).look.notified() => look(Arc::clone(&core), shard).await,
            () = sleep(LOOK) => look(Arc::clone(&core), shard).await,
        }
    }
}

/// Waits until the shard answers again after the lease in it has lapsed, and gives up what others own by then.
async fn recover(core: &Arc<Core>, shard: usize, lease: Duration) {
    let Some(cluster) = &core.cluster else { return };
    let (database, state) = (cluster.database(shard), cluster.shard(shard));
    warn!(
        database,
        "the lease of this replica has lapsed: it calls no handler until the store has answered"
    );
    core.shared.tell(Event::LeaseLapsed { database });
    let since = Instant::now();
    loop {
        let compared = compare_in_time(core, shard).await;
        if compared.is_ok() && !cluster.store.lease(shard).is_zero() {
            break;
        }
        if state.is_open() && since.elapsed() >= lease * LETS_GO_AFTER {
            state.is_closed.store(true, Ordering::Relaxed);
            let cause = compared.err().map(|cause| cause.to_string());
            error!(
                database,
                cause, "the store does not answer: the peers of this replica go elsewhere"
            );
            for peer in peers_of(core, shard).filter(|peer| peer.is_owner()) {
                peer.disconnect();
            }
        }
        sleep(RETRY).await;
    }
    state.is_closed.store(false, Ordering::Relaxed);
    peers_of(core, shard).for_each(|peer| peer.wake_workers());
    info!(database, "this replica has its lease again");
}

/// Returns the peers whose links live in a shard.
fn peers_of(core: &Core, shard: usize) -> impl Iterator<Item = Arc<Peer>> {
    let peers = core.peers.peers().into_iter();
    peers.filter(move |peer| core.cluster.as_ref().is_some_and(|it| it.has(shard, peer)))
}

/// Looks at all links of a shard, as far as it answers.
pub(super) async fn look(core: Arc<Core>, shard: usize) {
    let _ = compare_in_time(&core, shard).await; // it is done again soon
}

async fn compare_in_time(core: &Arc<Core>, shard: usize) -> Result<(), StoreError> {
    let late = |_| Err(StoreError::new("it has not answered in time"));
    timeout(PATIENCE, compare(core, shard)).await.unwrap_or_else(late)
}

/// Compares the links of a shard that this replica owns in its own eyes with what the store knows: terms of links
/// that have another owner end (S7), and messages of which no signal has come are followed (S5).
async fn compare(core: &Arc<Core>, shard: usize) -> Result<(), StoreError> {
    let Some(cluster) = &core.cluster else { return Ok(()) };
    // Links that are claimed while the store answers may be missing in its answer.
    let own: Vec<_> = peers_of(core, shard).filter(|it| it.is_owner()).collect();
    let owned = cluster.store.owned(shard).await?;
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
