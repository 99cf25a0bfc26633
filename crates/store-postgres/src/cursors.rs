//! Reading cursors.

use paddington_exchange::store::StoredCursor;
use paddington_wire::{Instance, MessageId, RejectCode};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::error::Fault;
use crate::row::{self, column, loaded};

const CURSORS: &str = "SELECT c.inc, c.done, c.held FROM cursor c JOIN link l USING (peer) \
                       WHERE l.id = $1 ORDER BY c.inc";
const LETTERS: &str = "SELECT d.inc, d.seq, d.code FROM dead d JOIN link l USING (peer) \
                       WHERE l.id = $1 ORDER BY d.id";

/// A message that is a dead letter, and the reason.
pub(crate) type Dead = (MessageId, RejectCode);

/// Returns the cursors of a link, and its dead letters.
pub(crate) async fn load(
    connection: &Connection,
    link: &[u8],
) -> Result<(Vec<StoredCursor>, Vec<Dead>), Fault> {
    let arguments: crate::connect::Arguments<'_> = &[&link];
    let (cursors, letters) = tokio::join!(biased; connection.rows(CURSORS, arguments), connection.rows(LETTERS, arguments));
    let mut cursors = cursors?.iter().map(cursor).collect::<Result<Vec<_>, _>>()?;
    let letters = letters?.iter().map(dead).collect::<Result<Vec<_>, _>>()?;
    // A commit that came later may not have known that the message was given up.
    for (id, _) in &letters {
        finish(&mut cursors, *id);
    }
    Ok((cursors, letters))
}

/// Prepares the statements, so that they can be sent at once.
pub(crate) async fn prepare(connection: &Connection) -> Result<(), Fault> {
    connection.prepare(CURSORS).await?;
    connection.prepare(LETTERS).await
}

fn cursor(row: &Row) -> Result<StoredCursor, Fault> {
    let held: Vec<i64> = column(row, 2)?;
    let mut finished: Vec<u64> = held.into_iter().map(i64::cast_unsigned).collect();
    // A dead letter is added at the end.
    finished.sort_unstable();
    Ok(StoredCursor {
        instance: row::instance(column(row, 0)?)?,
        completed: loaded(column(row, 1)?)?,
        finished,
    })
}

fn dead(row: &Row) -> Result<Dead, Fault> {
    let stream: Instance = row::instance(column(row, 0)?)?;
    let code = u16::try_from(column::<i32>(row, 2)?);
    let code = code.map_err(|_| Fault::refused("the code of a dead letter is damaged"))?;
    Ok((MessageId { stream, number: loaded(column(row, 1)?)? }, RejectCode(code)))
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
