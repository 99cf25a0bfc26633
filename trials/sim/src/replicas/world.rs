//! What all of a run share: the database, the network, the links, the replicas, the ledger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paddington_exchange::Config;
use paddington_test_support::{MemoryNetwork, Random, SharedDisk, TestLink};
use tokio::sync::Notify;

use super::ledger::Ledger;
use super::plan::Plan;
use super::replica::Replica;
use super::requests::Requests;

/// The name of the service that has replicas.
pub(crate) const HUB: &str = "hub";
/// The port of the server that the service is a client of. Replicas listen on those after it.
pub(crate) const PORT: u16 = 6_600;

/// What all of a run share.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) disk: SharedDisk,
    pub(crate) network: MemoryNetwork,
    /// The links with all peers: those of the clients, and then that with the server.
    pub(crate) links: Vec<TestLink>,
    pub(crate) ledger: Ledger,
    pub(crate) requests: Requests,
    /// Notified when peers are to send many messages at once.
    pub(crate) hurry: Notify,
    replicas: Mutex<Vec<Arc<Replica>>>,
    /// Whether nothing more is sent.
    calm: AtomicBool,
    /// Held by faults that last.
    disturbed: Arc<()>,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, disk: SharedDisk, tells: bool) -> Self {
        let range = "127.0.0.0/8".parse().ok();
        let link = |peer: usize| {
            let name = peer_name(peer);
            let is_client = peer < plan.clients;
            let ends = if is_client { [HUB, &*name] } else { [&*name, HUB] };
            let mut random = Random::new(seed ^ (peer as u64 + 1) << 56);
            let mut link = TestLink::drawn(ends[0], ends[1], &mut random);
            link.range = range.unwrap_or(link.range);
            link
        };
        Self {
            seed,
            disk,
            network: MemoryNetwork::new(),
            links: (0..plan.peers()).map(link).collect(),
            ledger: Ledger::new(plan.peers(), plan.concurrency, tells),
            requests: Requests::new(plan.peers()),
            hurry: Notify::new(),
            replicas: Mutex::default(),
            calm: AtomicBool::new(false),
            disturbed: Arc::default(),
            plan,
        }
    }

    /// Draws numbers for one purpose.
    pub(crate) fn random(&self, purpose: u64) -> Random {
        Random::new(Random::new(self.seed ^ purpose.rotate_right(16)).next_number())
    }

    pub(crate) fn replicas(&self) -> MutexGuard<'_, Vec<Arc<Replica>>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns those replicas that run and do not shut down.
    pub(crate) fn running(&self) -> Vec<Arc<Replica>> {
        self.replicas().iter().filter(|it| it.is_running()).cloned().collect()
    }

    pub(crate) fn be_calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Returns what a fault that lasts holds.
    pub(crate) fn begin_disturbance(&self) -> Arc<()> {
        Arc::clone(&self.disturbed)
    }

    /// Returns whether a fault lasts.
    pub(crate) fn is_disturbed(&self) -> bool {
        Arc::strong_count(&self.disturbed) > 1
    }

    /// Returns the number of a peer.
    pub(crate) fn peer(&self, name: &str) -> Option<usize> {
        (0..self.links.len()).find(|peer| peer_name(*peer) == name)
    }

    /// Returns the settings of all services.
    pub(crate) fn settings(&self) -> Config {
        let mut config = Config { handshakes: 1_000_000, ..Config::default() };
        config.transport.limits.attempts = 1_000_000;
        config.transport.limits.pending_per_address = 64;
        config.transport.retry.interval = Duration::from_secs(1);
        config.transport.retry.refused = Duration::from_secs(5);
        config.transport.retry.good_session = Duration::from_secs(1);
        config.transport.timeouts.ping_interval = Duration::from_secs(4);
        config.transport.timeouts.dead = Duration::from_secs(12);
        config
    }
}

/// The name of a peer.
pub(crate) fn peer_name(peer: usize) -> String {
    format!("p{peer}")
}
