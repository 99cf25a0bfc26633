//! The schema: creating it, and whether it is the right one.

use tokio_postgres::error::SqlState;

use crate::config::PostgresConfig;
use crate::connect::{Connection, Target};
use crate::error::{Fault, OpenError};
use crate::row::column;

/// The tables and functions.
const SCHEMA: &str = concat!(
    include_str!("schema/tables.sql"),
    include_str!("schema/messages.sql"),
    include_str!("schema/links.sql"),
    include_str!("schema/directory.sql"),
    include_str!("schema/requests.sql")
);
/// The format of the schema. A different one needs a different number.
pub(crate) const FORMAT: i64 = 1;
/// The number by which a schema knows its service: a hash of the service's name.
pub(crate) const SERVICE: &str = "SELECT ('x' || encode(substring(sha512(convert_to($1, 'UTF8')) FOR 8), 'hex'))::bit(64)::bigint";

/// Creates the schema of a store in each of its databases, with its tables and functions, unless it is there. To be called by a
/// role that may, if the service's own role may not; [`PostgresStore::open`](crate::PostgresStore::open)
/// does it otherwise.
///
/// # Errors
///
/// [`OpenError`] if the database cannot be reached, or the schema is something else: also that of another
/// version or service.
pub async fn migrate(config: &PostgresConfig) -> Result<(), OpenError> {
    for target in config.targets()? {
        let connection = connect(&target).await?;
        create(&target, &connection).await?;
        is_own(config, &target, &connection).await?;
    }
    Ok(())
}

/// Says that the databases were restored from a backup or a snapshot: what is accepted from now on is never
/// taken for something that was accepted before and forgotten (S9). To be called before any replica is
/// started; after a failover it is not needed.
///
/// # Errors
///
/// [`OpenError`] if the database cannot be reached, or has no store of this service.
pub async fn restored(config: &PostgresConfig) -> Result<(), OpenError> {
    // A timeline is added to the epoch: it must not lead back to an earlier one. Numbers of replicas
    // are not given twice.
    const RESTORED: &str = "UPDATE meta SET value = value + 1024 WHERE key = 'epoch';
         SELECT setval(pg_get_serial_sequence('replica', 'n'), nextval(pg_get_serial_sequence('replica', 'n')) + 10000)";
    let mut all = Vec::new();
    for target in config.targets()? {
        let connection = connect(&target).await?;
        is_own(config, &target, &connection).await?;
        all.push((target, connection));
    }
    for (target, connection) in all {
        let restored = connection.client.batch_execute(RESTORED).await;
        restored.map_err(|error| refused(&target, &error.into()))?;
    }
    Ok(())
}

/// Connects, with the search path of the schema.
async fn connect(target: &Target) -> Result<Connection, OpenError> {
    let unreachable = |fault: Fault| unreachable(target, &fault);
    let connection = target.connect(None).await.map_err(unreachable)?;
    let path =
        format!("SET search_path = \"{}\"; SET client_min_messages = warning", target.schema);
    connection.client.batch_execute(&path).await.map_err(|error| unreachable(error.into()))?;
    Ok(connection)
}

pub(crate) fn unreachable(target: &Target, fault: &Fault) -> OpenError {
    OpenError::Unreachable { place: target.url.place.clone(), cause: fault.why().to_owned() }
}

/// The error of a statement that was refused: mostly, the role has no rights.
pub(crate) fn refused(target: &Target, fault: &Fault) -> OpenError {
    let (schema, place) = (target.schema.clone(), target.url.place.clone());
    if fault.is(SqlState::INSUFFICIENT_PRIVILEGE.code()) {
        return OpenError::NoRights { schema, cause: fault.why().to_owned() };
    }
    if fault.is(SqlState::READ_ONLY_SQL_TRANSACTION.code()) {
        return OpenError::ReadOnly { place };
    }
    if fault.is(SqlState::LOCK_NOT_AVAILABLE.code()) {
        return OpenError::Converting { schema };
    }
    unreachable(target, fault)
}

/// Creates what is not there, in one transaction.
async fn create(target: &Target, connection: &Connection) -> Result<(), OpenError> {
    const EXISTS: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    let created = async {
        begin(target, connection).await?;
        // A schema that was made for the role needs no right to make one, not even `IF NOT EXISTS`.
        if !column::<bool>(&connection.row(EXISTS, &[&target.schema]).await?, 0)? {
            let create = format!("CREATE SCHEMA \"{}\"", target.schema);
            connection.client.batch_execute(&create).await?;
        }
        match kind(connection).await? {
            Kind::Empty => connection.client.batch_execute(SCHEMA).await?,
            Kind::Store => {}
            Kind::Other => return Ok(Kind::Other),
        }
        connection.client.batch_execute("COMMIT").await?;
        Ok(Kind::Store)
    };
    match created.await {
        Ok(Kind::Other) => Err(OpenError::NotAStore(target.schema.clone())),
        Ok(_) => Ok(()),
        Err(fault) => {
            let is_refused = Fault::is(&fault, SqlState::INSUFFICIENT_PRIVILEGE.code());
            if is_refused {
                return Err(OpenError::NoSchema { schema: target.schema.clone() });
            }
            Err(refused(target, &fault))
        }
    }
}

/// Begins a transaction in which nobody else makes the tables, or says how a new database is sealed.
pub(crate) async fn begin(target: &Target, connection: &Connection) -> Result<(), Fault> {
    let begin = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('paddington:{}', 0))",
        target.schema
    );
    Ok(connection.client.batch_execute(&begin).await?)
}

/// What a schema holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Store,
    Other,
}

/// Returns what the schema holds, which the role may use.
pub(crate) async fn kind(connection: &Connection) -> Result<Kind, Fault> {
    const KIND: &str = "SELECT to_regclass('meta') IS NOT NULL AND to_regclass('outbox') IS NOT NULL, \
         EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema())";
    let row = connection.row(KIND, &[]).await?;
    Ok(match (column(&row, 0)?, column(&row, 1)?) {
        (true, _) => Kind::Store,
        (false, true) => Kind::Other,
        (false, false) => Kind::Empty,
    })
}

/// Creates the schema if it is not there, and checks it.
pub(crate) async fn prepare(target: &Target, connection: &Connection) -> Result<(), OpenError> {
    let refused = |fault| refused(target, &fault);
    is_open(target, connection).await?;
    if kind(connection).await.map_err(refused)? != Kind::Store {
        create(target, connection).await?;
    }
    has_format(target, connection).await
}

/// Checks that the role may look into the schema, if it is there: it seems to be empty else.
pub(crate) async fn is_open(target: &Target, connection: &Connection) -> Result<(), OpenError> {
    const IS_CLOSED: &str = "SELECT CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) \
                             THEN NOT has_schema_privilege($1, 'USAGE') ELSE false END";
    let refused = |fault| refused(target, &fault);
    let is_closed = connection.row(IS_CLOSED, &[&target.schema]).await.map_err(refused)?;
    if !column::<bool>(&is_closed, 0).map_err(refused)? {
        return Ok(());
    }
    let (schema, cause) = (target.schema.clone(), "permission denied for the schema".to_owned());
    Err(OpenError::NoRights { schema, cause })
}

/// Checks that the tables are those of this version.
async fn has_format(target: &Target, connection: &Connection) -> Result<(), OpenError> {
    let found = meta(connection, "format").await.map_err(|fault| refused(target, &fault))?;
    if found == Some(FORMAT) {
        return Ok(());
    }
    let schema = target.schema.clone();
    Err(OpenError::Format { schema, found: found.unwrap_or_default(), known: FORMAT })
}

/// Checks that the tables are those of this version, and of this service if any has used them.
pub(crate) async fn is_own(
    config: &PostgresConfig,
    target: &Target,
    connection: &Connection,
) -> Result<(), OpenError> {
    has_format(target, connection).await?;
    let name = config.service.as_str();
    let belongs = async {
        let own: i64 = column(&connection.row(SERVICE, &[&name]).await?, 0)?;
        Ok::<_, Fault>(meta(connection, "service").await?.is_none_or(|found| found == own))
    };
    match belongs.await.map_err(|fault| refused(target, &fault))? {
        true => Ok(()),
        false => Err(OpenError::OtherService(target.schema.clone())),
    }
}

/// Reads a value of `meta`.
pub(crate) async fn meta(connection: &Connection, key: &str) -> Result<Option<i64>, Fault> {
    let rows = connection.rows("SELECT value FROM meta WHERE key = $1", &[&key]).await?;
    rows.first().map(|row| column(row, 0)).transpose()
}
