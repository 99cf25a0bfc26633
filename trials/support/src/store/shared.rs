//! A store that several replicas share, in memory: the same rules as in a database, and the faults that
//! one has. `docs/cluster.md`, "Rules", names them.

mod directory;
mod handle;
mod relay;
mod rows;
mod trouble;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington::LinkId;
use paddington::store::{ReplicaId, SharedStore};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use handle::{Handle, Own, OwnLease, beat, flush};
use rows::{Contact, Replica, Shared};

/// The most signals that wait for a replica.
const SIGNALS: usize = 1_024;

/// A database in memory that replicas share, or several of them, its shards.
#[derive(Clone)]
pub struct SharedDisk {
    shared: Arc<Mutex<Shared>>,
    lease: Duration,
    shards: usize,
}

/// Rules that a test can leave out, to see what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken {
    /// Writes of replaced owners are taken (S2).
    pub fence: bool,
    /// A claim goes on with the stream of the term before (S3).
    pub stream: bool,
    /// No stream is begun when messages were lost (S9).
    pub epoch: bool,
}

impl SharedDisk {
    /// Creates an empty database, whose replicas have leases of this length.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        Self::with_shards(lease, 1)
    }

    /// The same with several shards, each of which fails alone.
    #[must_use]
    pub fn with_shards(lease: Duration, shards: usize) -> Self {
        Self { shared: Arc::default(), lease, shards }
    }

    /// Returns the shard of a link: the same as where the shards are databases.
    #[must_use]
    pub fn shard_of(&self, link: LinkId) -> usize {
        rows::shard_of(link, self.shards)
    }

    /// Opens the database for a new replica.
    #[must_use]
    pub fn open(&self) -> (ReplicaId, Arc<dyn SharedStore>) {
        let until = Instant::now() + self.lease;
        let (signals, told) = mpsc::channel(SIGNALS);
        let mut shared = self.lock();
        let id = ReplicaId(shared.replicas.len() as u32 + 1);
        let contact = Contact { until, cut_off: false, session_ended: false };
        let (shards, links) = (vec![contact; self.shards], watch::Sender::default());
        let replica = Replica { shards, gone: false, signals, links };
        shared.replicas.insert(id, replica);
        drop(shared);
        let leases = vec![OwnLease { until, lapsed: false }; self.shards];
        let (lapse, lazy) = (Arc::default(), Vec::new());
        let own = Own { leases, lapse, signals: Some(told), lazy };
        let handle = Arc::new(Handle { disk: self.clone(), id, own: Arc::new(Mutex::new(own)) });
        tokio::spawn(beat(Arc::downgrade(&handle), self.lease / 4));
        tokio::spawn(flush(Arc::downgrade(&handle)));
        (id, handle)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDisk").finish_non_exhaustive()
    }
}
