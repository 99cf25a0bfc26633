//! What a replica does when it is told something. Nothing depends on it: what was missed is found by
//! looking (S5).

use std::sync::Arc;

use paddington_wire::MessageId;

use super::cluster::lock;
use super::hand_over;
use crate::core::Core;
use crate::store::{Signal, Signals};

/// Does what the signals say, until the exchange ends. While it shuts down, handlers may still ask.
pub(super) async fn listen(core: Arc<Core>, mut signals: Signals) {
    let Some(cluster) = &core.cluster else { return };
    let (stop, end) = (core.watchers.clone(), cluster.asking().ended());
    while let Some(Some(signal)) = end.run_until_cancelled(signals.recv()).await {
        if !stop.is_cancelled() || signal.is_of_request() {
            take(&core, signal);
        }
    }
}

fn take(core: &Arc<Core>, signal: Signal) {
    let Some(cluster) = &core.cluster else { return };
    match signal {
        Signal::Appended { link, stream, number } => {
            if let Some(peer) = core.peers.owned(link) {
                peer.note_appended(MessageId { stream, number });
                if peer.instance != stream {
                    cluster.shard_with(link).look.notify_one(); // the store may have lost messages
                }
            }
        }
        Signal::Settled { link } => cluster.receipts().settled(link),
        Signal::Yield { link, life, from } => {
            tokio::spawn(hand_over::give_up(Arc::clone(core), link, life, from));
        }
        Signal::Yielded { link, free } => {
            if let Some(gate) = cluster.open_gate(link) {
                *lock(&gate.answers) = Some(free);
                gate.answered.notify_waiters();
            }
        }
        Signal::LaneFree { link } => {
            if let Some(peer) = core.peers.owned(link) {
                peer.tell_lane_free();
            }
        }
        Signal::Asked { link } => {
            if core.peers.owned(link).is_some() {
                cluster.serving().look_at(link); // else there is a look when the term begins
            }
        }
        Signal::Answered { link } => cluster.asking().answered(link),
        Signal::GivenUp { asker, number, .. } => cluster.serving().give_up(asker, number),
        Signal::Lost => {
            cluster.serving().look();
            cluster.receipts().look();
            cluster.look();
        }
    }
}
