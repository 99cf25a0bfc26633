//! Creates the peers of an exchange, with the state that a store has kept for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use paddington_wire::link::{LinkConfig, StoredLink};
use paddington_wire::{Encoding, PeerName};

use crate::StartError;
use crate::peer::{Peer, PeerLink, Shared};
use crate::store::{Store, StoreError};

/// Returns all peers by name. Two services know each other by one link, as client and server
/// (`docs/protocol.md` §1).
pub(crate) async fn peers(
    shared: &Arc<Shared>,
    known: impl ExactSizeIterator<Item = (PeerName, Encoding)>,
    store: Option<&Arc<dyn Store>>,
) -> Result<BTreeMap<PeerName, Arc<Peer>>, StartError> {
    if known.len() > shared.config.peers {
        return Err(StartError::TooManyPeers { peers: known.len(), max: shared.config.peers });
    }
    let letters = match store {
        Some(store) => store.letters().await.map_err(StartError::Store)?,
        None => Vec::new(),
    };
    let mut letters_of = HashMap::<_, Vec<_>>::new();
    for (_, letter) in letters {
        letters_of.entry(letter.peer).or_default().push((letter.id, letter.code));
    }
    let mut peers = BTreeMap::new();
    for (name, encoding) in known {
        if name == shared.name {
            return Err(StartError::OwnName(name));
        }
        let store = store.filter(|_| encoding == Encoding::Sealed);
        let mut link = link(shared, &name, encoding, store).await.map_err(StartError::Store)?;
        for (id, code) in letters_of.remove(&name).unwrap_or_default() {
            link.recall(id, code);
        }
        let peer = Arc::new(Peer::new(name.clone(), link, Arc::clone(shared), store.cloned()));
        if peers.insert(name.clone(), peer).is_some() {
            return Err(StartError::DuplicatePeer(name));
        }
    }
    Ok(peers)
}

async fn link(
    shared: &Shared,
    name: &PeerName,
    encoding: Encoding,
    store: Option<&Arc<dyn Store>>,
) -> Result<PeerLink, StoreError> {
    let first_window = shared.inboxes.first_window();
    let config = LinkConfig { first_window, ..shared.config.link(store.is_some()) };
    let Some(store) = store else {
        return Ok(PeerLink::new(encoding, config, shared.instance));
    };
    let stored =
        StoredLink { streams: store.streams(name).await?, cursors: store.cursors(name).await? };
    Ok(PeerLink::restore(config, shared.instance, stored, shared.now()))
}
