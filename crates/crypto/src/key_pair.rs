//! The two keys of one double envelope.

use std::sync::Arc;

use crate::{KeyError, SecretKey};

/// The keys of the inner and the outer layer.
///
/// An invitation holds such a pair; so does a session. The keys are shared, not copied: a session
/// may share a key with the handshake that sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyPair {
    inner: Arc<SecretKey>,
    outer: Arc<SecretKey>,
}

impl KeyPair {
    /// Makes a pair of two keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::Equal`] if both are the same key.
    pub fn new(inner: Arc<SecretKey>, outer: Arc<SecretKey>) -> Result<Self, KeyError> {
        if inner == outer {
            return Err(KeyError::Equal);
        }
        Ok(Self { inner, outer })
    }

    /// Draws two independent keys.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(Arc::new(SecretKey::generate()?), Arc::new(SecretKey::generate()?))
    }

    /// Returns the key of the inner layer.
    #[must_use]
    pub fn inner(&self) -> &Arc<SecretKey> {
        &self.inner
    }

    /// Returns the key of the outer layer.
    #[must_use]
    pub fn outer(&self) -> &Arc<SecretKey> {
        &self.outer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_are_refused() {
        let key = || Arc::new(SecretKey::from_slice(&[7; 32]).unwrap());
        assert_eq!(KeyPair::new(key(), key()).unwrap_err(), KeyError::Equal);
    }

    #[test]
    fn debug_does_not_show_the_keys() {
        let keys = KeyPair::generate().unwrap();
        assert_eq!(format!("{keys:?}"), "KeyPair { inner: SecretKey(..), outer: SecretKey(..) }");
    }
}
