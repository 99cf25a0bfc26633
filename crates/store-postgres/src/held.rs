//! A database that is converted: the lock that keeps replicas away meanwhile, and what is written down of it.
//!
//! This holds the lock alone of which each connection of a replica has a share. How far the conversion has come is written
//! down in `meta`.

use std::time::Duration;

use paddington_exchange::store::LetterId;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use crate::config::PostgresConfig;
use crate::connect::{Arguments, Commits, Connection, Target};
use crate::error::{ConvertError, Fault, OpenError};
use crate::letters::outer_id;
use crate::migrate::{self, Kind, meta, refused, unreachable};
use crate::open::{self, REPLACE};
use crate::row::{self, column};
use crate::seal::{self, Mark, Seal};

/// How often it is looked whether replicas that are about to end have ended, and the pause in between.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits for what is left of sessions that have lost their lock. While somebody waits, nobody gets a new share.
const LOCK: &str =
    "SELECT pg_advisory_lock(hashtextextended('paddington:' || $1::text || ':use', 0))";
const SESSIONS: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND l.pid <> pg_backend_pid() \
         AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('paddington:' || $1::text || ':use', 0) \
     ORDER BY l.pid";
/// Replicas whose session lock is held, however old their last beat is.
const REPLICAS: &str = "SELECT r.n FROM replica r, meta m, pg_database d \
     WHERE m.key = 'lock' AND d.datname = current_database() AND EXISTS (SELECT FROM pg_locks l \
         WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted AND l.mode = 'ExclusiveLock' \
             AND l.database = d.oid AND l.classid = m.value::oid AND l.objid = r.n::oid) ORDER BY r.n";
const ANY_LINK: &str = "SELECT body FROM directory WHERE body IS NOT NULL LIMIT 1";

/// A database that nobody else uses.
pub(crate) struct Held {
    target: Target,
    connection: Connection,
    /// What it says of its seal; `None` if there are no tables yet.
    mark: Option<Mark>,
    /// Its place in the list, from 0, and the length of the list.
    listed: (usize, usize),
}

impl Held {
    /// Takes the lock of a database, and reads what it says.
    pub(crate) async fn new(
        config: &PostgresConfig,
        target: Target,
        at: usize,
    ) -> Result<Self, ConvertError> {
        let connecting = target.connect(None).await;
        let connection = connecting.map_err(|fault| unreachable(&target, &fault))?;
        let trusted = open::server(&target, &connection).await;
        trusted.map_err(|fault| refused(&target, &fault))??;
        open::sessions(&target, &connection).await?;
        let mut held = Self { target, connection, mark: None, listed: (at, config.urls.len()) };
        let settings = held.target.settings(Commits::Synced);
        held.run(&format!("{settings}; SET lock_timeout = '5s'")).await?;
        migrate::is_open(&held.target, &held.connection).await?;
        let is_free = held.lock().await.map_err(|fault| held.error(&fault))?;
        held.run("SET lock_timeout = 0").await?;
        let kind = migrate::kind(&held.connection).await;
        let kind = kind.map_err(|fault| held.error(&fault))?;
        if kind == Kind::Other {
            return Err(OpenError::NotAStore(held.target.schema.clone()).into());
        }
        let is_store = kind == Kind::Store;
        if is_store {
            migrate::is_own(config, &held.target, &held.connection).await?;
        }
        let users = held.users(is_store).await.map_err(|fault| held.error(&fault))?;
        let (replicas, sessions) = users;
        if !is_free || !replicas.is_empty() {
            let place = held.target.url.place.clone();
            return Err(ConvertError::InUse { place, replicas, sessions });
        }
        if is_store {
            // What is in one that is not listed would stay as it is.
            let listed = open::is_listed(&held.connection, at, config.urls.len()).await;
            listed.map_err(|fault| held.error(&fault))??;
            let mark = seal::read(&held.connection).await;
            held.mark = Some(mark.map_err(|fault| held.error(&fault))?);
        }
        Ok(held)
    }

    /// Writes down that a conversion begins, unless it has begun or ended before.
    pub(crate) async fn begin(&mut self, to: Seal, was_plain: bool) -> Result<(), ConvertError> {
        let Some(mark) = self.mark else { return Ok(()) };
        let has_ended = mark.converting.is_none() && mark.seal == Some(to);
        if mark.converting == Some(to) || has_ended {
            return Ok(());
        }
        let begin = format!(
            "BEGIN; DELETE FROM request; DELETE FROM meta WHERE key LIKE 'convert%'; \
             INSERT INTO meta VALUES ('converting', {}), ('converting_plain', {}); COMMIT",
            to.stored(),
            i64::from(was_plain)
        );
        self.run(&begin).await?;
        self.mark = Some(Mark { converting: Some(to), was_plain, ..mark });
        Ok(())
    }

    /// Writes down that everything is converted.
    pub(crate) async fn finish(&mut self, to: Seal) -> Result<(), ConvertError> {
        if self.mark.is_none() {
            return Ok(());
        }
        let finish = format!(
            "BEGIN; DELETE FROM meta WHERE key LIKE 'convert%'; \
             INSERT INTO meta VALUES ('sealed', {}) ON CONFLICT (key) DO UPDATE SET value = excluded.value; COMMIT",
            to.stored()
        );
        self.run(&finish).await?;
        self.mark = Some(Mark { seal: Some(to), converting: None, was_plain: false });
        Ok(())
    }

    /// Returns what the database says of its seal; `None` if there are no tables yet.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Returns how far a part of the conversion has come.
    pub(crate) async fn reached(&self, key: &str) -> Result<i64, ConvertError> {
        let reached = meta(&self.connection, key).await.map_err(|fault| self.error(&fault))?;
        Ok(reached.unwrap_or_default())
    }

    /// Returns whether nothing was ever kept in the database.
    pub(crate) async fn is_new(&self) -> Result<bool, ConvertError> {
        seal::is_new(&self.connection).await.map_err(|fault| self.error(&fault))
    }

    /// Returns the state of some link, if there is one.
    pub(crate) async fn any_link(&self) -> Result<Option<Zeroizing<String>>, ConvertError> {
        let rows = self.rows(ANY_LINK, &[]).await?;
        let text = rows.first().map(|row| column::<String>(row, 0)).transpose();
        Ok(text.map_err(|fault| self.error(&fault))?.map(Zeroizing::new))
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, ConvertError> {
        self.connection.rows(sql, arguments).await.map_err(|fault| self.error(&fault))
    }

    /// Writes what was converted, and how far that is, in one transaction.
    pub(crate) async fn write(
        &self,
        statements: &[(&'static str, Arguments<'_>)],
        upto: &[(&str, i64)],
    ) -> Result<(), ConvertError> {
        let connection = &self.connection;
        self.run("BEGIN").await?;
        let written = async {
            for &(sql, arguments) in statements {
                connection.execute(sql, arguments).await?;
            }
            for (key, value) in upto {
                connection.execute(REPLACE, &[key, value]).await?;
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = written.await {
            let _ = connection.client.batch_execute("ROLLBACK").await;
            return Err(self.error(&fault));
        }
        self.run("COMMIT").await
    }

    /// Lets others use the database again.
    pub(crate) async fn release(&self) {
        const UNLOCK: &str = "ROLLBACK; SELECT pg_advisory_unlock_all()";
        let _ = self.connection.client.batch_execute(UNLOCK).await;
    }

    /// Returns a dead letter's number over all databases.
    pub(crate) fn letter(&self, id: u64) -> LetterId {
        outer_id(id, self.listed.0, self.listed.1)
    }

    pub(crate) fn error(&self, fault: &Fault) -> ConvertError {
        refused(&self.target, fault).into()
    }

    /// The error of something that could not be converted.
    pub(crate) fn cause(&self, what: String, cause: String) -> ConvertError {
        ConvertError::Content { what, place: self.target.url.place.clone(), cause }
    }

    /// Returns whether nobody else uses the schema. As long as somebody waits for the lock, replicas get no new
    /// connection: if one runs, it is not asked for.
    async fn lock(&self) -> Result<bool, Fault> {
        let mut looks = 0;
        while migrate::kind(&self.connection).await? == Kind::Store
            && !self.users(true).await?.0.is_empty()
        {
            if looks == LOOKS {
                return Ok(false);
            }
            looks += 1;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        match self.connection.rows(LOCK, &[&self.target.schema]).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is(SqlState::LOCK_NOT_AVAILABLE.code()) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Returns the replicas that run, and the sessions that use the schema.
    async fn users(&self, is_store: bool) -> Result<(Vec<u32>, Vec<i32>), Fault> {
        let rows = self.connection.rows(SESSIONS, &[&self.target.schema]).await?;
        let sessions = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        let rows = if is_store { self.connection.rows(REPLICAS, &[]).await? } else { Vec::new() };
        let number = |row: &Row| Ok::<_, Fault>(row::replica(column(row, 0)?).0);
        Ok((rows.iter().map(number).collect::<Result<_, _>>()?, sessions))
    }

    async fn run(&self, sql: &str) -> Result<(), ConvertError> {
        let done = self.connection.client.batch_execute(sql).await;
        done.map_err(|error| self.error(&error.into()))
    }
}
