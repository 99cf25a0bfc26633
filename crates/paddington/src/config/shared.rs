//! The links of a configuration in the database that replicas share. Implements `docs/cluster.md`, "Links".

use std::collections::HashSet;
use std::future::pending;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::available_parallelism;

use paddington_exchange::store::{LinkEntry, SharedStore};
use paddington_wire::{LinkId, PeerName};
use tokio::task::spawn_blocking;

use super::folder::file_of;
use super::{ConfigError, ServiceConfig};
use crate::ClusterError;
use crate::at_rest::SealedStore;
use crate::known::{Known, KnownPeer};
use crate::links::{LinkDirectory, SharedLink, SharedLinkError};

/// The number of links that are written at a time: their texts are all in memory.
const AT_ONCE: usize = 5_000;

/// A link, as it was read from the database.
struct ReadLink {
    name: PeerName,
    link: LinkId,
    version: u64,
    /// `None` if it was removed.
    peer: Result<Option<KnownPeer>, ClusterError>,
}

/// The links and the messages in the database that replicas share, for a tool: as long as it is open, this
/// process counts as one more replica.
#[derive(Debug)]
pub struct SharedLinks {
    directory: LinkDirectory,
    store: Arc<dyn SharedStore>,
    /// The links as they were read.
    read: Arc<Known>,
}

impl SharedLinks {
    /// Writes the link with a peer as it is in a configuration by now; it is removed if it is not there.
    /// Replicas that run take that over at once.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if nothing was written, such as because another replica was faster.
    pub async fn save(&self, config: &ServiceConfig, peer: &str) -> Result<(), ClusterError> {
        let name = peer.parse().map_err(ConfigError::from)?;
        match (config.known.peer(&name), self.read.peer(&name)) {
            (Some(peer), _) => self.directory.write_one(file_of(&peer)?).await?,
            (None, Some(peer)) => self.directory.remove(&name, peer.link()).await?,
            (None, None) => {}
        }
        Ok(())
    }

    /// Returns what is stored for the links.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn SharedStore> {
        &self.store
    }
}

impl ServiceConfig {
    /// Opens the database that replicas share, and makes the links of this configuration those in it: for
    /// tools, while no replica runs on this machine that could be asked. `None` if the configuration has no
    /// `[cluster]`.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if the database cannot be used.
    pub async fn open_shared_links(&mut self) -> Result<Option<SharedLinks>, ClusterError> {
        self.check_cluster()?;
        let Some(store) = self.open_cluster().await? else { return Ok(None) };
        let directory = LinkDirectory::new(Arc::clone(&store) as _, self.vault.clone());
        self.share_links(&directory).await?;
        let store = self.sealed(store)?;
        Ok(Some(SharedLinks { directory, store, read: Arc::clone(&self.known) }))
    }

    /// Seals the messages in a store that replicas share, if what is kept is sealed.
    pub(crate) fn sealed(
        &self,
        store: Arc<dyn SharedStore>,
    ) -> Result<Arc<dyn SharedStore>, SharedLinkError> {
        let Some(vault) = &self.vault else { return Ok(store) };
        // It is made with the first link, unless that was done when the databases were opened.
        let keyring = vault.keyring_or_new(|| self.known.links().next().is_none())?;
        Ok(Arc::new(SealedStore::shared(store, Arc::clone(keyring.newest()))))
    }

    /// Returns whether the states of links outlive the process: keys are renewed, and invitations expire.
    pub(crate) fn keeps_links(&self) -> bool {
        self.links.is_some() || self.cluster.is_some()
    }

    /// Makes the links of this configuration those in a database. Those that are not there yet, and were not
    /// removed there, are written.
    pub(crate) async fn share_links(
        &mut self,
        directory: &LinkDirectory,
    ) -> Result<(), ClusterError> {
        let mut known = Known::default();
        let mut was_faster = false;
        loop {
            let has_read = self.read_shared(directory, &mut known).await?;
            let missing = self.not_in(&known, |link| directory.has_removed(link))?;
            if missing.is_empty() {
                break;
            }
            let conflicts = write_all(directory, &missing).await?;
            missing
                .into_iter()
                .filter(|peer| !conflicts.contains(peer.name()))
                .for_each(|peer| known.add(peer));
            match conflicts.into_iter().next() {
                None => break,
                Some(peer) if was_faster && !has_read => {
                    return Err(SharedLinkError::Conflict(peer).into());
                }
                Some(_) => was_faster = true, // another replica has begun at the same time
            }
        }
        if let Some(peers) = known.with_a_shared_key() {
            return Err(ConfigError::SharedKey { peers }.into());
        }
        if !known.is_same_as(&self.known) {
            known.shrink();
            self.known = Arc::new(known);
        }
        self.is_shared = true;
        Ok(())
    }

    /// Reads what is new in a database. Returns whether anything is.
    async fn read_shared(
        &self,
        directory: &LinkDirectory,
        known: &mut Known,
    ) -> Result<bool, ClusterError> {
        let reader = Arc::new(self.clone());
        let read_all = |entries| {
            let reader = Arc::clone(&reader);
            on_all_processors(entries, move |entry| reader.read_link(entry))
        };
        let mut has_read = false;
        let mut entries = directory.newer_entries().await?;
        while !entries.is_empty() {
            has_read = true;
            // The database finds the next ones meanwhile.
            let (links, next) = tokio::join!(read_all(entries), directory.newer_entries());
            for ReadLink { name, link, version, peer } in links {
                let peer = peer?;
                directory.note(link, &name, version, peer.is_none());
                if let Some(peer) = &peer {
                    self.check_other(peer.name())?;
                }
                let is_known = known.knows(&name);
                match peer {
                    Some(peer) if is_known => known.replace(peer),
                    Some(peer) => known.add(peer),
                    None if is_known && known.peer(&name).is_some_and(|it| it.link() == link) => {
                        known.remove(&name);
                    }
                    None => {}
                }
            }
            entries = next?;
        }
        Ok(has_read)
    }

    /// Parses a link in the database, and derives what recognises its peer.
    fn read_link(&self, entry: LinkEntry) -> ReadLink {
        let SharedLink { peer: name, link, version, state } =
            SharedLink::read(entry, self.vault.as_ref());
        let peer = state.map_err(|cause| SharedLinkError::from(cause).into());
        let peer = peer.and_then(|file| Ok(file.map(|file| self.peer_of(file)).transpose()?));
        ReadLink { name, link, version, peer }
    }
}

/// Writes links that are not in a database yet. Returns the peers of those that another replica has written
/// meanwhile.
async fn write_all(
    directory: &LinkDirectory,
    missing: &[KnownPeer],
) -> Result<HashSet<PeerName>, ClusterError> {
    let sealing = directory.sealing()?;
    let (mut conflicts, mut entries) = (HashSet::new(), Vec::new());
    let mut parts = missing.chunks(AT_ONCE);
    loop {
        let (part, sealing) = (parts.next().unwrap_or_default().to_vec(), sealing.clone());
        let made =
            on_all_processors(part, move |peer| sealing.entry(&file_of(&peer).map_err(Box::new)?));
        // The database writes the ones before meanwhile.
        let (made, written) = tokio::join!(made, directory.write(entries));
        conflicts.extend(written?);
        entries = made.into_iter().collect::<Result<Vec<_>, SharedLinkError>>()?;
        if entries.is_empty() {
            return Ok(conflicts);
        }
    }
}

/// Does the same for each of many things, on all processors.
async fn on_all_processors<T: Send + 'static, R: Send + 'static>(
    things: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let (size, mut things) = (things.len().div_ceil(processors), things.into_iter());
    let work = Arc::new(work);
    let parts = (0..processors).map(|_| {
        let (work, part) = (Arc::clone(&work), things.by_ref().take(size).collect::<Vec<_>>());
        spawn_blocking(move || part.into_iter().map(|thing| work(thing)).collect::<Vec<_>>())
    });
    let mut results = Vec::new();
    for part in parts.collect::<Vec<_>>() {
        match part.await {
            Ok(part) => results.extend(part),
            Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
            Err(_) => pending().await, // the runtime ends
        }
    }
    results
}
