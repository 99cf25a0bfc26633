//! Keys and double envelopes: the cryptography of paddington.
//!
//! This crate does no IO and reads no clock. `paddington-wire` decides which envelope is sent when.
//!
//! ```
//! use paddington_crypto::{KeyPair, hex};
//!
//! // The two keys of an invitation. Opening an envelope takes both.
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
//! **Provided**: two layers under two independent keys, of two ciphers in the `sealed` encoding
//! (XChaCha20-Poly1305 inside AES-256-GCM) and of one in `hex` (XChaCha20-Poly1305); keys that are never
//! printed, cannot be copied by accident and are wiped when dropped; errors that give no reason.
//!
//! **Not provided**: protection against replay, reordering or loss, which the session's counters in
//! `paddington-wire` give; and any protection once *both* keys of a pair are known.

#[cfg(not(any(feature = "ring", feature = "portable")))]
compile_error!("either the feature `ring` or the feature `portable` has to be on");

mod aead;
mod compare;
mod error;
pub mod hex;
pub mod kdf;
pub mod kem;
mod key_pair;
pub mod passphrase;
mod prepared;
mod random;
pub mod sealed;
mod secret_key;
mod stack;
mod storage;

pub use compare::equal;
pub use error::{KeyError, OpenError, SealError};
pub use key_pair::KeyPair;
pub use prepared::{Expansion, PreparedPrk};
pub use random::random_bytes;
pub use secret_key::SecretKey;
pub use stack::clear_stack;
pub use storage::StorageKey;
