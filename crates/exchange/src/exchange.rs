//! The handle of an exchange, with the methods that applications call.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_transport::{Listening, Refusals};
use paddington_wire::PeerName;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::cluster::PATIENCE;
use crate::core::Core;
use crate::current::{self, is_handler_of};
use crate::peer::Peer;
use crate::registry::{Entry, Role};
use crate::store::{LinkStore, StoreError};
use crate::{
    AlreadyRunning, Event, NoExchange, PeerStatus, PingError, Refusal, ReplicaStatus, SendError,
    ShutdownReport,
};

/// A handle of a service's exchange; a clone is cheap.
///
/// The exchange runs until [`shutdown`](Self::shutdown), however many handles there are.
#[derive(Clone)]
pub struct Exchange {
    core: Arc<Core>,
}

impl Exchange {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Returns the service's name.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.core.shared.name
    }

    /// Returns the address that the exchange listens on. It listens once it has a client.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.core.address.get().copied()
    }

    /// Subscribes to the events of all links from now on. A receiver that is read too rarely misses
    /// the oldest ones.
    ///
    /// ```
    /// # use paddington_exchange::{Config, Exchange, Setup, Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let setup = Setup {
    /// #     name: "hub".parse()?,
    /// #     listen: None,
    /// #     clients: Vec::new(),
    /// #     servers: Vec::new(),
    /// #     network: paddington_transport::system(),
    /// #     store: Storage::Memory,
    /// #     key_store: None,
    /// #     config: Config::default(),
    /// # };
    /// # let exchange = Exchange::start(setup, async |_| Ok::<(), std::io::Error>(())).await?;
    /// let mut events = exchange.events();
    /// tokio::spawn(async move {
    ///     while let Ok(event) = events.recv().await {
    ///         println!("{event:?}");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.core.shared.events()
    }

    /// Lets up to `concurrency` messages of a peer be handled at the same time, in any order.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn set_concurrency(&self, peer: &str, concurrency: usize) -> Result<(), SendError> {
        let peer = self.known(peer)?;
        peer.set_concurrency(concurrency);
        self.core.ensure_workers(&peer);
        Ok(())
    }

    /// Resumes handling a peer's messages after its handler has failed and the policy
    /// [`OnError::Stop`](crate::OnError::Stop) has stopped it.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn resume_handling(&self, peer: &str) -> Result<(), SendError> {
        self.known(peer)?.resume_handling();
        Ok(())
    }

    /// Returns the store, if there is one: it lists the dead letters and reports its health.
    #[must_use]
    pub fn store(&self) -> Option<&dyn LinkStore> {
        self.core.store()
    }

    /// Returns the status of all peers, sorted by name.
    ///
    /// ```
    /// # use paddington_exchange::{Config, Exchange, Setup, Storage};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let setup = Setup {
    /// #     name: "hub".parse()?,
    /// #     listen: None,
    /// #     clients: Vec::new(),
    /// #     servers: Vec::new(),
    /// #     network: paddington_transport::system(),
    /// #     store: Storage::Memory,
    /// #     key_store: None,
    /// #     config: Config::default(),
    /// # };
    /// # let exchange = Exchange::start(setup, async |_| Ok::<(), std::io::Error>(())).await?;
    /// for peer in exchange.peers() {
    ///     println!("{}: {} messages wait", peer.name, peer.outbox_messages);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.core.peers.entries().iter().map(|entry| self.status_of(entry)).collect()
    }

    /// Returns the status of a peer, if it is known.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<PeerStatus> {
        self.core.peers.entry(name).map(|entry| self.status_of(&entry))
    }

    fn status_of(&self, Entry { peer, role, .. }: &Entry) -> PeerStatus {
        let mut status = peer.status(matches!(role, Role::Server(_)));
        if let Some(cluster) = &self.core.cluster {
            let (waiting, counts) = cluster.asking().counts(peer.mailbox.link);
            (status.calls.relayed_waiting, status.calls.relayed) = (waiting, counts);
        }
        status
    }

    /// Returns how this replica is, if several share the store.
    #[must_use]
    pub fn replica(&self) -> Option<ReplicaStatus> {
        let cluster = self.core.cluster.as_ref()?;
        let links = self.core.peers.peers().iter().filter(|peer| peer.is_owner()).count();
        Some(cluster.status(links, &self.core.shared.terms))
    }

    /// Asks the shared store which replicas own the links that this one does not own, and returns their numbers by
    /// the names of the peers: of all peers, or of one. The number is `None` if no replica that lives owns the link.
    /// It takes 10 s at most. If no replicas share the store, there is nothing to tell.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be asked.
    pub async fn owners(
        &self,
        peer: Option<&str>,
    ) -> Result<BTreeMap<PeerName, Option<u32>>, StoreError> {
        match peer {
            Some(name) => self.owners_of(&[name], PATIENCE).await,
            None => self.owners_among(self.core.peers.peers(), PATIENCE).await,
        }
    }

    /// Asks the shared store which replicas own the links with some peers, as [`owners`](Self::owners) does, for no longer
    /// than `limit`. Peers are left out that are not known, or whose database does not answer while another one does.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be asked, or does not answer in time.
    pub async fn owners_of(
        &self,
        peers: &[&str],
        limit: Duration,
    ) -> Result<BTreeMap<PeerName, Option<u32>>, StoreError> {
        let known = peers.iter().filter_map(|name| self.core.peer(name));
        self.owners_among(known.collect(), limit).await
    }

    async fn owners_among(
        &self,
        mut peers: Vec<Arc<Peer>>,
        limit: Duration,
    ) -> Result<BTreeMap<PeerName, Option<u32>>, StoreError> {
        let Some(cluster) = &self.core.cluster else { return Ok(BTreeMap::new()) };
        peers.retain(|peer| !peer.is_owner());
        cluster.owners(&peers, limit).await
    }

    /// Sends a ping to a peer and waits for its answer (`docs/protocol.md` §7). Returns the time between
    /// the two, which includes what was transmitted before the ping, and not the handling of messages.
    /// Up to two pings of a peer may be under way.
    ///
    /// # Errors
    ///
    /// [`PingError`] if the peer is not connected, does not answer within
    /// [`Timeouts::dead`](paddington_transport::Timeouts::dead), or its link is `hex`.
    pub async fn ping(&self, peer: &str) -> Result<Duration, PingError> {
        let Some(known) = self.core.peer(peer) else {
            return Err(PingError::UnknownPeer(peer.chars().take(80).collect()));
        };
        known.ping().await
    }

    /// Returns the last connections that the listener has refused, newest first: at most 256, by
    /// address, stage and cause (`docs/protocol.md` §9). Whoever was refused is told nothing of it.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.core.refusals.get().map(Refusals::list).unwrap_or_default()
    }

    /// Returns the number of refused connections since the listener was started, by stage.
    #[must_use]
    pub fn refusal_counts(&self) -> Vec<(&'static str, u64)> {
        self.core.refusals.get().map(Refusals::counts).unwrap_or_default()
    }

    /// Returns why the listener is down, if it is: it is bound again as soon as that is possible.
    #[must_use]
    pub fn listener_failure(&self) -> Option<String> {
        self.core.listening.get().and_then(Listening::failure)
    }

    /// Asks the exchange to shut down and returns at once; handlers may call it.
    ///
    /// From then on, only handlers that are running may send. The listener closes, handlers finish,
    /// messages that wait for connected peers are delivered, and connections are closed, all within
    /// the limits of [`Config::drain`](crate::Config::drain).
    pub fn ask_to_shut_down(&self) {
        self.core.lifecycle.ask();
    }

    /// Asks the exchange to shut down without waiting for handlers and messages, and returns at
    /// once. It also ends the waiting of a shutdown that has begun. The report lists what was left.
    pub fn ask_to_shut_down_now(&self) {
        self.core.lifecycle.hurry();
    }

    /// Waits until the exchange was asked to shut down.
    pub async fn stopping(&self) {
        self.core.lifecycle.asked().await;
    }

    /// Waits until the exchange has shut down.
    pub async fn finished(&self) -> ShutdownReport {
        self.core.lifecycle.finished().await
    }

    /// Shuts down and waits for the end. A handler must call
    /// [`ask_to_shut_down`](Self::ask_to_shut_down) instead, because this waits for all handlers,
    /// its own caller included.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.ask_to_shut_down();
        self.finished().await
    }

    /// Spawns a task for which [`current`] is this exchange, as it is for its handlers. Unlike a
    /// handler, the task cannot send while the exchange shuts down.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(current::in_task(Arc::clone(&self.core), task))
    }

    /// Returns whether the caller runs in one of this exchange's handlers.
    #[must_use]
    pub fn is_called_from_handler(&self) -> bool {
        is_handler_of(&self.core)
    }

    pub(crate) fn known(&self, name: &str) -> Result<Arc<Peer>, SendError> {
        self.core.peer(name).ok_or_else(|| SendError::UnknownPeer(name.chars().take(80).collect()))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("name", self.name()).finish_non_exhaustive()
    }
}

/// Returns the exchange in whose handler the caller runs, or that has spawned its task with
/// [`Exchange::spawn`], or else the process's.
///
/// # Errors
///
/// [`NoExchange`] if there is none of them.
pub fn current() -> Result<Exchange, NoExchange> {
    current::current().map(Exchange::new).ok_or(NoExchange)
}

/// Makes `exchange` the exchange of the process, which [`current`] returns outside handlers.
///
/// # Errors
///
/// [`AlreadyRunning`] if there is one.
pub fn install(exchange: Exchange) -> Result<(), AlreadyRunning> {
    if current::install(exchange.core) { Ok(()) } else { Err(AlreadyRunning) }
}
