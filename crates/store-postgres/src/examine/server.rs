//! What a server says of itself, how far away it is, and what its clock shows.

use std::time::{Duration, Instant, SystemTime};

use super::report::{ConnectionsState, ServerState};
use crate::connect::Connection;
use crate::database::CONNECTIONS;
use crate::error::{Fault, NEEDED};
use crate::row::{column, loaded};
use crate::server;

/// Number of round trips that are measured.
const ROUND_TRIPS: usize = 7;

/// Looks at a server.
pub(super) async fn state(connection: &Connection) -> Result<ServerState, Fault> {
    let settings = server::settings(connection).await?;
    let (standbys, synchronous) = standbys(connection).await?;
    let (round_trip, clock_ahead) = round_trips(connection).await?;
    Ok(ServerState {
        is_too_old: settings.version_number < NEEDED,
        version: settings.version,
        fsync: settings.fsync,
        full_page_writes: settings.full_page_writes,
        standby_names: settings.standby_names,
        standbys,
        synchronous,
        is_standby: settings.is_standby,
        connections: connections(connection).await?,
        round_trip,
        clock_ahead,
    })
}

/// How many standbys are connected, and how many of them a commit can wait for.
async fn standbys(connection: &Connection) -> Result<(u64, Option<u64>), Fault> {
    const STANDBYS: &str = "SELECT count(*), CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') \
         THEN count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END FROM pg_stat_replication";
    let row = connection.ask(STANDBYS).await?;
    let synchronous = column::<Option<i64>>(&row, 1)?;
    Ok((loaded(column(&row, 0)?)?, synchronous.map(loaded).transpose()?))
}

/// Some of it cannot be known by every role: what can be is counted.
async fn connections(connection: &Connection) -> Result<ConnectionsState, Fault> {
    const FREE: &str = "SELECT a.allowed, u.used, u.of_role, greatest(0, least(a.allowed - u.used, \
             CASE WHEN r.rolconnlimit >= 0 THEN r.rolconnlimit - u.of_role END, \
             CASE WHEN d.datconnlimit >= 0 THEN d.datconnlimit - u.of_database END)) \
         FROM (SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
                 - coalesce(current_setting('reserved_connections', true)::bigint, 0) AS allowed) a, \
             pg_roles r, pg_database d, \
             (SELECT count(*) AS used, count(*) FILTER (WHERE s.usesysid = o.oid) AS of_role, \
                 count(*) FILTER (WHERE s.datid = b.oid) AS of_database \
              FROM pg_stat_activity s, pg_roles o, pg_database b \
              WHERE s.datid IS NOT NULL AND s.usesysid IS NOT NULL AND s.pid <> pg_backend_pid() \
                  AND o.rolname = current_user AND b.datname = current_database()) u \
         WHERE r.rolname = current_user AND d.datname = current_database()";
    let row = connection.ask(FREE).await?;
    let number = |at| column(&row, at).and_then(loaded);
    Ok(ConnectionsState {
        allowed: number(0)?,
        used: number(1)?,
        of_role: number(2)?,
        free: number(3)?,
        of_replica: CONNECTIONS as u64,
    })
}

/// The fastest and the slowest round trip; by how many milliseconds the clock of the server is ahead.
async fn round_trips(connection: &Connection) -> Result<((Duration, Duration), i64), Fault> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let (mut fastest, mut slowest, mut ahead) = (Duration::MAX, Duration::ZERO, 0);
    for _ in 0..ROUND_TRIPS {
        let (here, began) = (SystemTime::now(), Instant::now());
        let there: i64 = column(&connection.ask(NOW).await?, 0)?;
        let took = began.elapsed();
        slowest = slowest.max(took);
        if took < fastest {
            fastest = took;
            ahead = there.saturating_sub(micros(here + took / 2)) / 1_000;
        }
    }
    Ok(((fastest, slowest), ahead))
}

/// Microseconds since 1970.
fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
