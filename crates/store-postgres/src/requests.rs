//! The statements about requests that go through the database.

use std::collections::BTreeSet;

use paddington_exchange::store::{Ending, RelayId, Relayed, ReplicaId, TakeOf};
use paddington_wire::{LinkId, Payload};
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::ending;
use crate::error::Fault;
use crate::row::{self, column, loaded, stored};

/// The most requests, and bytes of more than one, that are taken at a time.
const MOST_TAKEN: i32 = 256;
const MOST_BYTES: i64 = 4 << 20;
/// Milliseconds after its deadline after which a request is removed.
const LEFT_OVER: i64 = 60_000;

const ASK: &str = "INSERT INTO request(asker, number, link, deadline, depth, crc, is_bytes, body) \
     SELECT $1, u.number, u.link, millis() + u.ttl, u.depth, u.crc, u.is_bytes, u.body \
     FROM unnest($2::bigint[], $3::bytea[], $4::bigint[], $5::int[], $6::bigint[], $7::boolean[], $8::bytea[]) \
         u(number, link, ttl, depth, crc, is_bytes, body)";
const WITHDRAW: &str = "DELETE FROM request q USING unnest($2::bigint[]) u(number) \
     WHERE q.asker = $1 AND q.number = u.number \
     RETURNING q.link, q.number, CASE WHEN q.ending IS NULL THEN q.taken_by END";
/// To be read after a request was committed: whoever claims the link later finds the request by itself.
const OWNERS: &str = "SELECT id, owner FROM link WHERE id = ANY($1) AND owner IS NOT NULL";
const TAKE: &str = "SELECT asker, number, link, turn, depth, time_left, crc, is_bytes, body \
     FROM take_requests($1, $2, $3, $4)";
const END: &str =
    "SELECT asker, link, is_back FROM end_requests($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const ENDINGS: &str = "SELECT link, number, ending, value, crc, is_bytes, body FROM request \
     WHERE asker = $1 AND link = ANY($2) AND ending IS NOT NULL";
const LOOK_AFTER: &str = "SELECT number, link, is_there, is_dead, owner, ending, value, crc, is_bytes, body \
     FROM look_after($1, $2)";
const OVER: &str = "SELECT requests_over($1, $2, $3, $4, $5)";

/// A request to be put into the database.
pub(crate) struct Question {
    pub(crate) link: LinkId,
    pub(crate) number: u64,
    pub(crate) request: Relayed,
}

/// Puts requests into the database. Returns the links that have owners, who are to be told.
pub(crate) async fn ask(
    connection: &Connection,
    by: i32,
    questions: &[Question],
) -> Result<Vec<(LinkId, ReplicaId)>, Fault> {
    let numbers = numbers(questions.iter().map(|it| it.number))?;
    let links: Vec<&[u8]> = questions.iter().map(|it| &it.link.as_bytes()[..]).collect();
    let of = |it: &Question| it.request.left.map(row::ttl);
    let ttls: Vec<Option<i64>> = questions.iter().map(of).collect();
    let depths: Vec<i32> = questions.iter().map(|it| i32::from(it.request.depth)).collect();
    let payload = |it: &Question| row::checksum(it.link, &it.request.payload);
    let crcs: Vec<i64> = questions.iter().map(payload).collect();
    let is_bytes: Vec<bool> = questions.iter().map(|it| it.request.payload.is_bytes()).collect();
    let bodies: Vec<&[u8]> = questions.iter().map(|it| &it.request.payload[..]).collect();
    for sql in [ASK, OWNERS] {
        connection.prepare(sql).await?;
    }
    let arguments: crate::connect::Arguments<'_> =
        &[&by, &numbers, &links, &ttls, &depths, &crcs, &is_bytes, &bodies];
    // Both are sent at once, each as a transaction of its own: the futures are polled in this order.
    let (asked, owners) = tokio::join!(biased;
        connection.execute(ASK, arguments),
        owners(connection, links.iter().copied().collect()),
    );
    asked?;
    Ok(owners.unwrap_or_default()) // they look by themselves
}

/// Returns the owners of links.
async fn owners(
    connection: &Connection,
    links: BTreeSet<&[u8]>,
) -> Result<Vec<(LinkId, ReplicaId)>, Fault> {
    let links: Vec<&[u8]> = links.into_iter().collect();
    let owner = |row: &Row| Ok((row::link(column(row, 0)?)?, row::replica(column(row, 1)?)));
    connection.rows(OWNERS, &[&links]).await?.iter().map(owner).collect()
}

/// Removes requests of a replica. Returns those that somebody makes.
pub(crate) async fn withdraw(
    connection: &Connection,
    by: i32,
    withdrawn: Vec<u64>,
) -> Result<Vec<(LinkId, u64, ReplicaId)>, Fault> {
    let numbers = numbers(withdrawn.into_iter())?;
    let mut running = Vec::new();
    for row in connection.rows(WITHDRAW, &[&by, &numbers]).await? {
        if let Some(taken_by) = column::<Option<i32>>(&row, 2)? {
            let link = row::link(column(&row, 0)?)?;
            running.push((link, loaded(column(&row, 1)?)?, row::replica(taken_by)));
        }
    }
    Ok(running)
}

/// Takes requests for links that a replica owns.
pub(crate) async fn take(
    connection: &Connection,
    by: i32,
    of: &TakeOf,
) -> Result<Vec<(RelayId, Relayed)>, Fault> {
    let links: Option<Vec<&[u8]>> = match of {
        TakeOf::Links(links) => Some(links.iter().map(|link| &link.as_bytes()[..]).collect()),
        TakeOf::All(_) => None,
    };
    let rows = connection.rows(TAKE, &[&by, &links, &MOST_TAKEN, &MOST_BYTES]).await?;
    rows.iter().map(taken).collect()
}

fn taken(row: &Row) -> Result<(RelayId, Relayed), Fault> {
    let link = row::link(column(row, 2)?)?;
    let id = RelayId {
        link,
        asker: row::replica(column(row, 0)?),
        number: loaded(column(row, 1)?)?,
        turn: column::<i32>(row, 3)?.cast_unsigned(),
    };
    let depth = u8::try_from(column::<i32>(row, 4)?).unwrap_or(u8::MAX);
    let payload = row::payload(link, row, 6)?;
    Ok((id, Relayed { payload, depth, left: row::left(column(row, 5)?) }))
}

/// Writes how requests have ended; those without an ending are given back. Returns whom to tell: askers,
/// and owners of links.
pub(crate) async fn end(
    connection: &Connection,
    by: i32,
    mut ended: Vec<(RelayId, Option<Ending>)>,
) -> Result<(Vec<(LinkId, ReplicaId)>, Vec<(LinkId, ReplicaId)>), Fault> {
    ended.sort_by_key(|(id, _)| (id.asker, id.number)); // as others lock them
    let askers: Vec<i32> = ended.iter().map(|(id, _)| id.asker.0.cast_signed()).collect();
    let numbers = numbers(ended.iter().map(|(id, _)| id.number))?;
    let turns: Vec<i32> = ended.iter().map(|(id, _)| id.turn.cast_signed()).collect();
    let (mut kinds, mut values, mut crcs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_bytes, mut bodies) = (Vec::new(), Vec::new());
    for (id, ending) in ended {
        let columns = ending.map(ending::columns);
        kinds.push(columns.as_ref().map(|(kind, ..)| *kind));
        values.push(columns.as_ref().map(|(_, value, _)| *value));
        let payload = columns.map(|(.., payload)| payload);
        crcs.push(payload.as_ref().map(|payload| row::checksum(id.link, payload)));
        is_bytes.push(payload.as_ref().map(Payload::is_bytes));
        bodies.push(payload);
    }
    let bodies: Vec<Option<&[u8]>> = bodies.iter().map(|it| it.as_deref()).collect();
    let arguments: crate::connect::Arguments<'_> =
        &[&by, &askers, &numbers, &turns, &kinds, &values, &crcs, &is_bytes, &bodies];
    let rows = connection.rows(END, arguments).await?;
    let (mut told, mut back) = (Vec::new(), BTreeSet::new());
    for row in &rows {
        let link: &[u8] = column(row, 1)?;
        if column(row, 2)? {
            back.insert(link);
        } else {
            told.push((row::link(link)?, row::replica(column(row, 0)?)));
        }
    }
    let owners = if back.is_empty() {
        Vec::new()
    } else {
        owners(connection, back).await.unwrap_or_default()
    };
    Ok((told, owners))
}

/// Returns how requests of a replica have ended, for these links.
pub(crate) async fn endings(
    connection: &Connection,
    by: i32,
    links: &[LinkId],
) -> Result<Vec<(u64, Ending)>, Fault> {
    let links: Vec<&[u8]> = links.iter().map(|link| &link.as_bytes()[..]).collect();
    let ending = |row: &Row| {
        let link = row::link(column(row, 0)?)?;
        Ok((loaded(column(row, 1)?)?, ending::read(link, row, 2)?))
    };
    connection.rows(ENDINGS, &[&by, &links]).await?.iter().map(ending).collect()
}

/// Returns how requests of a replica have ended, as far as that can be known, and the owners of links for
/// which nobody has taken some.
pub(crate) async fn look_after(
    connection: &Connection,
    by: i32,
    requests: Vec<u64>,
) -> Result<(Vec<(u64, Ending)>, BTreeSet<(LinkId, ReplicaId)>), Fault> {
    let numbers = numbers(requests.into_iter())?;
    let (mut endings, mut owners) = (Vec::new(), BTreeSet::new());
    for row in connection.rows(LOOK_AFTER, &[&by, &numbers]).await? {
        let number = loaded(column(&row, 0)?)?;
        if !column::<bool>(&row, 2)? {
            endings.push((number, Ending::Lost));
            continue;
        }
        let link = row::link(column(&row, 1)?)?;
        if column::<Option<i32>>(&row, 5)?.is_some() {
            endings.push((number, ending::read(link, &row, 5)?));
        } else if column::<bool>(&row, 3)? {
            endings.push((number, Ending::Moved));
        } else if let Some(owner) = column::<Option<i32>>(&row, 4)? {
            owners.insert((link, row::replica(owner)));
        }
    }
    Ok((endings, owners))
}

/// Removes what nobody waits for. Returns which of these requests, which a replica has taken, are over.
pub(crate) async fn over(
    connection: &Connection,
    by: i32,
    taken: &[RelayId],
) -> Result<Vec<RelayId>, Fault> {
    let askers: Vec<i32> = taken.iter().map(|id| id.asker.0.cast_signed()).collect();
    let numbers = numbers(taken.iter().map(|id| id.number))?;
    let turns: Vec<i32> = taken.iter().map(|id| id.turn.cast_signed()).collect();
    let row = connection.row(OVER, &[&by, &LEFT_OVER, &askers, &numbers, &turns]).await?;
    let places: Vec<i32> = column(&row, 0)?;
    let of = |place: i32| taken.get(usize::try_from(place).ok()?.checked_sub(1)?).copied();
    Ok(places.into_iter().filter_map(of).collect())
}

/// The numbers of requests, for the database.
fn numbers(numbers: impl Iterator<Item = u64>) -> Result<Vec<i64>, Fault> {
    numbers.map(stored).collect()
}
