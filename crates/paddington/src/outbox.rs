//! The file that keeps what waits for `sealed` peers.

use std::path::Path;
#[cfg(not(feature = "durable"))]
use std::path::PathBuf;
use std::sync::Arc;

use paddington_exchange::store::Store;
use thiserror::Error;

/// Why an outbox cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The file cannot be opened, or another process has it.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    Open(#[from] paddington_store::OpenStoreError),
    /// The program was built without the feature that it takes.
    #[cfg(not(feature = "durable"))]
    #[error(
        "the configuration keeps its outbox in {0}, and this program was built without the feature \
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
