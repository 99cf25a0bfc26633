//! Links that are changed while their exchange runs: from where and with which keys a peer may come,
//! and where a server is.

use std::sync::Arc;

use paddington_transport::{Change, Renewed};
use paddington_wire::{AddressRange, Bucket, Credentials, InvitedClient, PeerName};
use thiserror::Error;

use crate::Exchange;
use crate::core::Core;
use crate::dialing::Dialing;
use crate::registry::{Entry, Role};

/// The reason why a link was not changed. Nothing has changed then.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such peer.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// The peer is a server, which does not connect to this service.
    #[error("{0} is a server, not a client")]
    NotAClient(PeerName),
    /// The peer is a client, which this service does not dial.
    #[error("{0} is a client, not a server")]
    NotAServer(PeerName),
    /// The keys are for the other encoding. A link keeps its encoding.
    #[error("the link to {0} has another encoding")]
    OtherEncoding(PeerName),
    /// Another link has the same keys.
    #[error(
        "the services {name} and {other} have the same keys: each needs an invitation of its own"
    )]
    KeysInUse {
        /// The peer.
        name: PeerName,
        /// The peer that has the keys.
        other: PeerName,
    },
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

impl Exchange {
    /// Ends the present connection of a peer, which connects again. In the `sealed` encoding, nothing
    /// is lost. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if there is no such peer, or the service shuts down.
    pub async fn disconnect(&self, name: &str) -> Result<bool, ChangeError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(ChangeError::ShuttingDown);
        };
        Ok(core.known(name)?.peer.disconnect())
    }

    /// Sets the addresses from which a client may connect. A connection from another address ends.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if nothing has changed.
    pub async fn set_range(&self, name: &str, range: AddressRange) -> Result<(), ChangeError> {
        let entry = self.change_client(name, |client| client.range = range).await?;
        entry.peer.close_if(|address| !range.contains(address));
        Ok(())
    }

    /// Sets the group in which a client is looked for, which the URL of its invitation names.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if nothing has changed.
    pub async fn set_bucket(&self, name: &str, bucket: Option<Bucket>) -> Result<(), ChangeError> {
        self.change_client(name, |client| client.bucket = bucket).await.map(drop)
    }

    /// Sets the keys of a link, for its next connection. The present one goes on. The link stays the
    /// same, with all that waits.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if nothing has changed.
    pub async fn set_credentials(
        &self,
        name: &str,
        credentials: Credentials,
    ) -> Result<(), ChangeError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(ChangeError::ShuttingDown);
        };
        let entry = core.known(name)?;
        core.replace_keys(&entry, &credentials)?;
        match &entry.role {
            Role::Client => core.change(&entry, |client| client.credentials = credentials),
            Role::Server(dialing) => dialing.change(Change::Credentials(credentials)),
        }
        Ok(())
    }

    /// Replaces the invitation of a server by a newer one, for the next connection. The present one
    /// goes on; an attempt or a pause between two of them ends. The link stays the same, with all that
    /// waits.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if nothing has changed.
    pub async fn replace_endpoint(&self, name: &str, newer: Renewed) -> Result<(), ChangeError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(ChangeError::ShuttingDown);
        };
        let entry = core.known(name)?;
        let dialing: &Arc<Dialing> = match &entry.role {
            Role::Server(dialing) => dialing,
            Role::Client => return Err(ChangeError::NotAServer(entry.peer.name.clone())),
        };
        core.replace_keys(&entry, &newer.credentials)?;
        if let Some(cluster) = &core.cluster {
            cluster.redirect(entry.peer.mailbox.link, &newer);
        }
        dialing.change(Change::Invitation(newer));
        Ok(())
    }

    async fn change_client(
        &self,
        name: &str,
        change: impl FnOnce(&mut InvitedClient),
    ) -> Result<Entry, ChangeError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(ChangeError::ShuttingDown);
        };
        let entry = core.known(name)?;
        if let Role::Server(_) = entry.role {
            return Err(ChangeError::NotAClient(entry.peer.name.clone()));
        }
        core.change(&entry, change);
        Ok(entry)
    }
}

impl Core {
    fn known(&self, name: &str) -> Result<Entry, ChangeError> {
        let unknown = || ChangeError::UnknownPeer(name.chars().take(80).collect());
        self.peers.entry(name).ok_or_else(unknown)
    }

    /// Changes a client, and voids handshakes that were begun with what it was before.
    fn change(&self, entry: &Entry, change: impl FnOnce(&mut InvitedClient)) {
        self.clients.change(entry.peer.mailbox.link, change);
        entry.peer.supersede_handshakes();
    }

    fn replace_keys(&self, entry: &Entry, credentials: &Credentials) -> Result<(), ChangeError> {
        let name = &entry.peer.name;
        if credentials.encoding() != entry.peer.encoding() {
            return Err(ChangeError::OtherEncoding(name.clone()));
        }
        let replaced = self.peers.replace_keys(name, credentials.keys_id());
        replaced.map_err(|other| ChangeError::KeysInUse { name: name.clone(), other })
    }
}
