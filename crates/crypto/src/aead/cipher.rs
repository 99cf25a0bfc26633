//! The trait of a cipher, its nonces and its tags.

use crate::{OpenError, SealError, SecretKey};

/// The length of a nonce in bytes.
pub(crate) const NONCE_LEN: usize = PREFIX_LEN + SUFFIX_LEN;
/// The length of an authentication tag in bytes.
pub(crate) const TAG_LEN: usize = 16;
pub(super) const PREFIX_LEN: usize = 16;
const SUFFIX_LEN: usize = 8;

/// The first 16 bytes of a nonce.
pub(crate) type Prefix = [u8; PREFIX_LEN];
/// The last 8 bytes of a nonce.
pub(crate) type Suffix = [u8; SUFFIX_LEN];
/// The authentication tag that follows a ciphertext.
pub(crate) type Tag = [u8; TAG_LEN];

/// XChaCha20-Poly1305 under one key and one nonce prefix.
pub(crate) trait Cipher: Sized {
    /// Prepares the cipher for nonces that begin with `prefix`.
    fn new(key: &SecretKey, prefix: &Prefix) -> Self;

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

#[cfg(all(test, feature = "ring"))]
mod tests {
    use proptest::prelude::*;

    use super::super::{orion::OrionCipher, ring::RingCipher};
    use super::*;

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(any::<u8>(), 4_000..9_000),
        ]
    }

    proptest! {
        #[test]
        fn ring_and_orion_agree(
            key in any::<[u8; 32]>(),
            prefix in any::<Prefix>(),
            suffix in any::<Suffix>(),
            ad in proptest::collection::vec(any::<u8>(), 0..100),
            text in texts(),
        ) {
            prop_assume!(key != [0; 32]);
            let key = SecretKey::from_slice(&key).unwrap();
            let fast = RingCipher::new(&key, &prefix);
            let reference = OrionCipher::new(&key, &prefix);

            let (mut by_fast, mut by_reference) = (text.clone(), text.clone());
            let tag = fast.seal(suffix, &ad, &mut by_fast).unwrap();
            prop_assert_eq!(reference.seal(suffix, &ad, &mut by_reference).unwrap(), tag);
            prop_assert_eq!(&by_fast, &by_reference);

            fast.open(suffix, &ad, &mut by_reference, &tag).unwrap();
            reference.open(suffix, &ad, &mut by_fast, &tag).unwrap();
            prop_assert_eq!(&by_fast, &text);
            prop_assert_eq!(&by_reference, &text);
        }

        #[test]
        fn both_refuse_a_flipped_bit(
            key in any::<[u8; 32]>(),
            mut text in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            prop_assume!(key != [0; 32]);
            let key = SecretKey::from_slice(&key).unwrap();
            let (prefix, suffix) = ([3; 16], [4; 8]);
            let fast = RingCipher::new(&key, &prefix);
            let tag = fast.seal(suffix, b"", &mut text).unwrap();
            let index = at.index(text.len());
            text[index] ^= 1 << bit;
            prop_assert_eq!(fast.open(suffix, b"", &mut text.clone(), &tag), Err(OpenError));
            let reference = OrionCipher::new(&key, &prefix);
            prop_assert_eq!(reference.open(suffix, b"", &mut text, &tag), Err(OpenError));
        }
    }
}
