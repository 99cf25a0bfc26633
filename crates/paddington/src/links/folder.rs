//! The folder of links: one file for each, which only this program writes.
//!
//! A file is complete and synced before it has its name. Whoever changes the folder holds a lock on
//! it; a service does so for as long as it runs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paddington_wire::{LinkId, PeerName};

use super::stored::LinkFile;
use crate::{FileError, draft, file};

/// The file whose lock is that of the folder.
const LOCK: &str = ".lock";
/// The end of the name of a link's file.
const SUFFIX: &str = ".toml";

/// A folder of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkFolder {
    path: PathBuf,
}

/// The right to change a folder, which ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct FolderLock {
    _file: Arc<File>,
}

impl LinkFolder {
    /// Returns the folder at `path`, and makes it, for its owner only, if there is none.
    pub(crate) fn at(path: PathBuf) -> Result<Self, FileError> {
        match make(&path) {
            Ok(()) => draft::sync(draft::folder_of(&path)).map_err(|source| {
                let path = path.clone();
                FileError::Unwritable { path, source }
            })?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(source) => return Err(FileError::Unwritable { path, source }),
        }
        Ok(Self { path })
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
        paths.iter().map(|path| self.read_one(path)).collect()
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
        let link: LinkFile = file::read_private(path, "")?;
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
        file::write(&path, link, |path| {
            let old: LinkFile = file::read(path, "").map_err(|_| "does not hold a link")?;
            // A file system that does not tell upper case from lower case has one file for two peers.
            if (&old.peer, old.link) == (&link.peer, link.link) {
                Ok(())
            } else {
                Err("holds another link")
            }
        })
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
