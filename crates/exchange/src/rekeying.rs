//! Keys of links that a person changes while their exchange runs. Implements `docs/protocol.md` §3.6.

use std::future::Future;
use std::sync::Arc;

use paddington_wire::PeerName;
use paddington_wire::keys::KeyRing;
use thiserror::Error;

use crate::peer::Asked;
use crate::{Exchange, HandlerError};

/// The reason why the keys of a link were not changed. They are as before then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// There is no such peer.
    #[error("no peer is called {0:?}")]
    UnknownPeer(String),
    /// The keys of the link have no generations.
    #[error("the keys of the link with {0} have no generations: it is a hex link")]
    NoGenerations(PeerName),
    /// There is no session in which both sides can renew them.
    #[error(
        "the keys of the link with {0} cannot be renewed now: it takes a connection, and a folder of \
         links on both sides"
    )]
    NotOffered(PeerName),
    /// An invitation is to replace them.
    #[error(
        "the keys of the link with {0} are not renewed before its new invitation is used: if that is lost, \
         write another one"
    )]
    InvitationWaits(PeerName),
    /// The change itself is not possible.
    #[error("the keys cannot be changed")]
    Refused(#[source] HandlerError),
    /// The caller could not make the change durable.
    #[error("the change could not be stored")]
    NotDurable(#[source] HandlerError),
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

impl Exchange {
    /// Returns the generations of the keys of the link with a peer, if they have any.
    #[must_use]
    pub fn keys(&self, name: &str) -> Option<Arc<KeyRing>> {
        self.core().peer(name)?.ring()
    }

    /// Returns whether the keys of the link stay as they were handed over because the peer, which is
    /// connected, cannot store new ones.
    #[must_use]
    pub fn are_keys_fixed_by_peer(&self, name: &str) -> bool {
        self.core().peer(name).is_some_and(|peer| peer.are_keys_fixed())
    }

    /// Returns the time by which invitations expire and keys age, in seconds since 1970.
    #[must_use]
    pub fn unix_time(&self) -> u64 {
        self.core().network.unix_time()
    }

    /// Renews the keys of a link. This returns at once; the new keys are used from the next handshake
    /// on. A session in which they were renewed already ends for that, and nothing is lost.
    ///
    /// # Errors
    ///
    /// [`RekeyError`] if that is not possible now.
    pub async fn renew_keys(&self, name: &str) -> Result<(), RekeyError> {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(RekeyError::ShuttingDown);
        };
        let unknown = || RekeyError::UnknownPeer(name.chars().take(80).collect());
        let peer = core.peer(name).ok_or_else(unknown)?;
        match peer.renew_keys() {
            Asked::NotOffered => Err(RekeyError::NotOffered(peer.name.clone())),
            Asked::WithInvitation => Err(RekeyError::InvitationWaits(peer.name.clone())),
            Asked::Now | Asked::InNextSession => Ok(()),
        }
    }

    /// Changes the generations of the keys of a link, such as by a new invitation, once `durable` has
    /// stored them for the next start. The present session goes on.
    ///
    /// # Errors
    ///
    /// [`RekeyError`] if nothing has changed.
    pub async fn change_keys_with<C, D, S>(
        &self,
        name: &str,
        change: C,
        durable: D,
    ) -> Result<(), RekeyError>
    where
        C: FnOnce(&KeyRing) -> Result<KeyRing, HandlerError>,
        D: FnOnce(Arc<KeyRing>) -> S,
        S: Future<Output = Result<(), HandlerError>>,
    {
        let core = self.core();
        let Some(_change) = core.begin_change().await else {
            return Err(RekeyError::ShuttingDown);
        };
        let unknown = || RekeyError::UnknownPeer(name.chars().take(80).collect());
        let peer = core.peer(name).ok_or_else(unknown)?;
        let keys = peer.keys().ok_or_else(|| RekeyError::NoGenerations(peer.name.clone()))?;
        let ordered = keys.order(&peer, change).await.map_err(RekeyError::Refused)?;
        let stored = match ordered.ring() {
            Some(ring) => durable(Arc::clone(ring)).await,
            None => Ok(()),
        };
        match stored {
            Ok(()) => ordered.done(),
            Err(cause) => {
                drop(ordered);
                peer.attend_keys();
                return Err(RekeyError::NotDurable(cause));
            }
        }
        peer.attend_keys();
        Ok(())
    }
}
