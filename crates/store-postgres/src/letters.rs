//! Dead letters.

use paddington_exchange::store::parts::{from_unix_millis, unix_millis};
use paddington_exchange::store::{
    Borrowed, BorrowedLetter, DeadLetter, Fence, LetterId, MAX_LETTER_BYTES, MAX_LETTERS,
};
use paddington_wire::{MessageId, RejectCode};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::error::Fault;
use crate::row::{self, column, loaded, stored};

const ADD: &str = "SELECT add_letter($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const ALL: &str = "SELECT d.id, l.id, l.name, d.inc, d.seq, d.code, d.at, d.crc, d.is_bytes, d.body \
                   FROM dead d JOIN link l USING (peer) ORDER BY d.id";
const TAKE: &str = "DELETE FROM dead d USING link l WHERE l.peer = d.peer AND d.id = $1 RETURNING \
                    d.id, l.id, l.name, d.inc, d.seq, d.code, d.at, d.crc, d.is_bytes, d.body";
/// A letter never changes, so it does not matter that its row is the one from before.
const BORROW: &str = "SELECT d.id, l.id, l.name, d.inc, d.seq, d.code, d.at, d.crc, d.is_bytes, d.body, \
                      b.turn, b.holder FROM borrow_letter($1, $2) b \
                      LEFT JOIN (dead d JOIN link l USING (peer)) ON d.id = $1 AND b.holder IS NULL \
                      WHERE b.holder IS NOT NULL OR (b.turn IS NOT NULL AND d.id IS NOT NULL)";
const RETURN: &str =
    "UPDATE dead SET borrower = NULL WHERE id = $1 AND borrower = $2 AND turn = $3";

/// Adds a letter. Returns whether this replica holds the lane of its link, with this fence.
pub(crate) async fn add(
    connection: &Connection,
    replica: i32,
    letter: &DeadLetter,
    fence: Fence,
) -> Result<bool, Fault> {
    let DeadLetter { mailbox, id, code, at, payload } = letter;
    let (link, stream) = (&mailbox.link.as_bytes()[..], &id.stream.as_bytes()[..]);
    let (lane, number) = (stored(fence.0)?, stored(id.number)?);
    let (code, at) = (i32::from(code.0), unix_millis(*at));
    let (sum, is_bytes, body) =
        (row::checksum(mailbox.link, payload), payload.is_bytes(), &payload[..]);
    let (most, most_bytes) = (MAX_LETTERS as i64, MAX_LETTER_BYTES as i64);
    let row = connection
        .row(
            ADD,
            &[
                &replica,
                &link,
                &lane,
                &stream,
                &number,
                &code,
                &at,
                &sum,
                &is_bytes,
                &body,
                &most,
                &most_bytes,
            ],
        )
        .await?;
    column(&row, 0)
}

/// Returns all letters, oldest first.
pub(crate) async fn all(connection: &Connection) -> Result<Vec<(u64, DeadLetter)>, Fault> {
    connection.rows(ALL, &[]).await?.iter().map(letter).collect()
}

/// Removes a letter and returns it, if it is still there.
pub(crate) async fn take(connection: &Connection, id: u64) -> Result<Option<DeadLetter>, Fault> {
    let Ok(id) = stored(id) else { return Ok(None) };
    let rows = connection.rows(TAKE, &[&id]).await?;
    Ok(rows.first().map(letter).transpose()?.map(|(_, letter)| letter))
}

/// Borrows a letter for a replica, unless it is not there or another one that lives has borrowed it.
pub(crate) async fn borrow(connection: &Connection, by: i32, id: u64) -> Result<Borrowed, Fault> {
    let Ok(id) = stored(id) else { return Ok(Borrowed::Unknown) };
    let rows = connection.rows(BORROW, &[&id, &by]).await?;
    let Some(row) = rows.first() else { return Ok(Borrowed::Unknown) };
    if let Some(holder) = column::<Option<i32>>(row, 11)? {
        return Ok(Borrowed::Held(row::replica(holder)));
    }
    let turn = column::<i32>(row, 10)?.cast_unsigned();
    Ok(Borrowed::Here(BorrowedLetter { letter: letter(row)?.1, turn }))
}

/// Returns a letter that a replica has borrowed, unless it was borrowed once more since.
pub(crate) async fn give_back(
    connection: &Connection,
    by: i32,
    id: u64,
    turn: u32,
) -> Result<(), Fault> {
    let Ok(id) = stored(id) else { return Ok(()) };
    connection.execute(RETURN, &[&id, &by, &turn.cast_signed()]).await.map(drop)
}

fn letter(row: &Row) -> Result<(u64, DeadLetter), Fault> {
    let mailbox = row::mailbox(column(row, 1)?, column(row, 2)?)?;
    let (stream, number) = (row::instance(column(row, 3)?)?, loaded(column(row, 4)?)?);
    let code = u16::try_from(column::<i32>(row, 5)?);
    let code = code.map_err(|_| Fault::refused("the code of a dead letter is damaged"))?;
    let payload = row::payload(mailbox.link, row, 7)?;
    let letter = DeadLetter {
        mailbox,
        id: MessageId { stream, number },
        code: RejectCode(code),
        at: from_unix_millis(column(row, 6)?),
        payload,
    };
    Ok((loaded(column(row, 0)?)?, letter))
}

/// The number of a letter among those of several databases.
pub(crate) fn outer_id(inner: u64, database: usize, databases: usize) -> LetterId {
    LetterId(inner.saturating_mul(databases as u64).saturating_add(database as u64))
}

/// The number of a letter in its database, and which one that is.
pub(crate) fn inner_id(id: LetterId, databases: usize) -> (u64, usize) {
    let databases = databases.max(1) as u64;
    (id.0 / databases, usize::try_from(id.0 % databases).unwrap_or_default())
}
