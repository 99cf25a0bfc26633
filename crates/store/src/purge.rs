//! Purges a mailbox, step by step, so that other mailboxes need not wait.

use paddington_exchange::store::{Mailbox, Purged};
use paddington_wire::LinkId;
use rusqlite::{Connection, params};

use crate::commit::Tables;
use crate::error::Fault;
use crate::row::loaded;
use crate::streams::{StreamId, Streams};

/// The most messages, and the most rows of another table, that one transaction removes.
const MAX_STEP: u32 = 1_024;
/// The most bytes of payload that one transaction removes, the last message of which may exceed it.
const MAX_STEP_BYTES: u64 = 8 * 1024 * 1024;

/// One step of a purge.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) purged: Purged,
    /// Whether nothing is left.
    pub(crate) is_last: bool,
}

/// The messages of a stream that the next step removes.
#[derive(Debug, Default)]
struct Part {
    messages: u64,
    bytes: u64,
    /// The position after them; `None` if they are all.
    end: Option<i64>,
}

/// Removes a part of what a mailbox holds. Messages go first, the oldest before the others and each
/// as a whole, so that a stream that is left has no gap. Cursors go last: as long as messages of the
/// peer may be there, it is known which of them are handled.
pub(crate) fn step(
    connection: &Connection,
    tables: &mut Tables<'_>,
    streams: &mut Streams,
    mailbox: &Mailbox,
) -> Result<Step, Fault> {
    let link = mailbox.link;
    streams.forget(link);
    let mut purged = Purged::default();
    for stream in streams_of(connection, link)? {
        let part = part(connection, stream, &purged)?;
        let rows = stream.rows();
        let upto = part.end.map_or(rows.end, |end| end - 1);
        let remove = "DELETE FROM message WHERE position BETWEEN ?1 AND ?2";
        connection.execute(remove, [rows.start, upto])?;
        purged.messages += part.messages;
        purged.bytes += part.bytes;
        if part.end.is_some() {
            return Ok(Step { purged, is_last: false });
        }
        connection.execute("DELETE FROM stream WHERE id = ?1", [stream.0])?;
    }
    purged.letters = tables.letters.purge(link)?;
    let attempts = "DELETE FROM attempt WHERE link = ?1 AND (instance, number) IN \
                    (SELECT instance, number FROM attempt WHERE link = ?1 LIMIT ?2)";
    let cursors = "DELETE FROM cursor WHERE link = ?1 AND instance IN \
                   (SELECT instance FROM cursor WHERE link = ?1 LIMIT ?2)";
    for remove in [attempts, cursors] {
        if connection.execute(remove, params![link.as_bytes(), MAX_STEP])? >= MAX_STEP as usize {
            return Ok(Step { purged, is_last: false });
        }
    }
    Ok(Step { purged, is_last: true })
}

/// Adds what a step has removed.
pub(crate) fn add(purged: &mut Purged, step: Purged) {
    purged.messages += step.messages;
    purged.bytes += step.bytes;
    purged.letters += step.letters;
}

/// Returns the streams of a link, oldest first.
fn streams_of(connection: &Connection, link: LinkId) -> Result<Vec<StreamId>, Fault> {
    let mut select = connection.prepare("SELECT id FROM stream WHERE link = ?1 ORDER BY age")?;
    let mut rows = select.query([link.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id = StreamId(row.get(0)?);
        if !id.is_valid() {
            return Err(Fault::refused("a stored stream is damaged: there is no such id"));
        }
        found.push(id);
    }
    Ok(found)
}

/// Finds the messages at the beginning of a stream for which a step that has `purged` so much has
/// room.
fn part(connection: &Connection, stream: StreamId, purged: &Purged) -> Result<Part, Fault> {
    let mut select = connection.prepare(
        "SELECT position, checksum IS NOT NULL, length(payload) FROM message \
         WHERE position BETWEEN ?1 AND ?2 ORDER BY position",
    )?;
    let rows = stream.rows();
    let mut rows = select.query([rows.start, rows.end])?;
    let mut part = Part::default();
    while let Some(row) = rows.next()? {
        let is_first_row: bool = row.get(1)?;
        if is_first_row {
            let (messages, bytes) = (purged.messages + part.messages, purged.bytes + part.bytes);
            if messages >= MAX_STEP.into() || bytes >= MAX_STEP_BYTES {
                part.end = Some(row.get(0)?);
                break;
            }
            part.messages += 1;
        }
        part.bytes += loaded(row.get(2)?)?;
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use paddington_exchange::store::{NewMessage, StoredCursor};
    use paddington_wire::{MessageId, Payload};

    use super::*;
    use crate::schema;

    fn mailbox(link: u8) -> Mailbox {
        Mailbox { peer: "hub".parse().unwrap(), link: [link; LinkId::LEN].into() }
    }

    fn append(tables: &mut Tables<'_>, streams: &mut Streams, to: &Mailbox, id: MessageId) {
        // A message has several rows.
        let payload = Payload::bytes(vec![b'x'; 1_500]);
        let message = NewMessage { id, payload, ttl: None, mark: None };
        let place = tables.outbox.place(streams, to, &message).unwrap();
        tables.outbox.append(to, place, &message, SystemTime::now()).unwrap();
    }

    #[test]
    fn after_each_step_what_is_left_is_a_store_that_can_be_purged_again() {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, None).unwrap();
        let mut tables = Tables::prepare(&connection).unwrap();
        let (mut streams, old, other) = (Streams::default(), mailbox(1), mailbox(2));
        for stream in [1, 2] {
            for number in 1..=1_500 {
                let id = MessageId { stream: [stream; 16].into(), number };
                append(&mut tables, &mut streams, &old, id);
            }
        }
        let id = MessageId { stream: [1; 16].into(), number: 1 };
        append(&mut tables, &mut streams, &other, id);
        for number in 0..3_000 {
            let id = MessageId { number, ..id };
            tables.cursors.attempt(&old, id).unwrap();
        }
        let cursor = StoredCursor { instance: id.stream, completed: 0, finished: vec![] };
        tables.cursors.replace(&old, &cursor).unwrap();
        tables.cursors.replace(&other, &cursor).unwrap();

        let (mut purged, mut steps, mut left) = (Purged::default(), 0, 3_000);
        loop {
            // As after a restart: nothing is known of what was done before.
            let mut tables = Tables::prepare(&connection).unwrap();
            let mut streams = Streams::default();
            let step = step(&connection, &mut tables, &mut streams, &old).unwrap();
            assert!(step.purged.messages <= MAX_STEP.into(), "{step:?}");
            add(&mut purged, step.purged);
            left -= step.purged.messages;
            let found = tables.outbox.load_all(SystemTime::now()).unwrap();
            let of_old = found.get(&old).into_iter().flatten();
            assert_eq!(of_old.map(|it| it.messages.len() as u64).sum::<u64>(), left);
            assert_eq!(found[&other][0].messages.len(), 1);
            assert_eq!(tables.cursors.load(&other).unwrap().len(), 1);
            steps += 1;
            if step.is_last {
                break;
            }
        }
        assert!(tables.cursors.load(&old).unwrap().is_empty());
        let rows = "SELECT (SELECT count(*) FROM stream) + (SELECT count(*) FROM attempt)";
        let rows: i64 = connection.query_row(rows, (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "the stream of the other one");
        let bytes = 3_000 * 1_500;
        assert_eq!((purged, steps), (Purged { messages: 3_000, bytes, letters: 0 }, 5));
    }

    #[test]
    fn a_step_removes_no_more_than_a_few_megabytes() {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, None).unwrap();
        let mut tables = Tables::prepare(&connection).unwrap();
        let (mut streams, old) = (Streams::default(), mailbox(1));
        for number in 1..=6 {
            let id = MessageId { stream: [1; 16].into(), number };
            let payload = Payload::bytes(vec![b'x'; 3 << 20]);
            let message = NewMessage { id, payload, ttl: None, mark: None };
            let place = tables.outbox.place(&mut streams, &old, &message).unwrap();
            tables.outbox.append(&old, place, &message, SystemTime::now()).unwrap();
        }
        let first = step(&connection, &mut tables, &mut streams, &old).unwrap();
        assert_eq!((first.purged.messages, first.is_last), (3, false));
        let last = step(&connection, &mut tables, &mut streams, &old).unwrap();
        assert_eq!((last.purged.messages, last.is_last), (3, true));
    }
}
