//! The state that the parts of one exchange share: its peers, its tasks, its lifecycle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use paddington_wire::PeerName;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lifecycle::Lifecycle;
use crate::peer::{Peer, Shared};
use crate::store::Store;

/// The core of an exchange.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: BTreeMap<PeerName, Arc<Peer>>,
    /// Tokens that stop the dialling of each server.
    pub(crate) dialers: BTreeMap<PeerName, CancellationToken>,
    pub(crate) lifecycle: Lifecycle,
    /// The listener, the dialers and the connections.
    pub(crate) tasks: TaskTracker,
    pub(crate) workers: TaskTracker,
    /// Adds a worker to a peer.
    pub(crate) spawn_worker: Box<SpawnWorker>,
    /// Stops the tasks that look for overdue calls and expired messages.
    pub(crate) watchers: CancellationToken,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) store_tasks: TaskTracker,
    pub(crate) store_tasks_stop: CancellationToken,
    /// The address that the exchange listens on.
    pub(crate) address: Option<SocketAddr>,
}

/// A function that adds a worker to a peer.
pub(crate) type SpawnWorker = dyn Fn(&Arc<Core>, &Arc<Peer>) + Send + Sync;

impl Core {
    pub(crate) fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.peers.get(name)
    }

    /// Adds the workers that a peer lacks. It needs none before it is connected, and many peers never
    /// are.
    pub(crate) fn ensure_workers(self: &Arc<Self>, peer: &Arc<Peer>) {
        for _ in 0..peer.missing_workers() {
            self.add_worker(peer);
        }
    }

    /// Adds a worker to a peer.
    pub(crate) fn add_worker(self: &Arc<Self>, peer: &Arc<Peer>) {
        (self.spawn_worker)(self, peer);
    }
}
