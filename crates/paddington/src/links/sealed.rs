//! The file of a link that is sealed: `docs/deploy/at-rest.md`, "Format".

use std::path::Path;
use std::sync::Arc;

use paddington_crypto::{SecretKey, StorageKey};
use paddington_wire::PeerName;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::stored::LinkFile;
use crate::FileError;
use crate::at_rest::{AtRestError, Keyring, Vault};
use crate::file::{self, FromText};
use crate::written::HoldsKeys;

/// What is in the file of a link.
pub(crate) enum LinkText {
    Plain(Box<LinkFile>),
    Sealed(SealedLink),
}

/// A link under a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedLink {
    /// The id of the key, in hexadecimal digits, as is `sealed`.
    sealed_with: String,
    peer: PeerName,
    sealed: String,
}

impl LinkText {
    /// Opens the link whose file is at `path`. It has to be sealed if there is a vault, and only then.
    pub(crate) fn open(
        self,
        path: &Path,
        vault: Option<&Arc<Vault>>,
    ) -> Result<LinkFile, FileError> {
        match (self, vault) {
            (Self::Plain(link), None) => Ok(*link),
            (Self::Plain(_), Some(_)) => Err(at_rest(path, AtRestError::NotSealed)),
            (Self::Sealed(link), Some(vault)) => {
                link.open(path, vault.keyring().map_err(|error| at_rest(path, error))?)
            }
            (Self::Sealed(link), None) => {
                let why = link.key().map_or(AtRestError::Changed, |key| AtRestError::NoKey { key });
                Err(at_rest(path, why))
            }
        }
    }
}

impl FromText for LinkText {
    fn from_text(text: &str) -> Result<Self, toml::de::Error> {
        /// The field that only a sealed one has.
        #[derive(Deserialize)]
        struct Probe {
            sealed_with: Option<IgnoredAny>,
        }
        LinkFile::from_text(text).map(Box::new).map(Self::Plain).or_else(|error| {
            match toml::from_str::<Probe>(text) {
                Ok(Probe { sealed_with: Some(_) }) => toml::from_str(text).map(Self::Sealed),
                _ => Err(error),
            }
        })
    }
}

/// Its keys are sealed.
impl HoldsKeys for SealedLink {
    fn keys(&self) -> Vec<&SecretKey> {
        Vec::new()
    }
}

impl SealedLink {
    /// Seals a link, whose file is at `path`.
    pub(crate) fn seal(path: &Path, link: &LinkFile, key: &StorageKey) -> Result<Self, FileError> {
        let text = file::text(path, link)?;
        let sealed = key.seal(text.as_bytes(), &ad(&link.peer));
        let failed = |_| at_rest(path, paddington_crypto::KeyError::NoRandomness.into());
        Ok(Self {
            sealed_with: format!("{:016x}", key.id()),
            peer: link.peer.clone(),
            sealed: const_hex::encode(sealed.map_err(failed)?),
        })
    }

    /// Returns the id of the key that it is sealed under.
    pub(crate) fn key(&self) -> Option<u64> {
        u64::from_str_radix(&self.sealed_with, 16).ok()
    }

    /// Opens the link whose file is at `path`.
    pub(crate) fn open(&self, path: &Path, keyring: &Keyring) -> Result<LinkFile, FileError> {
        let changed = || at_rest(path, AtRestError::Changed);
        let id = self.key().ok_or_else(changed)?;
        let key = keyring.key(id).map_err(|error| at_rest(path, error))?;
        let sealed = const_hex::decode(&self.sealed).map_err(|_| changed())?;
        let text = key.open(&sealed, &ad(&self.peer)).map_err(|_| changed())?;
        let text = std::str::from_utf8(&text).map_err(|_| changed())?;
        let link: LinkFile = file::parse(path, text)?;
        if link.peer == self.peer { Ok(link) } else { Err(changed()) }
    }
}

/// What a link is bound to.
fn ad(peer: &PeerName) -> Vec<u8> {
    [&b"paddington link "[..], peer.as_str().as_bytes()].concat()
}

/// The error of a file.
pub(crate) fn at_rest(path: &Path, source: AtRestError) -> FileError {
    FileError::AtRest { path: path.to_owned(), source: Box::new(source) }
}
