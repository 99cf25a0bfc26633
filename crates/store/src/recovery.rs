//! Recovery after a failed transaction.

use rusqlite::Connection;

use crate::commit::{Memory, Tables};
use crate::error::Fault;

/// Undoes a failed transaction: when its sync has failed, its changes may be in the file all the
/// same. Writing that successfully also shows that the disk works again.
pub(crate) fn recover(connection: &Connection, memory: &mut Memory) -> Result<(), Fault> {
    let Some(undo) = &memory.undo else { return Ok(()) };
    let mut tables = Tables::prepare(connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for (stream, from) in &undo.appended {
        tables.outbox.withdraw(*stream, *from)?;
    }
    tables.letters.withdraw(undo.newest_letter, &undo.taken_letters)?;
    connection.execute_batch(
        "INSERT INTO meta VALUES('recoveries', 1) ON CONFLICT DO UPDATE SET value = value + 1;
         COMMIT",
    )?;
    memory.undo = None;
    // They were ahead of the file.
    memory.streams.clear();
    Ok(())
}
