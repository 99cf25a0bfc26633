//! Which replicas own the links that this one does not own, as the database has said last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paddington::{Exchange, PeerName};

/// The longest time for which the database is waited for that knows where required peers are.
const PATIENCE: Duration = Duration::from_secs(2);

/// The numbers of the replicas, by the names of the peers; `None` is nobody. Of other peers nothing is known.
pub(crate) type Owners = BTreeMap<PeerName, Option<u32>>;

/// What the database has said last.
#[derive(Debug, Default)]
pub(crate) struct LastOwners(Mutex<Arc<Owners>>);

impl LastOwners {
    /// Asks the database. If it does not answer, nothing is known any more.
    pub(crate) async fn ask(&self, exchange: &Exchange) -> Arc<Owners> {
        self.set(exchange.owners(None).await.unwrap_or_default())
    }

    /// Asks the database about some peers, for replica `own`, but not for long. If it does not answer in time, nothing is
    /// known of them any more.
    pub(crate) async fn ask_about(
        &self,
        exchange: &Exchange,
        own: u32,
        peers: &[&str],
    ) -> Arc<Owners> {
        let mut owners = exchange.owners_of(peers, PATIENCE).await.unwrap_or_default();
        // A link that this replica does not own in its own eyes is about to be given up.
        owners.values_mut().for_each(|owner| *owner = owner.filter(|replica| *replica != own));
        self.set(owners)
    }

    /// Returns what it has said last.
    pub(crate) fn get(&self) -> Arc<Owners> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, owners: Owners) -> Arc<Owners> {
        let owners = Arc::new(owners);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&owners);
        owners
    }
}
