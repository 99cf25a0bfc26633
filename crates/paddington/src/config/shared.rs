//! The links of a configuration in the database that replicas share. Implements `docs/cluster.md`, "Links".

use std::sync::Arc;

use super::folder::file_of;
use super::{ConfigError, ServiceConfig};
use crate::ClusterError;
use crate::known::Known;
use crate::links::{LinkDirectory, SharedLinkError};

impl ServiceConfig {
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
            let files = missing.iter().map(file_of).collect::<Result<Vec<_>, _>>()?;
            if files.is_empty() {
                break;
            }
            let conflicts = directory.write(&files).await?;
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
        (self.known, self.is_shared) = (Arc::new(known), true);
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
