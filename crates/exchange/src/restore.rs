//! Creates the peers of an exchange, with the state that a store has kept for them.

use std::collections::HashMap;
use std::sync::Arc;

use paddington_wire::link::StoredLink;
use paddington_wire::{Encoding, MessageId, PeerName, RejectCode};

use crate::peer::{Peer, PeerLink, Shared};
use crate::store::{Store, StoreError};

/// What a store has kept, from which peers are made.
pub(crate) struct Kept<'a> {
    store: Option<&'a Arc<dyn Store>>,
    letters: HashMap<PeerName, Vec<(MessageId, RejectCode)>>,
}

impl<'a> Kept<'a> {
    /// Looks into the store.
    pub(crate) async fn new(store: Option<&'a Arc<dyn Store>>) -> Result<Self, StoreError> {
        let kept = match store {
            Some(store) => store.letters().await?,
            None => Vec::new(),
        };
        let mut letters = HashMap::<_, Vec<_>>::new();
        for (_, letter) in kept {
            letters.entry(letter.peer).or_default().push((letter.id, letter.code));
        }
        Ok(Self { store, letters })
    }

    /// Creates a peer.
    pub(crate) async fn peer(
        &mut self,
        shared: &Arc<Shared>,
        name: &PeerName,
        encoding: Encoding,
    ) -> Result<Arc<Peer>, StoreError> {
        let store = self.store.filter(|_| encoding == Encoding::Sealed);
        let mut link = link(shared, name, encoding, store).await?;
        for (id, code) in self.letters.remove(name).unwrap_or_default() {
            link.recall(id, code);
        }
        Ok(Arc::new(Peer::new(name.clone(), link, Arc::clone(shared), store.cloned())))
    }
}

async fn link(
    shared: &Shared,
    name: &PeerName,
    encoding: Encoding,
    store: Option<&Arc<dyn Store>>,
) -> Result<PeerLink, StoreError> {
    let config = shared.link(store.is_some());
    let Some(store) = store else {
        return Ok(PeerLink::new(encoding, config, shared.instance));
    };
    let stored =
        StoredLink { streams: store.streams(name).await?, cursors: store.cursors(name).await? };
    Ok(PeerLink::restore(config, shared.instance, stored, shared.now()))
}
