//! Removes from a new store what cannot be trusted.

use paddington_exchange::store::Mailbox;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::report::{SalvageReport, SalvagedMailbox};
use crate::error::Fault;
use crate::pieces::{COLUMNS, Messages, sum};
use crate::row::{Expiry, Owner};
use crate::stream_row::{STREAMS, StreamRow, stream_rows};
use crate::{cursors, letters};

/// Verifies everything, and counts what is left. In the place of lost messages no more are put than
/// `most_lost`: a checksum has no key, so whoever could write the file can have made a row up whose
/// number is far beyond the others.
pub(super) fn verify(
    new: &Connection,
    mut most_lost: u64,
    report: &mut SalvageReport,
) -> Result<(), Fault> {
    let streams = stream_rows(new.prepare(STREAMS)?.query(())?)?;
    for stream in &streams {
        let found = verify_stream(new, stream, most_lost, &mut report.damaged_rows)?;
        most_lost -= found.lost_between;
        let of_link = report.mailboxes.entry(stream.mailbox.clone()).or_default();
        of_link.kept += found.kept;
        of_link.lost_between += found.lost_between;
    }
    let orphans = "DELETE FROM message WHERE position >> 44 NOT IN (SELECT id FROM stream)";
    report.damaged_rows += new.execute(orphans, ())? as u64;
    report.cursors = keep(
        new,
        "SELECT link, peer, instance, completed, finished, checksum, link, instance FROM cursor",
        6,
        "DELETE FROM cursor WHERE link = ?1 AND instance = ?2",
        |row| cursors::cursor(row).and_then(|_| owner(row, 0, 1)),
        &mut report.damaged_rows,
    )?;
    keep(
        new,
        "SELECT peer, link, instance, number FROM attempt",
        1,
        "DELETE FROM attempt WHERE link = ?1 AND instance = ?2 AND number = ?3",
        |row| owner(row, 1, 0), // its checksum held when it was copied
        &mut report.damaged_rows,
    )?;
    report.letters = keep(
        new,
        "SELECT id, link, peer, instance, number, code, given_up_at, checksum, is_bytes, payload, \
         id FROM dead_letter",
        10,
        "DELETE FROM dead_letter WHERE id = ?1",
        |row| letters::letter(row).map(drop),
        &mut report.damaged_rows,
    )?;
    Ok(())
}

/// Keeps the rows of a table that pass a check, and returns their number. The columns from `key` on
/// are those by which the others are deleted.
fn keep(
    new: &Connection,
    select: &str,
    key: usize,
    delete: &str,
    check: impl Fn(&Row<'_>) -> Result<(), Fault>,
    damaged: &mut u64,
) -> Result<u64, Fault> {
    let mut select = new.prepare(select)?;
    let columns = select.column_count();
    let (mut kept, mut bad) = (0, Vec::new());
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        if check(row).is_ok() {
            kept += 1;
        } else {
            let key = (key..columns).map(|column| row.get(column));
            bad.push(key.collect::<rusqlite::Result<Vec<Value>>>()?);
        }
    }
    for key in bad {
        *damaged += new.execute(delete, params_from_iter(key))? as u64;
    }
    Ok(kept)
}

/// Keeps the messages of a stream that are whole and in order, and fills the gaps between them, as
/// far as no more than `most_lost` are missing.
fn verify_stream(
    new: &Connection,
    stream: &StreamRow,
    most_lost: u64,
    damaged: &mut u64,
) -> Result<SalvagedMailbox, Fault> {
    let rows = stream.id.rows();
    let mut select = new.prepare(&format!(
        "SELECT {COLUMNS} FROM message WHERE position BETWEEN ?1 AND ?2 ORDER BY position"
    ))?;
    let mut messages = Messages::new(select.query([rows.start, rows.end])?);
    let mut found = SalvagedMailbox::default();
    let (mut bad, mut gaps) = (Vec::new(), Vec::new());
    // The number of the last message that is kept, and the position after it.
    let mut last: Option<(i64, i64)> = None;
    while let Some(message) = messages.next()? {
        let is_first = last.is_none() && message.number > 0;
        // Each message that is missing had a row at least.
        let missing = last.and_then(|(number, end)| {
            let missing = message.number.checked_sub(number)?.checked_sub(1)?;
            let room = i64::try_from(most_lost - found.lost_between).unwrap_or(i64::MAX);
            (0..=room.min(message.position - end)).contains(&missing).then_some(missing)
        });
        if !(is_first || missing.is_some()) || message.check(stream).is_err() {
            bad.push((message.position, message.end() - 1));
            continue;
        }
        if let (Some((number, end)), Some(missing @ 1..)) = (last, missing) {
            gaps.push((end, number + 1, missing));
            found.lost_between += missing.unsigned_abs();
        }
        found.kept += 1;
        last = Some((message.number, message.end()));
    }
    for (from, to) in bad {
        let delete = "DELETE FROM message WHERE position BETWEEN ?1 AND ?2";
        *damaged += new.execute(delete, [from, to])? as u64;
    }
    let mut insert = new.prepare("INSERT INTO message VALUES(?1, ?2, ?3, ?4, ?5, 0, x'')")?;
    let Expiry { deadline, ttl } = Expiry::LOST;
    for (position, number, missing) in gaps {
        for (position, number) in (position..).zip(number..number + missing) {
            let StreamRow { mailbox: Mailbox { link, .. }, age, instance, .. } = stream;
            let sum = sum(*link, *age, instance.as_bytes(), number, Some(Expiry::LOST), false, &[]);
            insert.execute(params![position, number, deadline, ttl, sum])?;
        }
    }
    Ok(found)
}

/// Checks that a row can belong to a mailbox.
fn owner(row: &Row<'_>, link: usize, peer: usize) -> Result<(), Fault> {
    Owner::read(row, link, peer)?.mailbox().map(drop)
}

#[cfg(test)]
mod tests {
    use paddington_wire::Instance;

    use super::*;
    use crate::schema;
    use crate::streams::StreamId;

    /// Salvages messages with these numbers, at positions just as far from each other. Returns the
    /// kept ones, the lost ones, and the damaged rows.
    fn verified(numbers: &[i64], most_lost: u64) -> (u64, u64, u64) {
        let new = Connection::open_in_memory().unwrap();
        schema::create(&new, None).unwrap();
        let (id, instance) = (StreamId(1), Instance::from([1; 16]));
        let hub = Mailbox { peer: "hub".parse().unwrap(), link: [7; 16].into() };
        let sum_of = StreamRow::checksum(id, Owner::from(&hub), 0, instance.as_bytes(), 0);
        let mark_sum = StreamRow::mark_checksum(id, instance.as_bytes(), 0);
        let stream = "INSERT INTO stream VALUES(?1, ?2, 'hub', 0, ?3, 0, ?4, 0, ?5)";
        let (link, bytes) = (hub.link.as_bytes(), instance.as_bytes());
        new.execute(stream, params![id.0, link, bytes, sum_of, mark_sum]).unwrap();
        for number in numbers {
            let sum = sum(hub.link, 0, instance.as_bytes(), *number, None, false, &[]);
            let message = "INSERT INTO message VALUES(?1, ?2, NULL, NULL, ?3, 0, x'')";
            new.execute(message, [id.rows().start + number, *number, sum]).unwrap();
        }
        let mut report = SalvageReport::default();
        verify(&new, most_lost, &mut report).unwrap();
        let SalvagedMailbox { kept, lost_between } = report.mailboxes[&hub];
        let rows: u32 =
            new.query_row("SELECT count(*) FROM message", (), |row| row.get(0)).unwrap();
        assert_eq!(kept + lost_between, u64::from(rows));
        (kept, lost_between, report.damaged_rows)
    }

    #[test]
    fn a_number_that_the_file_cannot_have_reached_is_not_trusted() {
        assert_eq!(verified(&[1, 2, 1_000_000_000_000], 1_000), (2, 0, 1));
        assert_eq!(verified(&[1, 12], 10), (2, 10, 0));
        assert_eq!(verified(&[1, 13], 10), (1, 0, 1));
        assert_eq!(verified(&[1, 8, 13, 14], 10), (4, 10, 0), "all of it counts");
        assert_eq!(verified(&[1, 8, 15, 16, 9], 10), (3, 6, 2), "the others are kept");
    }
}
