//! The table of the dead letters. When it is full, the peer with the most of it loses its oldest.

use std::collections::{BTreeMap, HashMap};

use paddington_exchange::store::{DeadLetter, LetterId, MAX_LETTER_BYTES, MAX_LETTERS};
use paddington_wire::{MessageId, RejectCode};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::faults::{self, broken};
use crate::pieces;
use crate::row::{self, blob, checksum, loaded, stored};

/// The statements of the table, and the size of its letters.
pub(crate) struct Table<'c> {
    insert: Statement<'c>,
    all: Statement<'c>,
    one: Statement<'c>,
    remove: Statement<'c>,
    withdraw: Statement<'c>,
    kept: Kept,
}

/// The letters that are kept: what decides which one is removed when there are too many.
#[derive(Debug, Default)]
struct Kept {
    /// Sender and payload length of each letter, by its id: oldest first.
    letters: BTreeMap<i64, (String, usize)>,
    /// Number of letters and sum of the payload lengths of each sender.
    senders: HashMap<String, Share>,
    /// Sum of all payload lengths.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    letters: usize,
    bytes: usize,
}

impl Kept {
    fn add(&mut self, id: i64, sender: String, len: usize) {
        let share = self.senders.entry(sender.clone()).or_default();
        share.letters += 1;
        share.bytes += len;
        self.bytes += len;
        self.letters.insert(id, (sender, len));
    }

    fn remove(&mut self, id: i64) {
        let Some((sender, len)) = self.letters.remove(&id) else { return };
        self.bytes -= len;
        let Some(share) = self.senders.get_mut(&sender) else { return };
        share.letters -= 1;
        share.bytes -= len;
        if share.letters == 0 {
            self.senders.remove(&sender);
        }
    }

    /// Returns the letter that has to go, if there are too many: the oldest one of the sender that
    /// has the most letters or, if all together are too long, the most bytes. Nobody's failures
    /// cost another peer more than its own share.
    fn surplus(&self) -> Option<i64> {
        if broken(faults::Fault::LettersUnbounded) {
            return None;
        }
        let weight: fn(&Share) -> (usize, usize) = if self.letters.len() > MAX_LETTERS {
            |share| (share.letters, share.bytes)
        } else if self.bytes > MAX_LETTER_BYTES {
            |share| (share.bytes, share.letters)
        } else {
            return None;
        };
        let most = self.senders.values().map(weight).max()?;
        let of_most = |sender: &String| {
            self.senders.get(sender).map(weight) == Some(most)
                || broken(faults::Fault::OldestLetterOfAll)
        };
        self.letters.iter().find(|(_, (sender, _))| of_most(sender)).map(|(id, _)| *id)
    }
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, Fault> {
        let row = "SELECT id, peer, instance, number, code, given_up_at, checksum, is_bytes, \
                   payload FROM dead_letter";
        let mut kept = Kept::default();
        let mut lens = connection.prepare("SELECT id, peer, length(payload) FROM dead_letter")?;
        let mut rows = lens.query(())?;
        while let Some(row) = rows.next()? {
            // A damaged name is refused when the letter is read.
            let sender = row.get_ref(1)?.as_str().unwrap_or_default().to_owned();
            kept.add(row.get(0)?, sender, row.get::<_, u32>(2)? as usize);
        }
        Ok(Self {
            insert: connection
                .prepare("INSERT INTO dead_letter VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?,
            all: connection.prepare(&format!("{row} ORDER BY id"))?,
            one: connection.prepare(&format!("{row} WHERE id = ?1"))?,
            remove: connection.prepare("DELETE FROM dead_letter WHERE id = ?1")?,
            withdraw: connection.prepare("DELETE FROM dead_letter WHERE id > ?1")?,
            kept,
        })
    }

    /// The id of the newest letter, or 0.
    pub(crate) fn newest(&self) -> i64 {
        self.kept.letters.last_key_value().map_or(0, |(id, _)| *id)
    }

    pub(crate) fn add_letter(
        &mut self,
        connection: &Connection,
        letter: &DeadLetter,
    ) -> Result<(), Fault> {
        self.insert(None, letter)?;
        let (id, sender) = (connection.last_insert_rowid(), letter.peer.to_string());
        self.kept.add(id, sender, letter.payload.len());
        while let Some(surplus) = self.kept.surplus() {
            self.remove.execute([surplus])?;
            self.kept.remove(surplus);
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
        self.kept.remove(number);
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
        let (peer, code, at) = (peer.as_str(), code.0, row::millis(*at));
        let (is_bytes, payload) = (payload.is_bytes(), &payload[..]);
        let sum = sum(peer, instance, number, code, at, is_bytes, payload);
        let row = params![id, peer, instance, number, code, at, sum, is_bytes, payload];
        self.insert.execute(row)?;
        Ok(())
    }
}

pub(crate) fn letter(row: &Row<'_>) -> Result<(LetterId, DeadLetter), Fault> {
    let id = row.get::<_, i64>(0)?;
    let checked = || -> Result<DeadLetter, Fault> {
        let peer = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let (instance, is_bytes, payload) = (blob(row, 2)?, row.get(7)?, blob(row, 8)?);
        let (number, code, at) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if sum(peer, instance, number, code, at, is_bytes, payload) != row.get::<_, i64>(6)? {
            return Err(Fault::refused("its checksum is wrong"));
        }
        Ok(DeadLetter {
            peer: peer.parse().map_err(|_| Fault::refused("its sender is not a valid name"))?,
            id: MessageId { stream: row::instance(instance)?, number: loaded(number)? },
            code: RejectCode(code),
            at: row::moment(at),
            payload: pieces::payload(is_bytes, payload),
        })
    };
    let damaged = |fault| Fault::refused(format!("dead letter {id} is damaged: {fault}"));
    Ok((LetterId(loaded(id)?), checked().map_err(damaged)?))
}

/// The checksum of a dead letter.
pub(crate) fn sum(
    peer: &str,
    instance: &[u8],
    number: i64,
    code: u16,
    at: i64,
    is_bytes: bool,
    payload: &[u8],
) -> i64 {
    let (number, code, at) = (number.to_le_bytes(), code.to_le_bytes(), at.to_le_bytes());
    checksum(&[peer.as_bytes(), instance, &number, &code, &at, &[u8::from(is_bytes)], payload])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_with_the_most_loses_its_oldest() {
        let mut kept = Kept::default();
        for id in 0..MAX_LETTERS as i64 {
            kept.add(id, if id % 10 == 0 { "quiet" } else { "loud" }.to_owned(), 1);
        }
        assert_eq!(kept.surplus(), None);
        kept.add(5_000, "new".to_owned(), 1);
        assert_eq!(kept.surplus(), Some(1), "the oldest of the loud one");
        kept.remove(1);
        assert_eq!(kept.surplus(), None);
        kept.remove(5_000);
        kept.add(5_001, "long".to_owned(), MAX_LETTER_BYTES);
        assert_eq!(kept.surplus(), Some(5_001), "the one with the most bytes, though new");
        kept.remove(5_001);
        assert_eq!((kept.bytes, kept.senders.len()), (MAX_LETTERS - 1, 2));
    }
}
