//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), in place, behind one small trait.
//!
//! A nonce is split into a prefix of 16 bytes and a suffix of 8. A cipher is made for a key and a
//! prefix, from which HChaCha20 derives the subkey, and can be reused while both stay the same.

#[cfg(all(test, feature = "ring"))]
mod agreement;
mod cipher;
#[cfg(any(test, not(feature = "ring")))]
mod orion;
#[cfg(feature = "ring")]
mod ring;

pub(crate) use self::cipher::{Cipher, NONCE_LEN, Prefix, Suffix, TAG_LEN, Tag, split_nonce};

/// The implementation used in this build.
#[cfg(not(feature = "ring"))]
pub(crate) type ActiveCipher = self::orion::OrionCipher;
/// The implementation used in this build.
#[cfg(feature = "ring")]
pub(crate) type ActiveCipher = self::ring::RingCipher;
