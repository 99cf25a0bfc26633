//! The state that the parts of one exchange share: its peers, its tasks, its lifecycle.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use paddington_transport::{Listening, Network, Refusals};
use paddington_wire::InvitedClients;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::handling::retry::Retry;
use crate::joining::KeyMaker;
use crate::lifecycle::Lifecycle;
use crate::listening::Listen;
use crate::peer::{Peer, RequestHandler, Shared};
use crate::registry::Registry;
use crate::storage::Storage;
use crate::store::LinkStore;

/// The core of an exchange.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Registry,
    /// The clients among them, as a listener looks for them.
    pub(crate) clients: Arc<InvitedClients>,
    /// Held while the peers are changed, so that changes do not meet.
    pub(crate) changes: Mutex<()>,
    pub(crate) lifecycle: Lifecycle,
    /// The listener, the dialers and the connections.
    pub(crate) tasks: TaskTracker,
    pub(crate) workers: TaskTracker,
    /// Adds a worker to a peer.
    pub(crate) spawn_worker: Box<SpawnWorker>,
    /// Calls the handler for a dead letter, one at a time.
    pub(crate) retry: Box<Retry>,
    pub(crate) retries: Mutex<()>,
    /// How the requests of peers are handled.
    pub(crate) requests: Arc<RequestHandler>,
    /// Stops the tasks that look for overdue calls and expired messages.
    pub(crate) watchers: CancellationToken,
    pub(crate) storage: Storage,
    /// What makes this exchange one of several replicas, if it is one.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) keys: KeyMaker,
    pub(crate) store_tasks: TaskTracker,
    pub(crate) store_tasks_stop: CancellationToken,
    pub(crate) network: Arc<dyn Network>,
    /// The settings of connections.
    pub(crate) transport: Arc<paddington_transport::Config>,
    /// Where to listen for clients.
    pub(crate) listen: Option<Listen>,
    /// The address that the exchange listens on, once it does.
    pub(crate) address: OnceLock<SocketAddr>,
    /// The connections that the listener has refused.
    pub(crate) refusals: OnceLock<Refusals>,
    /// Whether the listener accepts connections.
    pub(crate) listening: OnceLock<Listening>,
}

/// A function that adds a worker to a peer.
pub(crate) type SpawnWorker = dyn Fn(&Arc<Core>, &Arc<Peer>) + Send + Sync;

impl Core {
    pub(crate) fn peer(&self, name: &str) -> Option<Arc<Peer>> {
        self.peers.peer(name)
    }

    /// Returns the store, if there is one.
    pub(crate) fn store(&self) -> Option<&dyn LinkStore> {
        self.storage.store()
    }

    /// Waits until no other change of the peers is being made. Returns `None` if the service shuts
    /// down.
    pub(crate) async fn begin_change(&self) -> Option<MutexGuard<'_, ()>> {
        let changes = self.changes.lock().await;
        (!self.lifecycle.is_ending()).then_some(changes)
    }

    /// Adds the workers that a peer lacks. It needs none before it is connected, and many peers never
    /// are.
    pub(crate) fn ensure_workers(self: &Arc<Self>, peer: &Arc<Peer>) {
        while peer.lacks_workers() {
            self.add_worker(peer);
        }
    }

    /// Adds a worker to a peer.
    pub(crate) fn add_worker(self: &Arc<Self>, peer: &Arc<Peer>) {
        (self.spawn_worker)(self, peer);
    }

    /// Divides the room that all peers share among another number of places for peers.
    pub(crate) fn divide(&self, places: usize) {
        self.shared.divide(places);
        for peer in self.peers.peers() {
            peer.divide();
        }
    }
}
