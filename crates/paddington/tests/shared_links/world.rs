//! Replicas of one service, and their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use paddington::store::ReplicaId;
use paddington::{Cluster, Handler, Message, Service, ServiceConfig, ServiceError, Storage};
use paddington_test_support::{Detour, Inbox, MemoryNetwork, SharedDisk};
use tempfile::TempDir;

pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// The port of the balancer. Replicas listen on those after it.
pub(crate) const PORT: u16 = 6600;

/// The service `hub` of several replicas, and what is between them and their peers.
pub(crate) struct World {
    pub(crate) disk: SharedDisk,
    pub(crate) network: MemoryNetwork,
    /// The port of the replica to which the balancer leads.
    port: Arc<AtomicU16>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            disk: SharedDisk::new(LEASE),
            network: MemoryNetwork::new(),
            port: Arc::new(AtomicU16::new(PORT + 1)),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The configuration of all replicas.
    pub(crate) fn config() -> ServiceConfig {
        let mut config =
            ServiceConfig::new("hub", "ws://hub.example:6600", "127.0.0.1", &PORT).unwrap();
        config.set_cluster(Cluster::new("postgres://db.example/x").unwrap()).unwrap();
        config
    }

    pub(crate) async fn replica_of(
        &self,
        number: u16,
        config: &ServiceConfig,
    ) -> Result<Service, ServiceError> {
        Ok(self.start(number, config).await?.1)
    }

    /// Starts a replica, and returns its number in the database, too.
    pub(crate) async fn start(
        &self,
        number: u16,
        config: &ServiceConfig,
    ) -> Result<(ReplicaId, Service), ServiceError> {
        let mut config = config.clone();
        config.set_port(PORT + number);
        let (id, store) = self.disk.open();
        let storage = Storage::Shared(store);
        let handler = async |_: Message| Ok::<(), std::io::Error>(());
        let service = Service::start_with(self.network.network(), storage, &config, handler);
        Ok((id, service.await?))
    }

    pub(crate) async fn replica(&self, number: u16) -> Service {
        self.replica_of(number, &Self::config()).await.unwrap()
    }

    /// Starts a client, which keeps its links in a folder of its own.
    pub(crate) async fn client(&self, name: &str) -> (Service, Inbox) {
        let (inbox, handler) = Inbox::new();
        (self.client_with(name, handler).await, inbox)
    }

    pub(crate) async fn client_with(&self, name: &str, handler: impl Handler) -> Service {
        let port = Arc::clone(&self.port);
        let network = Detour::network(self.network.clone(), move |network, mut address| {
            address.set_port(port.load(Ordering::Relaxed));
            async move { network.dial(address).await }
        });
        let mut config = ServiceConfig::new(name, "ws://x.example:1", "127.0.0.1", &1).unwrap();
        config.set_links(self.folder.path().join(name)).unwrap();
        Service::start_on(network, &config, handler).await.unwrap()
    }

    /// Lets clients get to this replica, and cuts all connections.
    pub(crate) fn lead_to(&self, number: u16) {
        self.port.store(PORT + number, Ordering::Relaxed);
        self.network.cut();
    }
}
