//! The reference implementation of XChaCha20-Poly1305, by orion.

use orion::hazardous::aead::xchacha20poly1305::{Nonce, Tag as OrionTag, XChaCha20Poly1305};
use orion::hazardous::stream::chacha20;

use super::cipher::PREFIX_LEN;
use super::{Cipher, NONCE_LEN, Prefix, Suffix, TAG_LEN, Tag};
use crate::{OpenError, SealError, SecretKey};

pub(crate) struct OrionXChaCha {
    key: chacha20::SecretKey,
    prefix: Prefix,
}

impl OrionXChaCha {
    /// Prepares the cipher for nonces that begin with `prefix`.
    #[expect(clippy::expect_used, reason = "a SecretKey has the right length")]
    pub(crate) fn new(key: &SecretKey, prefix: &Prefix) -> Self {
        Self {
            key: chacha20::SecretKey::try_from(key.expose_bytes()).expect("32 bytes"),
            prefix: *prefix,
        }
    }

    fn nonce(&self, suffix: Suffix) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..PREFIX_LEN].copy_from_slice(&self.prefix);
        nonce[PREFIX_LEN..].copy_from_slice(&suffix);
        Nonce::from(nonce)
    }
}

impl Cipher for OrionXChaCha {
    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError> {
        let nonce = self.nonce(suffix);
        let sealed = XChaCha20Poly1305::seal_inplace(&self.key, &nonce, Some(ad), text)
            .map_err(|_| SealError)?;
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(sealed.unprotected_as_ref());
        Ok(tag)
    }

    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError> {
        let nonce = self.nonce(suffix);
        let tag = OrionTag::from(*tag);
        XChaCha20Poly1305::open_inplace(&self.key, &nonce, &tag, Some(ad), text)
            .map_err(|_| OpenError)
    }
}
