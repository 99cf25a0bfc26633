//! The state of a replica beside its peers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::peer::{Peer, TermCounts};
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
    shards: Vec<Shard>,
}

/// What a replica knows of a shard of the store, each of which fails alone (S15).
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Whether it has been out of reach for so long that the peers whose links live in it are to go elsewhere.
    pub(super) is_closed: AtomicBool,
    /// Notified when its links have to be looked at (S5).
    pub(super) look: Notify,
    /// Notified when the servers whose links live in it have to be looked at.
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
            shards: (0..store.shards()).map(|_| Shard::default()).collect(),
            store,
            gates: Mutex::default(),
            servers: Mutex::default(),
        }
    }

    /// Makes a replica, if the storage is one that replicas share.
    pub(crate) fn over(storage: &Storage) -> Option<Arc<Self>> {
        match storage {
            Storage::Shared(store) => Some(Arc::new(Self::new(Arc::clone(store)))),
            Storage::Memory | Storage::Own(_) => None,
        }
    }

    /// Returns whether peers may come here: this replica has reached its store lately, or a shard of it.
    pub(crate) fn takes_peers(&self) -> bool {
        self.shards.iter().any(Shard::is_open)
    }

    /// Returns whether the peer of a link may come here: this replica has reached the shard of the link lately.
    pub(crate) fn takes(&self, link: LinkId) -> bool {
        self.shard_with(link).is_open()
    }

    /// Returns the number of the shard of a link.
    pub(super) fn shard_of(&self, link: LinkId) -> usize {
        self.store.shard_of(link)
    }

    /// Returns the shard with this number.
    pub(super) fn shard(&self, number: usize) -> &Shard {
        &self.shards[number]
    }

    /// Returns the shard of a link.
    pub(super) fn shard_with(&self, link: LinkId) -> &Shard {
        self.shard(self.shard_of(link))
    }

    /// Returns the number that people have for a shard, if there are several.
    pub(super) fn database(&self, shard: usize) -> Option<usize> {
        (self.shards.len() > 1).then_some(shard + 1)
    }

    /// Has all links looked at (S5).
    pub(super) fn look(&self) {
        self.shards.iter().for_each(|shard| shard.look.notify_one());
    }

    /// Takes note of a server that a replica is to dial.
    pub(crate) fn know(&self, server: Server) {
        let link = server.link;
        lock(&self.servers).insert(link, server);
        self.shard_with(link).dial.notify_one();
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

    /// Gives all links up, at the end: what was done for them is durable then. No shard waits for another one.
    pub(crate) async fn release(&self, peers: &[Arc<Peer>]) {
        join_all((0..self.shards.len()).map(|shard| self.release_those_of(shard, peers))).await;
    }

    async fn release_those_of(&self, shard: usize, peers: &[Arc<Peer>]) {
        let is_own = |peer: &&Arc<Peer>| self.has(shard, peer) && peer.owns_at_end();
        let own: Vec<_> = peers.iter().filter(is_own).collect();
        join_all(own.iter().map(|peer| peer.write_out())).await;
        let links = own.iter().map(|it| (it.mailbox.clone(), it.fence(), it.prepare_release()));
        if let Err(cause) = self.store.release(links.collect()).await {
            let database = self.database(shard);
            warn!(
                database, %cause,
                "the links of this replica could not be given up: the others wait for its lease"
            );
        }
    }

    /// Returns whether the link with a peer lives in a shard.
    pub(super) fn has(&self, shard: usize, peer: &Peer) -> bool {
        self.shard_of(peer.mailbox.link) == shard
    }

    /// Returns how this replica is, which owns so many links and has had these terms.
    pub(crate) fn status(&self, links: usize, terms: &TermCounts) -> ReplicaStatus {
        let leases = (0..self.shards.len()).map(|shard| self.store.lease(shard));
        let (number, leases) = (self.store.replica().0, leases.collect::<Vec<_>>());
        let lease = leases.iter().copied().max().unwrap_or_default();
        let [claimed, yielded, deposed] = terms.read();
        ReplicaStatus { number, lease, leases, links, claimed, yielded, deposed }
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

impl Shard {
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
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
