//! Errors of opening a store, and of its operations.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use paddington_exchange::store::StoreError;
use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

/// The reason why a store cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// The folder does not exist. It is not created, so that a typing mistake does not decide where
    /// a service keeps its messages.
    #[error("the folder {0} does not exist")]
    NoFolder(PathBuf),
    /// Another process, or another store of this one, has the file open.
    #[error("{0} is in use: a store has one owner; is the service already running?")]
    InUse(PathBuf),
    /// The file is not a store.
    #[error("{0} is not a store of paddington")]
    NotAStore(PathBuf),
    /// There is a symbolic link at the path. It is not followed.
    #[error("{0} is a symbolic link: name the file itself")]
    Link(PathBuf),
    /// There is something else than a file at the path.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// The file belongs to another user.
    #[error("{0} belongs to another user than the one that runs this service")]
    OtherOwner(PathBuf),
    /// The file beside the store is not a log, although it has the name of one.
    #[error("{0} has the name of a store's log and is none: move it away, or choose another path")]
    NotALog(PathBuf),
    /// The log of a store is there, and its file is missing or empty.
    #[error(
        "{0} is the log of a store whose file is missing: put the file back or, if the store was \
         deleted on purpose, delete its log too"
    )]
    LogWithoutFile(PathBuf),
    /// The file was made by another version.
    #[error("{path} has format {found}, and this version knows format {known} only")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this version reads and writes.
        known: i64,
    },
    /// The payloads in the file are sealed, and there is no key.
    #[error("{path} is sealed under the key {key:016x}, and no key is set for what is at rest")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The id of the key.
        key: u64,
    },
    /// The payloads in the file are sealed under another key.
    #[error("{path} is sealed under the key {key:016x}, which is not the one that is set")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The id of the key.
        key: u64,
    },
    /// The payloads in the file are not sealed, though there is a key.
    #[error("{0} is not sealed, though a key is set for what is at rest")]
    NotSealed(PathBuf),
    /// The file, or its folder, cannot be written.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system or of SQLite.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is damaged, or cannot be used for another reason.
    #[error("{path} cannot be used")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// This program was built with a version of SQLite that is too old.
    #[error("SQLite {found} is too old: this store needs {needed} or newer")]
    OldSqlite {
        /// The version of SQLite in this program.
        found: &'static str,
        /// The oldest version that can be used.
        needed: &'static str,
    },
    /// The thread of the store could not be started.
    #[error("the thread of the store could not be started")]
    NoThread(#[source] io::Error),
}

impl OpenStoreError {
    /// Turns it into the failure that callers of an open store are told.
    pub(crate) fn into_failure(self) -> StoreError {
        match self.source() {
            Some(source) => StoreError::new(format!("{self}: {source}")),
            None => StoreError::new(self.to_string()),
        }
    }
}

/// Advice about a damaged file.
pub(crate) const WAY_OUT: &str = "; paddington::salvage keeps what is intact, in a new file, \
                                  and reports what is lost";

/// The failure of one operation.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite failed: nothing of the transaction is stored.
    Sqlite(rusqlite::Error),
    /// The end of the transaction failed: it may be stored or not.
    Unsure(String),
    /// The operation is refused, or the data that it needs is damaged; others are not affected.
    Refused(String),
    /// The file is no longer at its path.
    Moved(String),
}

impl Fault {
    /// Returns the fault of a COMMIT. Its last page makes it valid: if there was no room for that,
    /// nothing is stored. After any other failure, such as that of the sync, it may be.
    pub(crate) fn of_commit(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Sqlite(error),
            _ => Self::from(error).unsure(),
        }
    }

    /// Returns the fault of a transaction that may be stored.
    pub(crate) fn unsure(self) -> Self {
        Self::Unsure(self.to_string())
    }

    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// Returns whether the file is damaged, as far as it can be told from a refusal to read it.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase].contains(&error.code)
            }
            Self::Sqlite(_) | Self::Refused(_) => true,
            Self::Moved(_) | Self::Unsure(_) => false,
        }
    }

    /// Returns whether the disk was full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(rusqlite::Error::SqliteFailure(error, _))
            if error.code == ErrorCode::DiskFull)
    }

    /// Returns whether a write may have failed because of a quota, which SQLite does not tell.
    pub(crate) fn may_be_full(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                error.extended_code == ffi::SQLITE_IOERR_WRITE
            }
            Self::Unsure(_) => true,
            Self::Sqlite(_) | Self::Refused(_) | Self::Moved(_) => false,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                let text = text.as_deref().unwrap_or("no explanation");
                write!(f, "{text} (SQLite {})", code.extended_code)
            }
            // Other errors of rusqlite may quote a stored value.
            Self::Sqlite(_) => f.write_str("a stored value is not of the expected type"),
            Self::Unsure(why) | Self::Refused(why) | Self::Moved(why) => f.write_str(why),
        }
    }
}

impl From<&Fault> for StoreError {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Unsure(why) => Self::unsure(why.as_str()),
            other => Self::new(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_shows_that_a_commit_is_not_stored() {
        let failed = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            StoreError::from(&Fault::of_commit(error)).may_be_stored()
        };
        assert!(!failed(ffi::SQLITE_FULL));
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR] {
            assert!(failed(code), "{code}");
        }
    }

    #[test]
    fn a_write_that_failed_may_have_met_a_quota() {
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        assert!(Fault::from(failed(ffi::SQLITE_IOERR_WRITE)).may_be_full());
        assert!(Fault::of_commit(failed(ffi::SQLITE_IOERR_WRITE)).may_be_full());
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_CORRUPT, ffi::SQLITE_FULL] {
            assert!(!Fault::from(failed(code)).may_be_full(), "{code}");
        }
    }
}
