//! Keys and double envelopes: the cryptography of paddington, and nothing else.
//!
//! This crate computes. It opens no file and no socket, reads no clock and knows no peer; which
//! envelope is sent when is the business of `paddington-wire`.
//!
//! ```
//! use paddington_crypto::{KeyPair, hex};
//!
//! // The two keys of an invitation: both are needed to open what both have sealed.
//! let keys = KeyPair::generate()?;
//!
//! let envelope = hex::seal(&keys, "1000", &hex::Nonces::random()?)?;
//! assert_eq!(hex::open(&keys, &envelope)?, "1000");
//!
//! let stranger = KeyPair::generate()?;
//! assert!(hex::open(&stranger, &envelope).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Provided**: XChaCha20-Poly1305 in two layers under two independent keys; keys that print
//! nothing, cannot be copied by accident and are wiped when dropped; failures that never say why.
//!
//! **Not provided**: protection against replay, reordering or loss (the session's counters in
//! `paddington-wire` do that), and any defence once *both* keys of a pair are known.

mod aead;
mod compare;
mod error;
pub mod hex;
pub mod kdf;
pub mod kem;
mod key_pair;
mod random;
pub mod sealed;
mod secret_key;

pub use compare::equal;
pub use error::{KeyError, OpenError, SealError};
pub use key_pair::KeyPair;
pub use random::random_bytes;
pub use secret_key::SecretKey;
