//! Several replicas of one service over a store that they share (`docs/cluster.md`).

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod handing_over;
mod lapsing;
mod letters;
mod owners;
mod receipts;
mod requesting;
mod requesting_anew;
mod sending;
mod serving;
mod shards;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use paddington_exchange::store::ReplicaId;
use paddington_exchange::{Config, Exchange, Handler, PeerStatus, Setup, Storage};
use paddington_test_support::{Detour, Inbox, MemoryNetwork, SharedDisk, TestLink, setup};
use paddington_transport::Network;
use paddington_wire::Message;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(10);
/// The port of the balancer. Replicas listen on those after it.
const PORT: u16 = 6600;

/// A service of several replicas, and what is between them and their peers.
struct Service {
    disk: SharedDisk,
    network: MemoryNetwork,
    links: Vec<TestLink>,
    /// The port of the replica to which the balancer leads.
    port: Arc<AtomicU16>,
}

/// One replica.
struct Replica {
    exchange: Exchange,
    id: ReplicaId,
    number: u16,
}

impl Service {
    /// Makes the service `hub` with these clients.
    fn new(clients: &[&str]) -> Self {
        let links = clients.iter().map(|client| TestLink::new("hub", client)).collect();
        Self::over(SharedDisk::new(LEASE), links)
    }

    fn over(disk: SharedDisk, links: Vec<TestLink>) -> Self {
        let port = Arc::new(AtomicU16::new(PORT + 1));
        Self { disk, network: MemoryNetwork::new(), links, port }
    }

    fn setup(&self, number: u16) -> (Setup, ReplicaId) {
        let (id, store) = self.disk.open();
        let clients = self.links.iter().map(TestLink::invited).collect();
        let setup = setup("hub", PORT + number, &self.network);
        (Setup { clients, store: Storage::Shared(store), ..setup }, id)
    }

    /// Starts a replica with a handler.
    async fn replica_with(&self, number: u16, handler: impl Handler) -> Replica {
        let (setup, id) = self.setup(number);
        Replica { exchange: Exchange::start(setup, handler).await.unwrap(), id, number }
    }

    /// Starts a replica with an inbox.
    async fn replica(&self, number: u16) -> (Replica, Inbox) {
        let (inbox, handler) = Inbox::new();
        (self.replica_with(number, handler).await, inbox)
    }

    /// Starts two replicas with inboxes.
    async fn two(&self) -> [(Replica, Inbox); 2] {
        [self.replica(1).await, self.replica(2).await]
    }

    /// Returns the network in which clients get to a replica by the balancer.
    fn balanced(&self) -> Arc<dyn Network> {
        let port = Arc::clone(&self.port);
        Detour::network(self.network.clone(), move |network, mut address| {
            address.set_port(port.load(Ordering::Relaxed));
            async move { network.dial(address).await }
        })
    }

    /// Starts the client of the first link.
    async fn client(&self) -> (Exchange, Inbox) {
        let (inbox, handler) = Inbox::new();
        (self.client_with(Config::default(), handler).await, inbox)
    }

    async fn client_with(&self, config: Config, handler: impl Handler) -> Exchange {
        self.client_of(0, config, handler).await
    }

    /// Starts the client of a link.
    async fn client_of(&self, at: u16, config: Config, handler: impl Handler) -> Exchange {
        let link = &self.links[usize::from(at)];
        let servers = vec![link.server_at(PORT)];
        let network = self.balanced();
        let setup = setup(link.client.as_str(), PORT + 50 + at, &self.network);
        let setup = Setup { servers, network, config, ..setup };
        Exchange::start(setup, handler).await.unwrap()
    }

    /// Lets clients get to this replica from now on.
    fn lead_to(&self, replica: &Replica) {
        self.port.store(PORT + replica.number, Ordering::Relaxed);
    }

    /// Lets clients get to no replica from now on.
    fn lead_nowhere(&self) {
        self.port.store(PORT + 49, Ordering::Relaxed);
    }

    /// Lets clients get to this replica, and cuts their connections.
    async fn move_to(&self, replica: &Replica) {
        self.lead_to(replica);
        self.network.cut();
        self.owned_by(replica).await;
        connected(&replica.exchange, self.links[0].client.as_str()).await;
    }

    /// Waits until a replica owns the first link.
    async fn owned_by(&self, replica: &Replica) {
        while self.disk.owner(self.links[0].id) != Some(replica.id) {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends a replica as a kill does: nothing of it reaches anybody any more.
    fn kill(&self, replica: &Replica) {
        self.disk.kill(replica.id);
        replica.exchange.ask_to_shut_down_now();
    }
}

fn status(exchange: &Exchange, peer: &str) -> Option<PeerStatus> {
    exchange.peers().into_iter().find(|status| status.name.as_str() == peer)
}

async fn connected(exchange: &Exchange, peer: &str) {
    while !status(exchange, peer).unwrap().is_connected() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sends numbered messages.
async fn send(from: &Exchange, to: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        from.send(Message::new(to, number.to_string())).await.unwrap();
    }
}

/// Takes messages, which have to be these.
async fn take(inbox: &Inbox, numbers: std::ops::Range<u32>) {
    for number in numbers {
        assert_eq!(inbox.text().await, number.to_string());
    }
}
