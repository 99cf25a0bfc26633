//! Answers queries from the tables.

use std::time::{Instant, SystemTime};

use paddington_exchange::store::{Mailbox, StoreError, StoredStream};
use rusqlite::Connection;

use crate::commit::{Memory, Tables};
use crate::error::{Fault, WAY_OUT};
use crate::operation::Query;

/// Answers one query, or returns it if only a step of it is done. Its caller may have dropped the
/// future.
pub(crate) fn answer(
    connection: &Connection,
    tables: &mut Tables<'_>,
    memory: &mut Memory,
    query: Query,
) -> Option<Query> {
    match query {
        Query::Streams(mailbox, waiter) => {
            let found = streams(connection, tables, memory, &mailbox);
            drop(waiter.send(found.map_err(|fault| failure("the outbox cannot be read", &fault))));
        }
        Query::Cursors(mailbox, waiter) => {
            let found = tables.cursors.load(&mailbox);
            drop(waiter.send(found.map_err(|fault| failure("cursors cannot be read", &fault))));
        }
        Query::Read(mailbox, first, max_bytes, waiter) => {
            let found = tables.outbox.read(&mut memory.streams, &mailbox, first, max_bytes);
            drop(waiter.send(found.map_err(|fault| failure("messages cannot be read", &fault))));
        }
        Query::Letters(waiter) => {
            let found = tables.letters.load();
            drop(waiter.send(found.map_err(|fault| failure("letters cannot be read", &fault))));
        }
        Query::Mailboxes(mut survey, waiter) => {
            let found = match survey.step(connection) {
                Ok(None) if !waiter.is_closed() => return Some(Query::Mailboxes(survey, waiter)),
                found => found.map(Option::unwrap_or_default),
            };
            drop(waiter.send(found.map_err(|fault| failure("mailboxes cannot be read", &fault))));
        }
    }
    None
}

/// Reads the streams of a mailbox. The first call checks the whole file, for all mailboxes, because
/// a damaged row may appear to belong to one that is never asked for.
fn streams(
    connection: &Connection,
    tables: &mut Tables<'_>,
    memory: &mut Memory,
    mailbox: &Mailbox,
) -> Result<Vec<StoredStream>, Fault> {
    if !memory.checked {
        check(connection)?;
        memory.found = tables.outbox.load_all(SystemTime::now())?;
        memory.found_at = Some(Instant::now());
        memory.checked = true;
        return Ok(memory.found.remove(mailbox).unwrap_or_default());
    }
    let Some(mut found) = memory.found.remove(mailbox) else { return tables.outbox.load(mailbox) };
    let passed = memory.found_at.map(|at| at.elapsed()).unwrap_or_default();
    for message in found.iter_mut().flat_map(|stream| &mut stream.messages) {
        message.ttl = message.ttl.map(|ttl| ttl.saturating_sub(passed));
    }
    Ok(found)
}

/// Checks the file as a whole: checksums of rows do not show that rows are missing.
pub(crate) fn check(connection: &Connection) -> Result<(), Fault> {
    let said = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let said = connection.query_row("PRAGMA quick_check(1)", (), said)?;
    if said == "ok" {
        return Ok(());
    }
    let said = said.lines().last().unwrap_or_default();
    Err(Fault::refused(format!("the file is damaged: {said}")))
}

fn failure(doing: &str, fault: &Fault) -> StoreError {
    let way_out = if fault.is_damage() { WAY_OUT } else { "" };
    StoreError::new(format!("{doing}: {fault}{way_out}"))
}
