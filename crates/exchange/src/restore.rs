//! Creates the peers of an exchange, with the state that a store has kept for them.

use std::collections::HashMap;
use std::sync::Arc;

use paddington_wire::link::StoredLink;
use paddington_wire::{Encoding, Instance, LinkId, MessageId, RejectCode};
use tokio_util::sync::CancellationToken;

use crate::peer::{Keeping, Peer, PeerLink, Shared, Term};
use crate::storage::Storage;
use crate::store::{Claim, Mailbox, SharedStore, StoreError};

/// What a store has kept, from which peers are made.
pub(crate) struct Kept<'a> {
    storage: &'a Storage,
    /// Cancelled: the end of all terms that have not begun.
    ended: CancellationToken,
    letters: HashMap<LinkId, Vec<(MessageId, RejectCode)>>,
}

impl<'a> Kept<'a> {
    /// Looks into the store.
    pub(crate) async fn new(storage: &'a Storage) -> Result<Self, StoreError> {
        let kept = match storage {
            Storage::Own(store) => store.letters().await?,
            Storage::Memory | Storage::Shared(_) => Vec::new(),
        };
        let mut letters = HashMap::<_, Vec<_>>::new();
        for (_, letter) in kept {
            letters.entry(letter.mailbox.link).or_default().push((letter.id, letter.code));
        }
        Ok(Self { storage, ended: CancellationToken::new(), letters })
    }

    /// Creates the peer with this mailbox, on whose link this side is `instance`.
    pub(crate) async fn peer(
        &mut self,
        shared: &Arc<Shared>,
        mailbox: Mailbox,
        instance: Instance,
        encoding: Encoding,
    ) -> Result<Arc<Peer>, StoreError> {
        let keeping = match self.storage {
            Storage::Shared(store) => {
                Keeping::Shared(Term::none(Arc::clone(store), self.ended.clone()))
            }
            Storage::Own(store) if encoding == Encoding::Sealed => Keeping::Own(Arc::clone(store)),
            Storage::Own(_) | Storage::Memory => Keeping::Memory,
        };
        let letters = self.letters.remove(&mailbox.link).unwrap_or_default();
        let mut link = match &keeping {
            Keeping::Memory | Keeping::Shared(_) => None,
            Keeping::Own(store) => {
                let streams = store.streams(&mailbox).await?;
                let stored = StoredLink { streams, cursors: store.cursors(&mailbox).await? };
                Some(PeerLink::restore(shared.link(true), instance, stored, shared.now()))
            }
        };
        for (id, code) in letters {
            let fresh = || PeerLink::new(encoding, shared.link(false), instance);
            link.get_or_insert_with(fresh).recall(id, code);
        }
        let peer = Peer::new(mailbox, instance, encoding, Arc::clone(shared), keeping);
        Ok(Arc::new(match link {
            Some(link) => peer.with_link(link),
            None => peer,
        }))
    }
}

/// Creates the peer of a term, from what was claimed.
pub(crate) fn claimed(
    shared: &Arc<Shared>,
    mailbox: Mailbox,
    store: Arc<dyn SharedStore>,
    claim: Claim,
) -> Arc<Peer> {
    let Claim { fence, stream, streams, cursors, letters, .. } = claim;
    let stored = StoredLink { streams, cursors };
    let mut link = PeerLink::restore(shared.link(true), stream, stored, shared.now());
    for (id, code) in letters {
        link.recall(id, code);
    }
    let keeping = Keeping::Shared(Term::new(store, fence));
    let peer = Peer::new(mailbox, stream, Encoding::Sealed, Arc::clone(shared), keeping);
    Arc::new(peer.with_link(link))
}
