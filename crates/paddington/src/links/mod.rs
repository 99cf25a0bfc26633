//! Links as they are kept in a folder, one file for each, or in a database.

mod directory;
mod folder;
mod keys;
mod sealed;
mod stored;

pub use directory::SharedLinkError;
#[cfg(feature = "postgres")]
pub(crate) use directory::place;
pub(crate) use directory::{LinkDirectory, SharedLink};
pub(crate) use folder::{FolderLock, LinkFolder};
pub(crate) use keys::{Keys, handed_over};
#[cfg(feature = "postgres")]
pub(crate) use sealed::{LinkText, SealedLink, at_rest};
pub use stored::PeerRole;
pub(crate) use stored::{KeysEntry, LinkFile};
