//! Peers that are removed from an exchange while it runs. What this does to one peer is in
//! `peer/leaving.rs`. Implements "Peers come and go" of `docs/delivery.md`.

use std::future::Future;

use paddington_wire::PeerName;
use thiserror::Error;
use tokio::time::timeout;
use tracing::info;

use crate::adding::nothing_to_store;
use crate::cluster::{PATIENCE, unanswered};
use crate::core::Core;
use crate::peer::{Backlog, Removal};
use crate::registry::{Entry, Role};
use crate::store::StoreError;
use crate::{Event, Exchange, HandlerError};

/// What becomes of the messages that wait for a peer when it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// If there are any, or messages of it that are not handled, the peer is not removed.
    Refuse,
    /// They are dropped, and removed from the store.
    Purge,
    /// They stay in the store as those of a link that nobody knows.
    Keep,
}

/// A peer was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Number of messages that waited for it: accepted, and not acknowledged by it.
    pub messages: usize,
    /// Number of its messages that had arrived and that the handler was not called with. They are
    /// dropped, and not acknowledged.
    pub unhandled: usize,
    /// The reason why what the store has kept for its link is still there, if that was to be purged.
    pub not_purged: Option<StoreError>,
}

/// The reason why a peer was not removed. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no such peer.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// Something waits.
    #[error(
        "{messages} messages wait for {peer}, and {unhandled} of its messages are not handled: purge \
         or keep them"
    )]
    Waiting {
        /// The peer.
        peer: PeerName,
        /// Number of messages that wait for it: accepted, and not acknowledged by it.
        messages: usize,
        /// Number of its messages that have arrived and that the handler was not called with.
        unhandled: usize,
    },
    /// The messages cannot be kept, because they are not stored.
    #[error("the messages for {0} are not in a store, in which they could be kept")]
    NotStored(PeerName),
    /// The caller could not make the change durable.
    #[error("the change could not be stored")]
    NotDurable(#[source] HandlerError),
    /// The store cannot tell whether messages wait.
    #[error("the store cannot tell whether messages wait: {0}")]
    Store(#[source] StoreError),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

impl Exchange {
    /// Removes a peer. It is gone once this returns: nothing is accepted for it, it is refused as a
    /// stranger is, and a server is not dialled any more. Its connection is told and ends, its handler
    /// call may finish, and then the handler is told `Disconnected`. Receipts of messages that waited
    /// say [`Delivered::Removed`](crate::Delivered::Removed), and requests end with
    /// [`RequestError::Removed`](crate::RequestError::Removed).
    ///
    /// A peer of the same name can be added at once, and gets nothing of this one's.
    ///
    /// # Errors
    ///
    /// [`RemoveError`] if it is not removed. Nothing has changed then.
    pub async fn remove(&self, name: &str, waiting: Waiting) -> Result<Removed, RemoveError> {
        self.remove_with(name, waiting, nothing_to_store()).await
    }

    /// Removes a peer as [`remove`](Self::remove) does, once `durable` has stored that for the next
    /// start. This is polled when nothing else can fail; if it fails, nothing has changed. Meanwhile
    /// no message is accepted for the peer ([`SendError::Removed`](crate::SendError::Removed)).
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub async fn remove_with<E: Into<HandlerError>>(
        &self,
        name: &str,
        waiting: Waiting,
        durable: impl Future<Output = Result<(), E>>,
    ) -> Result<Removed, RemoveError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(RemoveError::ShuttingDown);
        };
        let Some(entry) = core.peers.entry(name) else {
            return Err(RemoveError::UnknownPeer(name.chars().take(80).collect()));
        };
        let peer = entry.peer.name.clone();
        if waiting == Waiting::Keep && entry.peer.store().is_none() {
            return Err(RemoveError::NotStored(peer));
        }
        if waiting == Waiting::Refuse && core.cluster.is_some() {
            core.refuse_if_shared_waits(&entry).await?;
        }
        let removal = Removal::begin(entry.peer.clone(), waiting != Waiting::Refuse);
        let removal = removal.map_err(|Backlog { messages, unhandled }| RemoveError::Waiting {
            peer,
            messages,
            unhandled,
        })?;
        durable.await.map_err(|cause| RemoveError::NotDurable(cause.into()))?;
        let Backlog { messages, unhandled } = core.leave(&entry, removal);
        let purges = waiting != Waiting::Keep;
        let not_purged = if purges { core.empty(&entry).await.err() } else { None };
        Ok(Removed { messages, unhandled, not_purged })
    }
}

impl Core {
    /// Removes a peer from everything that knows it.
    fn leave(&self, entry: &Entry, removal: Removal) -> Backlog {
        let name = &entry.peer.name;
        self.clients.remove(entry.peer.mailbox.link);
        if let Role::Server(dialing) = &entry.role {
            dialing.stop.cancel();
        }
        let fewer = self.peers.remove(name);
        let backlog = removal.done();
        if let Some(places) = fewer {
            self.divide(places);
        }
        entry.peer.finish_reports();
        let Backlog { messages, unhandled } = backlog;
        info!(peer = %name, messages, unhandled, "removed");
        if let Some(cluster) = &self.cluster {
            cluster.forget(entry.peer.mailbox.link);
        }
        self.shared.tell(Event::PeerRemoved { peer: name.clone() });
        backlog
    }

    /// Refuses the removal of a peer for which messages wait in a store that replicas share.
    async fn refuse_if_shared_waits(&self, entry: &Entry) -> Result<(), RemoveError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let link = entry.peer.mailbox.link;
        let others = self.peers.links().into_iter().filter(|other| *other != link).collect();
        let waiting = cluster.ask_all_in_time(|store| store.mailboxes(others)).await;
        let waiting = waiting.map_err(RemoveError::Store)?;
        let found = waiting.into_iter().find(|it| it.mailbox.link == link && it.messages > 0);
        match found {
            None => Ok(()),
            Some(found) => Err(RemoveError::Waiting {
                peer: entry.peer.name.clone(),
                messages: usize::try_from(found.messages).unwrap_or(usize::MAX),
                unhandled: 0,
            }),
        }
    }

    /// Removes from the store what it has kept for a link that is known no more. One that replicas share is not waited
    /// for longer than 10 s.
    async fn empty(&self, entry: &Entry) -> Result<(), StoreError> {
        let Some(store) = entry.peer.store() else { return Ok(()) };
        let purging = store.purge(&entry.peer.mailbox);
        let purged = match &self.cluster {
            Some(_) => timeout(PATIENCE, purging).await.unwrap_or_else(|_| Err(unanswered())),
            None => purging.await,
        };
        purged.map(drop)
    }
}
