//! Creates the peers of an exchange, with the state that a store has kept for them.

use std::collections::HashMap;
use std::sync::Arc;

use paddington_wire::link::StoredLink;
use paddington_wire::{Encoding, Instance, LinkId, MessageId, RejectCode};

use crate::peer::{Peer, PeerLink, Shared};
use crate::store::{Mailbox, Store, StoreError};

/// What a store has kept, from which peers are made.
pub(crate) struct Kept<'a> {
    store: Option<&'a Arc<dyn Store>>,
    letters: HashMap<LinkId, Vec<(MessageId, RejectCode)>>,
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
            letters.entry(letter.mailbox.link).or_default().push((letter.id, letter.code));
        }
        Ok(Self { store, letters })
    }

    /// Creates the peer with this mailbox, on whose link this side is `instance`.
    pub(crate) async fn peer(
        &mut self,
        shared: &Arc<Shared>,
        mailbox: Mailbox,
        instance: Instance,
        encoding: Encoding,
    ) -> Result<Arc<Peer>, StoreError> {
        let store = self.store.filter(|_| encoding == Encoding::Sealed);
        let letters = self.letters.remove(&mailbox.link).unwrap_or_default();
        let mut link = match store {
            None => None,
            Some(store) => {
                let streams = store.streams(&mailbox).await?;
                let stored = StoredLink { streams, cursors: store.cursors(&mailbox).await? };
                Some(PeerLink::restore(shared.link(true), instance, stored, shared.now()))
            }
        };
        for (id, code) in letters {
            let fresh = || PeerLink::new(encoding, shared.link(false), instance);
            link.get_or_insert_with(fresh).recall(id, code);
        }
        let peer = Peer::new(mailbox, instance, encoding, Arc::clone(shared), store.cloned());
        Ok(Arc::new(match link {
            Some(link) => peer.with_link(link),
            None => peer,
        }))
    }
}
