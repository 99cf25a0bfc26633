//! The tables of the cursors and of the attempts.

use paddington_exchange::store::StoredCursor;
use paddington_wire::{Instance, MessageId, PeerName};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::row::{self, blob, checksum, loaded, stored};

/// The statements of the tables.
pub(crate) struct Table<'c> {
    all: Statement<'c>,
    replace: Statement<'c>,
    forget: Statement<'c>,
    attempts: Statement<'c>,
    count: Statement<'c>,
    forget_attempts: Statement<'c>,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            all: connection
                .prepare("SELECT inc, done, held, crc FROM cursor WHERE peer = ?1 ORDER BY inc")?,
            replace: connection.prepare("REPLACE INTO cursor VALUES(?1, ?2, ?3, ?4, ?5)")?,
            forget: connection.prepare("DELETE FROM cursor WHERE peer = ?1 AND inc = ?2")?,
            attempts: connection
                .prepare("SELECT n, crc FROM attempt WHERE peer = ?1 AND inc = ?2 AND seq = ?3")?,
            count: connection.prepare("REPLACE INTO attempt VALUES(?1, ?2, ?3, ?4, ?5)")?,
            forget_attempts: connection
                .prepare("DELETE FROM attempt WHERE peer = ?1 AND inc = ?2 AND seq <= ?3")?,
        })
    }

    pub(crate) fn load(&mut self, peer: &PeerName) -> Result<Vec<StoredCursor>, Fault> {
        let mut rows = self.all.query([peer.as_str()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let damaged = |why| Fault::refused(format!("a cursor for {peer} is damaged: {why}"));
            found.push(cursor(peer, row).map_err(damaged)?);
        }
        Ok(found)
    }

    /// Replaces a cursor. What it passes needs no count of its attempts any more.
    pub(crate) fn replace(&mut self, peer: &PeerName, cursor: &StoredCursor) -> Result<(), Fault> {
        let (inc, done) = (cursor.instance.as_bytes(), stored(cursor.completed)?);
        let held: Vec<u8> = cursor.finished.iter().flat_map(|held| held.to_le_bytes()).collect();
        let crc = checksum(&[peer.as_str().as_bytes(), inc, &done.to_le_bytes(), &held]);
        self.replace.execute(params![peer.as_str(), inc, done, held, crc])?;
        self.forget_attempts.execute(params![peer.as_str(), inc, done])?;
        Ok(())
    }

    pub(crate) fn forget(&mut self, peer: &PeerName, instance: Instance) -> Result<(), Fault> {
        self.forget.execute(params![peer.as_str(), instance.as_bytes()])?;
        self.forget_attempts.execute(params![peer.as_str(), instance.as_bytes(), i64::MAX])?;
        Ok(())
    }

    /// Counts an attempt, and says the how-manieth it is.
    pub(crate) fn attempt(&mut self, peer: &PeerName, id: MessageId) -> Result<u32, Fault> {
        let (inc, number) = (id.stream.as_bytes(), stored(id.number)?);
        let sum = |count: i64| {
            let columns = [number.to_le_bytes(), count.to_le_bytes()];
            checksum(&[peer.as_str().as_bytes(), inc, &columns[0], &columns[1]])
        };
        let before: Option<(i64, i64)> = self
            .attempts
            .query_row(params![peer.as_str(), inc, number], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let before = match before {
            None => 0,
            Some((count, crc)) if sum(count) == crc => count,
            Some(_) => return Err(Fault::refused(format!("the attempts of {id} are damaged"))),
        };
        let count = before + 1;
        self.count.execute(params![peer.as_str(), inc, number, count, sum(count)])?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn cursor(peer: &PeerName, row: &Row<'_>) -> Result<StoredCursor, Fault> {
    let (inc, done, held) = (blob(row, 0)?, row.get::<_, i64>(1)?, blob(row, 2)?);
    let crc = checksum(&[peer.as_str().as_bytes(), inc, &done.to_le_bytes(), held]);
    if crc != row.get::<_, i64>(3)? {
        return Err(Fault::refused("its checksum is wrong"));
    }
    let (held, rest) = held.as_chunks();
    if !rest.is_empty() {
        return Err(Fault::refused("its length is wrong"));
    }
    Ok(StoredCursor {
        instance: row::instance(inc)?,
        completed: loaded(done)?,
        finished: held.iter().copied().map(u64::from_le_bytes).collect(),
    })
}
