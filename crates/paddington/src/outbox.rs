//! The file that keeps what waits for `sealed` peers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_exchange::store::Store;
use thiserror::Error;

/// Why an outbox cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The program was built without the feature that it takes.
    #[error(
        "the configuration keeps its outbox in {0}, and this program was built without the feature \
         `durable`"
    )]
    NotBuilt(PathBuf),
}

pub(crate) fn open(path: &Path) -> Result<Arc<dyn Store>, OutboxError> {
    Err(OutboxError::NotBuilt(path.to_owned()))
}
