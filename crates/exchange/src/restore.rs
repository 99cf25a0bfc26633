//! Creates the peers of an exchange, with the state that a store has kept for them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use paddington_wire::link::{LinkConfig, StoredLink};
use paddington_wire::{Encoding, PeerName};

use crate::StartError;
use crate::orphans::warn_of_orphans;
use crate::peer::{Peer, PeerLink, Shared};
use crate::store::{Mailbox, Store, StoreError};

/// Returns all peers by name. Two services know each other by one link, as client and server
/// (`docs/protocol.md` §1).
pub(crate) async fn peers(
    shared: &Arc<Shared>,
    known: impl ExactSizeIterator<Item = (Mailbox, Encoding)>,
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
        letters_of.entry(letter.mailbox.link).or_default().push((letter.id, letter.code));
    }
    let first_window = shared.inboxes.first_window();
    let config = |stored| Arc::new(LinkConfig { first_window, ..shared.config.link(stored) });
    let configs = [config(false), config(true)];
    let (mut peers, mut links) = (BTreeMap::new(), HashSet::new());
    for (mailbox, encoding) in known {
        if mailbox.peer == shared.name {
            return Err(StartError::OwnName(mailbox.peer));
        }
        if !links.insert(mailbox.link) && !peers.contains_key(&mailbox.peer) {
            return Err(StartError::DuplicateLink(mailbox.peer));
        }
        let store = store.filter(|_| encoding == Encoding::Sealed);
        let config = Arc::clone(&configs[usize::from(store.is_some())]);
        let link = link(shared, config, &mailbox, encoding, store).await;
        let mut link = link.map_err(StartError::Store)?;
        for (id, code) in letters_of.remove(&mailbox.link).unwrap_or_default() {
            link.recall(id, code);
        }
        let name = mailbox.peer.clone();
        let peer = Arc::new(Peer::new(mailbox, link, Arc::clone(shared), store.cloned()));
        if peers.insert(name.clone(), peer).is_some() {
            return Err(StartError::DuplicatePeer(name));
        }
    }
    if let Some(store) = store {
        let links = links.into_iter().collect();
        warn_of_orphans(&**store, links).await.map_err(StartError::Store)?;
    }
    Ok(peers)
}

async fn link(
    shared: &Shared,
    config: Arc<LinkConfig>,
    mailbox: &Mailbox,
    encoding: Encoding,
    store: Option<&Arc<dyn Store>>,
) -> Result<PeerLink, StoreError> {
    let Some(store) = store else {
        return Ok(PeerLink::new(encoding, config, shared.instance));
    };
    let (streams, cursors) = (store.streams(mailbox).await?, store.cursors(mailbox).await?);
    let stored = StoredLink { streams, cursors };
    Ok(PeerLink::restore(config, shared.instance, stored, shared.now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[tokio::test]
    async fn two_peers_with_one_link_are_refused() {
        let shared = Shared::new("hub".parse().unwrap(), Config::default(), 2, false).unwrap();
        let shared = Arc::new(shared);
        let mailbox =
            |peer: &str, link: u8| Mailbox { peer: peer.parse().unwrap(), link: [link; 16].into() };
        let start = async |known: [Mailbox; 2]| {
            let known = known.map(|mailbox| (mailbox, Encoding::Sealed));
            peers(&shared, known.into_iter(), None).await
        };
        assert_eq!(start([mailbox("a", 1), mailbox("b", 2)]).await.unwrap().len(), 2);
        let refused = start([mailbox("a", 1), mailbox("b", 1)]).await.unwrap_err();
        assert!(matches!(&refused, StartError::DuplicateLink(peer) if peer.as_str() == "b"));
        for link in [1, 2] {
            let refused = start([mailbox("a", 1), mailbox("a", link)]).await.unwrap_err();
            assert!(matches!(refused, StartError::DuplicatePeer(_)), "{refused}");
        }
    }
}
