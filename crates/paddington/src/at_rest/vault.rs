//! The keyring of a configuration, opened when it is needed first.

use std::sync::{Arc, OnceLock};

use super::{AtRest, AtRestError, Keyring};

/// The settings, and the keyring once it is open. Whatever uses it shares it.
#[derive(Debug)]
pub(crate) struct Vault {
    settings: AtRest,
    keyring: OnceLock<Arc<Keyring>>,
}

impl Vault {
    pub(crate) fn new(settings: AtRest) -> Self {
        Self { settings, keyring: OnceLock::new() }
    }

    pub(crate) fn settings(&self) -> &AtRest {
        &self.settings
    }

    /// Opens the keyring, which has to be there.
    pub(crate) fn keyring(&self) -> Result<&Arc<Keyring>, AtRestError> {
        self.keyring_or_new(|| false)
    }

    /// Opens the keyring if it is there.
    #[cfg(feature = "postgres")]
    pub(crate) fn present_keyring(&self) -> Result<Option<&Arc<Keyring>>, AtRestError> {
        match self.keyring() {
            Ok(keyring) => Ok(Some(keyring)),
            Err(AtRestError::NoKeyring { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the keyring, or makes one if there is none and nothing can be sealed under a lost one.
    pub(crate) fn keyring_or_new(
        &self,
        is_first: impl FnOnce() -> bool,
    ) -> Result<&Arc<Keyring>, AtRestError> {
        if let Some(keyring) = self.keyring.get() {
            return Ok(keyring);
        }
        let keyring = match Keyring::open(&self.settings)? {
            Some(keyring) => keyring,
            None if is_first() => Keyring::create(&self.settings)?,
            None => {
                return Err(AtRestError::NoKeyring { path: self.settings.keyring().to_owned() });
            }
        };
        Ok(self.keyring.get_or_init(|| Arc::new(keyring)))
    }
}
