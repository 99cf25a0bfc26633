//! The parts that an exchange is made from, and how it is started.

use std::sync::{Arc, OnceLock};

use paddington_transport::{Listener, Network};
use paddington_wire::{Encoding, InvitedClient, InvitedClients, PeerName};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{self, Cluster};
use crate::core::Core;
use crate::dialing::{Dialing, Server};
use crate::handling::retry::retrier;
use crate::handling::{request_worker, watchdog, worker};
use crate::host::Hosted;
use crate::joining::KeyMaker;
use crate::lifecycle::Lifecycle;
use crate::listening::{Listen, bind};
use crate::orphans::warn_of_orphans;
use crate::peer::Shared;
use crate::registry::{Conflict, Entry, Identity, Registry, Role};
use crate::restore::Kept;
use crate::storage::Storage;
use crate::{Config, Exchange, Handler, KeyStore, StartError, deadlines, host, joining, shutdown};

/// The parts that an exchange is made from.
#[derive(Debug)]
pub struct Setup {
    /// The service's name.
    pub name: PeerName,
    /// Address to listen on, once there are clients. Without it no client can connect.
    pub listen: Option<Listen>,
    /// The clients that are invited.
    pub clients: Vec<InvitedClient>,
    /// The servers that this service is invited to.
    pub servers: Vec<Server>,
    /// The network to use.
    pub network: Arc<dyn Network>,
    /// Where the messages of `sealed` peers are kept.
    pub store: Storage,
    /// Where the keys of links are stored; without, they stay as they were handed over.
    pub key_store: Option<Arc<dyn KeyStore>>,
    /// Limits, deadlines and policies.
    pub config: Config,
}

impl Exchange {
    /// Starts an exchange: it listens, dials, and calls `handler` with the messages that arrive.
    ///
    /// ```
    /// use paddington_exchange::{Config, Exchange, Setup, Storage};
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
    ///     store: Storage::Memory,
    ///     key_store: None,
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
        let Setup { name, listen, clients, servers, network, store, key_store, config } = setup;
        config.check()?;
        let count = clients.len() + servers.len();
        if count > config.peers {
            return Err(StartError::TooManyPeers { peers: count, max: config.peers });
        }
        let places = count.max(1);
        let shared = Arc::new(Shared::new(name, config, places, store.is_durable())?);
        let peers = Registry::new(shared.name.clone(), shared.config.peers, places);
        let keys = KeyMaker::new(&shared.config, key_store, &network);
        add_all(&peers, &shared, &store, &keys, &clients, &servers).await?;
        let cluster = Cluster::over(&store);
        let listener = match &listen {
            Some(at) if !clients.is_empty() => Some(listener(&network, at, &shared).await?),
            _ => None,
        };
        let (handler, handlers) = (Arc::new(handler), shared.config.handlers);
        let core = Arc::new_cyclic(|core| Core {
            peers,
            clients: Arc::new(InvitedClients::new(clients)),
            changes: Mutex::default(),
            lifecycle: Lifecycle::new(shared.stopping.clone()),
            tasks: TaskTracker::new(),
            workers: TaskTracker::new(),
            spawn_worker: worker::spawner(Arc::clone(&handler), handlers),
            retry: retrier(Arc::clone(&handler)),
            retries: Mutex::default(),
            requests: Arc::new(request_worker::starter(handler, handlers, core.clone())),
            watchers: CancellationToken::new(),
            storage: store,
            cluster,
            keys,
            store_tasks: TaskTracker::new(),
            store_tasks_stop: CancellationToken::new(),
            network,
            transport: Arc::new(shared.config.transport.clone()),
            listen,
            address: OnceLock::new(),
            refusals: OnceLock::new(),
            listening: OnceLock::new(),
            shared,
        });
        core.keys.begin(Arc::downgrade(&core));
        // Everything that can fail comes before anything runs.
        let hosted = match listener {
            Some(listener) => Some(host::hosted(&core, listener).map_err(|_| StartError::Random)?),
            None => None,
        };
        begin(&core, hosted, servers);
        Ok(Self::new(core))
    }
}

/// Begins with everything.
fn begin(core: &Arc<Core>, hosted: Option<Hosted>, servers: Vec<Server>) {
    for entry in core.peers.entries() {
        joining::begin(core, &entry);
    }
    watchdog::spawn(core);
    deadlines::spawn(core);
    if let Some(hosted) = hosted {
        host::listen(core, hosted);
    }
    for server in servers {
        match &core.cluster {
            Some(cluster) => cluster.know(server),
            None => joining::dial(core, server),
        }
    }
    cluster::spawn(core);
    shutdown::spawn(core);
}

/// Creates all peers, with what the store has kept for them.
async fn add_all(
    peers: &Registry,
    shared: &Arc<Shared>,
    store: &Storage,
    keys: &KeyMaker,
    clients: &[InvitedClient],
    servers: &[Server],
) -> Result<(), StartError> {
    let clients = clients
        .iter()
        .map(|client| (Identity::of_client(client), &client.credentials, Role::Client));
    let servers = servers.iter().map(|server| {
        let role = Role::Server(Arc::new(Dialing::default()));
        (Identity::of_server(server), &server.credentials, role)
    });
    let mut kept = Kept::new(store).await.map_err(StartError::Store)?;
    for (identity, credentials, role) in clients.chain(servers) {
        if matches!(store, Storage::Shared(_)) && credentials.encoding() == Encoding::Hex {
            return Err(StartError::HexInCluster(identity.name));
        }
        peers.check(&identity).map_err(|conflict| refusal(&identity, conflict))?;
        let encoding = credentials.encoding();
        let peer = kept.peer(shared, identity.mailbox(), shared.instance, encoding).await;
        let peer = peer.map_err(StartError::Store)?;
        keys.give(&peer, &role, credentials);
        peers.insert(Entry { peer, keys: identity.keys, role });
    }
    warn_of_orphans(store, peers.links()).await.map_err(StartError::Store)
}

fn refusal(identity: &Identity, conflict: Conflict) -> StartError {
    let name = identity.name.clone();
    match conflict {
        Conflict::OwnName => StartError::OwnName(name),
        Conflict::Name => StartError::DuplicatePeer(name),
        Conflict::Link(_) => StartError::DuplicateLink(name),
        Conflict::Keys(other) => StartError::SharedKeys { name, other },
        Conflict::Full { peers, max } => StartError::TooManyPeers { peers, max },
    }
}

async fn listener(
    network: &Arc<dyn Network>,
    at: &Listen,
    shared: &Shared,
) -> Result<Listener, StartError> {
    let bound = bind(network, at.address, shared.config.listen_wait).await;
    bound.map_err(|source| StartError::Listen { address: at.address, source })
}
