//! The folder of links of a configuration.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_wire::{LinkId, PeerName};
use tracing::debug;

use super::{ConfigError, ServiceConfig};
use crate::at_rest::{AtRest, Vault};
use crate::format::Identity;
use crate::known::{Known, KnownClient, KnownPeer, KnownServer};
use crate::links::{FolderLock, Keys, LinkFile, LinkFolder, PeerRole};

impl ServiceConfig {
    /// Keeps the links in a folder, one file for each, and reads those that are there. It is made if
    /// there is none, for its owner only. Only with such a folder are keys renewed, and do invitations
    /// burn and expire: `docs/links.md`.
    ///
    /// ```
    /// # use paddington::ServiceConfig;
    /// # let folder = tempfile::tempdir()?;
    /// let mut hub = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// hub.set_links(folder.path().join("links"))?;
    /// hub.add_client("sensor", "192.0.2.0/24")?;
    /// let mut again = ServiceConfig::new("hub", "ws://hub.example:6501", "0.0.0.0", &6501)?;
    /// again.set_links(folder.path().join("links"))?;
    /// assert_eq!(again.peers().collect::<Vec<_>>(), ["sensor"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the folder or a file in it cannot be read, is not valid, or holds a peer
    /// that the configuration knows with other keys. The configuration is as before then.
    pub fn set_links(&mut self, path: impl Into<PathBuf>) -> Result<(), ConfigError> {
        let folder = LinkFolder::at(path.into(), self.vault.clone())?;
        let mut known = self.known_in(&folder)?;
        let has_removed = |link| folder.has_removed(link);
        let mut moves = self.not_in(&known, has_removed)?;
        if !moves.is_empty() {
            let lock = folder.lock()?;
            known = self.known_in(&folder)?; // nobody changes it any more
            moves = self.not_in(&known, has_removed)?;
            for peer in moves {
                folder.write(&lock, &file_of(&peer)?)?;
                known.add(peer);
            }
        }
        if let Some(peers) = known.with_a_shared_key() {
            return Err(ConfigError::SharedKey { peers });
        }
        self.known = Arc::new(known);
        self.links = Some(folder);
        Ok(())
    }

    /// Seals the files of links and the messages of the outbox from now on. To be called before
    /// [`set_links`](Self::set_links). What is there already has to be sealed first: `AtRest::seal`.
    pub fn set_at_rest(&mut self, settings: AtRest) {
        self.vault = Some(Arc::new(Vault::new(settings)));
    }

    /// Returns how what is kept on a disk is sealed, if it is.
    #[must_use]
    pub fn at_rest(&self) -> Option<&AtRest> {
        self.vault.as_ref().map(|vault| vault.settings())
    }

    /// Reads the folder of links again, in which another run may have renewed keys.
    pub(crate) fn reload_links(&mut self) -> Result<(), ConfigError> {
        if let Some(folder) = &self.links {
            self.known = Arc::new(self.known_in(folder)?);
        }
        Ok(())
    }

    /// Returns the peers of this configuration that are not among those that are kept elsewhere, and were not
    /// removed there.
    pub(super) fn not_in(
        &self,
        kept: &Known,
        has_removed: impl Fn(LinkId) -> bool,
    ) -> Result<Vec<KnownPeer>, ConfigError> {
        let links: HashMap<_, _> = kept.links().collect();
        let mut missing = Vec::new();
        for peer in self.known.peers() {
            match links.get(peer.name()) {
                _ if has_removed(peer.link()) => {
                    debug!(peer = %peer.name(), "its link was removed");
                }
                None => missing.push(peer),
                // It was moved there before.
                Some(kept) if *kept == peer.link() => {
                    debug!(peer = %peer.name(), "its keys are those that are kept");
                }
                Some(_) => return Err(ConfigError::Duplicate(peer.name().clone())),
            }
        }
        Ok(missing)
    }

    fn known_in(&self, folder: &LinkFolder) -> Result<Known, ConfigError> {
        let mut known = Known::default();
        for file in folder.read()? {
            let peer = self.peer_of(file)?;
            self.check_other(peer.name())?;
            known.add(peer);
        }
        known.shrink();
        Ok(known)
    }

    /// Returns the folder of links, if there is one.
    #[must_use]
    pub fn links(&self) -> Option<&Path> {
        self.links.as_ref().map(LinkFolder::path)
    }

    pub(crate) fn link_folder(&self) -> Option<&LinkFolder> {
        self.links.as_ref()
    }

    /// Takes the lock of the folder of links, if there is one, and brings what is known of the link with a
    /// peer up to date with it: a service may have run meanwhile, and renewed its keys.
    pub(super) fn open(&mut self, name: &str) -> Result<Opened, ConfigError> {
        let Some(folder) = self.links.clone() else { return Ok(Opened(None)) };
        let lock = folder.lock()?;
        if let Ok(name) = name.parse() {
            match folder.read_link(&name)? {
                Some(file) => {
                    let peer = self.peer_of(file)?;
                    self.known_mut().replace(peer);
                }
                None => drop(self.known_mut().remove(&name)),
            }
        }
        Ok(Opened(Some((folder, lock))))
    }

    /// Reads a link from its file. It shares its keys with what is known of it, if they are the same.
    pub(crate) fn peer_of(&self, mut file: LinkFile) -> Result<KnownPeer, ConfigError> {
        let known = self.known.peer(&file.peer).filter(|known| known.role() == file.role);
        let peer = known.as_ref().map_or(&file.peer, KnownPeer::name).clone();
        let keys_error = |source| ConfigError::Keys { peer: peer.clone(), source };
        let stored = file.take().map_err(keys_error)?;
        let names = match file.role {
            PeerRole::Client => [&self.name, &peer],
            PeerRole::Server => [&peer, &self.name],
        };
        let same = known.filter(|known| known.keys().are_stored_as(file.encoding, &stored));
        let keys = match same {
            Some(known) => Ok(known.keys().clone()),
            None => Keys::from_stored(file.encoding, names, stored),
        };
        let keys = keys.map_err(|source| ConfigError::Ring { peer: peer.clone(), source })?;
        let Identity(link) = file.link;
        let lacks = |field| ConfigError::Lacks { peer: peer.clone(), field };
        Ok(match file.role {
            PeerRole::Client => KnownPeer::Client(KnownClient {
                range: file.range.ok_or_else(|| lacks("range"))?,
                bucket: file.bucket,
                link,
                keys,
                name: peer,
            }),
            PeerRole::Server => KnownPeer::Server(KnownServer {
                url: file.url.ok_or_else(|| lacks("url"))?,
                fallbacks: file.fallback_urls,
                authorities: file.authorities,
                link,
                keys,
                source: None,
                name: peer,
            }),
        })
    }
}

/// A folder of links that nobody else changes meanwhile; nothing if there is none.
pub(super) struct Opened(Option<(LinkFolder, FolderLock)>);

impl Opened {
    /// Makes a link durable, if there is a place for it.
    pub(super) fn keep(&self, peer: &KnownPeer) -> Result<(), ConfigError> {
        let Some((folder, lock)) = &self.0 else { return Ok(()) };
        Ok(folder.write(lock, &file_of(peer)?)?)
    }

    /// Makes it durable that there is no link with a peer.
    pub(super) fn forget(&self, peer: &PeerName, link: LinkId) -> Result<(), ConfigError> {
        let Some((folder, lock)) = &self.0 else { return Ok(()) };
        Ok(folder.remove(lock, peer, link)?)
    }
}

/// The file of a link.
pub(crate) fn file_of(peer: &KnownPeer) -> Result<LinkFile, ConfigError> {
    peer.to_file().map_err(|source| ConfigError::Keys { peer: peer.name().clone(), source })
}
