//! Links of a running service that are added, changed and removed. `docs/links.md` tells when and why.
//!
//! Each change is planned on the configuration, made durable by the exchange when nothing else can fail,
//! and then noted in the configuration. It goes on to its end if its caller does not wait.

use std::collections::HashSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use paddington_exchange::store::{Mailbox, MailboxStatus, StoreError};
use paddington_exchange::{
    AddError, ChangeError, HandlerError, PurgeError, RekeyError, RemoveError, Removed, Server,
    Waiting,
};
use paddington_transport::Renewed;
use paddington_wire::keys::{Generation, KeyRing};
use paddington_wire::{AddressRange, LinkId, PeerName};
use thiserror::Error;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::Service;
use crate::known::{KnownPeer, KnownServer};
use crate::links::Keys;
use crate::timestamp::Timestamp;
use crate::{ConfigError, FixedKeys, Invite, InviteOptions, LinkDetails, ServiceConfig};

/// The longest time for which the database of links is waited for where nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reason why a link of a running service was not changed. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The change is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The peer could not be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The peer could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The link could not be changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The keys of the link could not be changed.
    #[error(transparent)]
    Keys(#[from] RekeyError),
    /// What is stored for a link that nobody knows could not be removed.
    #[error(transparent)]
    Purge(#[from] PurgeError),
    /// The store could not be read.
    #[error("the store cannot be read: {0}")]
    Store(#[source] StoreError),
    /// The change could not be made durable.
    #[error("the change could not be stored")]
    NotDurable(#[source] HandlerError),
    /// The runtime was shut down meanwhile.
    #[error("the runtime was shut down before the change was complete")]
    Runtime(#[from] JoinError),
}

/// What [`Service::apply`] has changed. Links are called by the names of their peers.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Changes {
    /// Links that were added.
    pub added: Vec<String>,
    /// Links that were removed.
    pub removed: Vec<String>,
    /// Links that were changed: their range, their URL or their keys.
    pub changed: Vec<String>,
    /// Links that were refused as they are in the configuration, and why. They are as before.
    pub refused: Vec<(String, LinkError)>,
    /// The settings that differ and take effect with the next start only, by their names in a file, such as
    /// `settings.handlers`.
    pub restart: Vec<String>,
}

impl Service {
    /// Invites a client, which may connect once this returns: [`ServiceConfig::add_client`] on a
    /// service that runs.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn add_client(&self, name: &str, range: &str) -> Result<Invite, LinkError> {
        self.add_client_with(name, range, InviteOptions::default()).await
    }

    /// As [`add_client`](Self::add_client), with another encoding or other [`InviteOptions`].
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn add_client_with(
        &self,
        name: &str,
        range: &str,
        options: impl Into<InviteOptions>,
    ) -> Result<Invite, LinkError> {
        let (name, range, options) = (name.to_owned(), range.to_owned(), options.into());
        self.in_turn(move |service| async move {
            let planned =
                service.shared.config().plan_client(&name, &range, options, service.now());
            let (peer, invite) = planned?;
            service.add(peer).await?;
            Ok(invite)
        })
        .await
    }

    /// Accepts an invitation, and begins to dial its server: [`ServiceConfig::add_server`] on a
    /// service that runs.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn add_server(&self, invite: Invite) -> Result<(), LinkError> {
        self.add_server_with(invite, None).await
    }

    /// As [`add_server`](Self::add_server), but for `wss`, only the certificate authorities in the
    /// PEM file `authorities` are trusted.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn add_server_with(
        &self,
        invite: Invite,
        authorities: Option<PathBuf>,
    ) -> Result<(), LinkError> {
        self.in_turn(move |service| async move {
            let planned = service.shared.config().plan_server(invite, authorities, service.now());
            service.add(planned?).await
        })
        .await
    }

    /// Removes a peer: its session ends, it is refused, and its invitation is void. `waiting` says what
    /// becomes of messages that wait for it.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed, such as because messages wait.
    pub async fn remove(&self, name: &str, waiting: Waiting) -> Result<Removed, LinkError> {
        let name = name.to_owned();
        self.in_turn(move |service| async move { service.leave(&name, waiting).await }).await
    }

    /// Writes a new invitation for a client that is known: [`ServiceConfig::renew`] on a service that
    /// runs. The present session goes on.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn renew(&self, name: &str) -> Result<Invite, LinkError> {
        self.renew_for(name, None).await
    }

    /// As [`renew`](Self::renew), with an invitation that is good for `lifetime`:
    /// [`ServiceConfig::renew_for`] on a service that runs.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn renew_for(
        &self,
        name: &str,
        lifetime: Option<Duration>,
    ) -> Result<Invite, LinkError> {
        let name = name.to_owned();
        self.in_turn(move |service| async move {
            // Keys may be agreed on while this waits for its turn to be stored, so it is planned twice.
            let planned = service.shared.config().plan_renewal(&name, lifetime, service.now());
            let (peer, invite) = planned?;
            let (pair, expires) = (Arc::clone(&invite.keys), invite.expires);
            let now = service.now().seconds();
            let expires = expires.map(Timestamp::seconds);
            let change = move |ring: &KeyRing| Ok(ring.invite(pair, expires, now)?);
            let generation = service.rekey(peer, change).await?;
            Ok(Invite { generation: generation.unwrap_or(invite.generation), ..invite })
        })
        .await
    }

    /// Accepts a new invitation from a server that is known: [`ServiceConfig::replace_server`] on a
    /// service that runs. The present session goes on.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn replace_server(&self, invite: Invite) -> Result<(), LinkError> {
        self.in_turn(move |service| async move {
            let (keys, number) = (Arc::clone(&invite.keys), invite.generation);
            let name = invite.server.clone();
            let planned = service.shared.config().plan_replacement(invite, service.now());
            let peer = planned?;
            let now = service.now().seconds();
            let change = move |ring: &KeyRing| {
                let seen = || ConfigError::SeenInvitation(name);
                Ok(ring.accept(keys, number, now).ok_or_else(seen)?)
            };
            service.rekey(peer, change).await?;
            Ok(())
        })
        .await
    }

    /// Asks for new keys of the link with a peer, which both sides agree on in the present session. It
    /// takes a moment after this returns; [`links`](Self::links) shows the generation.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if there is no session in which both sides can, or, at a server, if an invitation that
    /// was not used yet is to replace the keys.
    pub async fn renew_keys(&self, name: &str) -> Result<(), LinkError> {
        Ok(self.exchange.renew_keys(name).await?)
    }

    /// Changes the addresses from which a client may connect. A session from another one ends.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if nothing has changed.
    pub async fn set_range(&self, name: &str, range: &str) -> Result<(), LinkError> {
        let range: AddressRange = range.parse().map_err(ConfigError::from)?;
        let name = name.to_owned();
        self.in_turn(move |service| async move {
            let planned = service.shared.config().plan_range(&name, range);
            let name = planned?.name().clone();
            service.change_range(&name, range).await
        })
        .await
    }

    /// Ends the present session of a peer, which comes back. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if there is no such peer.
    pub async fn disconnect(&self, name: &str) -> Result<bool, LinkError> {
        Ok(self.exchange.disconnect(name).await?)
    }

    /// Makes the links of this service those of `config`. Links that are the same in both are not
    /// touched. Each change is made as a whole or refused.
    ///
    /// The keys in a folder of links are the service's own: of those, `config` changes none. Without such
    /// a folder, `config` takes none away and brings back none that were replaced, because it may be older
    /// than the keys that a link has by now; keys in it that the link has never had are a new invitation.
    /// Those of a `hex` link, of which nothing is remembered, become those in `config`.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if `config` is that of another service; nothing has changed then.
    pub async fn apply(
        &self,
        config: &ServiceConfig,
        waiting: Waiting,
    ) -> Result<Changes, LinkError> {
        let config = config.clone();
        self.in_turn(move |service| async move { service.follow(config, waiting).await }).await
    }

    /// Returns the details of all links: those with clients first.
    #[must_use]
    pub fn links(&self) -> Vec<LinkDetails> {
        let mut links = self.config().link_details();
        for link in &mut links {
            let by_peer = || self.exchange.are_keys_fixed_by_peer(&link.name);
            if link.fixed.is_none() && by_peer() {
                link.fixed = Some(FixedKeys::Peer);
            }
        }
        links
    }

    /// Returns the configuration as it is now, to be saved where the application keeps it.
    #[must_use]
    pub fn config(&self) -> ServiceConfig {
        let mut config = self.shared.config().clone();
        config.known_mut().refresh(|name| self.exchange.keys(name));
        config
    }

    /// Returns what the store holds for links that are not known any more.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the store cannot be read.
    pub async fn orphans(&self) -> Result<Vec<MailboxStatus>, LinkError> {
        let mut orphans = self.exchange.orphans().await.map_err(LinkError::Store)?;
        let links: Vec<_> = orphans.iter().map(|orphan| orphan.mailbox.link).collect();
        let elsewhere = self.known_elsewhere(&links).await?;
        orphans.retain(|orphan| !elsewhere.contains(&orphan.mailbox.link));
        Ok(orphans)
    }

    /// Removes what the store holds for a link that is not known any more, at no replica if several share the store. That
    /// has 10 s to answer each of two questions then.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the link is known, or the store fails or does not answer in time: then it may be removed, in part,
    /// or later ([`PurgeError::Late`]).
    pub async fn purge(&self, mailbox: &Mailbox) -> Result<(), LinkError> {
        if !self.known_elsewhere(&[mailbox.link]).await?.is_empty() {
            return Err(PurgeError::Known(mailbox.clone()).into());
        }
        self.exchange.purge(mailbox).await?;
        Ok(())
    }

    /// Returns those of some links, which this service does not know, that are in the database of its replicas.
    async fn known_elsewhere(&self, links: &[LinkId]) -> Result<HashSet<LinkId>, LinkError> {
        let Some(directory) = self.shared.directory() else { return Ok(HashSet::new()) };
        let late = || StoreError::new("it has not answered in time");
        let asked = timeout(PATIENCE, directory.present(links)).await;
        asked.unwrap_or_else(|_| Err(late())).map_err(LinkError::Store)
    }

    /// The present time, by the clock of the service's network.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.exchange.unix_time())
    }

    /// Runs a change to its end, after those that were begun before.
    async fn in_turn<T, S>(&self, change: impl FnOnce(Self) -> S) -> Result<T, LinkError>
    where
        T: Send + 'static,
        S: Future<Output = Result<T, LinkError>> + Send + 'static,
    {
        let (shared, change) = (Arc::clone(&self.shared), change(self.clone()));
        let task = tokio::spawn(async move {
            let _turn = shared.turn.lock().await;
            change.await
        });
        task.await?
    }

    /// Adds a link to the exchange, the folder and the configuration.
    pub(super) async fn add(&self, peer: KnownPeer) -> Result<(), LinkError> {
        let name = peer.name().clone();
        let added = self.begin(&peer, self.shared.keep(peer.clone())).await;
        let is_kept = self.shared.config().known.knows(&name);
        if added.is_err() && is_kept {
            self.shared.forget(name).await.map_err(LinkError::NotDurable)?;
        }
        added
    }

    /// Begins with a peer, once that is durable.
    pub(super) async fn begin(
        &self,
        peer: &KnownPeer,
        durable: impl Future<Output = Result<(), HandlerError>>,
    ) -> Result<(), LinkError> {
        match peer {
            KnownPeer::Client(client) => {
                self.exchange.add_client_with(client.invited(), durable).await?;
            }
            KnownPeer::Server(server) => {
                let server = self.shared.config().to_dial(server)?;
                self.exchange.add_server_with(server, durable).await?;
            }
        }
        Ok(())
    }

    /// Removes a link from the exchange, the folder and the configuration.
    pub(super) async fn leave(&self, name: &str, waiting: Waiting) -> Result<Removed, LinkError> {
        let name = self.shared.config().known_peer(name)?.name().clone();
        let durable = self.shared.forget(name.clone());
        Ok(self.exchange.remove_with(name.as_str(), waiting, durable).await?)
    }

    /// Gives a link other keys: those of `peer`, or, if they have generations, what `change` makes of
    /// those in use. Returns the number of the newest generation.
    pub(super) async fn rekey(
        &self,
        mut peer: KnownPeer,
        change: impl FnOnce(&KeyRing) -> Result<KeyRing, HandlerError>,
    ) -> Result<Option<u64>, LinkError> {
        let name = peer.name().clone();
        let mut newest = None;
        match peer.keys() {
            Keys::Hex(_) => {
                self.shared.keep(peer.clone()).await.map_err(LinkError::NotDurable)?;
                self.redirect(&peer).await?;
                let credentials = peer.keys().credentials();
                self.exchange.set_credentials(name.as_str(), credentials).await?;
            }
            Keys::Sealed(_) => {
                let changed = &mut peer;
                let durable = async |ring: Arc<KeyRing>| {
                    newest = ring.generations().last().map(Generation::number);
                    *changed.keys_mut() = Keys::Sealed(ring);
                    self.shared.keep(changed.clone()).await
                };
                self.exchange.change_keys_with(name.as_str(), change, durable).await?;
                self.redirect(&peer).await?;
            }
        }
        Ok(newest)
    }

    /// Dials a server where its newer invitation says.
    pub(super) async fn redirect(&self, peer: &KnownPeer) -> Result<(), LinkError> {
        let KnownPeer::Server(server) = peer else { return Ok(()) };
        let place = self.place_of(server)?;
        Ok(self.exchange.replace_endpoint(server.name.as_str(), place).await?)
    }

    /// Returns where a server is, and with what it is dialled. What its link names in files is read.
    pub(super) fn place_of(&self, server: &KnownServer) -> Result<Renewed, ConfigError> {
        let Server { endpoint, fallbacks, credentials, tls, .. } =
            self.shared.config().to_dial(server)?;
        Ok(Renewed { endpoint, fallbacks, credentials, tls })
    }

    pub(super) async fn change_range(
        &self,
        name: &PeerName,
        range: AddressRange,
    ) -> Result<(), LinkError> {
        let mut before = None;
        let change = |peer: &mut KnownPeer| {
            if let KnownPeer::Client(client) = peer {
                before = Some(std::mem::replace(&mut client.range, range));
            }
        };
        self.shared.amend(name, change).await.map_err(LinkError::NotDurable)?;
        let changed = self.exchange.set_range(name.as_str(), range).await;
        if let (Err(_), Some(before)) = (&changed, before) {
            let back = |peer: &mut KnownPeer| {
                if let KnownPeer::Client(client) = peer {
                    client.range = before;
                }
            };
            self.shared.amend(name, back).await.map_err(LinkError::NotDurable)?;
        }
        Ok(changed?)
    }
}
