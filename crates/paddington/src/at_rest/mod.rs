//! What is kept on a disk, sealed: the files of links, and the messages of the outbox. Implements
//! `docs/deploy/at-rest.md`.
//!
//! A secret that an operator keeps elsewhere opens the keyring, a small file with the key that
//! everything else is sealed under. So the secret can change without a change to anything but the keyring.

#[cfg(feature = "postgres")]
mod cluster;
#[cfg(feature = "durable")]
mod convert;
mod error;
mod keyring;
#[cfg(any(feature = "durable", feature = "postgres"))]
mod rewritten;
mod settings;
mod shared;
mod source;
mod store;
mod vault;

pub use error::AtRestError;
pub(crate) use keyring::Keyring;
#[cfg(any(feature = "durable", feature = "postgres"))]
pub use rewritten::Rewritten;
pub use settings::AtRest;
pub use source::KeySource;
pub(crate) use store::SealedStore;
pub(crate) use vault::Vault;
