//! Who owns a link, and who may call handlers for it.

use paddington_exchange::store::{
    Claim, Claimed, Fence, LaneLeft, Mailbox, Owned, ReplicaId, StoreError, StoredCursor,
    StoredStream,
};
use paddington_wire::LinkId;
use tokio_postgres::Row;

use crate::connect::Connection;
use crate::cursors;
use crate::error::Fault;
use crate::row::{self, column, loaded, stored};

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
const CLAIM: &str = "SELECT holder, fence, inc, has_lane FROM claim($1, $2, $3, $4)";
/// The streams that have messages, with the length of each and the time that it has left.
const STREAMS: &str = "SELECT s.inc, s.base, s.mark, array_agg(octet_length(o.body) ORDER BY o.seq), \
     array_agg(CASE WHEN o.ttl IS NOT NULL THEN greatest(least(o.deadline - n.now, o.ttl), 0) END ORDER BY o.seq), max(o.seq) \
     FROM (SELECT millis() AS now) n, link l JOIN stream s ON s.peer = l.peer \
     JOIN outbox o ON o.peer = s.peer AND o.ord = s.ord AND o.seq >= s.base \
     WHERE l.id = $1 GROUP BY s.ord, s.inc, s.base, s.mark ORDER BY s.ord";
const RELEASE: &str = "SELECT release($1, $2, $3, $4)";
const TAKE_LANE: &str = "SELECT take_lane($1, $2, $3)";
const FREE_LANE: &str = "SELECT was_in, owner FROM free_lane($1, $2, $3)";
const OWNED: &str = "SELECT id, fence, inc, next FROM link WHERE owner = $1";

/// Claims a link for a replica.
pub(crate) async fn claim(
    connection: &Connection,
    by: i32,
    mailbox: &Mailbox,
) -> Result<Claimed, Fault> {
    for sql in [BEGIN, CLAIM, STREAMS, COMMIT] {
        connection.prepare(sql).await?;
    }
    cursors::prepare(connection).await?;
    let (link, name) = (&mailbox.link.as_bytes()[..], mailbox.peer.as_str());
    let arguments: crate::connect::Arguments<'_> = &[&link, &name, &by, &connection.timeline];
    let of_link: crate::connect::Arguments<'_> = &[&link];
    // All of it is sent at once: the futures are polled in this order.
    let (began, claimed, streams, kept, committed) = tokio::join!(biased; connection.execute(BEGIN, &[]),
        connection.row(CLAIM, arguments),
        connection.rows(STREAMS, of_link),
        cursors::load(connection, link),
        connection.execute(COMMIT, &[]),
    );
    began?;
    let row = claimed?;
    let (streams, (cursors, letters)) = (streams?, kept?);
    committed?;
    if let Some(holder) = column::<Option<i32>>(&row, 0)? {
        return Ok(Claimed::Held(row::replica(holder)));
    }
    Ok(Claimed::Owned(Box::new(Claim {
        fence: Fence(loaded(column(&row, 1)?)?),
        stream: row::instance(column(&row, 2)?)?,
        streams: streams.iter().map(stream).collect::<Result<_, _>>()?,
        cursors,
        letters,
        has_lane: column(&row, 3)?,
    })))
}

/// Reads a stream, and checks that it has no gap.
fn stream(row: &Row) -> Result<StoredStream, Fault> {
    let (base, mark) = (loaded(column(row, 1)?)?, loaded(column(row, 2)?)?);
    let (lens, left): (Vec<i32>, Vec<Option<i64>>) = (column(row, 3)?, column(row, 4)?);
    let last = loaded(column(row, 5)?)?;
    let messages = lens.into_iter().zip(left).map(|(len, left)| row::message(len, left));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let instance = row::instance(column(row, 0)?)?;
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
    let link = &link.as_bytes()[..];
    let fence = stored(fence.0).map_err(Fault::into_error)?;
    let row = connection.row(TAKE_LANE, &[&link, &by, &fence]).await.map_err(Fault::into_unsure)?;
    match column::<Option<i32>>(&row, 0).map_err(Fault::into_error)? {
        None => Err(StoreError::stale()),
        Some(0) => Ok(None),
        Some(_) => {
            let kept = cursors::load(connection, link).await;
            kept.map(|(cursors, _)| Some(cursors)).map_err(Fault::into_error)
        }
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
