//! Where an exchange keeps messages: in memory, in a store of its own, or in one that replicas share.

use std::sync::Arc;

use crate::store::{LinkStore, SharedStore, Store};

/// Where messages that wait for `sealed` peers are kept.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// In memory: they are lost when the process ends.
    #[default]
    Memory,
    /// In a store that this exchange alone uses.
    Own(Arc<dyn Store>),
    /// In a store that several replicas of this service share (`docs/cluster.md`).
    Shared(Arc<dyn SharedStore>),
}

impl Storage {
    pub(crate) fn store(&self) -> Option<&dyn LinkStore> {
        match self {
            Self::Memory => None,
            Self::Own(store) => Some(&**store),
            Self::Shared(store) => Some(&**store),
        }
    }

    /// Returns whether messages outlive the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.store().is_some()
    }
}

impl From<Option<Arc<dyn Store>>> for Storage {
    fn from(store: Option<Arc<dyn Store>>) -> Self {
        store.map_or(Self::Memory, Self::Own)
    }
}
