//! The table of the dead letters. The oldest are removed when it is full.

use std::collections::VecDeque;

use bytes::Bytes;
use paddington_exchange::store::{DeadLetter, LetterId, MAX_LETTER_BYTES, MAX_LETTERS};
use paddington_wire::{MessageId, RejectCode};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::row::{self, blob, checksum, loaded, stored};

/// The statements of the table, and the size of its letters.
pub(crate) struct Table<'c> {
    insert: Statement<'c>,
    all: Statement<'c>,
    one: Statement<'c>,
    remove: Statement<'c>,
    withdraw: Statement<'c>,
    /// Id and payload length of each letter, oldest first.
    kept: VecDeque<(i64, usize)>,
    /// Sum of the payload lengths.
    bytes: usize,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, Fault> {
        let row = "SELECT id, peer, instance, number, code, given_up_at, checksum, payload \
                   FROM dead_letter";
        let mut lens =
            connection.prepare("SELECT id, length(payload) FROM dead_letter ORDER BY id")?;
        let kept = lens.query_map((), |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)))?;
        let kept = kept.collect::<Result<VecDeque<(i64, usize)>, _>>()?;
        Ok(Self {
            insert: connection
                .prepare("INSERT INTO dead_letter VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            all: connection.prepare(&format!("{row} ORDER BY id"))?,
            one: connection.prepare(&format!("{row} WHERE id = ?1"))?,
            remove: connection.prepare("DELETE FROM dead_letter WHERE id = ?1")?,
            withdraw: connection.prepare("DELETE FROM dead_letter WHERE id > ?1")?,
            bytes: kept.iter().map(|(_, len)| len).sum(),
            kept,
        })
    }

    /// The id of the newest letter, or 0.
    pub(crate) fn newest(&self) -> i64 {
        self.kept.back().map_or(0, |(id, _)| *id)
    }

    pub(crate) fn add_letter(
        &mut self,
        connection: &Connection,
        letter: &DeadLetter,
    ) -> Result<(), Fault> {
        self.insert(None, letter)?;
        self.kept.push_back((connection.last_insert_rowid(), letter.payload.len()));
        self.bytes += letter.payload.len();
        while self.kept.len() > MAX_LETTERS || self.bytes > MAX_LETTER_BYTES {
            let Some((oldest, len)) = self.kept.pop_front() else { break };
            self.remove.execute([oldest])?;
            self.bytes -= len;
        }
        Ok(())
    }

    pub(crate) fn load(&mut self) -> Result<Vec<(LetterId, DeadLetter)>, Fault> {
        let mut rows = self.all.query(())?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(letter(row)?);
        }
        Ok(found)
    }

    pub(crate) fn take_letter(&mut self, id: LetterId) -> Result<Option<DeadLetter>, Fault> {
        let number = stored(id.0)?;
        let found = self.one.query_row([number], |row| Ok(letter(row))).optional()?;
        let Some((_, letter)) = found.transpose()? else { return Ok(None) };
        self.remove.execute([number])?;
        self.kept.retain(|(id, _)| *id != number);
        self.bytes -= letter.payload.len();
        Ok(Some(letter))
    }

    /// Undoes the changes of a failed transaction, which may have been stored all the same.
    pub(crate) fn withdraw(
        &mut self,
        after: Option<i64>,
        taken_letters: &[(LetterId, DeadLetter)],
    ) -> Result<(), Fault> {
        if let Some(after) = after {
            self.withdraw.execute([after])?;
        }
        for (id, letter) in taken_letters {
            let number = stored(id.0)?;
            self.remove.execute([number])?;
            self.insert(Some(number), letter)?;
        }
        Ok(())
    }

    fn insert(&mut self, id: Option<i64>, letter: &DeadLetter) -> Result<(), Fault> {
        let DeadLetter { peer, id: MessageId { stream, number }, code, at, payload } = letter;
        let (instance, number) = (stream.as_bytes(), stored(*number)?);
        let (peer, code, at, payload) = (peer.as_str(), code.0, row::millis(*at), &payload[..]);
        let checksum = sum(peer, instance, number, code, at, payload);
        self.insert.execute(params![id, peer, instance, number, code, at, checksum, payload])?;
        Ok(())
    }
}

fn letter(row: &Row<'_>) -> Result<(LetterId, DeadLetter), Fault> {
    let id = row.get::<_, i64>(0)?;
    let checked = || -> Result<DeadLetter, Fault> {
        let peer = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let (instance, payload) = (blob(row, 2)?, blob(row, 7)?);
        let (number, code, at) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if sum(peer, instance, number, code, at, payload) != row.get::<_, i64>(6)? {
            return Err(Fault::refused("its checksum is wrong"));
        }
        Ok(DeadLetter {
            peer: peer.parse().map_err(|_| Fault::refused("its sender is not a valid name"))?,
            id: MessageId { stream: row::instance(instance)?, number: loaded(number)? },
            code: RejectCode(code),
            at: row::moment(at),
            payload: Bytes::copy_from_slice(payload),
        })
    };
    let damaged = |fault| Fault::refused(format!("dead letter {id} is damaged: {fault}"));
    Ok((LetterId(loaded(id)?), checked().map_err(damaged)?))
}

fn sum(peer: &str, instance: &[u8], number: i64, code: u16, at: i64, payload: &[u8]) -> i64 {
    let (number, code, at) = (number.to_le_bytes(), code.to_le_bytes(), at.to_le_bytes());
    checksum(&[peer.as_bytes(), instance, &number, &code, &at, payload])
}
