//! The trait of a cipher, its nonces and its tags.

use crate::{OpenError, SealError};

/// The length of a nonce of XChaCha20-Poly1305 in bytes.
pub(crate) const NONCE_LEN: usize = PREFIX_LEN + SUFFIX_LEN;
/// The length of an authentication tag in bytes.
pub(crate) const TAG_LEN: usize = 16;
pub(super) const PREFIX_LEN: usize = 16;
pub(super) const SUFFIX_LEN: usize = 8;

/// The first 16 bytes of a nonce of XChaCha20-Poly1305.
pub(crate) type Prefix = [u8; PREFIX_LEN];
/// The last 8 bytes of a nonce.
pub(crate) type Suffix = [u8; SUFFIX_LEN];
/// The authentication tag that follows a ciphertext.
pub(crate) type Tag = [u8; TAG_LEN];

/// An authenticated cipher under one key, whose nonces differ in their suffixes only.
pub(crate) trait Cipher {
    /// Encrypts `text` in place and returns its tag.
    fn seal(&self, suffix: Suffix, ad: &[u8], text: &mut [u8]) -> Result<Tag, SealError>;

    /// Checks `text` against `tag` and decrypts it in place. After a failure the contents of `text`
    /// must not be used.
    fn open(&self, suffix: Suffix, ad: &[u8], text: &mut [u8], tag: &Tag) -> Result<(), OpenError>;
}

/// Splits a whole nonce into its prefix and its suffix.
pub(crate) fn split_nonce(nonce: &[u8; NONCE_LEN]) -> (Prefix, Suffix) {
    let mut prefix = [0; PREFIX_LEN];
    let mut suffix = [0; SUFFIX_LEN];
    prefix.copy_from_slice(&nonce[..PREFIX_LEN]);
    suffix.copy_from_slice(&nonce[PREFIX_LEN..]);
    (prefix, suffix)
}
