//! The file that stores messages for `sealed` peers.

#[cfg(feature = "durable")]
use std::path::Path;
#[cfg(not(feature = "durable"))]
use std::path::PathBuf;
use std::sync::Arc;

use paddington_exchange::store::Store;
use thiserror::Error;

use crate::ServiceConfig;
#[cfg(feature = "durable")]
use crate::at_rest::{AtRest, AtRestError, SealedStore};

/// The reason why an outbox cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The file cannot be opened, or is in use.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    Open(#[from] paddington_store::OpenStoreError),
    /// What is at rest cannot be opened or sealed.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    AtRest(#[from] AtRestError),
    /// The program was built without the feature `durable`.
    #[cfg(not(feature = "durable"))]
    #[error(
        "the configured outbox {0} cannot be used: this program was built without the feature \
         `durable`"
    )]
    NotBuilt(PathBuf),
}

impl ServiceConfig {
    /// Opens the outbox of the configuration, as a service does that starts: for tools, while it does
    /// not run. It is made if there is none. Payloads are opened and sealed if `at_rest` says so.
    ///
    /// # Errors
    ///
    /// [`OutboxError`] if the file is in use, or cannot be used, or the key for what is at rest is another
    /// one.
    pub fn open_outbox(&self) -> Result<Option<Arc<dyn Store>>, OutboxError> {
        open(self)
    }
}

/// Returns whether an outbox can be opened with these settings, as far as its seal goes: one that does not
/// exist can. Nothing is written, and a service may use it.
///
/// # Errors
///
/// [`OutboxError`] if it is sealed and should not be, is not sealed and should be, or is sealed under a key that
/// is not in the keyring.
#[cfg(feature = "durable")]
pub fn check_outbox_seal(path: &Path, at_rest: Option<&AtRest>) -> Result<(), OutboxError> {
    use paddington_store::{OpenStoreError, sealed_under};
    let is_new = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
    if is_new {
        return Ok(());
    }
    let outbox = path.to_owned();
    match (sealed_under(path)?, at_rest) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(OpenStoreError::NotSealed(outbox).into()),
        (Some(key), None) => Err(OpenStoreError::Sealed { path: outbox, key }.into()),
        (Some(key), Some(settings)) => {
            crate::at_rest::Vault::new(settings.clone()).keyring()?.key(key)?;
            Ok(())
        }
    }
}

#[cfg(feature = "durable")]
pub(crate) fn open(config: &ServiceConfig) -> Result<Option<Arc<dyn Store>>, OutboxError> {
    use paddington_store::SqliteStore;
    let Some(path) = config.outbox() else { return Ok(None) };
    let Some(vault) = &config.vault else { return Ok(Some(Arc::new(SqliteStore::open(path)?))) };
    let keyring = vault.keyring_or_new(|| !path.exists())?;
    let store = SqliteStore::open_sealed(path, &keyring.ids())?;
    let key = match store.key() {
        Some(id) => keyring.key(id)?,
        None => keyring.newest(),
    };
    let key = Arc::clone(key);
    Ok(Some(Arc::new(SealedStore::new(Arc::new(store), key))))
}

#[cfg(not(feature = "durable"))]
pub(crate) fn open(config: &ServiceConfig) -> Result<Option<Arc<dyn Store>>, OutboxError> {
    config.outbox().map(|path| Err(OutboxError::NotBuilt(path.to_owned()))).transpose()
}
