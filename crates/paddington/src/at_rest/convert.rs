//! Seals what was there before, under a new key, or not any more. No service may run meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use paddington_crypto::StorageKey;
use paddington_store::{KeptAt, LockedStore};
use paddington_wire::Payload;

use super::store::{Place, open, seal};
use super::{AtRest, AtRestError, KeySource, Keyring, Rewritten};
use crate::links::{FolderLock, LinkFolder};
use crate::{FileError, draft};

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
            None if places.is_sealed()? => return Err(self.lost()),
            None => Keyring::create(self)?,
        };
        places.rewrite_and_forget(&mut keyring, self)
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
        let new = self.with_source(to);
        keyring.add_key(&new)?;
        places.rewrite_and_forget(&mut keyring, &new)
    }
}

/// What is to be written anew, and the right to do so: nobody else can use it meanwhile.
struct Places {
    links: Option<(LinkFolder, FolderLock)>,
    outbox: Option<LockedStore>,
    /// Whether everything was there that the configuration names. A volume that is not mounted looks as if
    /// nothing was ever kept on it.
    are_whole: bool,
}

impl Places {
    /// Fails if a service uses them, or they belong to another user. What is not there has nothing to write
    /// anew.
    fn lock(links: Option<&Path>, outbox: Option<&Path>) -> Result<Self, AtRestError> {
        let mut are_whole = true;
        let mut there = |path: &Path| {
            let found = is_there(path)?;
            are_whole &= found;
            Ok::<_, FileError>(found)
        };
        let links = match links {
            Some(path) if there(path)? => {
                let folder = LinkFolder::at(path.to_owned(), None)?;
                draft::check_owner(path)?;
                let lock = folder.lock()?;
                Some((folder, lock))
            }
            _ => None,
        };
        let outbox = match outbox {
            Some(path) if there(path)? => Some(LockedStore::open(path)?),
            _ => None,
        };
        if let Some((folder, _)) = &links {
            are_whole &= !folder.is_empty()?;
        }
        Ok(Self { links, outbox, are_whole })
    }

    /// Returns whether anything is sealed already.
    fn is_sealed(&self) -> Result<bool, AtRestError> {
        let of_links = match &self.links {
            Some((folder, _)) => folder.is_sealed()?,
            None => false,
        };
        Ok(of_links || self.outbox.as_ref().is_some_and(|store| store.key().is_some()))
    }

    /// Seals everything under the newest key. The others are forgotten, unless something may be sealed under
    /// them that is not there now.
    fn rewrite_and_forget(
        self,
        keyring: &mut Keyring,
        settings: &AtRest,
    ) -> Result<Rewritten, AtRestError> {
        let are_whole = self.are_whole;
        let mut rewritten = self.rewrite(keyring, Some(keyring.newest()))?;
        if are_whole {
            keyring.forget_others(settings)?;
        }
        rewritten.older_keys = keyring.ids().len() as u64 - 1;
        Ok(rewritten)
    }

    /// The outbox comes first: it is written as a whole or not at all.
    fn rewrite(
        self,
        keyring: &Keyring,
        to: Option<&Arc<StorageKey>>,
    ) -> Result<Rewritten, AtRestError> {
        let change = |from: Option<u64>, at: KeptAt, payload: &Payload| {
            let KeptAt { link, id, is_letter } = at;
            let at = if is_letter { Place::Letter(link, id) } else { Place::Message(link, id) };
            let payload = match from {
                Some(from) => open(keyring.key(from)?, at, payload)?,
                None => payload.clone(),
            };
            to.map_or(Ok(payload.clone()), |key| seal(key, at, &payload))
        };
        let payloads = match self.outbox {
            Some(store) => paddington_store::rewrite(store, to.map(|key| key.id()), change)?,
            None => 0,
        };
        let links = match &self.links {
            Some((folder, lock)) => folder.rewrite(lock, keyring, to)?,
            None => 0,
        };
        Ok(Rewritten { links, payloads, older_keys: 0 })
    }
}

/// Returns whether there is anything at a path, and fails if that cannot be told.
fn is_there(path: &Path) -> Result<bool, FileError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError::Unreadable { path: path.to_owned(), source }),
    }
}
