//! What a replica does when another one has the peer of its link at the door (S10, S11).

use std::sync::Arc;

use paddington_wire::{Instance, LinkId};

use super::lease;
use crate::core::Core;
use crate::faults::{Fault, broken};
use crate::store::{ReplicaId, Signal};

/// Gives a link up to the replica that has asked, unless another process of the peer is connected and
/// shows a sign of life.
pub(super) async fn give_up(
    core: Arc<Core>,
    link: LinkId,
    life: Option<Instance>,
    from: ReplicaId,
) {
    let Some(cluster) = &core.cluster else { return };
    let Some(peer) = core.peers.owned(link) else {
        // If the store counts it as this replica's all the same, that is found out.
        lease::look(Arc::clone(&core), cluster.shard_of(link)).await;
        cluster.store.tell(from, Signal::Yielded { link, free: true });
        return;
    };
    let omits = life.is_some() && broken(Fault::ProbeOmitted);
    if !omits && (life.is_none() || peer.probe(life).await.is_err()) {
        cluster.store.tell(from, Signal::Yielded { link, free: false });
        return;
    }
    core.end_term(&peer, Some(from)).await;
}
