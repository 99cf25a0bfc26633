//! Opens the file: settings, permissions, and the errors of opening.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Fault, OpenStoreError, WAY_OUT};
use crate::files::Files;
use crate::schema::{self, FORMAT, Kind};

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
pub(crate) fn open(path: &Path) -> Result<(Files, Connection), OpenStoreError> {
    if rusqlite::version_number() < SQLITE_NEEDED_NUMBER {
        let (found, needed) = (rusqlite::version(), SQLITE_NEEDED);
        return Err(OpenStoreError::OldSqlite { found, needed });
    }
    let mut files = Files::find(absolute(path)?)?;
    let connection = connect(&mut files)?;
    Ok((files, connection))
}

/// Opens files that were recognised, now or earlier.
pub(crate) fn connect(files: &mut Files) -> Result<Connection, OpenStoreError> {
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
    match schema::kind(&connection).map_err(fails)? {
        Kind::Empty => schema::create(&connection).map_err(fails)?,
        Kind::Store { format: FORMAT } => (),
        Kind::Store { format: found } => {
            return Err(OpenStoreError::Format { path, found, known: FORMAT });
        }
        Kind::Other => return Err(OpenStoreError::NotAStore(path)),
    }
    begin(&connection).map_err(fails)?;
    files.note_log();
    files.check_places().map_err(fails)?;
    Ok(connection)
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
