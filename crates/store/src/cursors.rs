//! The tables of the cursors and of the attempts.

use paddington_exchange::store::{Mailbox, StoredCursor};
use paddington_wire::{Instance, MessageId};
use rusqlite::{Connection, Row, Statement, params};

use crate::error::Fault;
use crate::row::{self, Owner, blob, checksum, loaded, stored};

/// The columns of a cursor that [`cursor`] reads.
pub(crate) const CURSORS: &str =
    "SELECT link, peer, instance, completed, finished, checksum FROM cursor";

/// The columns of a message's attempts that [`check_attempts`] reads.
pub(crate) const ATTEMPTS: &str =
    "SELECT link, peer, instance, number, attempts, checksum FROM attempt";

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
            all: connection.prepare(&format!("{CURSORS} WHERE link = ?1 ORDER BY instance"))?,
            one: connection.prepare(&format!("{CURSORS} WHERE link = ?1 AND instance = ?2"))?,
            letters: connection
                .prepare("SELECT instance, number FROM dead_letter WHERE link = ?1")?,
            replace: connection.prepare("REPLACE INTO cursor VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?,
            forget: connection.prepare("DELETE FROM cursor WHERE link = ?1 AND instance = ?2")?,
            attempts: connection.prepare(
                "SELECT peer, attempts, checksum FROM attempt \
                 WHERE link = ?1 AND instance = ?2 AND number = ?3",
            )?,
            count: connection.prepare("REPLACE INTO attempt VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?,
            forget_attempts: connection.prepare(
                "DELETE FROM attempt WHERE link = ?1 AND instance = ?2 \
                 AND number BETWEEN ?3 AND ?4",
            )?,
        })
    }

    pub(crate) fn load(&mut self, mailbox: &Mailbox) -> Result<Vec<StoredCursor>, Fault> {
        let mut rows = self.all.query([mailbox.link.as_bytes()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let damaged =
                |why| Fault::refused(format!("a cursor for {} is damaged: {why}", mailbox.peer));
            found.push(cursor(row).map_err(damaged)?);
        }
        let mut rows = self.letters.query([mailbox.link.as_bytes()])?;
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
    pub(crate) fn finish(&mut self, mailbox: &Mailbox, id: MessageId) -> Result<(), Fault> {
        let MessageId { stream, number } = id;
        let mut rows = self.one.query(params![mailbox.link.as_bytes(), stream.as_bytes()])?;
        let mut kept = match rows.next()? {
            Some(row) => cursor(row)?,
            // Nothing of the stream is durable yet.
            None => StoredCursor { instance: stream, completed: 0, finished: Vec::new() },
        };
        drop(rows);
        if finish(&mut kept, number) {
            self.replace(mailbox, &kept)?;
        }
        let number = stored(number)?;
        self.forget_attempts.execute(params![
            mailbox.link.as_bytes(),
            stream.as_bytes(),
            number,
            number
        ])?;
        Ok(())
    }

    /// Replaces a cursor, and forgets the attempts of the messages that it has passed.
    pub(crate) fn replace(
        &mut self,
        mailbox: &Mailbox,
        cursor: &StoredCursor,
    ) -> Result<(), Fault> {
        let (instance, completed) = (cursor.instance.as_bytes(), stored(cursor.completed)?);
        let finished: Vec<u8> =
            cursor.finished.iter().flat_map(|number| number.to_le_bytes()).collect();
        let owner = Owner::from(mailbox);
        let checksum = cursor_sum(owner, instance, completed, &finished);
        let row = params![owner.link, instance, owner.peer, completed, finished, checksum];
        self.replace.execute(row)?;
        self.forget_attempts.execute(params![mailbox.link.as_bytes(), instance, 0, completed])?;
        Ok(())
    }

    pub(crate) fn forget(&mut self, mailbox: &Mailbox, instance: Instance) -> Result<(), Fault> {
        self.forget.execute(params![mailbox.link.as_bytes(), instance.as_bytes()])?;
        let all = params![mailbox.link.as_bytes(), instance.as_bytes(), 0, i64::MAX];
        self.forget_attempts.execute(all)?;
        Ok(())
    }

    /// Counts an attempt and returns which attempt it is, from 1.
    pub(crate) fn attempt(&mut self, mailbox: &Mailbox, id: MessageId) -> Result<u32, Fault> {
        let count = self.counted(mailbox, id)? + 1;
        self.set_count(mailbox, id, count)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Takes the last count of an attempt back.
    pub(crate) fn uncount(&mut self, mailbox: &Mailbox, id: MessageId) -> Result<(), Fault> {
        match self.counted(mailbox, id)? {
            0 => Ok(()),
            1 => {
                let number = stored(id.number)?;
                let one = params![mailbox.link.as_bytes(), id.stream.as_bytes(), number, number];
                self.forget_attempts.execute(one)?;
                Ok(())
            }
            count => self.set_count(mailbox, id, count - 1),
        }
    }

    fn counted(&mut self, mailbox: &Mailbox, id: MessageId) -> Result<i64, Fault> {
        let (instance, number) = (id.stream.as_bytes(), stored(id.number)?);
        let mut rows = self.attempts.query(params![mailbox.link.as_bytes(), instance, number])?;
        let Some(row) = rows.next()? else { return Ok(0) };
        let owner = Owner { peer: row::text(row, 0)?, link: mailbox.link.as_bytes() };
        let count = row.get(1)?;
        if attempts_sum(owner, instance, number, count) != row.get::<_, i64>(2)? {
            return Err(Fault::refused(format!("the attempts of {id} are damaged")));
        }
        Ok(count)
    }

    fn set_count(&mut self, mailbox: &Mailbox, id: MessageId, count: i64) -> Result<(), Fault> {
        let (instance, number) = (id.stream.as_bytes(), stored(id.number)?);
        let owner = Owner::from(mailbox);
        let sum = attempts_sum(owner, instance, number, count);
        self.count.execute(params![owner.link, instance, number, owner.peer, count, sum])?;
        Ok(())
    }
}

/// The checksum of a cursor.
pub(crate) fn cursor_sum(
    owner: Owner<'_>,
    instance: &[u8],
    completed: i64,
    finished: &[u8],
) -> i64 {
    let Owner { link, peer } = owner;
    checksum(&[link, peer.as_bytes(), instance, &completed.to_le_bytes(), finished])
}

/// The checksum of a message's attempts.
pub(crate) fn attempts_sum(owner: Owner<'_>, instance: &[u8], number: i64, count: i64) -> i64 {
    let Owner { link, peer } = owner;
    let columns = [number.to_le_bytes(), count.to_le_bytes()];
    checksum(&[link, peer.as_bytes(), instance, &columns[0], &columns[1]])
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

/// Checks the attempts of a message.
pub(crate) fn check_attempts(row: &Row<'_>) -> Result<(), Fault> {
    let owner = Owner::read(row, 0, 1)?;
    if attempts_sum(owner, blob(row, 2)?, row.get(3)?, row.get(4)?) != row.get::<_, i64>(5)? {
        return Err(Fault::refused("the attempts of a message are damaged"));
    }
    Ok(())
}

/// Reads a cursor, and checks it.
pub(crate) fn cursor(row: &Row<'_>) -> Result<StoredCursor, Fault> {
    let owner = Owner::read(row, 0, 1)?;
    let (instance, completed, finished) = (blob(row, 2)?, row.get::<_, i64>(3)?, blob(row, 4)?);
    if cursor_sum(owner, instance, completed, finished) != row.get::<_, i64>(5)? {
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
