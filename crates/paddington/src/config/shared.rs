//! The links of a configuration in the database that replicas share. Implements `docs/cluster.md`, "Links".

use std::collections::HashSet;
use std::sync::Arc;

use paddington_exchange::store::SharedStore;

use super::folder::file_of;
use super::{ConfigError, ServiceConfig};
use crate::ClusterError;
use crate::at_rest::SealedStore;
use crate::known::Known;
use crate::links::{LinkDirectory, SharedLinkError};

/// The number of links that are written at a time: their texts are all in memory.
const AT_ONCE: usize = 5_000;

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
        // It is made with the first link.
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
            let mut conflicts = HashSet::new();
            for some in missing.chunks(AT_ONCE) {
                let files = some.iter().map(file_of).collect::<Result<Vec<_>, _>>()?;
                conflicts.extend(directory.write(&files).await?);
            }
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
        let mut has_read = false;
        loop {
            let newer = directory.newer().await?;
            if newer.is_empty() {
                return Ok(has_read);
            }
            has_read = true;
            for shared in newer {
                let file = shared.state.map_err(SharedLinkError::from)?;
                directory.note(shared.link, &shared.peer, shared.version, file.is_none());
                let peer = file.map(|file| self.peer_of(file)).transpose()?;
                if let Some(peer) = &peer {
                    self.check_other(peer.name())?;
                }
                let is_known = known.knows(&shared.peer);
                match peer {
                    Some(peer) if is_known => known.replace(peer),
                    Some(peer) => known.add(peer),
                    None if is_known
                        && known.peer(&shared.peer).is_some_and(|it| it.link() == shared.link) =>
                    {
                        known.remove(&shared.peer);
                    }
                    None => {}
                }
            }
        }
    }
}
