//! What a salvage has kept and lost, and why one was not possible.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use paddington_exchange::store::Mailbox;
use thiserror::Error;

use crate::error::{Fault, OpenStoreError};

/// The numbers of what a salvage has kept and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// The damaged file, under its new name; its log has that name and `-wal`.
    pub damaged: PathBuf,
    /// The messages in each mailbox, which tells the peer and the link.
    pub mailboxes: BTreeMap<Mailbox, SalvagedMailbox>,
    /// Number of cursors that were kept. Where one was lost, messages that were handled may be
    /// handled again.
    pub cursors: u64,
    /// Number of dead letters that were kept.
    pub letters: u64,
    /// Number of pages that could not be read; what they held is lost.
    pub unreadable_pages: u64,
    /// Number of rows that could not be read, or whose checksum was wrong.
    pub damaged_rows: u64,
}

/// The messages in one mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedMailbox {
    /// Number of messages that were kept, as they were and in order.
    pub kept: u64,
    /// Number of messages that were lost between others. How many were lost before the first or
    /// after the last one of a stream is not known.
    pub lost_between: u64,
}

/// The reason why nothing was salvaged. The files are as they were.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// What is at the path cannot be a store, or is in use.
    #[error(transparent)]
    Refused(#[from] OpenStoreError),
    /// There is nothing at the path.
    #[error("there is no file at {0}")]
    NoFile(PathBuf),
    /// Nothing in the file is part of a store, or all of it is lost.
    #[error("nothing in {0} can be trusted: it is left as it is")]
    Nothing(PathBuf),
    /// The copy of what is kept cannot be used, because it fails the checks of a start.
    #[error("the copy {path} fails its own checks: it is removed")]
    BadCopy {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There are too many damaged files of earlier times.
    #[error("all names from {0} to {0}-1000 are taken: move these files away")]
    NoName(PathBuf),
    /// The new file cannot be written, or the files cannot be renamed.
    #[error("{path} cannot be written")]
    Unwritable {
        /// The new file.
        path: PathBuf,
        /// The error of the operating system or of SQLite.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SalvageReport {
    /// Number of messages that were kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.mailboxes.values().map(|mailbox| mailbox.kept).sum()
    }
}

impl SalvageError {
    pub(super) fn unwritable(path: &Path, fault: &Fault) -> Self {
        Self::Unwritable { path: path.to_owned(), source: fault.to_string().into() }
    }

    pub(super) fn bad_copy(path: &Path, fault: &Fault) -> Self {
        Self::BadCopy { path: path.to_owned(), source: fault.to_string().into() }
    }
}
