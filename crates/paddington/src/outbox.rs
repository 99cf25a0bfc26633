//! The file that stores messages for `sealed` peers.

use std::path::Path;
#[cfg(not(feature = "durable"))]
use std::path::PathBuf;
use std::sync::Arc;

use paddington_exchange::store::Store;
use thiserror::Error;

/// The reason why an outbox cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The file cannot be opened, or is in use.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    Open(#[from] paddington_store::OpenStoreError),
    /// The program was built without the feature `durable`.
    #[cfg(not(feature = "durable"))]
    #[error(
        "the configured outbox {0} cannot be used: this program was built without the feature \
         `durable`"
    )]
    NotBuilt(PathBuf),
}

#[cfg(feature = "durable")]
pub(crate) fn open(path: &Path) -> Result<Arc<dyn Store>, OutboxError> {
    Ok(Arc::new(paddington_store::SqliteStore::open(path)?))
}

#[cfg(not(feature = "durable"))]
pub(crate) fn open(path: &Path) -> Result<Arc<dyn Store>, OutboxError> {
    Err(OutboxError::NotBuilt(path.to_owned()))
}
