//! Opens the file: settings, permissions, and the errors of opening.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Fault, OpenStoreError, WAY_OUT};
use crate::files::Files;
use crate::schema::{self, FORMAT, Kind, SEALED};

/// The oldest version of SQLite that can be used: older ones may lose a commit when a checkpoint
/// and a restart of the write-ahead log coincide.
pub const SQLITE_NEEDED: &str = "3.51.3";
const SQLITE_NEEDED_NUMBER: i32 = 3_051_003;

/// Settings that are made before anything is read; none of them writes. The exclusive lock is held
/// from the first read until the connection is closed; because of it, the log needs no shared
/// memory.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
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

/// Opens a store, or creates one. Its path is made absolute, so that it can be opened again even if
/// the process changes its working directory.
pub(crate) fn open(path: &Path, keys: &[u64]) -> Result<(Files, Opened), OpenStoreError> {
    if rusqlite::version_number() < SQLITE_NEEDED_NUMBER {
        let (found, needed) = (rusqlite::version(), SQLITE_NEEDED);
        return Err(OpenStoreError::OldSqlite { found, needed });
    }
    let mut files = Files::find(absolute(path)?)?;
    let opened = connect(&mut files, Some(keys))?;
    Ok((files, opened))
}

/// An open file, and the id of the key under which its payloads are sealed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) key: Option<u64>,
}

/// Opens files that were recognised, now or earlier. Payloads have to be sealed under one of `keys`, of
/// which a new file gets the last, or not to be sealed if there are none; without a list, either is
/// taken.
pub(crate) fn connect(files: &mut Files, keys: Option<&[u64]>) -> Result<Opened, OpenStoreError> {
    let path = files.path().to_owned();
    let fails = |fault: Fault| because(&path, &fault);
    // Another file in its place is not touched, not even if it is a store too.
    files.check_place().map_err(fails)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(&path, flags).map_err(|error| fails(error.into()))?;
    connection.busy_timeout(Duration::ZERO).map_err(|error| fails(error.into()))?;
    connection.execute_batch(SETTINGS).map_err(|error| fails(error.into()))?;
    let key = match schema::kind(&connection).map_err(fails)? {
        Kind::Empty => {
            let key = keys.and_then(<[u64]>::last).copied();
            schema::create(&connection, key).map_err(fails)?;
            key
        }
        Kind::Store { format: FORMAT, .. } => None,
        Kind::Store { format: SEALED, key: Some(key) } => Some(key),
        Kind::Store { format: found, .. } => {
            return Err(OpenStoreError::Format { path, found, known: FORMAT });
        }
        Kind::Other => return Err(OpenStoreError::NotAStore(path)),
    };
    if let Some(keys) = keys {
        check_key(&path, key, keys)?;
    }
    begin(&connection).map_err(fails)?;
    files.note_log();
    files.check_places().map_err(fails)?;
    Ok(Opened { connection, key })
}

/// Fails if payloads are sealed under a key that is not one of `keys`, or not sealed though there are
/// keys.
fn check_key(path: &Path, found: Option<u64>, keys: &[u64]) -> Result<(), OpenStoreError> {
    let path = path.to_owned();
    match found {
        None if keys.is_empty() => Ok(()),
        None => Err(OpenStoreError::NotSealed(path)),
        Some(key) if keys.contains(&key) => Ok(()),
        Some(key) if keys.is_empty() => Err(OpenStoreError::Sealed { path, key }),
        Some(key) => Err(OpenStoreError::OtherKey { path, key }),
    }
}

/// Switches to the log, and begins to write: that shows whether the file can be written and is not
/// in use.
fn begin(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; COMMIT;")?;
    Ok(())
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, OpenStoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let found = folder.canonicalize().map_err(|_| OpenStoreError::NoFolder(folder.to_owned()))?;
    match path.file_name() {
        Some(name) if found.is_dir() => Ok(found.join(name)),
        _ => Err(OpenStoreError::NoFolder(folder.to_owned())),
    }
}

fn because(path: &Path, fault: &Fault) -> OpenStoreError {
    let path = path.to_owned();
    let code = match fault {
        Fault::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => Some(error.code),
        _ => None,
    };
    let way_out = if code == Some(ErrorCode::DatabaseCorrupt) { WAY_OUT } else { "" };
    let source = format!("{fault}{way_out}").into();
    match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenStoreError::InUse(path),
        Some(ErrorCode::NotADatabase) => OpenStoreError::NotAStore(path),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::DiskFull) => {
            OpenStoreError::Unwritable { path, source }
        }
        _ => OpenStoreError::Unusable { path, source },
    }
}
