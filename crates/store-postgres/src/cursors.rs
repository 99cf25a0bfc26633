//! Reading cursors.

use std::collections::HashMap;

use paddington_exchange::store::StoredCursor;
use paddington_wire::{Instance, LinkId, MessageId, RejectCode};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::error::Fault;
use crate::row::{self, column, loaded};

const CURSORS: &str = "SELECT l.id, c.inc, c.done, c.held FROM cursor c JOIN link l USING (peer) \
                       WHERE l.id = ANY ($1) ORDER BY l.id, c.inc";
const LETTERS: &str = "SELECT l.id, d.inc, d.seq, d.code FROM dead d JOIN link l USING (peer) \
                       WHERE l.id = ANY ($1) ORDER BY l.id, d.id";

/// A message that is a dead letter, and the reason.
pub(crate) type Dead = (MessageId, RejectCode);

/// What is kept of the peer's own messages.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) cursors: Vec<StoredCursor>,
    /// Dead letters, the oldest first.
    pub(crate) letters: Vec<Dead>,
}

/// Returns the cursors of links, and their dead letters. A link that has none is not among them.
pub(crate) async fn load(
    connection: &Connection,
    links: &[&[u8]],
) -> Result<HashMap<LinkId, Kept>, Fault> {
    let arguments: crate::connect::Arguments<'_> = &[&links];
    let (cursors, letters) = tokio::join!(biased; connection.rows(CURSORS, arguments), connection.rows(LETTERS, arguments));
    let mut all: HashMap<LinkId, Kept> = HashMap::new();
    for row in &cursors? {
        all.entry(row::link(column(row, 0)?)?).or_default().cursors.push(cursor(row)?);
    }
    for row in &letters? {
        let kept = all.entry(row::link(column(row, 0)?)?).or_default();
        let letter = dead(row)?;
        // A commit that came later may not have known that the message was given up.
        finish(&mut kept.cursors, letter.0);
        kept.letters.push(letter);
    }
    Ok(all)
}

/// Returns the cursors of one link.
pub(crate) async fn of(connection: &Connection, link: LinkId) -> Result<Vec<StoredCursor>, Fault> {
    let mut all = load(connection, &[link.as_bytes()]).await?;
    Ok(all.remove(&link).unwrap_or_default().cursors)
}

/// Prepares the statements, so that they can be sent at once.
pub(crate) async fn prepare(connection: &Connection) -> Result<(), Fault> {
    connection.prepare(CURSORS).await?;
    connection.prepare(LETTERS).await
}

fn cursor(row: &Row) -> Result<StoredCursor, Fault> {
    let held: Vec<i64> = column(row, 3)?;
    let mut finished: Vec<u64> = held.into_iter().map(i64::cast_unsigned).collect();
    // A dead letter is added at the end.
    finished.sort_unstable();
    Ok(StoredCursor {
        instance: row::instance(column(row, 1)?)?,
        completed: loaded(column(row, 2)?)?,
        finished,
    })
}

fn dead(row: &Row) -> Result<Dead, Fault> {
    let stream: Instance = row::instance(column(row, 1)?)?;
    let code = u16::try_from(column::<i32>(row, 3)?);
    let code = code.map_err(|_| Fault::refused("the code of a dead letter is damaged"))?;
    Ok((MessageId { stream, number: loaded(column(row, 2)?)? }, RejectCode(code)))
}

/// Adds a message to those that are handled, unless its cursor is forgotten.
fn finish(cursors: &mut [StoredCursor], id: MessageId) {
    let Some(cursor) = cursors.iter_mut().find(|cursor| cursor.instance == id.stream) else {
        return;
    };
    if id.number > cursor.completed
        && let Err(at) = cursor.finished.binary_search(&id.number)
    {
        cursor.finished.insert(at, id.number);
    }
}
