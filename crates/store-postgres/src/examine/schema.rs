//! The schema of a service: whether it is one, whose, and what it says of replicas and links.

use std::time::Duration;

use super::report::{ConversionState, ReplicaState, SchemaState, StoreState};
use crate::config::PostgresConfig;
use crate::connect::{Connection, Target};
use crate::error::Fault;
use crate::migrate::{FORMAT, Kind, SERVICE, kind, meta};
use crate::row::{self, column, loaded};
use crate::seal;

/// What is read is of one moment, and nothing can be written.
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
                     SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '1s'";
const RIGHTS: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
     coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'USAGE'), true), \
     coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'CREATE'), \
         has_database_privilege(current_database(), 'CREATE'))";
const NOT_GRANTED: &str = "SELECT c.relname::text AS what FROM pg_class c \
     WHERE c.relnamespace = to_regnamespace($1)::oid AND c.relkind = 'r' \
         AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
             AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) \
     UNION ALL SELECT p.proname || '()' FROM pg_proc p \
     WHERE p.pronamespace = to_regnamespace($1)::oid AND NOT has_function_privilege(p.oid, 'EXECUTE') ORDER BY what";
/// The session lock of a replica is looked at, and not tried: a replica may want it at the same time.
const REPLICAS: &str = "SELECT r.n, r.version, greatest(extract(epoch FROM clock_timestamp() - r.beat) * 1000, 0)::bigint, r.lease, \
     EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.mode = 'ExclusiveLock' \
         AND l.database = d.oid AND l.classid = m.value::oid AND l.objid = r.n::oid) \
     FROM replica r, meta m, pg_database d WHERE m.key = 'lock' AND d.datname = current_database() \
     ORDER BY r.beat DESC LIMIT 1000";
/// Whether somebody holds the schema alone. This lock, too, is looked at, and not tried.
const IS_HELD: &str = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND l.mode = 'ExclusiveLock' \
         AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('paddington:' || $1::text || ':use', 0))";
const COUNTS: &str = "SELECT count(*), coalesce(sum(waiting), 0)::bigint, count(*) FILTER (WHERE owner <> ALL ($1)) FROM link";
const OWNERS: &str = "SELECT name, owner FROM link WHERE owner IS NOT NULL ORDER BY owner = ANY ($1), name LIMIT 10000";

/// Looks at the schema, in one transaction that reads.
pub(super) async fn state(
    config: &PostgresConfig,
    target: &Target,
    connection: &Connection,
) -> Result<SchemaState, Fault> {
    let begin = format!("{BEGIN}; SET LOCAL search_path = \"{}\"", target.schema);
    connection.client.batch_execute(&begin).await?;
    let found = in_transaction(config, target, connection).await;
    connection.client.batch_execute("ROLLBACK").await?;
    found
}

async fn in_transaction(
    config: &PostgresConfig,
    target: &Target,
    connection: &Connection,
) -> Result<SchemaState, Fault> {
    let rights = connection.row(RIGHTS, &[&target.schema]).await?;
    let (is_there, may_use, may_create): (bool, bool, bool) =
        (column(&rights, 0)?, column(&rights, 1)?, column(&rights, 2)?);
    if !is_there {
        return Ok(SchemaState::Missing { may_create });
    }
    if !may_use {
        return Ok(SchemaState::Closed);
    }
    match kind(connection).await? {
        Kind::Empty => return Ok(SchemaState::Missing { may_create }),
        Kind::Other => return Ok(SchemaState::Foreign),
        Kind::Store => {}
    }
    let not_granted = connection.rows(NOT_GRANTED, &[&target.schema]).await?;
    if !not_granted.is_empty() {
        let names = not_granted.iter().map(|row| column(row, 0));
        return Ok(SchemaState::NotGranted(names.collect::<Result<_, _>>()?));
    }
    let found = meta(connection, "format").await?.unwrap_or_default();
    if found != FORMAT {
        return Ok(SchemaState::OtherFormat { found, known: FORMAT });
    }
    let own: i64 = column(&connection.row(SERVICE, &[&config.service.as_str()]).await?, 0)?;
    if meta(connection, "service").await?.is_some_and(|service| service != own) {
        return Ok(SchemaState::OtherService);
    }
    Ok(SchemaState::Store(store(target, connection).await?))
}

async fn store(target: &Target, connection: &Connection) -> Result<StoreState, Fault> {
    let list = meta(connection, "number").await?.zip(meta(connection, "databases").await?);
    let rows = connection.rows(REPLICAS, &[]).await?;
    let replicas: Vec<_> = rows.iter().map(replica).collect::<Result<_, _>>()?;
    let living = replicas.iter().filter(|replica| replica.lives());
    let living: Vec<_> = living.map(|replica| replica.number.cast_signed()).collect();
    let counts = connection.row(COUNTS, &[&living]).await?;
    let count = |at| column(&counts, at).and_then(loaded);
    let owner = |row: &_| Ok::<_, Fault>((column(row, 0)?, row::replica(column(row, 1)?).0));
    let owners = connection.rows(OWNERS, &[&living]).await?;
    let mark = seal::read(connection).await?;
    let is_held = column(&connection.row(IS_HELD, &[&target.schema]).await?, 0)?;
    Ok(StoreState {
        list,
        replicas,
        links: count(0)?,
        waiting: count(1)?,
        of_dead: count(2)?,
        owners: owners.iter().map(owner).collect::<Result<_, _>>()?,
        seal: mark.seal,
        conversion: mark.converting.map(|to| ConversionState { to, is_running: is_held }),
    })
}

fn replica(row: &tokio_postgres::Row) -> Result<ReplicaState, Fault> {
    let millis = |at| column(row, at).and_then(loaded).map(Duration::from_millis);
    Ok(ReplicaState {
        number: row::replica(column(row, 0)?).0,
        version: column(row, 1)?,
        beat: millis(2)?,
        lease: millis(3)?,
        is_connected: column(row, 4)?,
    })
}
