//! Room on the disk that is kept in reserve: when the disk is full, it is given up, so that what is
//! stored can still be acknowledged, removed and closed. Messages are accepted only while it is
//! kept.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::files::{beside, create_private, open_regular};

/// Length of the reserve. The log grows to 4 MiB before it is written back.
const LEN: u64 = 16 * 1024 * 1024;
/// Room that there has to be beyond it when it is taken: a disk that is full again at once is no
/// help.
#[cfg(unix)]
const SLACK: u64 = 4 * 1024 * 1024;
/// Room that is tried for when it is not known whether the disk is full: a few pages and their log.
const PROBE: u64 = 64 * 1024;
/// The first bytes of the reserve, by which it is recognised.
const MARK: &[u8] = b"This file keeps room on the disk for the outbox of paddington beside it.\n";

/// The file that keeps the room.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// Whether a failure that has nothing to do with room was logged.
    warned: bool,
}

impl Reserve {
    /// The reserve of the store at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: beside(path, "-reserve"), warned: false }
    }

    /// Takes the room, if it is not kept yet. What else goes wrong than that there is none is
    /// logged, and the store works without a reserve.
    ///
    /// # Errors
    ///
    /// If the disk has no room for it, in words for an operator.
    pub(crate) fn keep(&mut self) -> Result<(), String> {
        let path = self.path.display();
        match self.take() {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                let _ = self.give();
                Err(format!(
                    "the disk is full: messages are accepted again when there is room for {path}, \
                     {} MiB and a little more",
                    LEN >> 20
                ))
            }
            Err(error) => {
                if !self.warned {
                    warn!(%path, %error, "no room is kept in reserve for a full disk");
                    self.warned = true;
                }
                Ok(())
            }
        }
    }

    /// Gives the room up. Returns whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        self.give().unwrap_or_default()
    }

    /// Gives the room up if no more can be had beside it. Returns whether it was given up.
    pub(crate) fn give_up_if_full(&self) -> bool {
        self.give_up_if(|file| allocate(file, LEN, LEN + PROBE))
    }

    fn give_up_if(&self, grow: impl FnOnce(&File) -> io::Result<()>) -> bool {
        let Ok(Some(file)) = self.open() else { return false };
        let Ok(found) = file.metadata() else { return false };
        let is_full = grow(&file).is_err_and(|error| is_full(&error));
        let _ = file.set_len(found.len());
        is_full && self.give_up()
    }

    fn take(&self) -> io::Result<()> {
        let file = self.open()?.map_or_else(|| create_private(&self.path), Ok)?;
        let found = file.metadata()?.len();
        if found >= LEN {
            return Ok(());
        }
        check_room(&file)?;
        // It can be recognised before it takes any room, whatever happens next.
        write(&file, MARK, 0)?;
        file.sync_data()?;
        allocate(&file, found.max(MARK.len() as u64), LEN)
    }

    fn give(&self) -> io::Result<bool> {
        let Some(file) = self.open()? else { return Ok(false) };
        file.set_len(MARK.len() as u64)?;
        fs::remove_file(&self.path)?;
        Ok(true)
    }

    /// Opens the file, if there is one, and fails if it is not a reserve.
    fn open(&self) -> io::Result<Option<File>> {
        let opened = open_regular(&self.path, OpenOptions::new().read(true).write(true));
        let opened = opened.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let Some((mut file, found)) = opened else { return Ok(None) };
        let mut mark = Vec::with_capacity(MARK.len());
        (&mut file).take(MARK.len() as u64).read_to_end(&mut mark)?;
        if mark == MARK || (is_private(&found) && MARK.starts_with(&mark)) {
            return Ok(Some(file));
        }
        Err(io::Error::new(ErrorKind::InvalidData, "something else has its name"))
    }
}

/// Returns whether a file has the mode with which a reserve is created. One that a kill has left
/// without the whole mark is recognised by it.
#[cfg(unix)]
fn is_private(found: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(found) & 0o7777 == 0o600
}

#[cfg(not(unix))]
fn is_private(_found: &Metadata) -> bool {
    true
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Fails if there is no room: without a look, the room that is left would be taken for a moment.
#[cfg(unix)]
fn check_room(file: &File) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    if room < LEN + SLACK { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
}

#[cfg(not(unix))]
fn check_room(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Makes a file of `found` bytes `len` bytes long, with room on the disk for all of it.
fn allocate(file: &File, found: u64, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => (),
            Err(error) => return Err(error.into()),
        }
    }
    let zeros = [0; 64 * 1024];
    let mut at = found;
    while at < len {
        let part = zeros.len().min((len - at) as usize);
        write(file, &zeros[..part], at)?;
        at += part as u64;
    }
    file.sync_data()
}

#[cfg(unix)]
fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn reserve_in(folder: &tempfile::TempDir) -> Reserve {
        Reserve::of(&folder.path().join("store"))
    }

    fn set_mode(reserve: &Reserve, mode: u32) -> io::Result<()> {
        fs::set_permissions(&reserve.path, fs::Permissions::from_mode(mode))
    }

    #[test]
    fn room_is_taken_given_up_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = reserve_in(&folder);
        assert!(!reserve.give_up(), "there is none yet");
        for _ in 0..2 {
            reserve.keep().unwrap();
            reserve.keep().unwrap();
            let found = fs::metadata(&reserve.path).unwrap();
            assert_eq!((found.len(), found.permissions().mode() & 0o777), (LEN, 0o600));
            assert!(found.blocks() * 512 >= LEN, "{} blocks", found.blocks());
            assert!(fs::read(&reserve.path).unwrap().starts_with(MARK));
            assert!(reserve.give_up());
            assert!(!reserve.path.exists());
        }
        // As a killed process leaves it.
        for begun in [0, 7, MARK.len()] {
            fs::write(&reserve.path, &MARK[..begun]).unwrap();
            set_mode(&reserve, 0o600).unwrap();
            reserve.keep().unwrap();
            assert!(reserve.give_up());
        }
    }

    #[test]
    fn it_is_given_up_for_a_quota_and_for_no_other_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = reserve_in(&folder);
        assert!(!reserve.give_up_if_full(), "there is none yet");
        reserve.keep().unwrap();
        assert!(!reserve.give_up_if_full(), "there is room");
        assert!(!reserve.give_up_if(|_| Err(ErrorKind::PermissionDenied.into())));
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), LEN);
        assert!(reserve.give_up_if(|_| Err(rustix::io::Errno::DQUOT.into())));
        assert!(!reserve.path.exists());
    }

    #[test]
    fn a_file_without_the_mark_that_others_may_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = reserve_in(&folder);
        for begun in [0, 7] {
            for mode in [0o644, 0o400, 0o700] {
                let _ = fs::remove_file(&reserve.path);
                fs::write(&reserve.path, &MARK[..begun]).unwrap();
                set_mode(&reserve, mode).unwrap();
                reserve.keep().unwrap();
                assert!(!reserve.give_up());
                assert_eq!(fs::read(&reserve.path).unwrap(), MARK[..begun], "{mode:o}");
            }
        }
        assert!(reserve.warned);
    }

    #[test]
    fn what_is_not_a_reserve_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = reserve_in(&folder);
        let other = folder.path().join("other");
        fs::write(&other, "my notes").unwrap();
        symlink(&other, &reserve.path).unwrap();
        reserve.keep().unwrap();
        assert!(!reserve.give_up());
        fs::remove_file(&reserve.path).unwrap();
        fs::rename(&other, &reserve.path).unwrap();
        reserve.keep().unwrap();
        assert!(!reserve.give_up());
        assert_eq!(fs::read(&reserve.path).unwrap(), b"my notes");
        fs::remove_file(&reserve.path).unwrap();
        fs::create_dir(&reserve.path).unwrap();
        reserve.keep().unwrap();
        assert!(reserve.warned);
    }
}
