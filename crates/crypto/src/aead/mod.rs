//! The two ciphers, in place, behind one small trait: XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03) and AES-256-GCM (NIST SP 800-38D).
//!
//! A nonce of XChaCha20-Poly1305 is split into a prefix of 16 bytes and a suffix of 8. A cipher is
//! made for a key and a prefix, from which HChaCha20 derives the subkey, and can be reused while both
//! stay the same. A nonce of AES-256-GCM is 4 zero bytes and the suffix.

#[cfg(any(test, not(feature = "ring")))]
mod aes_gcm;
#[cfg(all(test, feature = "ring"))]
mod agreement;
mod cipher;
#[cfg(any(test, not(feature = "ring")))]
mod orion;
#[cfg(feature = "ring")]
mod ring;

pub(crate) use self::cipher::{Cipher, NONCE_LEN, Prefix, Suffix, TAG_LEN, Tag, split_nonce};

/// The implementation of AES-256-GCM used in this build.
#[cfg(not(feature = "ring"))]
pub(crate) type Aes256Gcm = self::aes_gcm::PortableAes;
/// The implementation of AES-256-GCM used in this build.
#[cfg(feature = "ring")]
pub(crate) type Aes256Gcm = self::ring::RingAes;
/// The implementation of XChaCha20-Poly1305 used in this build.
#[cfg(not(feature = "ring"))]
pub(crate) type XChaCha20Poly1305 = self::orion::OrionXChaCha;
/// The implementation of XChaCha20-Poly1305 used in this build.
#[cfg(feature = "ring")]
pub(crate) type XChaCha20Poly1305 = self::ring::RingXChaCha;
