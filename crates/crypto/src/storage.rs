//! Keys for what is kept on a disk: one layer of XChaCha20-Poly1305 under a random nonce.
//! Implements `docs/deploy/at-rest.md`, "Format".

use std::fmt;

use zeroize::Zeroizing;

use crate::aead::{Cipher, NONCE_LEN, TAG_LEN, XChaCha20Poly1305, split_nonce};
use crate::kdf::hash;
use crate::passphrase::{PassphraseCost, SALT_LEN, derive};
use crate::stack::cleared;
use crate::{KeyError, OpenError, SealError, SecretKey, random_bytes};

/// A key under which things are kept on a disk. It is wiped when dropped, and never printed.
pub struct StorageKey(SecretKey);

impl StorageKey {
    /// The number of bytes by which something that is sealed is longer: a nonce of 24 bytes before it,
    /// and a tag of 16 behind it.
    pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

    /// Draws a key from the operating system's random generator.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        SecretKey::generate().map(Self)
    }

    /// Makes a key from a passphrase by Argon2id (RFC 9106).
    ///
    /// # Errors
    ///
    /// [`KeyError::Cost`] if the cost cannot be paid.
    pub fn from_passphrase(
        passphrase: &[u8],
        salt: &[u8; SALT_LEN],
        cost: PassphraseCost,
    ) -> Result<Self, KeyError> {
        cleared(|| derive(passphrase, salt, cost)).map(Self).ok_or(KeyError::Cost)
    }

    /// Returns a number by which the key is recognised, and which tells nothing else about it.
    #[must_use]
    pub fn id(&self) -> u64 {
        let hash = cleared(|| hash(&[b"paddington storage key", self.0.expose_bytes()]));
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(id)
    }

    /// Returns the key's bytes. Wherever this is called, a secret leaves its type.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8] {
        self.0.expose_bytes()
    }

    /// Seals a text, bound to `ad`: it opens with the same one only.
    ///
    /// # Errors
    ///
    /// [`SealError`] if the text is longer than the cipher allows, or the operating system gives no
    /// random bytes.
    pub fn seal(&self, text: &[u8], ad: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = random_bytes().map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(text.len() + Self::OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (prefix, suffix) = split_nonce(&nonce);
        let tag = cleared(|| {
            let cipher = Box::new(XChaCha20Poly1305::new(&self.0, &prefix));
            cipher.seal(suffix, ad, &mut sealed[NONCE_LEN..])
        })?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) has made. The text is wiped unless the caller takes it out.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it was sealed under another key or bound to something else, or was changed.
    pub fn open(&self, sealed: &[u8], ad: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let (prefix, suffix) = split_nonce(nonce);
        cleared(|| {
            let cipher = Box::new(XChaCha20Poly1305::new(&self.0, &prefix));
            cipher.open(suffix, ad, &mut text, tag)
        })?;
        Ok(text)
    }
}

impl From<SecretKey> for StorageKey {
    fn from(key: SecretKey) -> Self {
        Self(key)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageKey({:016x})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_key_for_the_same_place_only() {
        let key = StorageKey::generate().unwrap();
        let sealed = key.seal(b"a text", b"place").unwrap();
        assert_eq!(sealed.len(), 6 + StorageKey::OVERHEAD);
        assert_eq!(**key.open(&sealed, b"place").unwrap(), *b"a text");
        assert!(key.open(&sealed, b"other").is_err());
        assert!(StorageKey::generate().unwrap().open(&sealed, b"place").is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"place").is_err(), "{at}");
        }
        for len in 0..sealed.len() {
            assert!(key.open(&sealed[..len], b"place").is_err(), "{len}");
        }
        assert_ne!(key.seal(b"a text", b"place").unwrap(), sealed, "nonces are drawn");
    }

    #[test]
    fn the_cipher_is_that_of_orion() {
        use orion::hazardous::aead::xchacha20poly1305::{
            Nonce, SecretKey as Key, Tag, XChaCha20Poly1305,
        };
        let key = StorageKey::from(SecretKey::from_slice(&[7; 32]).unwrap());
        let sealed = key.seal(b"a text", b"place").unwrap();
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().unwrap();
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>().unwrap();
        let (mut text, orion) = (text.to_vec(), Key::try_from(&[7; 32][..]).unwrap());
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        XChaCha20Poly1305::open_inplace(&orion, &nonce, &tag, Some(b"place"), &mut text).unwrap();
        assert_eq!(text, b"a text");
    }

    #[test]
    fn keys_are_recognised_and_not_shown() {
        let key = |byte| StorageKey::from(SecretKey::from_slice(&[byte; 32]).unwrap());
        assert_eq!(key(7).id(), key(7).id());
        assert_ne!(key(7).id(), key(8).id());
        assert!(!format!("{:?}", key(0xab)).contains("abab"));
        let cheap = PassphraseCost::new(1, 64).unwrap();
        let of =
            |word: &str, salt| StorageKey::from_passphrase(word.as_bytes(), &[salt; 16], cheap);
        assert_eq!(of("horse", 1).unwrap().id(), of("horse", 1).unwrap().id());
        assert_ne!(of("horse", 1).unwrap().id(), of("horse", 2).unwrap().id());
        assert_ne!(of("horse", 1).unwrap().id(), of("house", 1).unwrap().id());
    }
}
