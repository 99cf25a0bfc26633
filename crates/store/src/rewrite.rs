//! Writes every payload of a store anew: sealed, under another key, or as it was before.

use std::path::{Path, PathBuf};

use paddington_exchange::store::DeadLetter;
use paddington_wire::{LinkId, MessageId, Payload};
use rusqlite::Connection;
use thiserror::Error;

use crate::error::{Fault, OpenStoreError};
use crate::files::{self, Files};
use crate::open::Opened;
use crate::pieces::{COLUMNS, Messages, rows};
use crate::row::{Expiry, loaded};
use crate::stream_row::{STREAMS, StreamRow, stream_rows};
use crate::{letters, open, outbox, queries, schema};

/// The place of a payload in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptAt {
    /// The link that it belongs to.
    pub link: LinkId,
    /// The stream and the number of the message.
    pub id: MessageId,
    /// Whether it is that of a dead letter; else it is that of a message that waits.
    pub is_letter: bool,
}

/// The reason why payloads were not written anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// Something in it is damaged or cannot be opened, or the disk failed or is full. It is as it was.
    #[error("{path} is left as it was: {cause}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// Everything was written anew, but what was there before was not overwritten.
    #[error("{path} is written anew, and parts of what it held before may still be in it: {cause}")]
    NotCleared {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
}

/// A store that nobody else can open, to be written anew or left as it is.
#[derive(Debug)]
pub struct LockedStore {
    files: Files,
    opened: Opened,
}

impl LockedStore {
    /// Opens the store at `path`, whichever key its payloads are sealed under.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] if it cannot be opened, or is in use.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenStoreError> {
        let mut files = Files::find(open::absolute(path.as_ref())?)?;
        let opened = open::connect(&mut files, None)?;
        Ok(Self { files, opened })
    }

    /// Returns the id of the key under which the payloads are sealed, if they are.
    #[must_use]
    pub fn key(&self) -> Option<u64> {
        self.opened.key
    }
}

/// Returns the id of the key under which the payloads of a store are sealed, if they are. Nothing is
/// written, and a store that is in use is read, too.
///
/// # Errors
///
/// [`OpenStoreError`] if the file is not a store, or cannot be read.
pub fn sealed_under(path: impl AsRef<Path>) -> Result<Option<u64>, OpenStoreError> {
    let path = open::absolute(path.as_ref())?;
    files::read_meta(&path, "key").map(|key| key.map(i64::cast_unsigned))
}

/// Writes every payload anew, in one transaction: what `change` makes of it, which is told the id of the
/// key under which the store is sealed so far. Afterwards the store is one that is sealed under the key
/// with the id `key`, or not at all. Nothing of what it held before is left in the file; it may be in
/// blocks that the file system has freed. Returns the number of payloads.
///
/// # Errors
///
/// [`RewriteError`] if the store cannot be read or written, or `change` fails: it gives the
/// reason.
pub fn rewrite<E: std::fmt::Display>(
    store: LockedStore,
    key: Option<u64>,
    mut change: impl FnMut(Option<u64>, KeptAt, &Payload) -> Result<Payload, E>,
) -> Result<u64, RewriteError> {
    let LockedStore { files, opened } = store;
    let mut change = |at: KeptAt, payload: &Payload| {
        let why = |error: E| Fault::refused(format!("message {}: {error}", at.id));
        change(opened.key, at, payload).map_err(why)
    };
    let connection = opened.connection;
    let result = if opened.key == key {
        Ok(0) // An earlier run may have ended before it had cleared it.
    } else {
        all(&connection, key, &mut change).inspect_err(|_| {
            let _ = connection.execute_batch("ROLLBACK");
        })
    };
    let path = files.path().to_owned();
    let count = match result {
        Ok(count) => count,
        Err(fault) => return Err(RewriteError::Failed { path, cause: fault.to_string() }),
    };
    match clear(&connection) {
        Ok(()) => Ok(count),
        Err(fault) => Err(RewriteError::NotCleared { path, cause: fault.to_string() }),
    }
}

/// How a payload is changed.
type Change<'c> = dyn FnMut(KeptAt, &Payload) -> Result<Payload, Fault> + 'c;

fn all(connection: &Connection, key: Option<u64>, change: &mut Change<'_>) -> Result<u64, Fault> {
    queries::check(connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut table = outbox::Table::prepare(connection)?;
    let mut count = 0;
    for stream in stream_rows(connection.prepare(STREAMS)?.query(())?)? {
        count += resettle(connection, &mut table, &stream, change)?;
    }
    let mut table = letters::Table::prepare(connection)?;
    for (id, letter) in table.load()? {
        table.replace(id, &changed(letter, change)?)?;
        count += 1;
    }
    schema::set_key(connection, key)?;
    connection.execute_batch("COMMIT").map_err(Fault::of_commit)?;
    Ok(count)
}

/// Writes the messages of a stream under another id of it, where they may have other numbers of rows.
fn resettle(
    connection: &Connection,
    table: &mut outbox::Table<'_>,
    old: &StreamRow,
    change: &mut Change<'_>,
) -> Result<u64, Fault> {
    let select =
        format!("SELECT {COLUMNS} FROM message WHERE position BETWEEN ?1 AND ?2 ORDER BY position");
    let mut select = connection.prepare(&select)?;
    let range = old.id.rows();
    let mut messages = Messages::new(select.query([range.start, range.end])?);
    let new = StreamRow { id: table.unused_id()?, ..old.clone() };
    table.add_stream(&new)?;
    let (link, stream) = (old.mailbox.link, old.instance);
    let (mut known, mut count) = (None, 0);
    while let Some(message) = messages.next()? {
        let expiry = message.check(old)?;
        let id = MessageId { stream, number: loaded(message.number)? };
        let mut payload = message.payload();
        if expiry != Some(Expiry::LOST) {
            payload = change(KeptAt { link, id, is_letter: false }, &payload)?;
        }
        let known = known.get_or_insert_with(|| new.known(message.number));
        let place = known.place(rows(payload.len()))?;
        if place.number != message.number {
            return Err(Fault::refused(format!("the message before {id} is missing")));
        }
        table.put(link, stream, place, expiry, &payload)?;
        count += 1;
    }
    drop(messages);
    table.remove_stream(old.id)?;
    Ok(count)
}

fn changed(letter: DeadLetter, change: &mut Change<'_>) -> Result<DeadLetter, Fault> {
    let at = KeptAt { link: letter.mailbox.link, id: letter.id, is_letter: true };
    let payload = change(at, &letter.payload)?;
    Ok(DeadLetter { payload, ..letter })
}

/// Takes what was written before out of the file and its log: the pages have remains of it.
fn clear(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch("PRAGMA temp_store = FILE; VACUUM")?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    connection.query_row(checkpoint, (), |_| Ok(()))?;
    Ok(())
}
