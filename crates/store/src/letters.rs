//! The table of the dead letters. When it is full, the mailbox with the most of it loses its oldest.

use std::collections::{BTreeMap, HashMap};

use paddington_exchange::store::parts::{from_unix_millis, unix_millis};
use paddington_exchange::store::{DeadLetter, LetterId, MAX_LETTER_BYTES, MAX_LETTERS};
use paddington_wire::{LinkId, MessageId, RejectCode};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::error::Fault;
use crate::faults::{self, broken};
use crate::pieces;
use crate::row::{self, Owner, blob, checksum, loaded, stored};

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
    /// Link and payload length of each letter, by its id: oldest first.
    letters: BTreeMap<i64, (LinkId, usize)>,
    /// Number of letters and sum of the payload lengths of each link.
    senders: HashMap<LinkId, Share>,
    /// Sum of all payload lengths.
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    letters: usize,
    bytes: usize,
}

impl Kept {
    fn add(&mut self, id: i64, sender: LinkId, len: usize) {
        let share = self.senders.entry(sender).or_default();
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
        let of_most = |sender: &LinkId| {
            self.senders.get(sender).map(weight) == Some(most)
                || broken(faults::Fault::OldestLetterOfAll)
        };
        self.letters.iter().find(|(_, (sender, _))| of_most(sender)).map(|(id, _)| *id)
    }
}

impl<'c> Table<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, Fault> {
        let row = "SELECT id, link, peer, instance, number, code, given_up_at, checksum, \
                   is_bytes, payload FROM dead_letter";
        let mut kept = Kept::default();
        let mut lens = connection.prepare("SELECT id, link, length(payload) FROM dead_letter")?;
        let mut rows = lens.query(())?;
        while let Some(row) = rows.next()? {
            // A damaged link is refused when the letter is read.
            let link: [u8; LinkId::LEN] = blob(row, 1)?.try_into().unwrap_or_default();
            kept.add(row.get(0)?, link.into(), row.get::<_, u32>(2)? as usize);
        }
        Ok(Self {
            insert: connection.prepare(
                "INSERT INTO dead_letter VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
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
        let (id, sender) = (connection.last_insert_rowid(), letter.mailbox.link);
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
        taken_letters.iter().try_for_each(|(id, letter)| self.replace(*id, letter))
    }

    /// Puts a letter in the place of the one with its id, if there is one.
    pub(crate) fn replace(&mut self, id: LetterId, letter: &DeadLetter) -> Result<(), Fault> {
        let number = stored(id.0)?;
        self.remove.execute([number])?;
        self.insert(Some(number), letter)
    }

    /// Removes all letters of a link, and returns how many there were.
    pub(crate) fn purge(&mut self, link: LinkId) -> Result<u64, Fault> {
        let letters = self.kept.letters.iter().filter(|(_, (sender, _))| *sender == link);
        let ids: Vec<i64> = letters.map(|(id, _)| *id).collect();
        for id in &ids {
            self.remove.execute([id])?;
            self.kept.remove(*id);
        }
        Ok(ids.len() as u64)
    }

    fn insert(&mut self, id: Option<i64>, letter: &DeadLetter) -> Result<(), Fault> {
        let DeadLetter { mailbox, id: MessageId { stream, number }, code, at, payload } = letter;
        let (instance, number) = (stream.as_bytes(), stored(*number)?);
        let (owner, code, at) = (Owner::from(mailbox), code.0, unix_millis(*at));
        let (is_bytes, payload) = (payload.is_bytes(), &payload[..]);
        let sum = sum(owner, instance, number, code, at, is_bytes, payload);
        let Owner { link, peer } = owner;
        let row = params![id, link, peer, instance, number, code, at, sum, is_bytes, payload];
        self.insert.execute(row)?;
        Ok(())
    }
}

pub(crate) fn letter(row: &Row<'_>) -> Result<(LetterId, DeadLetter), Fault> {
    let id = row.get::<_, i64>(0)?;
    let checked = || -> Result<DeadLetter, Fault> {
        let owner = Owner::read(row, 1, 2)?;
        let (instance, is_bytes, payload) = (blob(row, 3)?, row.get(8)?, blob(row, 9)?);
        let (number, code, at) = (row.get(4)?, row.get(5)?, row.get(6)?);
        if sum(owner, instance, number, code, at, is_bytes, payload) != row.get::<_, i64>(7)? {
            return Err(Fault::refused("its checksum is wrong"));
        }
        Ok(DeadLetter {
            mailbox: owner.mailbox()?,
            id: MessageId { stream: row::instance(instance)?, number: loaded(number)? },
            code: RejectCode(code),
            at: from_unix_millis(at),
            payload: pieces::payload(is_bytes, payload),
        })
    };
    let damaged = |fault| Fault::refused(format!("dead letter {id} is damaged: {fault}"));
    Ok((LetterId(loaded(id)?), checked().map_err(damaged)?))
}

/// The checksum of a dead letter.
pub(crate) fn sum(
    owner: Owner<'_>,
    instance: &[u8],
    number: i64,
    code: u16,
    at: i64,
    is_bytes: bool,
    payload: &[u8],
) -> i64 {
    let (number, code, at) = (number.to_le_bytes(), code.to_le_bytes(), at.to_le_bytes());
    let (peer, is_bytes) = (owner.peer.as_bytes(), [u8::from(is_bytes)]);
    checksum(&[owner.link, peer, instance, &number, &code, &at, &is_bytes, payload])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_with_the_most_loses_its_oldest() {
        let [quiet, loud, new, long] = [1, 2, 3, 4].map(|byte| LinkId::from([byte; 16]));
        let mut kept = Kept::default();
        for id in 0..MAX_LETTERS as i64 {
            kept.add(id, if id % 10 == 0 { quiet } else { loud }, 1);
        }
        assert_eq!(kept.surplus(), None);
        kept.add(5_000, new, 1);
        assert_eq!(kept.surplus(), Some(1), "the oldest of the loud one");
        kept.remove(1);
        assert_eq!(kept.surplus(), None);
        kept.remove(5_000);
        kept.add(5_001, long, MAX_LETTER_BYTES);
        assert_eq!(kept.surplus(), Some(5_001), "the one with the most bytes, though new");
        kept.remove(5_001);
        assert_eq!((kept.bytes, kept.senders.len()), (MAX_LETTERS - 1, 2));
    }
}
