//! Who owns a link, and who may call handlers for it.

use std::collections::HashMap;

use paddington_exchange::store::{
    Claim, Claimed, Fence, LaneLeft, Mailbox, Owned, ReplicaId, StoreError, StoredCursor,
    StoredStream,
};
use paddington_wire::LinkId;
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::cursors::{self, Kept};
use crate::error::Fault;
use crate::row::{self, column, loaded, stored};

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
/// One after the other, in the order in which others lock links. A link that somebody else has locked is left out, so
/// that the others do not wait for it.
const CLAIM: &str = "WITH free AS MATERIALIZED \
         (SELECT l.id FROM link l WHERE l.id = ANY ($3) ORDER BY l.id FOR UPDATE SKIP LOCKED) \
     SELECT u.i, c.holder, c.fence, c.inc, c.has_lane \
     FROM (SELECT * FROM unnest($3::bytea[], $4::text[], $5::bigint[], $6::bigint[]) \
         WITH ORDINALITY u(link, name, last, number, i) \
         WHERE u.link IN (SELECT f.id FROM free f) OR NOT EXISTS (SELECT FROM link l WHERE l.id = u.link) \
         ORDER BY u.link) u, \
     LATERAL claim(u.link, u.name, $1, $2, u.last, u.number) c";
/// One link, however long somebody else has it locked, up to a limit.
const CLAIM_ALONE: &str =
    "SELECT 1::bigint, holder, fence, inc, has_lane FROM claim($1, $2, $3, $4, $5, $6)";
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";
/// The streams that have messages, with the length of each and the time that it has left.
const STREAMS: &str = "SELECT l.id, s.inc, s.base, s.mark, array_agg(octet_length(o.body) ORDER BY o.seq), \
     array_agg(CASE WHEN o.ttl IS NOT NULL THEN greatest(least(o.deadline - n.now, o.ttl), 0) END ORDER BY o.seq), max(o.seq) \
     FROM (SELECT millis() AS now) n, link l JOIN stream s ON s.peer = l.peer \
     JOIN outbox o ON o.peer = s.peer AND o.ord = s.ord AND o.seq >= s.base \
     WHERE l.id = ANY ($1) GROUP BY l.id, s.ord, s.inc, s.base, s.mark ORDER BY l.id, s.ord";
const RELEASE: &str = "SELECT release($1, $2, $3, $4)";
const TAKE_LANE: &str = "SELECT take_lane($1, $2, $3)";
const FREE_LANE: &str = "SELECT was_in, owner FROM free_lane($1, $2, $3)";
/// Each replica is looked at once, however many links it owns.
const OWNERS: &str = "WITH held AS MATERIALIZED (SELECT id, owner FROM link WHERE id = ANY ($1) AND owner IS NOT NULL), \
     living AS MATERIALIZED (SELECT o.n FROM (SELECT DISTINCT owner AS n FROM held) o WHERE alive(o.n)) \
     SELECT h.id, h.owner FROM held h WHERE h.owner IN (SELECT l.n FROM living l)";
const OWNED: &str = "SELECT id, fence, inc, next FROM link WHERE owner = $1";

/// A link to be claimed.
#[derive(Clone, Debug)]
pub(crate) struct Claiming {
    pub(crate) mailbox: Mailbox,
    /// The fence of the latest term that the replica knows.
    pub(crate) last: Fence,
    /// The number of the claim.
    pub(crate) number: u64,
}

/// Claims links for a replica, all of them in one transaction, or none. Those that somebody else has locked are left
/// out: the answer to each of them is `None`.
pub(crate) async fn claim(
    connection: &Connection,
    by: i32,
    all: &[Claiming],
) -> Result<Vec<Option<Result<Claimed, Fault>>>, Fault> {
    let links: Vec<&[u8]> = all.iter().map(|it| &it.mailbox.link.as_bytes()[..]).collect();
    let names: Vec<&str> = all.iter().map(|it| it.mailbox.peer.as_str()).collect();
    let last: Vec<i64> = all.iter().map(|it| row::at_most(it.last.0)).collect();
    let numbers: Vec<i64> = all.iter().map(|it| row::at_most(it.number)).collect();
    let arguments: crate::connect::Arguments<'_> =
        &[&by, &connection.timeline, &links, &names, &last, &numbers];
    transact(connection, (CLAIM, arguments), all, &links).await
}

/// Claims one link for a replica, and waits for whoever has locked it.
pub(crate) async fn claim_alone(
    connection: &Connection,
    by: i32,
    one: &Claiming,
) -> Result<Claimed, Fault> {
    let (link, name) = (&one.mailbox.link.as_bytes()[..], one.mailbox.peer.as_str());
    let (last, number) = (row::at_most(one.last.0), row::at_most(one.number));
    let arguments: crate::connect::Arguments<'_> =
        &[&link, &name, &by, &connection.timeline, &last, &number];
    let claim = (CLAIM_ALONE, arguments);
    let answers = transact(connection, claim, std::slice::from_ref(one), &[link]).await;
    let none = || Err(Fault::refused("a claim has no answer"));
    answers?.pop().flatten().unwrap_or_else(none)
}

/// Runs a statement that claims links, and reads what is kept of them, in one transaction.
async fn transact(
    connection: &Connection,
    (claim, arguments): (&'static str, crate::connect::Arguments<'_>),
    all: &[Claiming],
    links: &[&[u8]],
) -> Result<Vec<Option<Result<Claimed, Fault>>>, Fault> {
    for sql in [BEGIN, PATIENCE, claim, STREAMS, COMMIT] {
        connection.prepare(sql).await?;
    }
    cursors::prepare(connection).await?;
    let of_links: crate::connect::Arguments<'_> = &[&links];
    // All of it is sent at once: the futures are polled in this order.
    let (began, limited, claimed, streams, kept, committed) = tokio::join!(biased; connection.execute(BEGIN, &[]),
        connection.execute(PATIENCE, &[]),
        connection.rows(claim, arguments),
        connection.rows(STREAMS, of_links),
        cursors::load(connection, links),
        connection.execute(COMMIT, &[]),
    );
    began?;
    limited?;
    let claimed = claimed?;
    let (streams, mut kept) = (streams?, kept?);
    let streams = by_link(&streams)?;
    committed?;
    let mut answers: Vec<Option<Result<Claimed, Fault>>> = vec![None; all.len()];
    for row in &claimed {
        let at = usize::try_from(column::<i64>(row, 0)? - 1).ok();
        let place = at.and_then(|at| Some((all.get(at)?, answers.get_mut(at)?)));
        let Some((claiming, answer)) = place else { continue };
        let link = claiming.mailbox.link;
        let streams = streams.get(&link).map(Vec::as_slice).unwrap_or_default();
        *answer = Some(answered(row, streams, kept.remove(&link).unwrap_or_default()));
    }
    Ok(answers)
}

/// Sorts rows by the links in their first columns.
fn by_link(rows: &[Row]) -> Result<HashMap<LinkId, Vec<&Row>>, Fault> {
    let mut sorted: HashMap<LinkId, Vec<&Row>> = HashMap::new();
    for row in rows {
        sorted.entry(row::link(column(row, 0)?)?).or_default().push(row);
    }
    Ok(sorted)
}

/// Reads the answer to one claim.
fn answered(row: &Row, streams: &[&Row], kept: Kept) -> Result<Claimed, Fault> {
    if let Some(holder) = column::<Option<i32>>(row, 1)? {
        return Ok(Claimed::Held(row::replica(holder)));
    }
    Ok(Claimed::Owned(Box::new(Claim {
        fence: Fence(loaded(column(row, 2)?)?),
        stream: row::instance(column(row, 3)?)?,
        streams: streams.iter().map(|row| stream(row)).collect::<Result<_, _>>()?,
        cursors: kept.cursors,
        letters: kept.letters,
        has_lane: column(row, 4)?,
    })))
}

/// Reads a stream, and checks that it has no gap.
fn stream(row: &Row) -> Result<StoredStream, Fault> {
    let (base, mark) = (loaded(column(row, 2)?)?, loaded(column(row, 3)?)?);
    let (lens, left): (Vec<i32>, Vec<Option<i64>>) = (column(row, 4)?, column(row, 5)?);
    let last = loaded(column(row, 6)?)?;
    let messages = lens.into_iter().zip(left).map(|(len, left)| row::message(len, left));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let instance = row::instance(column(row, 1)?)?;
    if last.checked_sub(base).is_none_or(|more| more + 1 != messages.len() as u64) {
        return Err(Fault::refused(format!("a message of stream {instance} is missing")));
    }
    Ok(StoredStream { instance, base, mark, messages })
}

/// Gives links up.
pub(crate) async fn release(
    connection: &Connection,
    by: i32,
    links: &[(Mailbox, Fence, LaneLeft)],
) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = links.iter().map(|(mailbox, ..)| &mailbox.link.as_bytes()[..]).collect();
    let fences =
        links.iter().map(|(_, fence, _)| stored(fence.0)).collect::<Result<Vec<_>, _>>()?;
    let free: Vec<bool> = links.iter().map(|(.., lane)| *lane == LaneLeft::Free).collect();
    connection.rows(RELEASE, &[&by, &ids, &fences, &free]).await?;
    Ok(())
}

/// Enters the lane. Whatever was committed by whoever was in it before is read afterwards.
pub(crate) async fn take_lane(
    connection: &Connection,
    by: i32,
    link: LinkId,
    fence: Fence,
) -> Result<Option<Vec<StoredCursor>>, StoreError> {
    let id = &link.as_bytes()[..];
    let fence = stored(fence.0).map_err(Fault::into_error)?;
    let row = connection.row(TAKE_LANE, &[&id, &by, &fence]).await.map_err(Fault::into_unsure)?;
    match column::<Option<i32>>(&row, 0).map_err(Fault::into_error)? {
        None => Err(StoreError::stale()),
        Some(0) => Ok(None),
        Some(_) => cursors::of(connection, link).await.map(Some).map_err(Fault::into_error),
    }
}

/// Leaves the lane. Returns the owner of the link, who is to be told.
pub(crate) async fn free_lane(
    connection: &Connection,
    by: i32,
    link: LinkId,
    fence: Fence,
) -> Result<Option<ReplicaId>, StoreError> {
    let link = &link.as_bytes()[..];
    let fence = stored(fence.0).map_err(Fault::into_error)?;
    let row = connection.row(FREE_LANE, &[&link, &by, &fence]).await.map_err(Fault::into_unsure)?;
    if !column::<bool>(&row, 0).map_err(Fault::into_error)? {
        return Err(StoreError::stale());
    }
    let owner: Option<i32> = column(&row, 1).map_err(Fault::into_error)?;
    Ok(owner.map(row::replica))
}

/// Returns the links that a replica owns.
pub(crate) async fn owned(connection: &Connection, by: i32) -> Result<Vec<Owned>, Fault> {
    let owned = |row: &Row| {
        Ok(Owned {
            link: row::link(column(row, 0)?)?,
            fence: Fence(loaded(column(row, 1)?)?),
            stream: row::instance(column(row, 2)?)?,
            last: loaded(column::<i64>(row, 3)? - 1)?,
        })
    };
    connection.rows(OWNED, &[&by]).await?.iter().map(owned).collect()
}

/// Returns which replicas own these links, as far as they live.
pub(crate) async fn owners(
    connection: &Connection,
    links: &[LinkId],
) -> Result<Vec<(LinkId, ReplicaId)>, Fault> {
    let ids: Vec<&[u8]> = links.iter().map(|link| &link.as_bytes()[..]).collect();
    let owner = |row: &Row| Ok((row::link(column(row, 0)?)?, row::replica(column(row, 1)?)));
    connection.rows(OWNERS, &[&ids]).await?.iter().map(owner).collect()
}
