//! What a running service knows of its links, and where it keeps their keys.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::store::Directory;
use paddington_exchange::{HandlerError, KeyStore};
use paddington_wire::keys::KeyRing;
use paddington_wire::{LinkId, PeerName};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::known::KnownPeer;
use crate::links::{FolderLock, Keys, LinkDirectory, LinkFile, LinkFolder};
use crate::{ClusterError, ConfigError, ServiceConfig, SharedLinkError};

/// Number of groups of links. Files of links in different groups are written at the same time.
const GROUPS: usize = 16;

/// The part of a service that all its handles share.
pub(crate) struct Shared {
    /// The configuration as it is now.
    config: Mutex<ServiceConfig>,
    place: Place,
    /// Held while a link in the group is written, so that the last one is the newest.
    writing: [AsyncMutex<()>; GROUPS],
    /// One change by a person at a time.
    pub(super) turn: AsyncMutex<()>,
}

/// Where the states of links outlive the process.
#[derive(Debug)]
enum Place {
    Nowhere,
    Folder(Folder),
    Directory(Arc<LinkDirectory>),
}

/// The folder of links, which belongs to the service while it runs.
#[derive(Clone, Debug)]
struct Folder {
    links: LinkFolder,
    /// Ends with the service.
    lock: Arc<Mutex<Option<FolderLock>>>,
}

impl Shared {
    pub(super) fn new(config: &ServiceConfig) -> Result<Self, ConfigError> {
        let mut config = config.clone();
        let place = match config.link_folder() {
            Some(links) => {
                let lock = Arc::new(Mutex::new(Some(links.lock()?)));
                Place::Folder(Folder { links: links.clone(), lock })
            }
            None => Place::Nowhere,
        };
        // Under the lock, nobody changes it any more.
        config.reload_links()?;
        Ok(Self::at(place, config))
    }

    /// As [`new`](Self::new), with the links in a database that replicas share.
    pub(super) async fn over(
        config: &ServiceConfig,
        directory: Arc<dyn Directory>,
    ) -> Result<Self, ClusterError> {
        let mut config = config.clone();
        let directory = LinkDirectory::new(directory, config.vault.clone());
        config.share_links(&directory).await?;
        Ok(Self::at(Place::Directory(Arc::new(directory)), config))
    }

    fn at(place: Place, config: ServiceConfig) -> Self {
        let writing = std::array::from_fn(|_| AsyncMutex::default());
        Self { config: Mutex::new(config), place, writing, turn: AsyncMutex::default() }
    }

    /// Returns the directory of links, if they are in a database.
    pub(super) fn directory(&self) -> Option<&Arc<LinkDirectory>> {
        match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Nowhere | Place::Folder(_) => None,
        }
    }

    pub(super) fn config(&self) -> MutexGuard<'_, ServiceConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the folder to others, because the service has ended.
    fn release(&self) {
        if let Place::Folder(folder) = &self.place {
            *folder.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Where the exchange stores keys, if there is a place.
    pub(super) fn key_store(self: &Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        match self.place {
            Place::Nowhere => None,
            Place::Folder(_) | Place::Directory(_) => Some(Arc::new(KeptKeys(Arc::clone(self)))),
        }
    }

    /// Makes the state of a link durable, and notes it.
    pub(super) async fn keep(&self, peer: KnownPeer) -> Result<(), HandlerError> {
        let name = peer.name().clone();
        self.write(&name, |_| Ok(peer)).await
    }

    /// Changes a link, whose keys stay as they are by then, durably.
    pub(super) async fn amend(
        &self,
        name: &PeerName,
        change: impl FnOnce(&mut KnownPeer),
    ) -> Result<(), HandlerError> {
        let change = |known: Option<KnownPeer>| {
            let mut peer = known.ok_or("the link was removed")?;
            change(&mut peer);
            Ok(peer)
        };
        self.write(name, change).await
    }

    /// Writes what `change` makes of a link, and notes it, before anybody else does so.
    async fn write(
        &self,
        name: &PeerName,
        change: impl FnOnce(Option<KnownPeer>) -> Result<KnownPeer, HandlerError>,
    ) -> Result<(), HandlerError> {
        let _writing = self.group(name).lock().await;
        let known = self.config().known.peer(name);
        let peer = change(known)?;
        match &self.place {
            Place::Nowhere => {}
            Place::Folder(folder) => folder.write(file_of(&peer)?).await?,
            Place::Directory(directory) => directory.write_one(file_of(&peer)?).await?,
        }
        self.config().known_mut().replace(peer);
        Ok(())
    }

    /// Takes note of the state of a link that another replica has written; `None` if it has removed it.
    pub(super) async fn adopt(
        &self,
        directory: &LinkDirectory,
        (name, link, version): (&PeerName, LinkId, u64),
        peer: Option<KnownPeer>,
    ) {
        let _writing = self.group(name).lock().await;
        if version <= directory.version(link) {
            return; // this replica has written a newer one
        }
        directory.note(link, name, version, peer.is_none());
        match peer {
            Some(peer) => self.config().known_mut().replace(peer),
            None => drop(self.config().known_mut().remove(name)),
        }
    }

    /// Writes what this replica has of a link over an older version, which a database has returned to.
    pub(super) async fn write_over(
        &self,
        directory: &LinkDirectory,
        link: LinkId,
        older: u64,
    ) -> Result<(), SharedLinkError> {
        let name = || self.config().known.links().find(|it| it.1 == link).map(|it| it.0.clone());
        let _writing = match name() {
            Some(name) => Some(self.group(&name).lock().await),
            None => None,
        };
        let peer = name().and_then(|name| self.config().known.peer(&name));
        let file = match &peer {
            Some(peer) => Some(crate::config::file_of(peer).map_err(Box::new)?),
            None => None,
        };
        directory.write_over(older, link, file).await
    }

    fn group(&self, name: &PeerName) -> &AsyncMutex<()> {
        let sum = name
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.writing[sum % GROUPS]
    }

    /// Makes it durable that there is no link with a peer, and notes it. Keys that are still to be
    /// stored do not bring it back.
    pub(super) async fn forget(&self, name: PeerName) -> Result<(), HandlerError> {
        let _writing = self.group(&name).lock().await;
        let known = self.config().known.peer(&name).map(|peer| peer.link());
        let link = || known.ok_or("the link was removed");
        match &self.place {
            Place::Nowhere => {}
            Place::Folder(folder) => folder.remove(&name, link()?).await?,
            Place::Directory(directory) => directory.remove(&name, link()?).await?,
        }
        self.config().known_mut().remove(&name);
        Ok(())
    }
}

impl Folder {
    fn lock(&self) -> Result<FolderLock, HandlerError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.clone().ok_or_else(|| "the service has ended".into())
    }

    async fn write(&self, file: LinkFile) -> Result<(), HandlerError> {
        let (links, lock) = (self.links.clone(), self.lock()?);
        spawn_blocking(move || links.write(&lock, &file)).await??;
        Ok(())
    }

    async fn remove(&self, name: &PeerName, link: LinkId) -> Result<(), HandlerError> {
        let (links, lock, name) = (self.links.clone(), self.lock()?, name.clone());
        spawn_blocking(move || links.remove(&lock, &name, link)).await??;
        Ok(())
    }
}

fn file_of(peer: &KnownPeer) -> Result<LinkFile, HandlerError> {
    Ok(crate::config::file_of(peer)?)
}

/// The keys of all links, where links are kept.
struct KeptKeys(Arc<Shared>);

impl KeyStore for KeptKeys {
    fn store(
        &self,
        peer: &PeerName,
        ring: Arc<KeyRing>,
    ) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>> {
        let (shared, peer) = (Arc::clone(&self.0), peer.clone());
        Box::pin(async move {
            let keys = Keys::Sealed(ring);
            shared.amend(&peer, |peer| *peer.keys_mut() = keys).await
        })
    }

    fn close(&self) {
        self.0.release();
    }
}

impl fmt::Debug for KeptKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptKeys(..)")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("place", &self.place).finish_non_exhaustive()
    }
}
