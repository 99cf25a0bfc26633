//! The parts that an exchange is made from, and how it is started.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paddington_transport::{
    Acceptor, Dialer, Endpoint, Listener, Login, Network, Tls, stay_connected,
};
use paddington_wire::{Credentials, Encoding, InvitedClient, InvitedClients, LinkId, PeerName};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::core::Core;
use crate::handling::{request_worker, watchdog, worker};
use crate::host::{ExchangeHost, PeerCaller};
use crate::lifecycle::Lifecycle;
use crate::peer::{Shared, store_task};
use crate::renewal::Renewal;
use crate::store::{Mailbox, Store};
use crate::{Config, Exchange, Handler, StartError, deadlines, restore, shutdown};

/// Pause between two attempts to bind a port that another process uses.
const LISTEN_PAUSE: Duration = Duration::from_millis(50);

/// The parts that an exchange is made from.
#[derive(Debug)]
pub struct Setup {
    /// The service's name.
    pub name: PeerName,
    /// Address to listen on for clients. Without it no client can connect.
    pub listen: Option<Listen>,
    /// The clients that are invited.
    pub clients: Vec<InvitedClient>,
    /// The servers that this service is invited to.
    pub servers: Vec<Server>,
    /// The network to use.
    pub network: Arc<dyn Network>,
    /// Store for the messages of `sealed` peers. Without it they are lost when the process ends.
    pub store: Option<Arc<dyn Store>>,
    /// Limits, deadlines and policies.
    pub config: Config,
}

/// Address and path that a service listens on.
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
    /// The link, whose messages and cursors are its own.
    pub link: LinkId,
    /// The server's name.
    pub name: PeerName,
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// Credentials that the invitation contains.
    pub credentials: Credentials,
    /// Certificate authorities to trust, for a `wss` endpoint.
    pub tls: Option<Tls>,
    /// Source of a newer invitation, if there is one.
    pub renewal: Option<Arc<dyn Renewal>>,
}

impl Exchange {
    /// Starts an exchange: it listens, dials, and calls `handler` with the messages that arrive.
    ///
    /// ```
    /// use paddington_exchange::{Config, Exchange, Setup};
    /// use paddington_wire::Message;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let setup = Setup {
    ///     name: "hub".parse()?,
    ///     listen: None,
    ///     clients: Vec::new(),
    ///     servers: Vec::new(),
    ///     network: paddington_transport::system(),
    ///     store: None,
    ///     config: Config::default(),
    /// };
    /// let exchange = Exchange::start(setup, async |message: Message| {
    ///     println!("{message}");
    ///     Ok::<(), std::io::Error>(())
    /// })
    /// .await?;
    /// assert!(exchange.shutdown().await.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError`] if it cannot listen, or its peers or settings are invalid. Nothing runs then.
    pub async fn start<H: Handler>(setup: Setup, handler: H) -> Result<Self, StartError> {
        let Setup { name, listen, clients, servers, network, store, config } = setup;
        config.check()?;
        let shared =
            Arc::new(Shared::new(name, config, clients.len() + servers.len(), store.is_some())?);
        let peers = restore::peers(&shared, known(&clients, &servers), store.as_ref()).await?;
        let listener = match &listen {
            Some(listen) => Some(bind(&network, listen.address, shared.config.listen_wait).await?),
            None => None,
        };
        let (handler, handlers) = (Arc::new(handler), shared.config.handlers);
        let core = Arc::new(Core {
            peers,
            dialers: servers
                .iter()
                .map(|server| (server.name.clone(), CancellationToken::new()))
                .collect(),
            lifecycle: Lifecycle::new(shared.stopping.clone()),
            tasks: TaskTracker::new(),
            workers: TaskTracker::new(),
            spawn_worker: worker::spawner(Arc::clone(&handler), handlers),
            watchers: CancellationToken::new(),
            store,
            store_tasks: TaskTracker::new(),
            store_tasks_stop: CancellationToken::new(),
            address: listener.as_ref().map(Listener::address),
            shared,
        });
        let requests = Arc::new(request_worker::starter(handler, handlers, Arc::downgrade(&core)));
        for peer in core.peers.values() {
            peer.set_request_handler(Arc::clone(&requests));
        }
        // Everything that can fail comes before anything runs.
        let acceptor = match &listen {
            Some(listen) => Some(acceptor(&core, clients, &listen.path)?),
            None => None,
        };
        run_peers(&core);
        if let (Some(listener), Some(acceptor)) = (listener, acceptor) {
            info!(service = %core.shared.name, address = %listener.address(), "listening");
            listener.spawn(acceptor, &core.tasks, core.lifecycle.listener());
        }
        run_dialers(&core, servers, &network);
        shutdown::spawn(&core);
        Ok(Self::new(core))
    }
}

/// Returns the mailboxes and encodings of all peers.
fn known(
    clients: &[InvitedClient],
    servers: &[Server],
) -> impl ExactSizeIterator<Item = (Mailbox, Encoding)> {
    let mailbox = |peer: &PeerName, link| Mailbox { peer: peer.clone(), link };
    let clients = clients
        .iter()
        .map(|client| (mailbox(&client.name, client.link), client.credentials.encoding()));
    let servers = servers
        .iter()
        .map(|server| (mailbox(&server.name, server.link), server.credentials.encoding()));
    clients.chain(servers).collect::<Vec<_>>().into_iter()
}

/// Binds the address, for which it waits up to `patience` if another process uses it.
async fn bind(
    network: &Arc<dyn Network>,
    address: SocketAddr,
    patience: Duration,
) -> Result<Listener, StartError> {
    let (begun, mut waits) = (Instant::now(), false);
    loop {
        let source = match Listener::bind(Arc::clone(network), address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => source,
        };
        let left = patience.saturating_sub(begun.elapsed());
        if source.kind() != io::ErrorKind::AddrInUse || left.is_zero() {
            return Err(StartError::Listen { address, source });
        }
        if !std::mem::replace(&mut waits, true) {
            info!(%address, ?patience, "waiting for the port, which another process uses");
        }
        sleep(LISTEN_PAUSE.min(left)).await;
    }
}

fn acceptor(
    core: &Arc<Core>,
    clients: Vec<InvitedClient>,
    path: &str,
) -> Result<Acceptor<ExchangeHost>, StartError> {
    let clients = Arc::new(InvitedClients::new(clients));
    let host = ExchangeHost { core: Arc::clone(core), clients };
    let config = Arc::new(core.shared.config.transport.clone());
    Acceptor::new(host, path, config).map_err(|_| StartError::Random)
}

fn run_peers(core: &Arc<Core>) {
    for peer in core.peers.values() {
        peer.set_concurrency(core.shared.config.concurrency);
        store_task::spawn(peer, &core.store_tasks, core.store_tasks_stop.clone());
    }
    watchdog::spawn(core);
    deadlines::spawn(core);
}

fn run_dialers(core: &Arc<Core>, servers: Vec<Server>, network: &Arc<dyn Network>) {
    let config = Arc::new(core.shared.config.transport.clone());
    for server in servers {
        let Some(peer) = core.peer(server.name.as_str()) else { continue };
        let Some(stop) = core.dialers.get(&server.name) else { continue };
        core.ensure_workers(peer);
        let login = Login { credentials: server.credentials, instance: core.shared.instance };
        let dialer = Dialer {
            endpoint: server.endpoint,
            login,
            network: Arc::clone(network),
            tls: server.tls,
            config: Arc::clone(&config),
        };
        let caller = PeerCaller { peer: Arc::clone(peer), renewal: server.renewal };
        stay_connected(dialer, caller, &core.tasks, stop.clone());
    }
}
