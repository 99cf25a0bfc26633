//! The tables of the cursors and of the attempts.

use paddington_exchange::store::StoredCursor;
use paddington_wire::{Instance, MessageId, PeerName};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::row::{self, blob, checksum, loaded, stored};

/// The statements of the tables.
pub(crate) struct Table<'c> {
    all: Statement<'c>,
    one: Statement<'c>,
    letters: Statement<'c>,
    replace: Statement<'c>,
    forget: Statement<'c>,
    attempts: Statement<'c>,
    count: Statement<'c>,
    forget_attempts: Statement<'c>,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            all: connection.prepare(
                "SELECT instance, completed, finished, checksum FROM cursor WHERE peer = ?1 \
                 ORDER BY instance",
            )?,
            one: connection.prepare(
                "SELECT instance, completed, finished, checksum FROM cursor \
                 WHERE peer = ?1 AND instance = ?2",
            )?,
            letters: connection
                .prepare("SELECT instance, number FROM dead_letter WHERE peer = ?1")?,
            replace: connection.prepare("REPLACE INTO cursor VALUES(?1, ?2, ?3, ?4, ?5)")?,
            forget: connection.prepare("DELETE FROM cursor WHERE peer = ?1 AND instance = ?2")?,
            attempts: connection.prepare(
                "SELECT attempts, checksum FROM attempt \
                 WHERE peer = ?1 AND instance = ?2 AND number = ?3",
            )?,
            count: connection.prepare("REPLACE INTO attempt VALUES(?1, ?2, ?3, ?4, ?5)")?,
            forget_attempts: connection.prepare(
                "DELETE FROM attempt WHERE peer = ?1 AND instance = ?2 \
                 AND number BETWEEN ?3 AND ?4",
            )?,
        })
    }

    pub(crate) fn load(&mut self, peer: &PeerName) -> Result<Vec<StoredCursor>, Fault> {
        let mut rows = self.all.query([peer.as_str()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let damaged = |why| Fault::refused(format!("a cursor for {peer} is damaged: {why}"));
            found.push(cursor(peer, row).map_err(damaged)?);
        }
        let mut rows = self.letters.query([peer.as_str()])?;
        while let Some(row) = rows.next()? {
            // A damaged letter is refused when the letters are read.
            let (Ok(instance), Ok(number)) = (blob(row, 0), row.get::<_, i64>(1)) else { continue };
            let of_letter = |it: &&mut StoredCursor| it.instance.as_bytes() == instance;
            if let Some(cursor) = found.iter_mut().find(of_letter) {
                finish(cursor, loaded(number)?);
            }
        }
        Ok(found)
    }

    /// Notes that a message has become a dead letter, and forgets its attempts.
    pub(crate) fn finish(&mut self, peer: &PeerName, id: MessageId) -> Result<(), Fault> {
        let MessageId { stream, number } = id;
        let mut rows = self.one.query(params![peer.as_str(), stream.as_bytes()])?;
        let mut kept = match rows.next()? {
            Some(row) => cursor(peer, row)?,
            // Nothing of the stream is durable yet.
            None => StoredCursor { instance: stream, completed: 0, finished: Vec::new() },
        };
        drop(rows);
        if finish(&mut kept, number) {
            self.replace(peer, &kept)?;
        }
        let number = stored(number)?;
        self.forget_attempts.execute(params![peer.as_str(), stream.as_bytes(), number, number])?;
        Ok(())
    }

    /// Replaces a cursor, and forgets the attempts of the messages that it has passed.
    pub(crate) fn replace(&mut self, peer: &PeerName, cursor: &StoredCursor) -> Result<(), Fault> {
        let (instance, completed) = (cursor.instance.as_bytes(), stored(cursor.completed)?);
        let finished: Vec<u8> =
            cursor.finished.iter().flat_map(|number| number.to_le_bytes()).collect();
        let checksum = cursor_sum(peer.as_str(), instance, completed, &finished);
        self.replace.execute(params![peer.as_str(), instance, completed, finished, checksum])?;
        self.forget_attempts.execute(params![peer.as_str(), instance, 0, completed])?;
        Ok(())
    }

    pub(crate) fn forget(&mut self, peer: &PeerName, instance: Instance) -> Result<(), Fault> {
        self.forget.execute(params![peer.as_str(), instance.as_bytes()])?;
        let all = params![peer.as_str(), instance.as_bytes(), 0, i64::MAX];
        self.forget_attempts.execute(all)?;
        Ok(())
    }

    /// Counts an attempt and returns which attempt it is, from 1.
    pub(crate) fn attempt(&mut self, peer: &PeerName, id: MessageId) -> Result<u32, Fault> {
        let count = self.counted(peer, id)? + 1;
        self.set_count(peer, id, count)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Takes the last count of an attempt back.
    pub(crate) fn uncount(&mut self, peer: &PeerName, id: MessageId) -> Result<(), Fault> {
        match self.counted(peer, id)? {
            0 => Ok(()),
            1 => {
                let number = stored(id.number)?;
                let one = params![peer.as_str(), id.stream.as_bytes(), number, number];
                self.forget_attempts.execute(one)?;
                Ok(())
            }
            count => self.set_count(peer, id, count - 1),
        }
    }

    fn counted(&mut self, peer: &PeerName, id: MessageId) -> Result<i64, Fault> {
        let (instance, number) = (id.stream.as_bytes(), stored(id.number)?);
        let counted: Option<(i64, i64)> = self
            .attempts
            .query_row(params![peer.as_str(), instance, number], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match counted {
            None => Ok(0),
            Some((count, sum)) if sum == attempts_sum(peer.as_str(), instance, number, count) => {
                Ok(count)
            }
            Some(_) => Err(Fault::refused(format!("the attempts of {id} are damaged"))),
        }
    }

    fn set_count(&mut self, peer: &PeerName, id: MessageId, count: i64) -> Result<(), Fault> {
        let (instance, number) = (id.stream.as_bytes(), stored(id.number)?);
        let sum = attempts_sum(peer.as_str(), instance, number, count);
        self.count.execute(params![peer.as_str(), instance, number, count, sum])?;
        Ok(())
    }
}

/// The checksum of a cursor.
pub(crate) fn cursor_sum(peer: &str, instance: &[u8], completed: i64, finished: &[u8]) -> i64 {
    checksum(&[peer.as_bytes(), instance, &completed.to_le_bytes(), finished])
}

/// The checksum of a message's attempts.
pub(crate) fn attempts_sum(peer: &str, instance: &[u8], number: i64, count: i64) -> i64 {
    let columns = [number.to_le_bytes(), count.to_le_bytes()];
    checksum(&[peer.as_bytes(), instance, &columns[0], &columns[1]])
}

/// Adds a number to those that are handled. Returns whether that is news.
fn finish(cursor: &mut StoredCursor, number: u64) -> bool {
    if number <= cursor.completed {
        return false;
    }
    let Err(at) = cursor.finished.binary_search(&number) else { return false };
    cursor.finished.insert(at, number);
    true
}

pub(crate) fn cursor(peer: &PeerName, row: &Row<'_>) -> Result<StoredCursor, Fault> {
    let (instance, completed) = (blob(row, 0)?, row.get::<_, i64>(1)?);
    let finished = blob(row, 2)?;
    if cursor_sum(peer.as_str(), instance, completed, finished) != row.get::<_, i64>(3)? {
        return Err(Fault::refused("its checksum is wrong"));
    }
    let (finished, rest) = finished.as_chunks();
    if !rest.is_empty() {
        return Err(Fault::refused("its length is wrong"));
    }
    Ok(StoredCursor {
        instance: row::instance(instance)?,
        completed: loaded(completed)?,
        finished: finished.iter().copied().map(u64::from_le_bytes).collect(),
    })
}
