//! The mailboxes as a whole: reading messages, what has become of them, what there is, and purging.

use paddington_exchange::store::parts::from_unix_millis;
use paddington_exchange::store::{Followed, Mailbox, MailboxStatus, Purged, Settled};
use paddington_wire::link::Outcome;
use paddington_wire::{LinkId, MessageId, RejectCode, RejectText};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::error::Fault;
use crate::row::{self, at_most, column, loaded};

/// The most messages, attempts and cursors that one transaction of a purge removes, and their bytes.
const MAX_STEP: i64 = 1_024;
const MAX_STEP_BYTES: i64 = 8 << 20;
/// The bytes of payload after which a statement reads no more streams.
const MAX_READ_BYTES: i64 = 1 << 20;

const READ: &str =
    "SELECT item, crc, is_bytes, body, time_left FROM read_messages($1, $2, $3, $4, $5)";
const FATES: &str = "SELECT f.kind, f.code, f.said, o.seq IS NOT NULL \
     FROM unnest($2::bytea[], $3::bigint[]) WITH ORDINALITY u(inc, seq, i) \
     LEFT JOIN link l ON l.id = $1 LEFT JOIN fate f ON f.peer = l.peer AND f.inc = u.inc AND f.seq = u.seq \
     LEFT JOIN stream s ON s.peer = l.peer AND s.inc = u.inc \
     LEFT JOIN outbox o ON o.peer = s.peer AND o.ord = s.ord AND o.seq = u.seq ORDER BY u.i";
const LIST: &str = "SELECT l.id, l.name, l.waiting, l.bytes, \
     (SELECT count(*) FROM dead d WHERE d.peer = l.peer) AS letters, \
     CASE WHEN l.waiting > 0 THEN (SELECT (extract(epoch FROM min(s.begun)) * 1000)::bigint FROM stream s \
         WHERE s.peer = l.peer AND EXISTS (SELECT FROM outbox o WHERE o.peer = s.peer AND o.ord = s.ord)) END \
     FROM link l WHERE l.id <> ALL ($1::bytea[]) AND (l.waiting > 0 \
         OR EXISTS (SELECT FROM dead d WHERE d.peer = l.peer) OR EXISTS (SELECT FROM cursor c WHERE c.peer = l.peer) \
         OR EXISTS (SELECT FROM attempt a WHERE a.peer = l.peer))";
const PURGE: &str = "SELECT is_last, messages, bytes, letters FROM purge_step($1, $2, $3)";

/// A stream to be read, from a message on: one message, and more as long as they have few bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) link: LinkId,
    pub(crate) first: MessageId,
    pub(crate) max_bytes: usize,
}

/// What was read of a stream.
pub(crate) type Read = Result<Vec<Followed>, Fault>;

/// Reads streams, as many as fit: the first one, and more as long as all of them have few bytes. Returns what was read of
/// each of these.
pub(crate) async fn read(
    connection: &Connection,
    readings: &[Reading],
) -> Result<Vec<Read>, Fault> {
    let links: Vec<&[u8]> = readings.iter().map(|it| &it.link.as_bytes()[..]).collect();
    let streams: Vec<&[u8]> = readings.iter().map(|it| &it.first.stream.as_bytes()[..]).collect();
    let firsts: Vec<i64> = readings.iter().map(|it| at_most(it.first.number)).collect();
    let bytes: Vec<i64> = readings.iter().map(|it| at_most(it.max_bytes as u64)).collect();
    let arguments: crate::connect::Arguments<'_> =
        &[&links, &streams, &firsts, &bytes, &MAX_READ_BYTES];
    let rows = connection.rows(READ, arguments).await?;
    let Some((last, rows)) = rows.split_last() else {
        return Err(Fault::refused("the answer has no row"));
    };
    let count = place(last)?.min(readings.len());
    if count == 0 {
        return Err(Fault::refused("the answer is for no stream"));
    }
    let mut all: Vec<Read> = Vec::new();
    all.resize_with(count, || Ok(Vec::new()));
    for row in rows {
        let at = place(row)?.checked_sub(1);
        let of = at.and_then(|at| Some((readings.get(at)?, all.get_mut(at)?)));
        let (reading, read) = of.ok_or_else(|| Fault::refused("a message belongs to no stream"))?;
        match (followed(reading.link, row), &mut *read) {
            (Ok(message), Ok(messages)) => messages.push(message),
            (Err(fault), Ok(_)) => *read = Err(fault),
            (_, Err(_)) => {}
        }
    }
    Ok(all)
}

/// The number of a stream in a statement, from 1.
fn place(row: &Row) -> Result<usize, Fault> {
    usize::try_from(column::<i32>(row, 0)?).map_err(|_| Fault::refused("a number is negative"))
}

fn followed(link: LinkId, row: &Row) -> Result<Followed, Fault> {
    let payload = row::payload(link, row, 1)?;
    Ok(Followed { payload, ttl: row::left(column(row, 4)?) })
}

/// Returns what has become of messages.
pub(crate) async fn fates(
    connection: &Connection,
    link: LinkId,
    ids: &[MessageId],
) -> Result<Vec<Settled>, Fault> {
    let streams: Vec<&[u8]> = ids.iter().map(|id| &id.stream.as_bytes()[..]).collect();
    let numbers: Vec<i64> = ids.iter().map(|id| at_most(id.number)).collect();
    let id = &link.as_bytes()[..];
    connection.rows(FATES, &[&id, &streams, &numbers]).await?.iter().map(settled).collect()
}

fn settled(row: &Row) -> Result<Settled, Fault> {
    let outcome = match column::<Option<i32>>(row, 0)? {
        None if column(row, 3)? => return Ok(Settled::Waiting),
        None => return Ok(Settled::Handled),
        Some(1) => {
            let code = u16::try_from(column::<i32>(row, 1)?);
            let code = code.map_err(|_| Fault::refused("the code of a rejection is damaged"))?;
            Outcome::Rejected(RejectCode(code))
        }
        Some(2) => Outcome::Expired,
        Some(_) => Outcome::TooLong,
    };
    Ok(Settled::Unhandled(outcome, RejectText::cut(column::<&str>(row, 2)?)))
}

/// Returns the mailboxes in which there is anything.
pub(crate) async fn list(
    connection: &Connection,
    except: &[LinkId],
) -> Result<Vec<MailboxStatus>, Fault> {
    let except: Vec<&[u8]> = except.iter().map(|link| &link.as_bytes()[..]).collect();
    let status = |row: &Row| {
        let mut status = MailboxStatus::new(row::mailbox(column(row, 0)?, column(row, 1)?)?);
        status.messages = loaded(column(row, 2)?)?;
        status.bytes = loaded(column(row, 3)?)?;
        status.letters = loaded(column(row, 4)?)?;
        status.since = column::<Option<i64>>(row, 5)?.map(from_unix_millis);
        Ok(status)
    };
    connection.rows(LIST, &[&except]).await?.iter().map(status).collect()
}

/// Sorts mailboxes by the names of their peers.
pub(crate) fn sort(list: &mut [MailboxStatus]) {
    list.sort_by(|one, other| {
        let (one, other) = (&one.mailbox, &other.mailbox);
        one.peer.cmp(&other.peer).then_with(|| one.cmp(other))
    });
}

/// Removes a mailbox, step by step.
pub(crate) async fn purge(connection: &Connection, mailbox: &Mailbox) -> Result<Purged, Fault> {
    let link = &mailbox.link.as_bytes()[..];
    let mut purged = Purged::default();
    loop {
        let row = connection.row(PURGE, &[&link, &MAX_STEP, &MAX_STEP_BYTES]).await?;
        purged.messages += loaded(column(&row, 1)?)?;
        purged.bytes += loaded(column(&row, 2)?)?;
        purged.letters += loaded(column(&row, 3)?)?;
        if column(&row, 0)? {
            return Ok(purged);
        }
    }
}
