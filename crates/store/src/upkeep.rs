//! Keeps the file small: writes the log back from time to time, and returns free pages to the disk
//! when there is nothing else to do.

use std::time::Duration;

use rusqlite::{Connection, Statement};

use crate::error::Fault;

/// Number of pages after which the log is written back: 4 MiB.
const LOG_PAGES: i64 = 1_000;
/// Idle time after which pages are given back.
const IDLE: Duration = Duration::from_millis(500);
/// Number of free pages that are kept for new rows: 1 MiB.
const SPARE_PAGES: i64 = 256;
/// Number of pages that are given back at once. Calls that arrive meanwhile have to wait.
const STEP_PAGES: i64 = 128;

/// Number of pages that are given back at once when the disk is full: as much as the reserve.
const SHRINK_PAGES: i64 = 4_096;

/// The upkeep of an open file.
pub(crate) struct Upkeep<'c> {
    connection: &'c Connection,
    log_pages: Statement<'c>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is nothing to give back.
    Clean,
    /// There may be free pages.
    Untidy,
    /// There are free pages, and some of them were given back.
    Tidying,
}

impl<'c> Upkeep<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self, Fault> {
        let log_pages = connection.prepare("PRAGMA wal_checkpoint(NOOP)")?;
        Ok(Self { connection, log_pages, state: State::Untidy })
    }

    /// Idle time after which [`tidy`](Self::tidy) is due, if at all.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.state {
            State::Clean => None,
            State::Untidy => Some(IDLE),
            State::Tidying => Some(Duration::ZERO),
        }
    }

    /// Writes the log back if it is long enough. Called after every commit.
    pub(crate) fn committed(&mut self) -> Result<(), Fault> {
        self.state = State::Untidy;
        let pages: i64 = self.log_pages.query_row((), |row| row.get(1))?;
        if pages >= LOG_PAGES {
            self.write_back("PRAGMA wal_checkpoint(PASSIVE)")?;
        }
        Ok(())
    }

    /// Gives some pages back.
    pub(crate) fn tidy(&mut self) -> Result<(), Fault> {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let free = self.connection.query_row("PRAGMA freelist_count", (), count)?;
        let was = self.state;
        if free > SPARE_PAGES {
            self.vacuum(STEP_PAGES.min(free - SPARE_PAGES))?;
            self.state = State::Tidying;
            return Ok(());
        }
        if was == State::Tidying {
            // The files shrink only now.
            self.write_back("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        self.state = State::Clean;
        Ok(())
    }

    /// Gives free pages back at once, because the disk is full.
    pub(crate) fn shrink(&mut self) -> Result<(), Fault> {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let mut free = self.connection.query_row("PRAGMA freelist_count", (), count)?;
        free = free.min(SHRINK_PAGES);
        while free > 0 {
            self.vacuum(STEP_PAGES.min(free))?;
            free -= STEP_PAGES;
        }
        self.write_back("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn vacuum(&mut self, pages: i64) -> Result<(), Fault> {
        // Every page is a row, and only rows that are fetched are given back.
        let pragma = format!("PRAGMA incremental_vacuum({pages})");
        let mut vacuum = self.connection.prepare(&pragma)?;
        let mut rows = vacuum.query(())?;
        while rows.next()?.is_some() {}
        drop(rows);
        self.committed()
    }

    fn write_back(&self, pragma: &str) -> Result<(), Fault> {
        let busy = self.connection.query_row(pragma, (), |row| row.get::<_, i64>(0))?;
        if busy != 0 {
            return Err(Fault::refused("the log cannot be written back: the file is in use"));
        }
        Ok(())
    }
}
