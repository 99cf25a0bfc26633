//! The files of a store, as they are found on the disk: what they are, whose they are, and whether
//! they are still the same. No link is followed, and nothing is changed that is not recognised.
//!
//! The file itself is never opened for reading here: closing it would release the locks that this
//! process has on it, by another store or by another library.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::error::{Fault, OpenStoreError};
use crate::schema::APPLICATION;

/// The first bytes of a write-ahead log; the lowest bit of the last one may be set.
const LOG_MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];
/// The first bytes of a rollback journal, which exists only while the file is created.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// The position in a journal of what is known when it is begun. Until it is synced, SQLite writes
/// zeros before that, and nothing in the file is changed; when it is over, it writes zeros again.
const JOURNAL_FACTS: std::ops::Range<usize> = 12..28;
/// The position of the number of pages that the file had when the journal was begun.
const JOURNAL_PAGES: std::ops::Range<usize> = 16..20;

/// What a file is held by. On Linux it is a descriptor that reads nothing and holds no lock; while
/// it is open, no other file gets the number of this one.
#[cfg(target_os = "linux")]
type Handle = File;
#[cfg(not(target_os = "linux"))]
type Handle = Metadata;

/// The number of a file, by which it is told from another one at the same path.
type Identity = (u64, u64);

/// The file at a path and the log beside it.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    log_path: PathBuf,
    file: Handle,
    log: Option<Identity>,
}

impl Files {
    /// Finds the files at `path`, or creates an empty one. An existing file must be a store, an
    /// empty file, or a store whose creation was interrupted.
    pub(crate) fn find(path: PathBuf) -> Result<Self, OpenStoreError> {
        let log_path = beside(&path, "-wal");
        let logged = check_log(&log_path)?;
        let begun = check_journal(&beside(&path, "-journal"))?;
        let len = match look(&path)? {
            Some(found) => found.len(),
            None => 0,
        };
        if len == 0 && logged {
            return Err(OpenStoreError::LogWithoutFile(log_path));
        }
        create(&path).map_err(|error| unwritable(&path, error))?;
        let file = handle(&path).map_err(|error| unwritable(&path, error))?;
        check(&path, &metadata(&file).map_err(|error| unwritable(&path, error))?)?;
        if len > 0 && !begun {
            recognise(&path)?;
        }
        let files = Self { file, log: None, log_path, path };
        files.make_private().map_err(|error| unwritable(&files.path, error))?;
        Ok(files)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes which log belongs to the file, now that SQLite has opened it.
    pub(crate) fn note_log(&mut self) {
        self.log = identity_at(&self.log_path);
    }

    /// Fails if the file is no longer at its path: what is written to it now would be lost.
    pub(crate) fn check_place(&self) -> Result<(), Fault> {
        let file = metadata(&self.file).ok().as_ref().and_then(identity);
        Self::same(&self.path, file)
    }

    /// Fails if the file or its log is no longer at its path.
    pub(crate) fn check_places(&self) -> Result<(), Fault> {
        self.check_place()?;
        Self::same(&self.log_path, self.log)
    }

    fn same(path: &Path, expected: Option<Identity>) -> Result<(), Fault> {
        if cfg!(not(unix)) || (expected.is_some() && identity_at(path) == expected) {
            return Ok(());
        }
        let path = path.display();
        Err(Fault::Moved(format!(
            "{path} was moved, deleted or replaced while it was in use: put it back, or restart \
             the service"
        )))
    }

    /// Removes the permissions of other users, by descriptor where the system can. SQLite gives the
    /// log the mode of the file.
    #[cfg(unix)]
    fn make_private(&self) -> io::Result<()> {
        make_private(&self.file, &self.path)?;
        match handle(&self.log_path) {
            Ok(handle) => make_private(&handle, &self.log_path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    #[cfg(not(unix))]
    fn make_private(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The path of a file beside a store.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Describes what is at a path, if anything, and fails if it cannot be a file of a store.
pub(crate) fn look(path: &Path) -> Result<Option<Metadata>, OpenStoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => check(path, &found).map(|()| Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(path, error)),
    }
}

fn unwritable(path: &Path, source: io::Error) -> OpenStoreError {
    OpenStoreError::Unwritable { path: path.to_owned(), source: source.into() }
}

pub(crate) fn unusable(path: &Path, source: io::Error) -> OpenStoreError {
    OpenStoreError::Unusable { path: path.to_owned(), source: source.into() }
}

fn check(path: &Path, found: &Metadata) -> Result<(), OpenStoreError> {
    if found.is_symlink() {
        return Err(OpenStoreError::Link(path.to_owned()));
    }
    if !found.is_file() {
        return Err(OpenStoreError::NotAFile(path.to_owned()));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::uid(found) != rustix::process::geteuid().as_raw() {
        return Err(OpenStoreError::OtherOwner(path.to_owned()));
    }
    Ok(())
}

/// Checks what is in the place of the log, and returns whether there is anything in it.
pub(crate) fn check_log(path: &Path) -> Result<bool, OpenStoreError> {
    let Some((begin, len)) = begin(path, 32)? else { return Ok(false) };
    // A power cut may have left zeros.
    let known = begin.iter().all(|byte| *byte == 0) || is_log(&begin);
    if known { Ok(len > 0) } else { Err(OpenStoreError::NotALog(path.to_owned())) }
}

/// Returns whether something begins like a log.
pub(crate) fn is_log(begin: &[u8]) -> bool {
    let magic = begin.get(..4);
    magic.is_some_and(|magic| magic[..3] == LOG_MAGIC[..3] && magic[3] & !1 == LOG_MAGIC[3])
}

/// Checks what is in the place of the journal. Returns whether the creation of the file was
/// interrupted: going back to the state before that makes it empty, whatever it holds now.
fn check_journal(path: &Path) -> Result<bool, OpenStoreError> {
    let Some((begin, _)) = begin(path, 512)? else { return Ok(false) };
    let says_nothing = |(at, byte): (usize, &u8)| *byte == 0 || JOURNAL_FACTS.contains(&at);
    if begin.iter().enumerate().all(says_nothing) {
        return Ok(false);
    }
    if !begin.starts_with(&JOURNAL_MAGIC) {
        return Err(OpenStoreError::NotALog(path.to_owned()));
    }
    Ok(begin.get(JOURNAL_PAGES).is_some_and(|pages| pages == [0; 4]))
}

/// Opens what is at a path, if anything, and fails if it cannot be a file of a store.
pub(crate) fn open_regular(
    path: &Path,
    options: &mut OpenOptions,
) -> Result<Option<(File, Metadata)>, OpenStoreError> {
    // A device may do something when it is opened.
    match look(path)? {
        Some(_) => open_checked(path, options),
        None => Ok(None),
    }
}

/// Opens it once, without following a link or waiting for another program, and checks what was
/// opened: something else may have got the name meanwhile.
fn open_checked(
    path: &Path,
    options: &mut OpenOptions,
) -> Result<Option<(File, Metadata)>, OpenStoreError> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags as i32);
    }
    let file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| unusable(path, error))?,
    };
    let found = file.metadata().map_err(|error| unusable(path, error))?;
    check(path, &found)?;
    Ok(Some((file, found)))
}

/// Reads the first bytes of a log or journal, and its length. SQLite holds no lock on these.
fn begin(path: &Path, most: u64) -> Result<Option<(Vec<u8>, u64)>, OpenStoreError> {
    let opened = open_regular(path, OpenOptions::new().read(true))?;
    let Some((file, found)) = opened else { return Ok(None) };
    let mut begin = Vec::new();
    file.take(most).read_to_end(&mut begin).map_err(|error| unusable(path, error))?;
    Ok(Some((begin, found.len())))
}

/// Creates an empty file if there is none.
fn create(path: &Path) -> io::Result<()> {
    match create_private(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    sync_folder(path)
}

/// Creates an empty file that its owner only may read, and fails if there is anything.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in the folder of a file durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Recognises a store by the mark in its first page, without a lock and without a look at the log:
/// SQLite changes a file as soon as it opens it as a database that may be in use.
fn recognise(path: &Path) -> Result<(), OpenStoreError> {
    let mark = || -> Result<i64, rusqlite::Error> {
        let connection = unchanging(path)?;
        // A file that is shorter than it says may be one whose log was not written back.
        connection.execute_batch("PRAGMA writable_schema = ON")?;
        connection.query_row("PRAGMA application_id", (), |row| row.get(0))
    };
    match mark() {
        Ok(APPLICATION) => Ok(()),
        Ok(_) => Err(OpenStoreError::NotAStore(path.to_owned())),
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::NotADatabase => {
            Err(OpenStoreError::NotAStore(path.to_owned()))
        }
        Err(error) => Err(OpenStoreError::Unusable {
            path: path.to_owned(),
            source: Fault::from(error).to_string().into(),
        }),
    }
}

/// Reads a number that a store says of itself, as it is in the file without its log: what is read this way
/// is written into the file itself.
pub(crate) fn read_meta(path: &Path, name: &str) -> Result<Option<i64>, OpenStoreError> {
    recognise(path)?;
    let read = || -> Result<Option<i64>, rusqlite::Error> {
        let select = "SELECT value FROM meta WHERE key = ?1";
        unchanging(path)?.query_row(select, [name], |row| row.get(0)).optional()
    };
    read().map_err(|error| OpenStoreError::Unusable {
        path: path.to_owned(),
        source: Fault::from(error).to_string().into(),
    })
}

/// Opens a file to be read as if it never changed: without a lock, and without its log.
fn unchanging(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(uri(path), flags)
}

/// The address by which SQLite reads a file as if it never changed.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?mode=ro&immutable=1"
}

fn identity_at(path: &Path) -> Option<Identity> {
    identity(&fs::symlink_metadata(path).ok()?)
}

#[cfg(unix)]
fn identity(found: &Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_found: &Metadata) -> Option<Identity> {
    None
}

#[cfg(target_os = "linux")]
fn handle(path: &Path) -> io::Result<Handle> {
    use rustix::fs::OFlags;
    let mut options = OpenOptions::new();
    let flags = (OFlags::PATH | OFlags::NOFOLLOW).bits();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), flags as i32);
    options.open(path)
}

#[cfg(not(target_os = "linux"))]
fn handle(path: &Path) -> io::Result<Handle> {
    fs::symlink_metadata(path)
}

#[cfg(target_os = "linux")]
fn metadata(handle: &Handle) -> io::Result<Metadata> {
    handle.metadata()
}

#[cfg(not(target_os = "linux"))]
fn metadata(handle: &Handle) -> io::Result<Metadata> {
    Ok(handle.clone())
}

#[cfg(unix)]
fn make_private(handle: &Handle, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata(handle)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    let path = {
        use std::os::fd::AsRawFd;
        let _ = path;
        PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_has_got_the_name_of_a_file_meanwhile_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let open = |name| open_checked(&path(name), OpenOptions::new().read(true));
        fs::write(path("file"), "x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(open("file").unwrap().unwrap().1.len(), 1);
        assert!(open("none").unwrap().is_none());
        assert!(matches!(open("link"), Err(OpenStoreError::Unusable { .. })));
        // It would wait for a writer.
        assert!(matches!(open("pipe"), Err(OpenStoreError::NotAFile(_))));
        let folder = open_checked(folder.path(), OpenOptions::new().read(true));
        assert!(matches!(folder, Err(OpenStoreError::NotAFile(_))));
    }
}
