//! Writes a file that holds secrets: with mode 0600, completely, and only then under its name.
//!
//! A process that is killed while it writes leaves no secrets behind. Where the system can do that
//! (Linux), a draft has no name at all until it is complete. Elsewhere, and for the instant in which
//! it replaces an older file, it has a name that the next [`Draft::write`] in the same folder
//! recognises. Its writer holds a lock on it, which ends with the process: a draft without one was
//! left behind, and is removed.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use paddington_transport::regular;
use tempfile::{Builder, TempPath};

/// A complete file that does not have its name yet.
pub(crate) struct Draft {
    file: File,
    /// The present name; `None` for a file without one.
    name: Option<TempPath>,
    path: PathBuf,
}

/// What becomes of the drafts that processes which ended early have left in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// They are removed, for which the whole folder is listed.
    Go,
    /// They were removed before, or will be by the next process.
    Stay,
}

/// The beginning and the end of a draft's name; what is between them is random.
const PREFIX: &str = ".paddington-";
const SUFFIX: &str = ".draft";

/// Number of times that a named draft is made again because another process took it for a leftover.
const TRIES: usize = 8;

impl Draft {
    /// Writes `content` to a new file in the folder of `path`.
    pub(crate) fn write(path: &Path, content: &[u8], leftovers: Leftovers) -> io::Result<Self> {
        let folder = folder_of(path);
        let (mut file, name) = match unnamed(folder) {
            Some(file) => (file, None),
            None => named(folder).map(|(file, name)| (file, Some(name)))?,
        };
        if leftovers == Leftovers::Go {
            remove_leftovers(folder, &file.metadata()?);
        }
        file.write_all(content)?;
        file.sync_all()?;
        Ok(Self { file, name, path: path.to_owned() })
    }

    /// Gives the draft its name, unless there is a file of that name. After an error it may have it, and
    /// lose it again with the power.
    pub(crate) fn create(self) -> io::Result<()> {
        self.create_and(sync)
    }

    fn create_and(self, sync: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        match self.name {
            Some(name) => name.persist_noclobber(&self.path).map_err(|error| error.error)?,
            None => link(&self.file, &self.path)?,
        }
        sync(folder_of(&self.path))
    }

    /// Gives the draft its name, in place of the file that has it. After an error it may have it, and
    /// lose it again with the power.
    pub(crate) fn replace(self) -> io::Result<()> {
        self.replace_and(sync)
    }

    fn replace_and(self, sync: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let folder = folder_of(&self.path);
        let name = match self.name {
            Some(name) => name,
            None => {
                lock(&self.file)?;
                let linked = builder().make_in(folder, |name| link(&self.file, name));
                linked?.into_temp_path()
            }
        };
        name.persist(&self.path).map_err(|error| error.error)?;
        sync(folder)
    }
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    builder
}

/// Creates a file without a name, if the system and the file system can.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    // Without /proc it could not be given a name.
    let can_be_linked = Path::new("/proc/self/fd").is_dir();
    can_be_linked.then(|| open(folder, flags, Mode::RUSR | Mode::WUSR).ok())?.map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_folder: &Path) -> Option<File> {
    None
}

/// Gives an unnamed file a name that is free.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let open_file = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, open_file, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_file: &File, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Creates a file with a name that cannot be guessed, and locks it.
fn named(folder: &Path) -> io::Result<(File, TempPath)> {
    for _ in 0..TRIES {
        let (file, name) = builder().tempfile_in(folder)?.into_parts();
        lock(&file)?;
        // Before it was locked, another process may have removed it as a leftover.
        if name.exists() {
            return Ok((file, name));
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Locks a file for as long as this process has it open, on file systems that have locks.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(()),
    }
}

/// Removes drafts that processes have left in a folder, which may hold keys.
#[cfg(feature = "durable")]
pub(crate) fn tidy(folder: &Path) {
    if let Ok(own) = fs::metadata(folder) {
        remove_leftovers(folder, &own);
    }
}

/// Fails if a file or folder belongs to another user than the one of this process, to whom what is written anew would
/// belong.
#[cfg(any(feature = "durable", feature = "postgres"))]
pub(crate) fn check_owner(path: &Path) -> Result<(), crate::FileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = fs::metadata(path).map(|found| found.uid()).unwrap_or_default();
        if owner != rustix::process::geteuid().as_raw() {
            let source = io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it belongs to another user: run this as the user of the service",
            );
            return Err(crate::FileError::Unwritable { path: path.to_owned(), source });
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Removes drafts that processes of the same user as `own` have left in `folder`. Whatever cannot
/// be removed stays: writing the new file matters more.
fn remove_leftovers(folder: &Path, own: &Metadata) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            let _ = remove_leftover(&entry.path(), own);
        }
    }
}

/// Removes a draft unless its writer still lives.
fn remove_leftover(path: &Path, own: &Metadata) -> io::Result<()> {
    // Only a regular file is opened, not a link to one.
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(());
    }
    let Some((file, metadata)) = regular::open(path)? else { return Ok(()) };
    if have_same_owner(&metadata, own) && file.try_lock().is_ok() {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(unix)]
fn have_same_owner(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn have_same_owner(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    // Who may write to a folder, and not list it, cannot open it; there are file systems whose folders are
    // not synced by anybody.
    let synced = match File::open(folder) {
        Err(error) if error.kind() == PermissionDenied => return Ok(()),
        opened => opened?.sync_all(),
    };
    match synced {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Other systems have no way to make the names in a folder durable.
#[cfg(not(unix))]
pub(crate) fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// Returns the names in a folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn with_name(path: &Path, content: &[u8]) -> Draft {
        let (mut file, name) = named(folder_of(path)).unwrap();
        file.write_all(content).unwrap();
        Draft { file, name: Some(name), path: path.to_owned() }
    }

    #[test]
    fn a_file_appears_complete_and_private_with_or_without_a_first_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let makers: [fn(&Path, &str) -> Draft; 2] = [
            |path, text| Draft::write(path, text.as_bytes(), Leftovers::Go).unwrap(),
            |path, text| with_name(path, text.as_bytes()),
        ];
        for make in makers {
            make(&path, "first").create().unwrap();
            let taken = make(&path, "second").create().unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&path).unwrap(), b"first");
            make(&path, "third").replace().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"third");
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o600, 1));
            assert_eq!(names(folder.path()), ["a"]);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_name_that_is_not_durable_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let draft = || Draft::write(&folder.path().join("a"), b"secret", Leftovers::Go).unwrap();
        let broken = |_: &Path| Err(io::Error::from(io::ErrorKind::StorageFull));
        let errors = [draft().create_and(broken), draft().replace_and(broken)];
        assert!(errors.iter().all(Result::is_err), "{errors:?}");
        draft().replace().unwrap();
        sync(folder.path()).unwrap();
        assert!(sync(&folder.path().join("none")).is_err());
        sync(folder_of(Path::new("a"))).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_draft_has_no_name_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        if unnamed(folder.path()).is_none() {
            return; // this file system has no files without names
        }
        let draft = Draft::write(&folder.path().join("a"), b"secret", Leftovers::Go).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
        drop(draft);
        assert_eq!(names(folder.path()), [""; 0], "what is killed leaves nothing");
    }

    #[test]
    fn what_dead_processes_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let leftover = at(".paddington-x8s1kq.draft");
        fs::write(&leftover, "keys of a process that was killed").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o600)).unwrap();
        let kept = [".paddington-.draft", ".paddington-link.draft", ".paddington-notes", "x.draft"];
        fs::create_dir(at(kept[0])).unwrap();
        fs::write(at(kept[3]), "not a draft").unwrap();
        symlink(at(kept[3]), at(kept[1])).unwrap();
        fs::write(at(kept[2]), "not a draft").unwrap();
        let in_use = with_name(&at("b"), b"being written by a process that lives");

        let write = |leftovers| Draft::write(&at("a"), b"", leftovers).unwrap().replace().unwrap();
        write(Leftovers::Stay);
        assert!(leftover.exists());
        write(Leftovers::Go);
        let mut expected = kept.map(str::to_owned).to_vec();
        expected.push("a".to_owned());
        let name = in_use.name.as_ref().unwrap().file_name().unwrap();
        expected.push(name.to_str().unwrap().to_owned());
        expected.sort();
        assert_eq!(names(folder.path()), expected);
        in_use.create().unwrap();
        assert_eq!(fs::read(at("b")).unwrap(), b"being written by a process that lives");
    }
}
