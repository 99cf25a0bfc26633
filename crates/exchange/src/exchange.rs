//! The exchange: who gets which message.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_transport::{
    Acceptor, Dialer, Endpoint, Listener, Login, Network, Renewed, Tls, stay_connected,
};
use paddington_wire::{Credentials, InvitedClient, InvitedClients, Message, PeerName};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken as Token;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::current::{CURRENT, is_handler_of};
use crate::handling::{watchdog, worker};
use crate::host::{ExchangeHost, PeerCaller};
use crate::peer::{Patience, Peer, Shared, store_task};
use crate::restore;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::{
    Config, Event, Handler, PeerStatus, Receipt, SendError, ShutdownReport, StartError, expiry,
};

/// A service's exchange: a handle, cheap to copy.
///
/// It lives until [`shutdown`](Self::shutdown), however many handles there are.
#[derive(Clone)]
pub struct Exchange {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: BTreeMap<PeerName, Arc<Peer>>,
    /// What stops the dialling of each server.
    pub(crate) dialers: BTreeMap<PeerName, Token>,
    pub(crate) shutdown: Shutdown,
    /// The listener, the dialers and the connections.
    pub(crate) tasks: TaskTracker,
    pub(crate) workers: TaskTracker,
    /// Adds a worker to a peer's lane.
    hire: Box<Hire>,
    pub(crate) watchdog: Token,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) store_tasks: TaskTracker,
    pub(crate) store_tasks_stop: Token,
    address: Option<SocketAddr>,
}

type Hire = dyn Fn(&Exchange, &Arc<Peer>) + Send + Sync;

/// Everything that an exchange is made from.
#[derive(Debug)]
pub struct Setup {
    /// The service's own name.
    pub name: PeerName,
    /// Where to listen for clients. Without it nobody can connect.
    pub listen: Option<Listen>,
    /// The clients that are invited.
    pub clients: Vec<InvitedClient>,
    /// The servers that this service is invited to.
    pub servers: Vec<Server>,
    /// The network to use.
    pub network: Arc<dyn Network>,
    /// Where messages for `sealed` peers are kept. Without it they do not outlive the process.
    pub store: Option<Arc<dyn Store>>,
    /// How the exchange behaves.
    pub config: Config,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 lets the operating system choose.
    pub address: SocketAddr,
    /// The path of the URL that clients ask for.
    pub path: String,
}

/// A server that this service is invited to.
#[derive(Clone, Debug)]
pub struct Server {
    /// The server's name.
    pub name: PeerName,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What to prove this service's name with.
    pub credentials: Credentials,
    /// The certificate authorities to believe, for a `wss` endpoint.
    pub tls: Option<Tls>,
    /// Where a newer invitation may be found, if there is such a place.
    pub renewal: Option<Arc<dyn Renewal>>,
}

/// A place where invitations are renewed, like the file that one was read from.
pub trait Renewal: fmt::Debug + Send + Sync {
    /// The invitation that is there now, if it is another one than was last seen.
    fn renewed(&self) -> Option<Renewed>;
}

/// How one message is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// How long the message may wait until it is transmitted.
    pub ttl: Option<Duration>,
}

impl Exchange {
    /// Starts an exchange: it listens, dials, and gives `handler` what arrives.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it cannot listen, or its peers do not make sense. Nothing runs then.
    pub async fn start<H: Handler>(setup: Setup, handler: H) -> Result<Self, StartError> {
        let Setup { name, listen, clients, servers, network, store, config } = setup;
        config.check()?;
        let shared = Arc::new(Shared::new(name, config, store.is_some())?);
        let peers = restore::peers(&shared, &clients, &servers, store.as_ref()).await?;
        let listener = match &listen {
            Some(listen) => Some(bind(&network, listen.address).await?),
            None => None,
        };
        let handlers = shared.config.handlers;
        let shutdown = Shutdown::new(shared.stopping.clone());
        let exchange = Self {
            inner: Arc::new(Inner {
                shared,
                peers,
                dialers: servers.iter().map(|server| (server.name.clone(), Token::new())).collect(),
                shutdown,
                tasks: TaskTracker::new(),
                workers: TaskTracker::new(),
                hire: hire(handler, handlers),
                watchdog: Token::new(),
                store,
                store_tasks: TaskTracker::new(),
                store_tasks_stop: Token::new(),
                address: listener.as_ref().map(Listener::address),
            }),
        };
        exchange.run_peers();
        if let (Some(listener), Some(listen)) = (listener, listen) {
            let clients = InvitedClients::new(clients);
            if let Err(error) = exchange.run_listener(listener, &listen.path, clients) {
                exchange.inner.workers.close();
                exchange.inner.peers.values().for_each(|peer| peer.stop_handling());
                exchange.inner.watchdog.cancel();
                exchange.inner.store_tasks_stop.cancel();
                return Err(error);
            }
        }
        exchange.run_dialers(servers, &network);
        let closing = exchange.clone();
        tokio::spawn(async move { closing.close_when_asked().await });
        Ok(exchange)
    }

    /// The service's own name.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.inner.shared.name
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }

    /// Queues a message and returns at once: `Ok` means that it is accepted, and that it will be
    /// delivered or its loss reported.
    ///
    /// # Errors
    ///
    /// [`SendError`] if it is not accepted; nothing of it is kept then. A full outbox is answered
    /// at once, because two services whose handlers wait for each other's room stop for ever.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.send_with(message, SendOptions::default()).await
    }

    /// As [`send`](Self::send), with options.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_with(
        &self,
        message: Message,
        options: SendOptions,
    ) -> Result<Receipt, SendError> {
        let peer = self.recipient(&message)?;
        let number = peer.accept(message.into_payload(), options.ttl).await?;
        Ok(Receipt::new(Arc::clone(peer), number))
    }

    /// As [`send`](Self::send), but waits for room; first come, first served. Meant for producers
    /// outside handlers: inside one it waits for a while only, then answers that there is none.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_when_ready(&self, message: Message) -> Result<Receipt, SendError> {
        let patience = is_handler_of(self).then_some(self.inner.shared.config.patience);
        self.send_within(message, patience).await
    }

    /// As [`send_when_ready`](Self::send_when_ready), but waits for room no longer than `limit`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn send_timeout(
        &self,
        message: Message,
        limit: Duration,
    ) -> Result<Receipt, SendError> {
        let patience = self.inner.shared.config.patience;
        let limit = if is_handler_of(self) { limit.min(patience) } else { limit };
        self.send_within(message, Some(limit)).await
    }

    async fn send_within(
        &self,
        message: Message,
        limit: Option<Duration>,
    ) -> Result<Receipt, SendError> {
        let peer = self.recipient(&message)?;
        let patience = Patience { limit, outlasts_shutdown: is_handler_of(self) };
        let number = peer.accept_when_ready(message.into_payload(), patience).await?;
        Ok(Receipt::new(Arc::clone(peer), number))
    }

    /// What happens to the links from now on. Whoever looks too rarely misses the oldest events.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.shared.events()
    }

    /// Lets up to `concurrency` messages of a peer be handled at the same time, in any order.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn set_concurrency(&self, peer: &str, concurrency: usize) -> Result<(), SendError> {
        let peer = self.known(peer)?;
        for _ in 0..peer.set_concurrency(concurrency) {
            self.hire(peer);
        }
        Ok(())
    }

    /// Goes on with the messages of a peer whose handler has failed, where the policy is
    /// [`OnError::Stop`](crate::OnError::Stop).
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] if there is no such peer.
    pub fn resume_handling(&self, peer: &str) -> Result<(), SendError> {
        self.known(peer)?.resume_handling();
        Ok(())
    }

    /// Where messages are kept, if they are: its dead letters, its health.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<dyn Store>> {
        self.inner.store.as_ref()
    }

    /// How all peers are doing, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.inner.peers.values().map(|peer| peer.status()).collect()
    }

    /// Asks the exchange to shut down and returns at once; handlers may call it.
    ///
    /// No message is accepted any more except from handlers that run. The listener closes, handlers
    /// finish, what waits for connected peers is delivered, and connections are closed, all within
    /// the limits of [`Config::drain`].
    pub fn ask_to_shut_down(&self) {
        self.inner.shutdown.ask();
    }

    /// Waits until the exchange has shut down.
    pub async fn finished(&self) -> ShutdownReport {
        self.inner.shutdown.finished().await
    }

    /// Shuts down and waits for the end. A handler would wait for itself: it
    /// [asks](Self::ask_to_shut_down) instead.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.ask_to_shut_down();
        self.finished().await
    }

    /// Whether the caller is one of this exchange's handlers.
    #[must_use]
    pub fn is_called_from_handler(&self) -> bool {
        is_handler_of(self)
    }

    /// Whether both handles mean the same exchange.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.inner.peers.get(name)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn recipient(&self, message: &Message) -> Result<&Arc<Peer>, SendError> {
        if !self.inner.shutdown.accepts(|| is_handler_of(self)) {
            return Err(SendError::ShuttingDown);
        }
        self.known(message.recipient())
    }

    fn known(&self, name: &str) -> Result<&Arc<Peer>, SendError> {
        self.peer(name).ok_or_else(|| SendError::UnknownPeer(name.chars().take(80).collect()))
    }

    /// Adds a worker to a peer's lane.
    pub(crate) fn hire(&self, peer: &Arc<Peer>) {
        (self.inner.hire)(self, peer);
    }

    fn run_peers(&self) {
        for peer in self.inner.peers.values() {
            self.hire(peer);
            if let Some(store) = peer.store() {
                let stop = self.inner.store_tasks_stop.clone();
                self.inner.store_tasks.spawn(store_task::run(
                    Arc::clone(peer),
                    Arc::clone(store),
                    stop,
                ));
            }
        }
        tokio::spawn(watchdog::watch(self.clone(), self.inner.watchdog.clone()));
        tokio::spawn(expiry::watch(self.clone(), self.inner.watchdog.clone()));
    }

    fn run_listener(
        &self,
        listener: Listener,
        path: &str,
        clients: InvitedClients,
    ) -> Result<(), StartError> {
        let host = ExchangeHost { exchange: self.clone(), clients: Arc::new(clients) };
        let config = Arc::new(self.inner.shared.config.transport.clone());
        let acceptor = Acceptor::new(host, path, config).map_err(|_| StartError::Random)?;
        info!(service = %self.name(), address = %listener.address(), "listening");
        let tasks = &self.inner.tasks;
        listener.spawn(acceptor, tasks, self.inner.shutdown.listener());
        Ok(())
    }

    fn run_dialers(&self, servers: Vec<Server>, network: &Arc<dyn Network>) {
        let config = Arc::new(self.inner.shared.config.transport.clone());
        for server in servers {
            let Some(peer) = self.peer(server.name.as_str()) else { continue };
            let Some(stop) = self.inner.dialers.get(&server.name) else { continue };
            let login =
                Login { credentials: server.credentials, instance: self.inner.shared.instance };
            let dialer = Dialer {
                endpoint: server.endpoint,
                login,
                network: Arc::clone(network),
                tls: server.tls,
                config: Arc::clone(&config),
            };
            let caller = PeerCaller { peer: Arc::clone(peer), renewal: server.renewal };
            stay_connected(dialer, caller, &self.inner.tasks, stop.clone());
        }
    }
}

async fn bind(network: &Arc<dyn Network>, address: SocketAddr) -> Result<Listener, StartError> {
    let listener = Listener::bind(Arc::clone(network), address).await;
    listener.map_err(|source| StartError::Listen { address, source })
}

/// How workers are added: the one place that knows the handler's type.
fn hire<H: Handler>(handler: H, handlers: usize) -> Box<Hire> {
    let (handler, permits) = (Arc::new(handler), Arc::new(Semaphore::new(handlers)));
    Box::new(move |exchange, peer| {
        let worker = peer.hire();
        let (handler, permits) = (Arc::clone(&handler), Arc::clone(&permits));
        let lane = worker::run(Arc::clone(peer), worker, handler, permits);
        let task = exchange.inner.workers.spawn(CURRENT.scope(exchange.clone(), lane));
        peer.set_worker_task(worker, task.abort_handle());
    })
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("name", self.name()).finish_non_exhaustive()
    }
}
