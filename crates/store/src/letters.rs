//! The table of the dead letters: a ring, whose oldest go when it is full.

use std::collections::VecDeque;

use bytes::Bytes;
use paddington_exchange::store::{DeadLetter, LetterId, MAX_LETTER_BYTES, MAX_LETTERS};
use paddington_wire::{MessageId, RejectCode};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::row::{self, blob, checksum, loaded, stored};

/// The statements of the table, and what is in it.
pub(crate) struct Table<'c> {
    insert: Statement<'c>,
    all: Statement<'c>,
    one: Statement<'c>,
    remove: Statement<'c>,
    withdraw: Statement<'c>,
    ring: VecDeque<(i64, usize)>,
    bytes: usize,
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, Fault> {
        let row = "SELECT id, peer, inc, seq, code, at, crc, body FROM dead";
        let mut lens = connection.prepare("SELECT id, length(body) FROM dead ORDER BY id")?;
        let ring = lens.query_map((), |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)))?;
        let ring = ring.collect::<Result<VecDeque<(i64, usize)>, _>>()?;
        Ok(Self {
            insert: connection
                .prepare("INSERT INTO dead VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            all: connection.prepare(&format!("{row} ORDER BY id"))?,
            one: connection.prepare(&format!("{row} WHERE id = ?1"))?,
            remove: connection.prepare("DELETE FROM dead WHERE id = ?1")?,
            withdraw: connection.prepare("DELETE FROM dead WHERE id > ?1")?,
            bytes: ring.iter().map(|(_, len)| len).sum(),
            ring,
        })
    }

    /// The number of the newest letter, or 0.
    pub(crate) fn newest(&self) -> i64 {
        self.ring.back().map_or(0, |(id, _)| *id)
    }

    pub(crate) fn add_letter(
        &mut self,
        connection: &Connection,
        letter: &DeadLetter,
    ) -> Result<(), Fault> {
        self.insert(None, letter)?;
        self.ring.push_back((connection.last_insert_rowid(), letter.payload.len()));
        self.bytes += letter.payload.len();
        while self.ring.len() > MAX_LETTERS || self.bytes > MAX_LETTER_BYTES {
            let Some((oldest, len)) = self.ring.pop_front() else { break };
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
        self.ring.retain(|(id, _)| *id != number);
        self.bytes -= letter.payload.len();
        Ok(Some(letter))
    }

    /// Undoes what turned out to be stored although it failed.
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
        let (number, at, body) = (stored(*number)?, row::millis(*at), &payload[..]);
        let crc = sum(peer.as_str(), stream.as_bytes(), number, code.0, at, body);
        let inc = stream.as_bytes();
        self.insert.execute(params![id, peer.as_str(), inc, number, code.0, at, crc, body])?;
        Ok(())
    }
}

fn letter(row: &Row<'_>) -> Result<(LetterId, DeadLetter), Fault> {
    let id = row.get::<_, i64>(0)?;
    let checked = || -> Result<DeadLetter, Fault> {
        let peer = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let (inc, body) = (blob(row, 2)?, blob(row, 7)?);
        let (number, code, at) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if sum(peer, inc, number, code, at, body) != row.get::<_, i64>(6)? {
            return Err(Fault::refused("its checksum is wrong"));
        }
        Ok(DeadLetter {
            peer: peer.parse().map_err(|_| Fault::refused("its sender is not a name"))?,
            id: MessageId { stream: row::instance(inc)?, number: loaded(number)? },
            code: RejectCode(code),
            at: row::moment(at),
            payload: Bytes::copy_from_slice(body),
        })
    };
    let damaged = |fault| Fault::refused(format!("dead letter {id} is damaged: {fault}"));
    Ok((LetterId(loaded(id)?), checked().map_err(damaged)?))
}

fn sum(peer: &str, inc: &[u8], number: i64, code: u16, at: i64, body: &[u8]) -> i64 {
    let (number, code, at) = (number.to_le_bytes(), code.to_le_bytes(), at.to_le_bytes());
    checksum(&[peer.as_bytes(), inc, &number, &code, &at, body])
}
