//! What those who look at the service want to know of the shared store: which replicas own the links that this one does
//! not own, and more.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use paddington_wire::{LinkId, PeerName};
use tokio::time::timeout;

use super::Cluster;
use super::lease::PATIENCE;
use crate::peer::Peer;
use crate::store::parts::of_those_that_answer;
use crate::store::{Answer, ReplicaId, SharedStore, StoreError};

impl Cluster {
    /// Asks the store who owns the links with these peers; `None` is nobody who lives. Peers are left out whose links
    /// live in a shard that does not answer within `limit`, unless none does.
    pub(crate) async fn owners(
        &self,
        peers: &[Arc<Peer>],
        limit: Duration,
    ) -> Result<BTreeMap<PeerName, Option<u32>>, StoreError> {
        let mut shards: BTreeMap<usize, Vec<Arc<Peer>>> = BTreeMap::new();
        for peer in peers {
            shards.entry(self.shard_of(peer.mailbox.link)).or_default().push(Arc::clone(peer));
        }
        let asked = shards.into_iter().map(|(shard, peers)| self.owners_in(shard, peers, limit));
        Ok(of_those_that_answer(join_all(asked).await)?.into_iter().collect())
    }

    /// Asks a shard.
    async fn owners_in(
        &self,
        shard: usize,
        peers: Vec<Arc<Peer>>,
        limit: Duration,
    ) -> Result<Vec<(PeerName, Option<u32>)>, StoreError> {
        let links = peers.iter().map(|peer| peer.mailbox.link).collect();
        let owners = self.ask_in_time(shard..=shard, limit, |store| store.owners(links)).await?;
        let owners: HashMap<_, ReplicaId> = owners.into_iter().collect();
        let of_peer = |peer: Arc<Peer>| {
            let owner = owners.get(&peer.mailbox.link).map(|replica| replica.0);
            (peer.name.clone(), owner)
        };
        Ok(peers.into_iter().map(of_peer).collect())
    }

    /// Asks all shards something on which no message depends, and which they answer together: it takes 10 s at most.
    pub(crate) async fn ask_all_in_time<T>(
        &self,
        ask: impl FnOnce(&dyn SharedStore) -> Answer<T>,
    ) -> Result<T, StoreError> {
        let last = self.store.shards().saturating_sub(1);
        self.ask_in_time(0..=last, PATIENCE, ask).await
    }

    /// Asks shards something on which no message depends: it takes no longer than `limit`. A replica that may be taken for
    /// dead in one of them does not ask: that one does not answer, as a rule.
    async fn ask_in_time<T>(
        &self,
        shards: RangeInclusive<usize>,
        limit: Duration,
        ask: impl FnOnce(&dyn SharedStore) -> Answer<T>,
    ) -> Result<T, StoreError> {
        self.lives_in(shards)?;
        timeout(limit, ask(&*self.store)).await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Fails if this replica may be taken for dead in the shard of a link.
    pub(crate) fn lives_for(&self, link: LinkId) -> Result<(), StoreError> {
        let shard = self.shard_of(link);
        self.lives_in(shard..=shard)
    }

    /// Fails if this replica may be taken for dead in one of these shards.
    fn lives_in(&self, mut shards: RangeInclusive<usize>) -> Result<(), StoreError> {
        if shards.any(|shard| self.store.lease(shard).is_zero()) {
            return Err(StoreError::new("the lease of this replica has lapsed"));
        }
        Ok(())
    }
}

/// A store that hangs is one that does not answer.
pub(crate) fn unanswered() -> StoreError {
    StoreError::new("it has not answered in time")
}
