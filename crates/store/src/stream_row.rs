//! Streams as rows.

use paddington_exchange::store::Mailbox;
use paddington_wire::Instance;
use rusqlite::Rows;

use crate::error::Fault;
use crate::row::{self, Owner, blob, checksum};
use crate::streams::{Known, StreamId};

/// The columns of a stream that [`stream_rows`] reads.
pub(crate) const STREAMS: &str =
    "SELECT id, link, peer, age, instance, begun, checksum, mark, mark_checksum FROM stream";

/// A stream as its row in the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamRow {
    pub(crate) id: StreamId,
    pub(crate) mailbox: Mailbox,
    pub(crate) age: i64,
    pub(crate) instance: Instance,
    /// When it was begun, in milliseconds since 1970.
    pub(crate) begun: i64,
    /// The transmission mark.
    pub(crate) mark: i64,
}

impl StreamRow {
    /// The mark of a stream all of whose messages may have been transmitted.
    pub(crate) const ALL: i64 = i64::MAX;

    /// The stream in memory, before it has any message; the first one has the number `next`.
    pub(crate) fn known(&self, next: i64) -> Known {
        let Self { id, age, instance, .. } = *self;
        Known { id, age, instance, next, end: id.rows().start }
    }

    pub(crate) fn mark_checksum(id: StreamId, instance: &[u8], mark: i64) -> i64 {
        checksum(&[&id.0.to_le_bytes(), instance, &mark.to_le_bytes()])
    }

    pub(crate) fn checksum(
        id: StreamId,
        owner: Owner<'_>,
        age: i64,
        instance: &[u8],
        begun: i64,
    ) -> i64 {
        let (id, age, begun) = (id.0.to_le_bytes(), age.to_le_bytes(), begun.to_le_bytes());
        checksum(&[&id, owner.link, owner.peer.as_bytes(), &age, instance, &begun])
    }
}

/// Reads the rows of streams, oldest first, and fails if one is damaged.
pub(crate) fn stream_rows(mut rows: Rows<'_>) -> Result<Vec<StreamRow>, Fault> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let checked = || -> Result<StreamRow, Fault> {
            let (id, owner) = (StreamId(row.get(0)?), Owner::read(row, 1, 2)?);
            let (age, instance, begun) = (row.get(3)?, blob(row, 4)?, row.get(5)?);
            if StreamRow::checksum(id, owner, age, instance, begun) != row.get::<_, i64>(6)? {
                return Err(Fault::refused("its checksum is wrong"));
            }
            if !id.is_valid() {
                return Err(Fault::refused("there is no such id"));
            }
            let mark = row.get(7)?;
            if mark < 0 || StreamRow::mark_checksum(id, instance, mark) != row.get::<_, i64>(8)? {
                return Err(Fault::refused("the checksum of its mark is wrong"));
            }
            let instance = row::instance(instance)?;
            Ok(StreamRow { id, mailbox: owner.mailbox()?, age, instance, begun, mark })
        };
        let damaged = |fault| Fault::refused(format!("a stored stream is damaged: {fault}"));
        found.push(checked().map_err(damaged)?);
    }
    found.sort_by_key(|row| row.age);
    Ok(found)
}
