//! The steps of a salvage.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::copy::{copy, meta};
use super::pages::Pages;
use super::report::{SalvageError, SalvageReport};
use super::verify::verify;
use crate::error::{Fault, OpenStoreError};
use crate::files::{
    beside, check_log, create_private, is_log, look, open_regular, sync_folder, unusable,
};
use crate::schema::{self, FORMAT, SEALED};
use crate::{open, outbox, queries};

/// Copies what can be trusted of a damaged store into a new file, which takes its place; the
/// damaged one is kept as `<path>-damaged`, with its log. No service may use it meanwhile.
///
/// Kept are messages, cursors, attempts and dead letters whose checksums hold, as they were.
/// Messages keep their numbers and their order. Those that were lost between others are given up,
/// as if their time to live was over.
///
/// # Errors
///
/// [`SalvageError`] if the file is in use, or nothing in it can be trusted. The files are as they
/// were then.
pub fn salvage(path: impl AsRef<Path>) -> Result<SalvageReport, SalvageError> {
    let path = open::absolute(path.as_ref())?;
    let log = beside(&path, "-wal");
    if look(&path)?.is_none() {
        return Err(SalvageError::NoFile(path));
    }
    check_log(&log)?;
    // Nothing of a file is changed that may not be a store, not even its log.
    drop(lock(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    let new = beside(&path, "-salvaged");
    let Some(file) = open_to_read(&path)? else { return Err(SalvageError::NoFile(path)) };
    // A store that was closed a moment ago has taken its log along, or one has made it.
    check_log(&log)?;
    let logged = open_to_read(&log)?;
    let has_log = logged.is_some();
    // It is closed after the end, because that would release the lock.
    let mut pages = Pages::new(file, logged).map_err(|error| unusable(&path, error))?;
    recognise(&path, &mut pages)?;
    let _lock = lock(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    create(&new)?;
    let result = build(&path, &mut pages, &new).and_then(|mut report| {
        report.damaged = replace(&path, has_log, &new)?;
        Ok(report)
    });
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    // The lock may have made an empty one.
    if !has_log && fs::symlink_metadata(&log).is_ok_and(|found| found.len() == 0) {
        let _ = fs::remove_file(&log);
    }
    result
}

/// Fails if the store is open. SQLite looks for locks before it reads anything. If the file can be
/// read and is opened for writing, the connection keeps others out; a file that SQLite cannot read
/// is of no use to a service.
fn lock(path: &Path, access: OpenFlags) -> Result<Option<Connection>, SalvageError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let in_use = |error: &rusqlite::Error| {
        matches!(error, rusqlite::Error::SqliteFailure(error, _)
            if matches!(error.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    };
    let tried = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
        Ok(connection)
    });
    match tried {
        Err(error) if in_use(&error) => Err(OpenStoreError::InUse(path.to_owned()).into()),
        tried => Ok(tried.ok()),
    }
}

fn open_to_read(path: &Path) -> Result<Option<File>, OpenStoreError> {
    let opened = open_regular(path, OpenOptions::new().read(true))?;
    Ok(opened.map(|(file, _)| file))
}

/// Fails if the file says that it is something else than a store of this version.
fn recognise(path: &Path, pages: &mut Pages) -> Result<(), SalvageError> {
    let path = path.to_owned();
    if pages.is_other() || pages.is_log() {
        return Err(OpenStoreError::NotAStore(path).into());
    }
    match meta(pages, "format") {
        None | Some(FORMAT | SEALED) => Ok(()),
        Some(found) => Err(OpenStoreError::Format { path, found, known: FORMAT }.into()),
    }
}

/// Makes a new store of what can be trusted.
fn build(path: &Path, pages: &mut Pages, new: &Path) -> Result<SalvageReport, SalvageError> {
    let (copy, report) = fill(pages, new).map_err(|fault| SalvageError::unwritable(new, &fault))?;
    check(&copy).map_err(|fault| SalvageError::bad_copy(new, &fault))?;
    let is_nothing = report.kept() + report.cursors + report.letters == 0;
    if is_nothing && (report.unreadable_pages > 0 || report.damaged_rows > 0) {
        return Err(SalvageError::Nothing(path.to_owned()));
    }
    Ok(report)
}

/// Creates an empty file for its owner only. What an interrupted salvage left is removed, and
/// nothing else.
fn create(new: &Path) -> Result<(), SalvageError> {
    let left = open_to_read(new)?;
    let created = || {
        if let Some(left) = left
            && is_left_over(left)?
        {
            fs::remove_file(new)?;
        }
        create_private(new).map(drop)
    };
    created()
        .map_err(|error| SalvageError::Unwritable { path: new.to_owned(), source: error.into() })
}

fn is_left_over(file: File) -> io::Result<bool> {
    Ok(file.metadata()?.len() == 0 || Pages::new(file, None)?.is_store())
}

fn fill(pages: &mut Pages, new: &Path) -> Result<(Connection, SalvageReport), Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let new = Connection::open_with_flags(new, flags)?;
    // The file is of no use before it is whole.
    new.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL;")?;
    schema::create(&new, meta(pages, "key").map(i64::cast_unsigned))?;
    new.execute_batch("BEGIN")?;
    let unread = copy(pages, &new)?;
    let mut report = SalvageReport {
        unreadable_pages: unread.pages,
        damaged_rows: unread.rows,
        ..SalvageReport::default()
    };
    verify(&new, pages.most_messages(), &mut report)?;
    new.execute_batch("COMMIT")?;
    Ok((new, report))
}

/// Fails if a service could not start with the copy.
fn check(copy: &Connection) -> Result<(), Fault> {
    queries::check(copy)?;
    outbox::Table::prepare(copy)?.load_all(SystemTime::now())?;
    Ok(())
}

/// Puts the new file in the place of the damaged one, which gets another name. At every moment the
/// damaged file and its log have the one name or the other, and no service starts without its log.
fn replace(path: &Path, has_log: bool, new: &Path) -> Result<PathBuf, SalvageError> {
    let names = (1..).map(|number: u32| match number {
        1 => beside(path, "-damaged"),
        _ => beside(path, &format!("-damaged-{number}")),
    });
    let is_free = |name: &PathBuf| {
        [name.clone(), beside(name, "-wal")].iter().all(|name| {
            fs::symlink_metadata(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        })
    };
    let Some(damaged) = names.take(1_000).find(is_free) else {
        return Err(SalvageError::NoName(beside(path, "-damaged")));
    };
    let unwritable =
        |error: io::Error| SalvageError::Unwritable { path: damaged.clone(), source: error.into() };
    // If that fails, the name is somebody else's.
    fs::hard_link(path, &damaged).map_err(unwritable)?;
    let renamed = || -> io::Result<()> {
        File::open(new)?.sync_all()?;
        move_away(path, has_log, &damaged)?;
        fs::rename(new, path)?;
        sync_folder(path)
    };
    renamed().inspect_err(|_| restore(path, &damaged, new)).map_err(unwritable)?;
    Ok(damaged)
}

/// Gives the log of the damaged file, which has its new name, a new one too, and takes it from
/// beside the path. The new file must never meet it, and no service may start with the damaged file
/// alone: so the log itself is put in the place of the file until the new one is. No service takes
/// it for a store.
fn move_away(path: &Path, has_log: bool, damaged: &Path) -> io::Result<()> {
    if has_log {
        let log = beside(path, "-wal");
        fs::hard_link(&log, beside(damaged, "-wal"))?;
        let mut begin = Vec::new();
        if let Some(file) = open_to_read(&log).map_err(io::Error::other)? {
            file.take(4).read_to_end(&mut begin)?;
        }
        if !is_log(&begin) {
            // It is empty: nothing is missing without it, and in that place it is a new store.
            return fs::remove_file(&log);
        }
        fs::rename(&log, path)?;
    }
    Ok(())
}

/// Removes the new names again, once everything has its old one. `spare` is the name of the new
/// file.
fn restore(path: &Path, damaged: &Path, spare: &Path) {
    let (log, damaged_log) = (beside(path, "-wal"), beside(damaged, "-wal"));
    let put_back = || -> io::Result<()> {
        if damaged_log.exists() && !log.exists() {
            let _ = fs::remove_file(spare);
            fs::hard_link(&damaged_log, spare)?;
            // A file that has both names keeps both.
            fs::rename(spare, path)?;
            let _ = fs::remove_file(spare);
            fs::hard_link(&damaged_log, &log)?;
        }
        fs::rename(damaged, path)
    };
    if put_back().is_ok() {
        for name in [damaged_log.as_path(), damaged] {
            let _ = fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::pieces::sum as sum_of;
    use crate::row::Owner;
    use crate::stream_row::StreamRow;
    use crate::streams::StreamId;

    #[test]
    fn a_copy_that_fails_its_own_checks_is_told_from_one_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(open::open(&path, &[]).unwrap());
        let old = Connection::open(&path).unwrap();
        // The same stream of a peer twice: each row is whole, and no start accepts both.
        for id in [1, 2] {
            let (link, instance) = ([7; 16], [1_u8; 16]);
            let hub = Owner { link: &link, peer: "hub" };
            let sum = StreamRow::checksum(StreamId(id), hub, id, &instance, 0);
            let mark_sum = StreamRow::mark_checksum(StreamId(id), &[1; 16], 0);
            let stream = "INSERT INTO stream VALUES(?1, ?2, 'hub', ?1, ?3, 0, ?4, 0, ?5)";
            old.execute(stream, params![id, link, instance, sum, mark_sum]).unwrap();
            let sum = sum_of(link.into(), id, &[1; 16], 1, None, false, &[]);
            let message = "INSERT INTO message VALUES(?1, 1, NULL, NULL, ?2, 0, x'')";
            old.execute(message, [StreamId(id).rows().start, sum]).unwrap();
        }
        drop(old);
        let failed = salvage(&path).unwrap_err();
        assert!(matches!(failed, SalvageError::BadCopy { .. }), "{failed}");
        assert!(!beside(&path, "-salvaged").exists());
    }

    /// Leaves a store with its log, as a kill does.
    fn killed(folder: &Path) -> PathBuf {
        let (open, path) = (folder.join("open"), folder.join("store"));
        let (_files, opened) = open::open(&open, &[]).unwrap();
        opened.connection.execute_batch("INSERT INTO meta VALUES('test', 1)").unwrap();
        for end in ["", "-wal"] {
            fs::copy(beside(&open, end), beside(&path, end)).unwrap();
        }
        path
    }

    #[test]
    fn no_service_starts_while_files_are_renamed_and_all_can_be_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = killed(folder.path());
        let (new, damaged) = (beside(&path, "-salvaged"), beside(&path, "-damaged"));
        let read = |path: &Path| (fs::read(path).unwrap(), fs::read(beside(path, "-wal")).unwrap());
        let before = read(&path);
        assert!(before.1.len() > 4_096, "{}", before.1.len());
        for is_replaced in [false, true] {
            fs::write(&new, "new").unwrap();
            fs::hard_link(&path, &damaged).unwrap();
            move_away(&path, true, &damaged).unwrap();
            assert!(matches!(open::open(&path, &[]), Err(OpenStoreError::NotAStore(_))));
            let refused = salvage(&path);
            assert!(matches!(refused, Err(SalvageError::Refused(OpenStoreError::NotAStore(_)))));
            assert_eq!(fs::read(&new).unwrap(), b"new");
            assert!(read(&damaged) == before && !beside(&path, "-wal").exists());
            if is_replaced {
                fs::write(&new, "new").unwrap();
                fs::rename(&new, &path).unwrap();
            }
            restore(&path, &damaged, &new);
            assert!(read(&path) == before);
            assert!(!damaged.exists() && !beside(&damaged, "-wal").exists());
        }
        drop(open::open(&path, &[]).unwrap());
    }

    #[test]
    fn a_log_without_content_is_not_taken_for_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = killed(folder.path());
        let (log, damaged) = (beside(&path, "-wal"), beside(&path, "-damaged"));
        let header = fs::read(&log).unwrap()[..32].to_vec();
        for (begin, is_kept) in [(header, true), (vec![], false), (vec![0; 5_000], false)] {
            fs::write(&log, &begin).unwrap();
            fs::hard_link(&path, &damaged).unwrap();
            move_away(&path, true, &damaged).unwrap();
            assert!(!log.exists());
            assert_eq!(fs::read(&path).unwrap() == begin, is_kept);
            let opened = open::open(&path, &[]);
            assert_eq!(matches!(opened, Err(OpenStoreError::NotAStore(_))), is_kept);
            drop(opened);
            let _ = fs::remove_file(&log);
            restore(&path, &damaged, &beside(&path, "-salvaged"));
        }
    }

    #[test]
    fn nobody_opens_a_store_while_it_is_salvaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(open::open(&path, &[]).unwrap());
        let locked = lock(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        assert!(locked.is_some(), "it can be read");
        assert!(matches!(open::open(&path, &[]), Err(OpenStoreError::InUse(_))));
    }
}
