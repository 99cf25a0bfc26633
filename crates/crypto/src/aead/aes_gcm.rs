//! The reference implementation of AES-256-GCM, by the crate aes-gcm.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};

use super::cipher::SUFFIX_LEN;
use super::{Cipher, Suffix, TAG_LEN, Tag};
use crate::{OpenError, SealError, SecretKey};

/// The length of a nonce in bytes.
const NONCE_LEN: usize = 12;

pub(crate) struct PortableAes(Aes256Gcm);

impl PortableAes {
    #[expect(clippy::expect_used, reason = "a SecretKey has the right length")]
    pub(crate) fn new(key: &SecretKey) -> Self {
        let key: &Key<Aes256Gcm> = key.expose_bytes().try_into().expect("32 bytes");
        Self(Aes256Gcm::new(key))
    }
}

impl Cipher for PortableAes {
    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError> {
        let tag = self
            .0
            .encrypt_inout_detached(&nonce(suffix), ad, text.into())
            .map_err(|_| SealError)?;
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(&tag);
        Ok(bytes)
    }

    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError> {
        self.0
            .decrypt_inout_detached(&nonce(suffix), ad, text.into(), tag.into())
            .map_err(|_| OpenError)
    }
}

fn nonce(suffix: Suffix) -> Nonce<<Aes256Gcm as aes_gcm::aead::AeadCore>::NonceSize> {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - SUFFIX_LEN..].copy_from_slice(&suffix);
    nonce.into()
}
