//! What a replica does when another one has the peer of its link at the door (S10, S11).

use std::sync::Arc;

use paddington_wire::{Instance, LinkId};

use super::lease;
use crate::Event;
use crate::core::Core;
use crate::faults::{Fault, broken};
use crate::peer::Peer;
use crate::registry::{Entry, Role};
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
        lease::look(Arc::clone(&core)).await;
        cluster.store.tell(from, Signal::Yielded { link, free: true });
        return;
    };
    let omits = life.is_some() && broken(Fault::ProbeOmitted);
    if !omits && (life.is_none() || peer.probe(life).await.is_err()) {
        cluster.store.tell(from, Signal::Yielded { link, free: false });
        return;
    }
    end(&core, &peer, Some(from)).await;
}

/// Ends a term in order: the link is released, and whoever has asked for it is told.
pub(super) async fn end(core: &Arc<Core>, peer: &Arc<Peer>, to: Option<ReplicaId>) {
    let Some(cluster) = &core.cluster else { return };
    let link = peer.mailbox.link;
    let entry = core.peers.entry(peer.name.as_str()).filter(|it| Arc::ptr_eq(&it.peer, peer));
    if let Some(Entry { role: Role::Server(dialing), .. }) = entry {
        dialing.stop.cancel(); // another replica dials from now on, also while a call runs here
    }
    let Some(released) = peer.begin_yield().await else { return };
    if let Some(to) = to {
        cluster.store.tell(to, Signal::Yielded { link, free: true });
    }
    core.shared.tell(Event::Yielded { peer: peer.name.clone() });
    peer.finish_yield(released).await;
    cluster.dial.notify_one();
}
