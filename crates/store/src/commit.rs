//! The transaction that stores a whole round, or nothing of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Instant, SystemTime};

use paddington_exchange::store::{DeadLetter, LetterId, Mailbox, StoreError, StoredStream};
use paddington_wire::Instance;
use rusqlite::Connection;

use crate::error::Fault;
use crate::files::Files;
use crate::lazies::Lazies;
use crate::operation::{Operation, QueueKey, Write};
use crate::shared::Shared;
use crate::streams::{StreamId, Streams};
use crate::{cursors, letters, outbox, purge};

/// The state of the thread, which outlives the connection to the file.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) streams: Streams,
    /// Changes of a failed transaction, to be undone before anything new is accepted.
    pub(crate) undo: Option<Undo>,
    /// Whether the whole file was checked once.
    pub(crate) checked: bool,
    /// Streams that the check has read, until they are asked for or something is written.
    pub(crate) found: HashMap<Mailbox, Vec<StoredStream>>,
    pub(crate) found_at: Option<Instant>,
}

/// The changes of a transaction. If its sync fails, they may or may not be in the file.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// The position of the first row that was added to each stream.
    pub(crate) appended: BTreeMap<StreamId, i64>,
    /// The newest letter before it; `None` if no letter can have been added.
    pub(crate) newest_letter: Option<i64>,
    pub(crate) taken_letters: Vec<(LetterId, DeadLetter)>,
}

/// The prepared statements of all tables.
pub(crate) struct Tables<'c> {
    pub(crate) outbox: outbox::Table<'c>,
    pub(crate) cursors: cursors::Table<'c>,
    pub(crate) letters: letters::Table<'c>,
}

impl<'c> Tables<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, Fault> {
        Ok(Self {
            outbox: outbox::Table::prepare(connection)?,
            cursors: cursors::Table::prepare(connection)?,
            letters: letters::Table::prepare(connection)?,
        })
    }
}

/// The result of one operation, if the transaction is committed.
enum Done {
    Written,
    Counted(u32),
    TakenLetter(Option<DeadLetter>),
    Purged(purge::Step),
    /// These streams have more to trim.
    Left(Vec<Instance>),
    Refused(StoreError),
}

/// Writes operations in one transaction and answers them. If the transaction fails, they are
/// answered too, except for the lazy ones, which go back into the queue.
pub(crate) fn commit(
    shared: &Shared,
    files: &Files,
    connection: &Connection,
    tables: &mut Tables<'_>,
    memory: &mut Memory,
    operations: Vec<(QueueKey, Operation)>,
) -> Result<(), Fault> {
    memory.found.clear();
    let started = Instant::now();
    let mut undo = Undo { newest_letter: Some(tables.letters.newest()), ..Undo::default() };
    let written = write(connection, tables, &mut memory.streams, &operations, &mut undo);
    // Nothing is answered that went into a file which nobody finds again.
    let found = |done| files.check_places().map(|()| done).map_err(Fault::unsure);
    match written.and_then(found) {
        Ok(done) => {
            let stored = |(operation, done): &(&(QueueKey, Operation), &Done)| {
                matches!((&operation.1, done), (Operation::Write(Write::Append(..)), Done::Written))
            };
            let appended = operations.iter().zip(&done).filter(stored).count();
            shared.record(started.elapsed(), appended as u64);
            answer(shared, operations, done);
            Ok(())
        }
        Err(fault) => {
            // It may have been rolled back already.
            let _ = connection.execute_batch("ROLLBACK");
            let why = StoreError::from(&fault);
            memory.undo = Some(undo);
            // Callers that are told of the failure must not be able to add anything.
            let others = why.for_others();
            shared.failed(&others);
            refuse(shared, operations, &why);
            Err(fault)
        }
    }
}

fn write(
    connection: &Connection,
    tables: &mut Tables<'_>,
    streams: &mut Streams,
    operations: &[(QueueKey, Operation)],
    undo: &mut Undo,
) -> Result<Vec<Done>, Fault> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut done = Vec::with_capacity(operations.len());
    for (key, operation) in operations {
        done.push(match one(connection, tables, streams, key.as_ref(), operation, undo) {
            Ok(done) => done,
            Err(Fault::Refused(why)) => Done::Refused(StoreError::new(why)),
            Err(fault) => return Err(fault),
        });
    }
    connection.execute_batch("COMMIT").map_err(Fault::of_commit)?;
    Ok(done)
}

fn one(
    connection: &Connection,
    tables: &mut Tables<'_>,
    streams: &mut Streams,
    key: Option<&Mailbox>,
    operation: &Operation,
    undo: &mut Undo,
) -> Result<Done, Fault> {
    match (operation, key) {
        (Operation::Write(Write::Append(message, _)), Some(mailbox)) => {
            let place = tables.outbox.place(streams, mailbox, message)?;
            // Before the insert, because a message that fails must be undone too. The stream may have
            // the place of one that the same transaction has purged.
            let first = undo.appended.entry(place.stream).or_insert(place.position);
            *first = place.position.min(*first);
            tables.outbox.append(mailbox, place, message, SystemTime::now())?;
            Ok(Done::Written)
        }
        (Operation::Write(Write::Attempt(id, _)), Some(mailbox)) => {
            Ok(Done::Counted(tables.cursors.attempt(mailbox, *id)?))
        }
        (Operation::Write(Write::Uncount(id, _)), Some(mailbox)) => {
            tables.cursors.uncount(mailbox, *id)?;
            Ok(Done::Written)
        }
        (Operation::Write(Write::Sync(_)), Some(_)) => Ok(Done::Written),
        (Operation::Write(Write::AddLetter(letter, _)), _) => {
            tables.letters.add_letter(connection, letter)?;
            tables.cursors.finish(&letter.mailbox, letter.id)?;
            Ok(Done::Written)
        }
        (Operation::Write(Write::TakeLetter(id, _)), _) => {
            let letter = tables.letters.take_letter(*id)?;
            undo.taken_letters.extend(letter.clone().map(|letter| (*id, letter)));
            Ok(Done::TakenLetter(letter))
        }
        (Operation::Write(Write::Purge(..)), Some(mailbox)) => {
            Ok(Done::Purged(purge::step(connection, tables, streams, mailbox)?))
        }
        (Operation::Lazy(lazies), Some(mailbox)) => lazily(tables, streams, mailbox, lazies),
        (Operation::Write(_) | Operation::Lazy(_) | Operation::Query(_), _) => {
            Err(Fault::refused("the operation belongs to no mailbox"))
        }
    }
}

fn lazily(
    tables: &mut Tables<'_>,
    streams: &mut Streams,
    mailbox: &Mailbox,
    lazies: &Lazies,
) -> Result<Done, Fault> {
    let mut left = Vec::new();
    for (stream, upto) in &lazies.trims {
        if !tables.outbox.trim(streams, mailbox, *stream, *upto)? {
            left.push(*stream);
        }
    }
    for (stream, mark) in &lazies.marks {
        tables.outbox.mark(mailbox, *stream, *mark)?;
    }
    for (instance, change) in &lazies.cursors {
        if change.forgets() {
            tables.cursors.forget(mailbox, *instance)?;
        }
        if let Some(cursor) = change.cursor() {
            tables.cursors.replace(mailbox, cursor)?;
        }
    }
    Ok(Done::Left(left))
}

/// Answers the operations of a committed transaction. A caller may have dropped its future.
fn answer(shared: &Shared, operations: Vec<(QueueKey, Operation)>, done: Vec<Done>) {
    let mut left = Vec::new();
    for ((key, operation), done) in operations.into_iter().zip(done) {
        match (operation, done) {
            (Operation::Write(write), Done::Refused(why)) => write.refuse(&why),
            (Operation::Lazy(lazies), Done::Refused(why)) => lazies.answer(&Err(why)),
            (
                Operation::Write(
                    Write::Append(_, waiter)
                    | Write::AddLetter(_, waiter)
                    | Write::Uncount(_, waiter)
                    | Write::Sync(waiter),
                ),
                _,
            ) => drop(waiter.send(Ok(()))),
            (Operation::Write(Write::Attempt(_, waiter)), Done::Counted(count)) => {
                drop(waiter.send(Ok(count)));
            }
            (Operation::Write(Write::TakeLetter(_, waiter)), Done::TakenLetter(letter)) => {
                drop(waiter.send(Ok(letter)));
            }
            (Operation::Write(Write::Purge(mut purged, waiter)), Done::Purged(step)) => {
                purge::add(&mut purged, step.purged);
                if step.is_last {
                    drop(waiter.send(Ok(purged)));
                } else {
                    // What is put back later comes before it, as it did.
                    shared.go_on(key, Write::Purge(purged, waiter));
                }
            }
            (Operation::Lazy(mut lazies), Done::Left(streams)) if !streams.is_empty() => {
                lazies.trims.retain(|stream, _| streams.contains(stream));
                lazies.cursors.clear();
                lazies.marks.clear();
                left.extend(key.map(|mailbox| (mailbox, lazies)));
            }
            (Operation::Lazy(lazies), _) => lazies.answer(&Ok(())),
            // Dropping the waiter tells its caller that the store is closed.
            (Operation::Write(_) | Operation::Query(_), _) => (),
        }
    }
    // Each is put back in front of those before it.
    left.reverse();
    shared.put_back(left);
}

fn refuse(shared: &Shared, operations: Vec<(QueueKey, Operation)>, why: &StoreError) {
    let mut kept = Vec::new();
    for (key, operation) in operations {
        match operation {
            Operation::Write(write) => write.refuse(why),
            Operation::Lazy(lazies) => kept.extend(key.map(|mailbox| (mailbox, lazies))),
            Operation::Query(query) => query.refuse(why),
        }
    }
    kept.reverse();
    shared.put_back(kept);
}
