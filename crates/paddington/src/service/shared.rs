//! What a running service knows of its links, and where it keeps their keys.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paddington_exchange::{HandlerError, KeyStore};
use paddington_wire::PeerName;
use paddington_wire::keys::KeyRing;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::known::KnownPeer;
use crate::links::{FolderLock, Keys, LinkFile, LinkFolder};
use crate::{ConfigError, ServiceConfig};

/// Number of groups of links. Files of links in different groups are written at the same time.
const GROUPS: usize = 16;

/// The part of a service that all its handles share.
pub(crate) struct Shared {
    /// The configuration as it is now.
    config: Mutex<ServiceConfig>,
    folder: Option<Folder>,
    /// One change by a person at a time.
    pub(super) turn: AsyncMutex<()>,
}

/// The folder of links, which belongs to the service while it runs.
#[derive(Clone, Debug)]
struct Folder {
    links: LinkFolder,
    /// Ends with the service.
    lock: Arc<Mutex<Option<FolderLock>>>,
    /// Held while the file of a link in the group is written, so that the last one is the newest.
    writing: Arc<[AsyncMutex<()>; GROUPS]>,
}

impl Shared {
    pub(super) fn new(config: &ServiceConfig) -> Result<Self, ConfigError> {
        let mut config = config.clone();
        let folder = config.link_folder().map(|links| -> Result<_, ConfigError> {
            let writing = Arc::new(std::array::from_fn(|_| AsyncMutex::default()));
            let lock = Arc::new(Mutex::new(Some(links.lock()?)));
            Ok(Folder { links: links.clone(), lock, writing })
        });
        let folder = folder.transpose()?;
        // Under the lock, nobody changes it any more.
        config.reload_links()?;
        Ok(Self { config: Mutex::new(config), folder, turn: AsyncMutex::default() })
    }

    pub(super) fn config(&self) -> MutexGuard<'_, ServiceConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the folder to others, because the service has ended.
    fn release(&self) {
        if let Some(folder) = &self.folder {
            *folder.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Where the exchange stores keys, if there is a place.
    pub(super) fn key_store(self: &Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        self.folder.as_ref()?;
        Some(Arc::new(FolderKeys(Arc::clone(self))))
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
        let _writing = match &self.folder {
            Some(folder) => Some(folder.group(name).lock().await),
            None => None,
        };
        let known = self.config().known.peer(name);
        let peer = change(known)?;
        if let Some(folder) = &self.folder {
            folder.write(file_of(&peer)?).await?;
        }
        self.config().known_mut().replace(peer);
        Ok(())
    }

    /// Makes it durable that there is no link with a peer, and notes it. Keys that are still to be
    /// stored do not bring it back.
    pub(super) async fn forget(&self, name: PeerName) -> Result<(), HandlerError> {
        let _writing = match &self.folder {
            Some(folder) => Some(folder.group(&name).lock().await),
            None => None,
        };
        if let Some(folder) = &self.folder {
            let known = self.config().known.peer(&name);
            let link = known.ok_or("the link was removed")?.link();
            let (links, lock, name) = (folder.links.clone(), folder.lock()?, name.clone());
            spawn_blocking(move || links.remove(&lock, &name, link)).await??;
        }
        self.config().known_mut().remove(&name);
        Ok(())
    }
}

impl Folder {
    fn group(&self, name: &PeerName) -> &AsyncMutex<()> {
        let sum = name
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.writing[sum % GROUPS]
    }

    fn lock(&self) -> Result<FolderLock, HandlerError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.clone().ok_or_else(|| "the service has ended".into())
    }

    async fn write(&self, file: LinkFile) -> Result<(), HandlerError> {
        let (links, lock) = (self.links.clone(), self.lock()?);
        spawn_blocking(move || links.write(&lock, &file)).await??;
        Ok(())
    }
}

fn file_of(peer: &KnownPeer) -> Result<LinkFile, HandlerError> {
    Ok(crate::config::file_of(peer)?)
}

/// The keys of all links, in the folder of links.
struct FolderKeys(Arc<Shared>);

impl KeyStore for FolderKeys {
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

impl fmt::Debug for FolderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FolderKeys(..)")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}
