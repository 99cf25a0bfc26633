//! Why what is at rest cannot be opened or sealed.

use std::path::PathBuf;

use paddington_crypto::KeyError;
use thiserror::Error;

use super::KeySource;
use crate::FileError;

/// The reason why what is at rest cannot be opened or sealed. Nothing was changed, unless it says so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AtRestError {
    /// The settings name no secret, or several.
    #[error(
        "at_rest names {0} of key_file, key_credential, key_variable and key_command, and needs one"
    )]
    Sources(usize),
    /// The secret cannot be read.
    #[error("the secret for what is at rest cannot be read from {from}: {cause}")]
    Source {
        /// Where it was to come from.
        from: KeySource,
        /// The cause.
        cause: String,
    },
    /// The secret does not open the keyring.
    #[error("the secret from {from} does not open the keyring {path}: nothing was changed")]
    WrongSecret {
        /// Where it came from.
        from: KeySource,
        /// The keyring.
        path: PathBuf,
    },
    /// There is no keyring, though there are things that were there before it.
    #[error(
        "there is no keyring {path}: put it back from a copy, such as that of another replica, without which nothing \
         can be opened; if nothing is sealed yet, seal it (paddington at-rest seal)"
    )]
    NoKeyring {
        /// The keyring.
        path: PathBuf,
    },
    /// The keyring was changed by somebody, or is damaged.
    #[error("the keyring {path} is damaged: put it back from a copy")]
    Damaged {
        /// The keyring.
        path: PathBuf,
    },
    /// The keyring cannot be read or written.
    #[error(transparent)]
    Keyring(Box<FileError>),
    /// Something is sealed, and there is no key.
    #[error(
        "it is sealed under the key {key:016x}, and no key is set: at_rest in the configuration"
    )]
    NoKey {
        /// The id of the key.
        key: u64,
    },
    /// Something is sealed under a key that is not in the keyring.
    #[error(
        "it is sealed under the key {key:016x}, which is not in the keyring {keyring}: put a copy of the keyring \
         there that has it, such as that of another replica"
    )]
    OtherKey {
        /// The id of the key.
        key: u64,
        /// The keyring.
        keyring: PathBuf,
    },
    /// Something is not sealed, though it should be.
    #[error("it is not sealed, though a key is set: seal it (paddington at-rest seal)")]
    NotSealed,
    /// Sealing anew what replicas share was interrupted, and has to be ended first.
    #[error(
        "what replicas share is to be sealed anew, which was begun and not ended, and none of them starts before: \
         end it (paddington at-rest {command})"
    )]
    Interrupted {
        /// What ends it.
        command: &'static str,
    },
    /// Something was changed by somebody who does not have the key, or is damaged.
    #[error("it cannot be opened: it is damaged, or was changed or exchanged without the key")]
    Changed,
    /// The operating system gave no random bytes, or the cost of a passphrase is out of bounds.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file of a link cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The outbox cannot be opened, or is in use.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    OpenOutbox(#[from] paddington_store::OpenStoreError),
    /// The outbox cannot be written anew.
    #[cfg(feature = "durable")]
    #[error(transparent)]
    Outbox(#[from] paddington_store::RewriteError),
}
