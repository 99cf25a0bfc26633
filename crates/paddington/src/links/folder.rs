//! The folder of links: one file for each, which only this program writes.
//!
//! A file is complete and synced before it has its name. Whoever changes the folder holds a lock on
//! it; a service does so for as long as it runs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "durable")]
use paddington_crypto::StorageKey;
use paddington_wire::{LinkId, PeerName};

use super::sealed::{LinkText, SealedLink, at_rest};
use super::stored::LinkFile;
#[cfg(feature = "durable")]
use crate::at_rest::Keyring;
use crate::at_rest::Vault;
use crate::draft::Leftovers;
use crate::{FileError, draft, file};

/// The file whose lock is that of the folder.
const LOCK: &str = ".lock";
/// The end of the name of a link's file.
const SUFFIX: &str = ".toml";

/// A folder of links.
#[derive(Clone, Debug)]
pub(crate) struct LinkFolder {
    path: PathBuf,
    /// What they are sealed with, if they are.
    vault: Option<Arc<Vault>>,
    /// Whether what dead processes have left in it was removed. With a hundred thousand links that is not done for each
    /// that is written, and this process leaves nothing.
    tidied: Arc<AtomicBool>,
}

/// The right to change a folder, which ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct FolderLock {
    _file: Arc<File>,
}

impl LinkFolder {
    /// Returns the folder at `path`, and makes it, for its owner only, if there is none. Its files are
    /// sealed if there is a vault.
    pub(crate) fn at(path: PathBuf, vault: Option<Arc<Vault>>) -> Result<Self, FileError> {
        match make(&path) {
            Ok(()) => draft::sync(draft::folder_of(&path)).map_err(|source| {
                let path = path.clone();
                FileError::Unwritable { path, source }
            })?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(source) => return Err(FileError::Unwritable { path, source }),
        }
        Ok(Self { path, vault, tidied: Arc::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock of the folder.
    pub(crate) fn lock(&self) -> Result<FolderLock, FileError> {
        let path = self.path.join(LOCK);
        let unwritable = |source| FileError::Unwritable { path: path.clone(), source };
        let file = open_lock(&path).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: Arc::new(file) }),
            Err(TryLockError::WouldBlock) => Err(FileError::InUse { path: self.path.clone() }),
            // There are file systems without locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(FolderLock { _file: Arc::new(file) })
            }
            Err(TryLockError::Error(source)) => Err(unwritable(source)),
        }
    }

    /// Reads all links, by the names of their files.
    pub(crate) fn read(&self) -> Result<Vec<LinkFile>, FileError> {
        self.files()?.iter().map(|path| self.read_one(path)).collect()
    }

    /// Returns the files of links, by name.
    fn files(&self) -> Result<Vec<PathBuf>, FileError> {
        let unreadable = |source| FileError::Unreadable { path: self.path.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Reads the link with a peer, if there is one.
    pub(crate) fn read_link(&self, peer: &PeerName) -> Result<Option<LinkFile>, FileError> {
        let path = self.file_of(peer);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => self.read_one(&path).map(Some),
        }
    }

    fn read_one(&self, path: &Path) -> Result<LinkFile, FileError> {
        let text: LinkText = file::read_private(path, "")?;
        let link = text.open(path, self.vault.as_ref())?;
        self.named(path, link)
    }

    /// Checks that a link has the name of its file.
    fn named(&self, path: &Path, link: LinkFile) -> Result<LinkFile, FileError> {
        if path == self.file_of(&link.peer) {
            return Ok(link);
        }
        let reason = format!("it holds the link with {}, and is named otherwise", link.peer);
        let reason = file::without_keys(&reason);
        Err(FileError::Malformed { path: path.to_owned(), line: None, reason })
    }

    /// Writes a link, durably, in place of an older state of the same link.
    pub(crate) fn write(&self, _: &FolderLock, link: &LinkFile) -> Result<(), FileError> {
        let path = self.file_of(&link.peer);
        let is_ours = |path: &Path| {
            let old = self.read_one(path).map_err(|_| "does not hold this link")?;
            // A file system that does not tell upper case from lower case has one file for two peers.
            if (&old.peer, old.link) == (&link.peer, link.link) {
                Ok(())
            } else {
                Err("holds another link")
            }
        };
        let leftovers = match self.tidied.load(Ordering::Relaxed) {
            false => Leftovers::Go,
            true => Leftovers::Stay,
        };
        match &self.vault {
            None => file::write_among(&path, link, leftovers, is_ours)?,
            Some(vault) => {
                let is_first = || self.files().is_ok_and(|files| files.is_empty());
                let keyring = vault.keyring_or_new(is_first);
                let keyring = keyring.map_err(|error| at_rest(&path, error))?;
                let sealed = SealedLink::seal(&path, link, keyring.newest())?;
                file::write_among(&path, &sealed, leftovers, is_ours)?;
            }
        }
        self.tidied.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns whether there is no link.
    #[cfg(feature = "durable")]
    pub(crate) fn is_empty(&self) -> Result<bool, FileError> {
        self.files().map(|files| files.is_empty())
    }

    /// Returns whether any link is sealed.
    #[cfg(feature = "durable")]
    pub(crate) fn is_sealed(&self) -> Result<bool, FileError> {
        for path in self.files()? {
            if matches!(file::read(&path, "")?, LinkText::Sealed(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes every link anew, sealed under a key or not at all, and returns how many were written: those
    /// that were not like that already. All of them are opened first.
    #[cfg(feature = "durable")]
    pub(crate) fn rewrite(
        &self,
        _: &FolderLock,
        keyring: &Keyring,
        to: Option<&Arc<StorageKey>>,
    ) -> Result<u64, FileError> {
        let mut links = Vec::new();
        for path in self.files()? {
            let (link, key) = match file::read_private(&path, "")? {
                LinkText::Plain(link) => (*link, None),
                LinkText::Sealed(link) => (link.open(&path, keyring)?, link.key()),
            };
            let link = self.named(&path, link)?;
            if key != to.map(|key| key.id()) {
                links.push((path, link));
            }
        }
        draft::tidy(&self.path); // a run that was killed may have left keys there
        for (path, link) in &links {
            let is_ours = |_: &Path| Ok(());
            match to {
                Some(key) => {
                    let sealed = SealedLink::seal(path, link, key)?;
                    file::write_among(path, &sealed, Leftovers::Stay, is_ours)?;
                }
                None => file::write_among(path, link, Leftovers::Stay, is_ours)?,
            }
        }
        Ok(links.len() as u64)
    }

    /// Removes the link with a peer, durably. One that is not there is removed already. An empty file
    /// stays, which says so: the link may still be in a configuration that a person has written.
    pub(crate) fn remove(
        &self,
        _: &FolderLock,
        peer: &PeerName,
        link: LinkId,
    ) -> Result<(), FileError> {
        let (path, mark) = (self.file_of(peer), self.mark_of(link));
        let unwritable = |source| FileError::Unwritable { path: path.clone(), source };
        let marked = open_lock(&mark).and_then(|mark| mark.sync_all());
        marked.map_err(|source| FileError::Unwritable { path: mark, source })?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(unwritable)?,
        }
        draft::sync(&self.path).map_err(unwritable)
    }

    /// Returns whether a link was removed.
    pub(crate) fn has_removed(&self, link: LinkId) -> bool {
        self.mark_of(link).exists()
    }

    fn mark_of(&self, link: LinkId) -> PathBuf {
        self.path.join(format!("{link}.removed"))
    }

    fn file_of(&self, peer: &PeerName) -> PathBuf {
        self.path.join(format!("{peer}{SUFFIX}"))
    }
}

#[cfg(unix)]
fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

#[cfg(unix)]
fn open_lock(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}
