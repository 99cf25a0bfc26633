//! After a failed transaction: what it may have left is undone, and the disk is tried.

use rusqlite::Connection;

use crate::commit::{Memory, Tables};
use crate::error::Fault;

/// Undoes what a failed transaction may have left in the file: when a sync fails, what was written
/// can be there all the same. That it can be undone shows that the disk works again.
pub(crate) fn recover(connection: &Connection, memory: &mut Memory) -> Result<(), Fault> {
    let Some(undo) = &memory.undo else { return Ok(()) };
    let mut tables = Tables::prepare(connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for ((peer, ord), from) in &undo.appended {
        tables.outbox.withdraw(peer, *ord, *from)?;
    }
    tables.letters.withdraw(undo.newest_letter, &undo.taken_letters)?;
    connection.execute_batch(
        "INSERT INTO meta VALUES('recoveries', 1) ON CONFLICT DO UPDATE SET value = value + 1;
         COMMIT",
    )?;
    memory.undo = None;
    Ok(())
}
