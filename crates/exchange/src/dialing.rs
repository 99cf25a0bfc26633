//! The dialling of one server, as the exchange sees it: what it begins with, how it is stopped, and what
//! changes about the link meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_transport::{Change, Endpoint, Fallbacks, Tls};
use paddington_wire::{Credentials, LinkId, PeerName};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Renewal;

/// A server that this service is invited to.
#[derive(Clone, Debug)]
pub struct Server {
    /// The link, whose messages and cursors are its own.
    pub link: LinkId,
    /// The server's name.
    pub name: PeerName,
    /// Where the server listens.
    pub endpoint: Endpoint,
    /// Further URLs of it, which are tried when that one fails.
    pub fallbacks: Fallbacks,
    /// Credentials that the invitation contains.
    pub credentials: Credentials,
    /// Certificate authorities to trust, if one of the URLs is a `wss` URL.
    pub tls: Option<Tls>,
    /// Source of a newer invitation, if there is one.
    pub renewal: Option<Arc<dyn Renewal>>,
}

/// The dialling of one server.
#[derive(Debug, Default)]
pub(crate) struct Dialing {
    /// Stops it, for good.
    pub(crate) stop: CancellationToken,
    /// Changes that the dialer has not taken yet.
    changes: Mutex<Vec<Change>>,
    changed: Notify,
}

impl Dialing {
    /// Creates a dialling that ends with `stop`.
    pub(crate) fn until(stop: CancellationToken) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Lets the next attempt use a change. Of earlier ones only those are kept that it leaves in
    /// force.
    pub(crate) fn change(&self, change: Change) {
        let mut changes = self.lock();
        match &change {
            Change::Invitation(_) => changes.clear(),
            Change::Credentials(_) => changes.retain(|it| matches!(it, Change::Invitation(_))),
        }
        changes.push(change);
        drop(changes);
        self.changed.notify_one();
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut *self.lock())
    }

    /// Resolves when there are changes to take.
    pub(crate) async fn changed(&self) {
        while self.lock().is_empty() {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
