//! Seals what was there before, under a new key, or not any more. No service may run meanwhile.

use std::path::Path;
use std::sync::Arc;

use paddington_crypto::StorageKey;
use paddington_wire::Payload;

use super::store::{open, seal};
use super::{AtRest, AtRestError, KeySource, Keyring};
use crate::links::{FolderLock, LinkFolder};

/// How much was written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Number of files of links.
    pub links: u64,
    /// Number of messages and dead letters in the outbox.
    pub payloads: u64,
}

impl AtRest {
    /// Seals the files of links in a folder, and what is in an outbox, under the newest key of the keyring,
    /// which is made if there is none. What is sealed under it already is left as it is. If this is
    /// interrupted, it can be done again.
    ///
    /// # Errors
    ///
    /// [`AtRestError`] if the folder or the outbox is in use, something cannot be read, written or opened,
    /// or the secret is not that of the keyring.
    pub fn seal(
        &self,
        links: Option<&Path>,
        outbox: Option<&Path>,
    ) -> Result<Rewritten, AtRestError> {
        let places = Places::lock(links, outbox)?;
        let mut keyring = match Keyring::open(self)? {
            Some(keyring) => keyring,
            None => Keyring::create(self)?,
        };
        let rewritten = places.rewrite(&keyring, Some(keyring.newest()))?;
        keyring.forget_others(self)?;
        Ok(rewritten)
    }

    /// Writes all of it as it was before it was sealed. The keyring stays: copies of what was sealed need
    /// it.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub fn unseal(
        &self,
        links: Option<&Path>,
        outbox: Option<&Path>,
    ) -> Result<Rewritten, AtRestError> {
        let places = Places::lock(links, outbox)?;
        places.rewrite(&self.open()?, None)
    }

    /// Seals all of it under a new key, and the keyring under another secret, or under the same one. If
    /// this is interrupted, [`seal`](Self::seal) with the new secret goes on.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub fn rekey(
        &self,
        to: Option<KeySource>,
        links: Option<&Path>,
        outbox: Option<&Path>,
    ) -> Result<Rewritten, AtRestError> {
        let places = Places::lock(links, outbox)?;
        let mut keyring = self.open()?;
        let new = Self::new(self.keyring(), to.unwrap_or_else(|| self.source().clone()));
        keyring.add_key(&new)?;
        let rewritten = places.rewrite(&keyring, Some(keyring.newest()))?;
        keyring.forget_others(&new)?;
        Ok(rewritten)
    }

    /// Opens the keyring, which has to be there.
    fn open(&self) -> Result<Keyring, AtRestError> {
        let path = || self.keyring().to_owned();
        Keyring::open(self)?.ok_or_else(|| AtRestError::NoKeyring { path: path() })
    }
}

/// What is to be written anew, and the right to do so.
struct Places<'p> {
    links: Option<(LinkFolder, FolderLock)>,
    outbox: Option<&'p Path>,
}

impl<'p> Places<'p> {
    /// Fails if a service uses the folder. One that does not exist has nothing to write anew.
    fn lock(links: Option<&Path>, outbox: Option<&'p Path>) -> Result<Self, AtRestError> {
        let links = match links.filter(|folder| folder.is_dir()) {
            None => None,
            Some(folder) => {
                let folder = LinkFolder::at(folder.to_owned(), None)?;
                let lock = folder.lock()?;
                Some((folder, lock))
            }
        };
        Ok(Self { links, outbox: outbox.filter(|path| path.exists()) })
    }

    fn rewrite(
        &self,
        keyring: &Keyring,
        to: Option<&Arc<StorageKey>>,
    ) -> Result<Rewritten, AtRestError> {
        let links = match &self.links {
            Some((folder, lock)) => folder.rewrite(lock, keyring, to)?,
            None => 0,
        };
        let change = |from: Option<u64>, at, payload: &Payload| {
            let payload = match from {
                Some(from) => open(keyring.key(from)?, at, payload)?,
                None => payload.clone(),
            };
            to.map_or(Ok(payload.clone()), |key| seal(key, at, &payload))
        };
        let payloads = match self.outbox {
            Some(path) => paddington_store::rewrite(path, to.map(|key| key.id()), change)?,
            None => 0,
        };
        Ok(Rewritten { links, payloads })
    }
}
