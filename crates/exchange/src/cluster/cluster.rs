//! The state of a replica beside its peers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use paddington_transport::Renewed;
use paddington_wire::LinkId;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tracing::warn;

use super::Receipts;
use super::relay::{Asking, Serving};
use crate::ReplicaStatus;
use crate::dialing::Server;
use crate::peer::Peer;
use crate::storage::Storage;
use crate::store::SharedStore;

/// A replica of a service.
pub(crate) struct Cluster {
    pub(super) store: Arc<dyn SharedStore>,
    receipts: Arc<Receipts>,
    asking: Arc<Asking>,
    serving: Arc<Serving>,
    /// One claim of a link runs at a time.
    gates: Mutex<HashMap<LinkId, Weak<Gate>>>,
    /// The servers that this service is invited to, one of whose replicas dials them.
    pub(super) servers: Mutex<HashMap<LinkId, Server>>,
    /// Notified when all links have to be looked at (S5).
    pub(super) look: Notify,
    /// Notified when servers have to be looked at.
    pub(super) dial: Notify,
}

/// What a claim of a link holds.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) turn: AsyncMutex<()>,
    pub(super) answers: Mutex<Option<bool>>,
    /// Notified when the owner of the link has answered.
    pub(super) answered: Notify,
}

impl Cluster {
    fn new(store: Arc<dyn SharedStore>) -> Self {
        Self {
            receipts: Arc::new(Receipts::new(Arc::clone(&store))),
            asking: Arc::new(Asking::new(Arc::clone(&store))),
            serving: Arc::new(Serving::new(Arc::clone(&store))),
            store,
            gates: Mutex::default(),
            servers: Mutex::default(),
            look: Notify::new(),
            dial: Notify::new(),
        }
    }

    /// Makes a replica, if the storage is one that replicas share.
    pub(crate) fn over(storage: &Storage) -> Option<Arc<Self>> {
        match storage {
            Storage::Shared(store) => Some(Arc::new(Self::new(Arc::clone(store)))),
            Storage::Memory | Storage::Own(_) => None,
        }
    }

    /// Takes note of a server that a replica is to dial.
    pub(crate) fn know(&self, server: Server) {
        lock(&self.servers).insert(server.link, server);
        self.dial.notify_one();
    }

    /// Dials a server elsewhere from the next term on.
    pub(crate) fn redirect(&self, link: LinkId, newer: &Renewed) {
        if let Some(server) = lock(&self.servers).get_mut(&link) {
            let Renewed { endpoint, fallbacks, credentials, tls } = newer.clone();
            *server = Server { endpoint, fallbacks, credentials, tls, ..server.clone() };
        }
    }

    /// Forgets a link that was removed.
    pub(crate) fn forget(&self, link: LinkId) {
        lock(&self.servers).remove(&link);
        self.receipts.removed(link);
        self.asking.removed(link);
    }

    /// Ends all requests, at the end: those of this replica, and those that it was to make for others.
    pub(crate) async fn end_requests(&self, peers: &[Arc<Peer>]) {
        let own: Vec<_> = peers.iter().filter(|peer| peer.is_owner()).cloned().collect();
        tokio::join!(self.asking.end(), self.serving.end(&own));
    }

    /// Gives all links up, at the end: what was done for them is durable then.
    pub(crate) async fn release(&self, peers: &[Arc<Peer>]) {
        let own: Vec<_> = peers.iter().filter(|peer| peer.owns_at_end()).collect();
        join_all(own.iter().map(|peer| peer.write_out())).await;
        let links = own.iter().map(|it| (it.mailbox.clone(), it.fence(), it.lane_left()));
        if let Err(cause) = self.store.release(links.collect()).await {
            warn!(%cause, "the links of this replica could not be given up: the others wait for its lease");
        }
    }

    /// Returns how this replica is, which owns so many links.
    pub(crate) fn status(&self, links: usize) -> ReplicaStatus {
        ReplicaStatus { number: self.store.replica().0, lease: self.store.lease(), links }
    }

    /// Returns those who wait for the outcomes of messages.
    pub(crate) fn receipts(&self) -> &Arc<Receipts> {
        &self.receipts
    }

    /// Returns the requests of this replica that others make.
    pub(crate) fn asking(&self) -> &Arc<Asking> {
        &self.asking
    }

    /// Returns the requests of others that this replica makes.
    pub(crate) fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Returns the gate of a link, which is the same for all who have it at a time.
    pub(super) fn gate(&self, link: LinkId) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        if let Some(gate) = gates.get(&link).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::default());
        gates.insert(link, Arc::downgrade(&gate));
        gate
    }

    /// Returns the gate of a link, if a claim of it runs.
    pub(super) fn open_gate(&self, link: LinkId) -> Option<Arc<Gate>> {
        lock(&self.gates).get(&link).and_then(Weak::upgrade)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("replica", &self.store.replica()).finish_non_exhaustive()
    }
}
