//! The links of a service in the database that its replicas share. Implements `docs/cluster.md`, "Links".

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_crypto::StorageKey;
use paddington_exchange::store::{Directory, DirectoryNews, LinkEntry, StoreError, Written};
use paddington_wire::{LinkId, PeerName};
use thiserror::Error;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::LinkFile;
use super::sealed::{LinkText, SealedLink};
use crate::at_rest::Vault;
use crate::{FileError, file};

/// The reason why a link in the database was not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SharedLinkError {
    /// The database did not answer.
    #[error("the links in the database cannot be reached: {0}")]
    Store(#[source] StoreError),
    /// Another replica was faster.
    #[error(
        "the link with {0} was changed elsewhere at the same time, or the peer has another link there: try again"
    )]
    Conflict(PeerName),
    /// The link cannot be written.
    #[error(transparent)]
    Config(#[from] Box<crate::ConfigError>),
    /// What is in the database is sealed, and cannot be opened.
    #[error(transparent)]
    AtRest(#[from] crate::AtRestError),
    /// What is in the database is not a link.
    #[error(transparent)]
    Text(#[from] FileError),
}

/// The directory, and what this process knows of it.
#[derive(Debug)]
pub(crate) struct LinkDirectory {
    directory: Arc<dyn Directory>,
    /// What seals the texts, if they are sealed.
    vault: Option<Arc<Vault>>,
    /// How often contact had been made with the database before anything was read.
    first_contacts: u64,
    known: Mutex<Versions>,
}

#[derive(Debug, Default)]
struct Versions {
    /// The version of each link as this process has it, also of those that were removed.
    of: HashMap<LinkId, Version>,
    /// Everything up to this one was read.
    read: u64,
}

#[derive(Debug)]
struct Version {
    number: u64,
    /// The peer, if the link was removed.
    removed: Option<PeerName>,
}

/// The state of a link, as it was read.
pub(crate) struct SharedLink {
    pub(crate) peer: PeerName,
    pub(crate) link: LinkId,
    pub(crate) version: u64,
    /// `None` if it was removed.
    pub(crate) state: Result<Option<LinkFile>, FileError>,
}

impl LinkDirectory {
    pub(crate) fn new(directory: Arc<dyn Directory>, vault: Option<Arc<Vault>>) -> Self {
        let first_contacts = directory.news().borrow().contacts;
        Self { directory, vault, first_contacts, known: Mutex::default() }
    }

    /// Returns what may be new from now on.
    pub(crate) fn news(&self) -> watch::Receiver<DirectoryNews> {
        self.directory.news()
    }

    /// Returns how often contact had been made with the database before anything was read.
    pub(crate) fn first_contacts(&self) -> u64 {
        self.first_contacts
    }

    fn lock(&self) -> MutexGuard<'_, Versions> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the version of a link as this process has it, 0 if it does not know it.
    pub(crate) fn version(&self, link: LinkId) -> u64 {
        self.lock().of.get(&link).map_or(0, |version| version.number)
    }

    /// Returns whether a link was removed.
    pub(crate) fn has_removed(&self, link: LinkId) -> bool {
        self.removed(link).is_some()
    }

    /// Returns the peer of a link that was removed.
    fn removed(&self, link: LinkId) -> Option<PeerName> {
        self.lock().of.get(&link)?.removed.clone()
    }

    /// Returns the links that are or were in the directory, as far as this process knows.
    pub(crate) fn links(&self) -> Vec<(LinkId, u64)> {
        self.lock().of.iter().map(|(link, version)| (*link, version.number)).collect()
    }

    /// Notes the version that this process has of the link with a peer.
    pub(crate) fn note(&self, link: LinkId, peer: &PeerName, number: u64, is_removed: bool) {
        let removed = is_removed.then(|| peer.clone());
        self.lock().of.insert(link, Version { number, removed });
    }

    /// Reads what others have written since this was called last, some of it at a time; nothing if there is
    /// nothing more. Whoever calls this has to [note](Self::note) what becomes of it.
    pub(crate) async fn newer(&self) -> Result<Vec<SharedLink>, SharedLinkError> {
        let entries = self.newer_entries().await?;
        Ok(entries.into_iter().map(|entry| SharedLink::read(entry, self.vault.as_ref())).collect())
    }

    /// As [`newer`](Self::newer), before it is parsed.
    pub(crate) async fn newer_entries(&self) -> Result<Vec<LinkEntry>, SharedLinkError> {
        loop {
            let after = self.lock().read;
            let mut entries =
                self.directory.entries(after).await.map_err(SharedLinkError::Store)?;
            let Some(last) = entries.last().map(|entry| entry.version) else {
                return Ok(Vec::new());
            };
            let mut known = self.lock();
            known.read = known.read.max(last);
            // What this process has written itself is not parsed.
            entries.retain(|entry| {
                known.of.get(&entry.link).is_none_or(|known| known.number < entry.version)
            });
            drop(known);
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// Reads everything again from this version on.
    pub(crate) fn read_again_after(&self, version: u64) {
        let mut known = self.lock();
        known.read = known.read.min(version);
    }

    /// Returns the versions of all links in the database.
    pub(crate) async fn versions(&self) -> Result<HashMap<LinkId, u64>, SharedLinkError> {
        let versions = self.directory.versions().await.map_err(SharedLinkError::Store)?;
        Ok(versions.into_iter().collect())
    }

    /// Returns those of some links that are in the database, although this process does not have them: another replica has
    /// written them just now, or they could not be taken over.
    pub(crate) async fn present(&self, links: &[LinkId]) -> Result<HashSet<LinkId>, StoreError> {
        let unknown = links.iter().filter(|link| !self.has_removed(**link)).copied();
        let unknown: Vec<_> = unknown.collect();
        let mut present = HashSet::new();
        if unknown.is_empty() {
            return Ok(present);
        }
        let versions: HashMap<_, _> = self.directory.versions().await?.into_iter().collect();
        for link in unknown {
            let Some(version) = versions.get(&link) else { continue };
            let entries = self.directory.entries(version.saturating_sub(1)).await?;
            let entry = entries.into_iter().find(|entry| entry.link == link);
            // If it has changed since, it counts as there.
            if entry.is_none_or(|entry| entry.text.is_some()) {
                present.insert(link);
            }
        }
        Ok(present)
    }

    /// Writes links in place of the versions that this process has. Returns the peers of those that were not
    /// written because another replica was faster.
    pub(crate) async fn write(
        &self,
        mut entries: Vec<LinkEntry>,
    ) -> Result<Vec<PeerName>, SharedLinkError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        entries.iter_mut().for_each(|entry| entry.version = self.version(entry.link));
        let of: Vec<_> = entries.iter().map(|entry| (entry.link, entry.peer.clone())).collect();
        let written = self.directory.write(entries).await.map_err(SharedLinkError::Store)?;
        let mut conflicts = Vec::new();
        for ((link, peer), written) in of.into_iter().zip(written) {
            match written {
                Written::Done(version) => self.note(link, &peer, version, false),
                Written::Conflict => conflicts.push(peer),
            }
        }
        Ok(conflicts)
    }

    /// Writes one link.
    pub(crate) async fn write_one(&self, link: LinkFile) -> Result<(), SharedLinkError> {
        let entry = self.sealing()?.entry(&link)?;
        let conflicts = self.write(vec![entry]).await?;
        conflicts.into_iter().next().map_or(Ok(()), |peer| Err(SharedLinkError::Conflict(peer)))
    }

    /// Writes that a link was removed.
    pub(crate) async fn remove(
        &self,
        peer: &PeerName,
        link: LinkId,
    ) -> Result<(), SharedLinkError> {
        let version = self.version(link);
        let entry = LinkEntry { link, peer: peer.clone(), version, text: None };
        let written = self.directory.write(vec![entry]).await.map_err(SharedLinkError::Store)?;
        match written.first() {
            Some(Written::Done(version)) => {
                self.note(link, peer, *version, true);
                Ok(())
            }
            Some(Written::Conflict) | None => Err(SharedLinkError::Conflict(peer.clone())),
        }
    }

    /// Writes what this process has of a link over an older version: `file`, or that it was removed. If
    /// another replica is faster, its version is read again.
    pub(crate) async fn write_over(
        &self,
        older: u64,
        link: LinkId,
        file: Option<LinkFile>,
    ) -> Result<(), SharedLinkError> {
        let (version, removed) = (self.version(link), self.removed(link));
        let peer = match (&file, removed) {
            (Some(file), _) => file.peer.clone(),
            (None, Some(peer)) => peer,
            (None, None) => return Ok(()), // it was removed meanwhile, and never known to be
        };
        self.note(link, &peer, older, file.is_none());
        let is_removed = file.is_none();
        let written = match file {
            Some(file) => self.write_one(file).await,
            None => self.remove(&peer, link).await,
        };
        match written {
            Err(SharedLinkError::Conflict(_)) => self.read_again_after(older),
            Err(cause) => {
                self.note(link, &peer, version, is_removed);
                return Err(cause);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Returns what makes the texts of links.
    pub(crate) fn sealing(&self) -> Result<Sealing, SharedLinkError> {
        let Some(vault) = &self.vault else { return Ok(Sealing(None)) };
        // A directory with links was sealed under a keyring that is not there.
        let keyring = vault.keyring_or_new(|| self.lock().of.is_empty())?;
        Ok(Sealing(Some(Arc::clone(keyring.newest()))))
    }
}

/// What makes the texts of links: the key under which they are sealed, if they are.
#[derive(Clone, Debug)]
pub(crate) struct Sealing(Option<Arc<StorageKey>>);

impl Sealing {
    /// Returns the entry of a link, whose version is to be known when it is written.
    pub(crate) fn entry(&self, file: &LinkFile) -> Result<LinkEntry, SharedLinkError> {
        let (link, peer) = (file.link.0, file.peer.clone());
        let place = place(&peer);
        let text = match &self.0 {
            None => file::text(&place, file)?,
            Some(key) => file::text(&place, &SealedLink::seal(&place, file, key)?)?,
        };
        Ok(LinkEntry { link, version: 0, text: Some(text), peer })
    }
}

impl SharedLink {
    pub(crate) fn read(entry: LinkEntry, vault: Option<&Arc<Vault>>) -> Self {
        let LinkEntry { link, peer, version, text } = entry;
        let read = |text: Zeroizing<String>| {
            let place = place(&peer);
            file::parse::<LinkText>(&place, &text)?.open(&place, vault)
        };
        let state = text.map(read).transpose();
        let state = state.and_then(|state| match state {
            Some(file) if (file.link.0, &file.peer) != (link, &peer) => Err(FileError::Malformed {
                path: place(&peer),
                line: None,
                reason: "it is another link".to_owned(),
            }),
            state => Ok(state),
        });
        Self { peer, link, version, state }
    }
}

/// Where a link is, for people.
pub(crate) fn place(peer: &PeerName) -> PathBuf {
    PathBuf::from(format!("the link with {peer} in the database"))
}
