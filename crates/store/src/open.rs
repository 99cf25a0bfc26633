//! Opens the file: settings, permissions, and the errors of opening.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Fault, OpenStoreError};
use crate::schema::{self, FORMAT, Kind};

/// The oldest version of SQLite that can be used: older ones may lose a commit when a checkpoint
/// and a restart of the write-ahead log coincide.
pub const SQLITE_NEEDED: &str = "3.51.3";
const SQLITE_NEEDED_NUMBER: i32 = 3_051_003;

/// Settings that are made before anything is read. The exclusive lock is held from the first read
/// until the connection is closed; because of it, the log needs no shared memory.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
";

/// Opens a store, or creates one. Returns an absolute path, under which it can be opened again even
/// if the process changes its working directory.
pub(crate) fn open(path: &Path) -> Result<(PathBuf, Connection), OpenStoreError> {
    if rusqlite::version_number() < SQLITE_NEEDED_NUMBER {
        let (found, needed) = (rusqlite::version(), SQLITE_NEEDED);
        return Err(OpenStoreError::OldSqlite { found, needed });
    }
    let path = absolute(path)?;
    create(&path).and_then(|()| make_private(&path)).map_err(|source| {
        OpenStoreError::Unwritable { path: path.clone(), source: source.into() }
    })?;
    let connection = connect(&path)?;
    Ok((path, connection))
}

/// Opens an existing store.
pub(crate) fn connect(path: &Path) -> Result<Connection, OpenStoreError> {
    let fails = |fault: Fault| because(path, &fault);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| fails(error.into()))?;
    set_up(&connection).map_err(fails)?;
    match schema::kind(&connection).map_err(fails)? {
        Kind::Empty => schema::create(&connection).map_err(fails)?,
        Kind::Store { format: FORMAT } => (),
        Kind::Store { format: found } => {
            return Err(OpenStoreError::Format { path: path.to_owned(), found, known: FORMAT });
        }
        Kind::Other => return Err(OpenStoreError::NotAStore(path.to_owned())),
    }
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<(), Fault> {
    // The owner of the file keeps it, so waiting would not help.
    connection.busy_timeout(Duration::ZERO)?;
    connection.execute_batch(SETTINGS)?;
    // The first write shows whether the file can be written and is not in use.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT;")?;
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, OpenStoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let found = folder.canonicalize().map_err(|_| OpenStoreError::NoFolder(folder.to_owned()))?;
    match path.file_name() {
        Some(name) if found.is_dir() => Ok(found.join(name)),
        _ => Err(OpenStoreError::NoFolder(folder.to_owned())),
    }
}

/// Creates an empty file if there is none. An existing file is not even opened: closing it would
/// release the lock of another store in this process.
fn create(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()?;
    // The name is durable once its folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Removes the permissions of other users. SQLite gives the log the mode of the file.
#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let log = PathBuf::from(format!("{}-wal", path.display()));
    for path in [path, &log] {
        let Ok(metadata) = fs::metadata(path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_file() && mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn because(path: &Path, fault: &Fault) -> OpenStoreError {
    let path = path.to_owned();
    let code = match fault {
        Fault::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => Some(error.code),
        _ => None,
    };
    let source = fault.to_string().into();
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenStoreError::InUse(path),
        Some(ErrorCode::NotADatabase) => OpenStoreError::NotAStore(path),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::DiskFull) => {
            OpenStoreError::Unwritable { path, source }
        }
        _ => OpenStoreError::Unusable { path, source },
    }
}
