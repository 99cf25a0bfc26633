//! Where the messages of a peer are kept, and the term of a replica that owns its link.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Peer;
use crate::store::{Fence, LinkStore, SharedStore, Store};

/// Where the messages of a peer are kept.
#[derive(Debug)]
pub(crate) enum Keeping {
    /// In memory only.
    Memory,
    /// In a store of this exchange's own.
    Own(Arc<dyn Store>),
    /// In a store that several replicas share.
    Shared(Term),
}

/// The time between a claim of a link and its end. A peer whose link is another replica's, or nobody's,
/// has one that has ended.
pub(crate) struct Term {
    pub(crate) store: Arc<dyn SharedStore>,
    pub(crate) fence: Fence,
    /// Cancelled when it has ended.
    pub(crate) ended: CancellationToken,
}

impl Term {
    /// Creates the term of a claim.
    pub(crate) fn new(store: Arc<dyn SharedStore>, fence: Fence) -> Self {
        Self { store, fence, ended: CancellationToken::new() }
    }

    /// Creates a term that has `ended`, for a link that this replica has not claimed.
    pub(crate) fn none(store: Arc<dyn SharedStore>, ended: CancellationToken) -> Self {
        ended.cancel();
        Self { store, fence: Fence::default(), ended }
    }
}

impl Peer {
    /// Returns the store, if messages of this peer are kept in one.
    pub(crate) fn store(&self) -> Option<&dyn LinkStore> {
        match &self.keeping {
            Keeping::Memory => None,
            Keeping::Own(store) => Some(&**store),
            Keeping::Shared(term) => Some(&*term.store),
        }
    }

    /// Returns the store of this exchange's own, if there is one.
    pub(super) fn own_store(&self) -> Option<&Arc<dyn Store>> {
        if let Keeping::Own(store) = &self.keeping { Some(store) } else { None }
    }

    /// Returns the term, if the store is one that replicas share.
    pub(crate) fn term(&self) -> Option<&Term> {
        if let Keeping::Shared(term) = &self.keeping { Some(term) } else { None }
    }

    /// Returns the fence of this peer's link: always the first one in a store that has one owner.
    pub(crate) fn fence(&self) -> Fence {
        self.term().map_or(Fence::default(), |term| term.fence)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term")
            .field("fence", &self.fence)
            .field("ended", &self.ended.is_cancelled())
            .finish_non_exhaustive()
    }
}
