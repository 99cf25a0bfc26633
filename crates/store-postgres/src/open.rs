//! Opening a store: whether the server, the schema and the list of databases can be trusted.

use std::sync::{Arc, Mutex};

use paddington_exchange::store::DirectoryNews;
use paddington_exchange::store::parts::CommitTimes;
use paddington_wire::Instance;
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use crate::config::PostgresConfig;
use crate::connect::{Commits, Connection, Target};
use crate::database::Database;
use crate::error::{Fault, NEEDED, OpenError};
use crate::inbox::Inbox;
use crate::lease::{Lease, MAX_LEASE, MIN_LEASE};
use crate::migrate::{self, meta, refused, unreachable};
use crate::notifier::Notifier;
use crate::presence::{Presence, join};
use crate::row::{self, column};
use crate::seal::{self, Mark, Seal};
use crate::server;

const KEEP: &str = "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
pub(crate) const REPLACE: &str =
    "INSERT INTO meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// The databases of a store that was opened, and what this replica is told.
pub(crate) struct Opened {
    pub(crate) databases: Vec<Arc<Database>>,
    pub(crate) inbox: Inbox,
    pub(crate) news: Arc<watch::Sender<DirectoryNews>>,
    pub(crate) health: Arc<Mutex<CommitTimes>>,
}

/// A database that can be used.
pub(crate) struct Checked {
    pub(crate) target: Target,
    pub(crate) connection: Arc<Connection>,
    /// What it says of its seal.
    mark: Mark,
}

/// Opens all databases. The first one gives this replica its number.
pub(crate) async fn open(config: &PostgresConfig) -> Result<Opened, OpenError> {
    if config.lease < MIN_LEASE || config.lease > MAX_LEASE {
        return Err(OpenError::Lease(config.lease));
    }
    let mut checked = checked(config, Some(config.seal)).await?;
    claim(config.seal, &mut checked).await?;
    let marked = |it: Checked| (it.target.with_mark(it.mark), it.connection);
    let checked: Vec<_> = checked.into_iter().map(marked).collect();
    let (target, first) = checked.first().ok_or(OpenError::NoUrl)?;
    let no_token =
        |error: paddington_wire::KeyError| unreachable(target, &Fault::refused(error.to_string()));
    let token = Instance::random().map_err(no_token)?;
    let number = join(first, token, config.lease).await.map_err(|fault| refused(target, &fault))?;
    let (inbox, news, health) = (Inbox::default(), Arc::default(), Arc::default());
    let mut databases = Vec::new();
    for (target, connection) in &checked {
        let lock = meta(connection, "lock").await.map_err(|fault| refused(target, &fault))?;
        let lock = i32::try_from(lock.unwrap_or_default()).unwrap_or_default();
        let channel =
            Notifier::new(row::replica(number), lock, inbox.clone()).channel(row::replica(number));
        let presence = Presence {
            target: target.clone(),
            number,
            token,
            lock,
            channel,
            time: config.lease,
            lease: Lease::new(),
            inbox: inbox.clone(),
            news: Arc::clone(&news),
        };
        let present = presence.establish().await.map_err(|fault| refused(target, &fault))?;
        databases.push(Database::start(presence, present, Arc::clone(&health)));
    }
    Ok(Opened { databases, inbox, news, health })
}

/// Connects to all databases, and checks them. This replica has no key yet if `own` is `None`.
pub(crate) async fn checked(
    config: &PostgresConfig,
    own: Option<Seal>,
) -> Result<Vec<Checked>, OpenError> {
    let mut checked = Vec::new();
    for (at, target) in config.targets()?.into_iter().enumerate() {
        let connection = check(config, &target, at).await?;
        let mark = seal::check(own, &target, &connection).await;
        let mark = mark.map_err(|fault| refused(&target, &fault))??;
        checked.push(Checked { target, connection, mark });
    }
    Ok(checked)
}

/// Says in new databases under what everything is sealed, before anything is written: of replicas that begin at the same
/// time, the one that is first in the first database decides. One that holds something and does not say it ends that.
async fn claim(own: Seal, checked: &mut [Checked]) -> Result<(), OpenError> {
    for database in checked {
        if database.mark.seal.is_some() {
            continue;
        }
        let (target, connection) = (&database.target, &database.connection);
        let claimed = async {
            migrate::begin(target, connection).await?;
            seal::claim(connection, own).await?;
            connection.client.batch_execute("COMMIT").await?;
            seal::check(Some(own), target, connection).await
        };
        database.mark = claimed.await.map_err(|fault| refused(target, &fault))??;
        if database.mark.seal.is_none() {
            break;
        }
    }
    Ok(())
}

/// Connects to a database, and checks all that can be checked before it is used.
async fn check(
    config: &PostgresConfig,
    target: &Target,
    at: usize,
) -> Result<Arc<Connection>, OpenError> {
    let plain = target.connect(None).await.map_err(|fault| unreachable(target, &fault))?;
    server(target, &plain).await.map_err(|fault| refused(target, &fault))??;
    sessions(target, &plain).await?;
    let opened = target.open(Commits::Synced, None).await;
    let connection = opened.map_err(|fault| {
        match fault.is(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE.code()) {
            true => OpenError::ReadOnly { place: target.url.place.clone() },
            false => refused(target, &fault),
        }
    })?;
    migrate::prepare(target, &connection).await?;
    owner(config, target, &connection, at).await.map_err(|fault| refused(target, &fault))??;
    Ok(connection)
}

/// Checks the server and its settings.
pub(crate) async fn server(
    target: &Target,
    connection: &Connection,
) -> Result<Result<(), OpenError>, Fault> {
    let found = server::settings(connection).await?;
    if found.version_number < NEEDED {
        return Ok(Err(OpenError::OldServer { found: found.version }));
    }
    let settings = [("fsync", found.fsync), ("full_page_writes", found.full_page_writes)];
    if let Some((setting, _)) = settings.into_iter().find(|(_, is_on)| !is_on) {
        return Ok(Err(OpenError::Unsafe { setting }));
    }
    if found.is_standby {
        return Ok(Err(OpenError::ReadOnly { place: target.url.place.clone() }));
    }
    if found.standby_names.is_empty() {
        tracing::warn!(
            database = target.url.place,
            "no standby is synchronous (synchronous_standby_names): a failover forgets the last messages"
        );
    }
    Ok(Ok(()))
}

/// Checks that each connection is a session of its own.
pub(crate) async fn sessions(target: &Target, one: &Connection) -> Result<(), OpenError> {
    let pooled = server::is_pooled(target, one).await;
    if pooled.map_err(|fault| unreachable(target, &fault))? {
        return Err(OpenError::Pooler);
    }
    Ok(())
}

/// Checks that the schema belongs to this service, and that the database has its place in the list.
async fn owner(
    config: &PostgresConfig,
    target: &Target,
    connection: &Connection,
    at: usize,
) -> Result<Result<(), OpenError>, Fault> {
    let name = config.service.as_str();
    let service: i64 = column(&connection.row(migrate::SERVICE, &[&name]).await?, 0)?;
    connection.execute(KEEP, &[&"service", &service]).await?;
    if meta(connection, "service").await? != Some(service) {
        return Ok(Err(OpenError::OtherService(target.schema.clone())));
    }
    let place = [("number", at + 1), ("databases", config.urls.len())];
    let place = place.map(|(key, value)| (key, i64::try_from(value).unwrap_or_default()));
    for (key, value) in place {
        connection.execute(KEEP, &[&key, &value]).await?;
    }
    let Err(other) = is_listed(connection, at, config.urls.len()).await? else {
        return Ok(Ok(()));
    };
    if !connection.rows("SELECT FROM link LIMIT 1", &[]).await?.is_empty() {
        return Ok(Err(other));
    }
    for (key, value) in place {
        connection.execute(REPLACE, &[&key, &value]).await?;
    }
    Ok(Ok(()))
}

/// Checks that a database has its place in the list, if it says which one it has.
pub(crate) async fn is_listed(
    connection: &Connection,
    at: usize,
    of: usize,
) -> Result<Result<(), OpenError>, Fault> {
    let was = meta(connection, "number").await?;
    let Some((was_number, was_of)) = was.zip(meta(connection, "databases").await?) else {
        return Ok(Ok(()));
    };
    let number = at + 1;
    let is_same = i64::try_from(number) == Ok(was_number) && i64::try_from(of) == Ok(was_of);
    Ok(if is_same { Ok(()) } else { Err(OpenError::OtherList { number, of, was_number, was_of }) })
}
