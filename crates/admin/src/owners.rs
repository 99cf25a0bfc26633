//! Which replicas own the links that this one does not own, as the database has said last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use paddington::{Exchange, PeerName};

/// The numbers of the replicas, by the names of the peers; `None` is nobody. Of other peers nothing is known.
pub(crate) type Owners = BTreeMap<PeerName, Option<u32>>;

/// What the database has said last.
#[derive(Debug, Default)]
pub(crate) struct LastOwners(Mutex<Arc<Owners>>);

impl LastOwners {
    /// Asks the database. If it does not answer, nothing is known any more.
    pub(crate) async fn ask(&self, exchange: &Exchange) -> Arc<Owners> {
        let owners = Arc::new(exchange.owners(None).await.unwrap_or_default());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&owners);
        owners
    }

    /// Returns what it has said last.
    pub(crate) fn get(&self) -> Arc<Owners> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
