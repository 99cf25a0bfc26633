//! Peers that are added to an exchange while it runs. Implements "Peers come and go" of
//! `docs/delivery.md`.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use paddington_wire::{Credentials, Encoding, Instance, InvitedClient, PeerName};
use thiserror::Error;
use tracing::info;

use crate::core::Core;
use crate::dialing::{Dialing, Server};
use crate::error::listen_hint;
use crate::host::{self, Hosted};
use crate::joining;
use crate::listening::bind;
use crate::peer::Peer;
use crate::registry::{Conflict, Entry, Identity, Role};
use crate::restore::Kept;
use crate::store::StoreError;
use crate::{Event, Exchange, HandlerError};

/// The reason why a peer was not added. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddError {
    /// A peer with this name is known.
    #[error("the service {0} is known already: two services need only one invitation")]
    NameKnown(PeerName),
    /// The link is known, under another name.
    #[error("the link of {name} is that of {other}")]
    LinkKnown {
        /// The peer to add.
        name: PeerName,
        /// The peer that has the link.
        other: PeerName,
    },
    /// Another link has the same keys.
    #[error(
        "the services {name} and {other} have the same keys: each needs an invitation of its own"
    )]
    KeysInUse {
        /// The peer to add.
        name: PeerName,
        /// The peer that has the keys.
        other: PeerName,
    },
    /// The peer has this service's own name.
    #[error("the service {0} cannot be its own peer")]
    OwnName(PeerName),
    /// There are as many peers as the setting `peers` allows.
    #[error("there would be {peers} peers, but the setting peers allows {max}")]
    TooManyPeers {
        /// Number of peers with the one to add.
        peers: usize,
        /// Limit.
        max: usize,
    },
    /// The link is a `hex` link, and the store is one that replicas share.
    #[error(
        "the link to {0} is a hex link, which replicas cannot share because it acknowledges nothing: write \
         a sealed invitation"
    )]
    HexInCluster(PeerName),
    /// The service has no address to listen on for a client.
    #[error("the service has no address to listen on")]
    NoAddress,
    /// The address to listen on could not be bound, for the first client.
    #[error("cannot listen on {address}{}", listen_hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What the store has kept for the link cannot be used.
    #[error("the store cannot be used: {0}")]
    Store(#[source] StoreError),
    /// The caller could not make the change durable.
    #[error("the change could not be stored")]
    NotDurable(#[source] HandlerError),
    /// The operating system's random generator failed.
    #[error("the operating system's random generator failed")]
    Random,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

impl Exchange {
    /// Adds a client, which may connect once this returns. What a store has kept for its link is
    /// restored. The first client lets the exchange listen.
    ///
    /// # Errors
    ///
    /// [`AddError`] if it is not added. Nothing has changed then.
    pub async fn add_client(&self, client: InvitedClient) -> Result<(), AddError> {
        self.add_client_with(client, nothing_to_store()).await
    }

    /// Adds a client as [`add_client`](Self::add_client) does, once `durable` has stored it for the
    /// next start. This is polled when nothing else can fail; if it fails, nothing has changed.
    ///
    /// # Errors
    ///
    /// As [`add_client`](Self::add_client).
    pub async fn add_client_with<E: Into<HandlerError>>(
        &self,
        client: InvitedClient,
        durable: impl Future<Output = Result<(), E>>,
    ) -> Result<(), AddError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else { return Err(AddError::ShuttingDown) };
        let identity = Identity::of_client(&client);
        core.check(&identity)?;
        let hosted = core.first_listener().await?;
        let peer = core.restore(&identity, &Role::Client, &client.credentials).await?;
        core.make_durable(durable).await?;
        core.join(peer, identity, Role::Client);
        core.clients.add(client);
        if let Some(hosted) = hosted {
            host::listen(core, hosted);
        }
        Ok(())
    }

    /// Adds a server, which is dialled from now on. What a store has kept for its link is restored.
    ///
    /// # Errors
    ///
    /// [`AddError`] if it is not added. Nothing has changed then.
    pub async fn add_server(&self, server: Server) -> Result<(), AddError> {
        self.add_server_with(server, nothing_to_store()).await
    }

    /// Adds a server as [`add_server`](Self::add_server) does, once `durable` has stored it for the
    /// next start. This is polled when nothing else can fail; if it fails, nothing has changed.
    ///
    /// # Errors
    ///
    /// As [`add_server`](Self::add_server).
    pub async fn add_server_with<E: Into<HandlerError>>(
        &self,
        server: Server,
        durable: impl Future<Output = Result<(), E>>,
    ) -> Result<(), AddError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else { return Err(AddError::ShuttingDown) };
        let identity = Identity::of_server(&server);
        core.check(&identity)?;
        let role = Role::Server(Arc::new(Dialing::default()));
        let peer = core.restore(&identity, &role, &server.credentials).await?;
        core.make_durable(durable).await?;
        core.join(peer, identity, role);
        match &core.cluster {
            Some(cluster) => cluster.know(server),
            None => joining::dial(core, server),
        }
        Ok(())
    }
}

/// The change is stored by nobody, or was stored before.
pub(crate) async fn nothing_to_store() -> Result<(), Infallible> {
    Ok(())
}

impl Core {
    fn check(&self, identity: &Identity) -> Result<(), AddError> {
        let name = || identity.name.clone();
        self.peers.check(identity).map_err(|conflict| match conflict {
            Conflict::OwnName => AddError::OwnName(name()),
            Conflict::Name => AddError::NameKnown(name()),
            Conflict::Link(other) => AddError::LinkKnown { name: name(), other },
            Conflict::Keys(other) => AddError::KeysInUse { name: name(), other },
            Conflict::Full { peers, max } => AddError::TooManyPeers { peers, max },
        })
    }

    /// Binds the listener for the first client, if it does not listen yet.
    async fn first_listener(self: &Arc<Self>) -> Result<Option<Hosted>, AddError> {
        if self.address.get().is_some() {
            return Ok(None);
        }
        let address = self.listen.as_ref().ok_or(AddError::NoAddress)?.address;
        let bound = bind(&self.network, address, self.shared.config.listen_wait).await;
        let listener = bound.map_err(|source| AddError::Listen { address, source })?;
        host::hosted(self, listener).map(Some).map_err(|_| AddError::Random)
    }

    async fn restore(
        &self,
        identity: &Identity,
        role: &Role,
        credentials: &Credentials,
    ) -> Result<Arc<Peer>, AddError> {
        if self.cluster.is_some() && credentials.encoding() == Encoding::Hex {
            return Err(AddError::HexInCluster(identity.name.clone()));
        }
        let mut kept = Kept::new(&self.storage).await.map_err(AddError::Store)?;
        // A link that was removed before begins anew, as after a restart of this service.
        let instance = Instance::random().map_err(|_| AddError::Random)?;
        let encoding = credentials.encoding();
        let peer = kept.peer(&self.shared, identity.mailbox(), instance, encoding).await;
        let peer = peer.map_err(AddError::Store)?;
        self.keys.give(&peer, role, credentials);
        Ok(peer)
    }

    async fn make_durable<E: Into<HandlerError>>(
        &self,
        durable: impl Future<Output = Result<(), E>>,
    ) -> Result<(), AddError> {
        durable.await.map_err(|cause| AddError::NotDurable(cause.into()))?;
        // A shutdown waits for a change that was begun, but not for ever.
        if self.watchers.is_cancelled() { Err(AddError::ShuttingDown) } else { Ok(()) }
    }

    /// Adds a peer, and begins with it.
    fn join(self: &Arc<Self>, peer: Arc<Peer>, identity: Identity, role: Role) {
        let Identity { name, keys, .. } = identity;
        let entry = Entry { peer, keys, role };
        joining::begin(self, &entry);
        if let Some(places) = self.peers.insert(entry) {
            self.divide(places);
        }
        info!(peer = %name, "added");
        self.shared.tell(Event::PeerAdded { peer: name });
    }
}
