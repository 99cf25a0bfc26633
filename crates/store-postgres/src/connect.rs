//! Connections to the database: what is set at each, and its prepared statements.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use crate::error::{Fault, OpenError};
use crate::seal::{self, Mark};
use crate::tls::Tls;
use crate::url::Url;

/// Time within which a connection has to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// Time after which a server that does not confirm what was sent is taken for gone.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// The statement that tells the timeline of a server, which fails at a standby, and whether the connection has got its
/// share of the schema: until it ends, nobody seals anew what is there.
const BEGIN: &str = "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int::bigint, \
     pg_try_advisory_lock_shared(hashtextextended('paddington:' || $1::text || ':use', 0))";

/// A database and the schema in it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) schema: String,
    tls: Tls,
    /// What the database has said of its seal when this replica began.
    mark: Option<Mark>,
}

/// Whether a commit waits for the sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    Synced,
    Lazy,
}

/// What becomes of notifications.
pub(crate) type Notified = Box<dyn Fn(&str) + Send>;

impl Target {
    pub(crate) fn new(url: &str, password: Option<&str>, schema: &str) -> Result<Self, OpenError> {
        let is_valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let begins = schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !begins || schema.len() > 40 || !schema.bytes().all(is_valid) {
            return Err(OpenError::SchemaName(schema.to_owned()));
        }
        let mut url = Url::read(url)?;
        if let Some(password) = password {
            url.config.password(password);
        }
        if url.config.get_connect_timeout().is_none() {
            url.config.connect_timeout(CONNECT);
        }
        url.config.tcp_user_timeout(UNCONFIRMED).keepalives_idle(UNCONFIRMED);
        if url.config.get_application_name().is_none() {
            url.config.application_name("paddington");
        }
        let tls = Tls::new(url.roots.as_deref())?;
        Ok(Self { url, schema: schema.to_owned(), tls, mark: None })
    }

    /// Returns the same database, which is used only as long as it says this of its seal.
    pub(crate) fn with_mark(self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// Returns the same database at one of the hosts in its URL only.
    pub(crate) fn at_host(&self, at: usize) -> Self {
        Self { url: self.url.at_host(at), ..self.clone() }
    }

    /// Opens a connection without any setting.
    pub(crate) async fn connect(&self, notified: Option<Notified>) -> Result<Connection, Fault> {
        let late = |_| Fault::Lost("the database does not answer".to_owned());
        Ok(self.dial(notified).await.map_err(late)??)
    }

    /// The same, with the error of the library.
    pub(crate) async fn dial(
        &self,
        notified: Option<Notified>,
    ) -> Result<Result<Connection, tokio_postgres::Error>, Elapsed> {
        let connecting = self.url.config.connect(self.tls.clone());
        // The library's own limit does not cover what comes after the connection.
        let connected = tokio::time::timeout(2 * CONNECT, connecting).await?;
        Ok(connected.map(|(client, connection)| Connection::new(client, connection, notified)))
    }

    /// Opens a connection with everything that the statements of the store rely on, unless what is there is sealed
    /// otherwise by now.
    pub(crate) async fn open(
        &self,
        commits: Commits,
        notified: Option<Notified>,
    ) -> Result<Arc<Connection>, Fault> {
        let mut connection = self.connect(notified).await?;
        connection.client.batch_execute(&self.settings(commits)).await?;
        let row = connection.row(BEGIN, &[&self.schema]).await?;
        connection.timeline = row.try_get(0)?;
        if !row.try_get::<_, bool>(1)? {
            return Err(seal::is_converted());
        }
        if let Some(mark) = self.mark {
            seal::is_still(&connection, mark).await?;
        }
        Ok(Arc::new(connection))
    }

    /// All statements look rows up by their keys, however small the tables were when they were planned, and
    /// take them in that order: a bitmap would read whatever waits for a peer to find the next few messages.
    pub(crate) fn settings(&self, commits: Commits) -> String {
        let commits = if commits == Commits::Synced { "on" } else { "off" };
        format!(
            "SET search_path = \"{}\"; SET synchronous_commit = {commits}; SET client_min_messages = warning;
             SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; SET lock_timeout = 0;
             SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = '60s';
             SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
             SET plan_cache_mode = force_generic_plan; SET jit = off",
            self.schema
        )
    }
}

/// One connection. It ends when it is dropped.
pub(crate) struct Connection {
    pub(crate) client: Client,
    ended: CancellationToken,
    /// The timeline of the server (S9).
    pub(crate) timeline: i64,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

/// Arguments of a statement.
pub(crate) type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connection {
    /// Lets a task serve the connection.
    fn new<S, T>(
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
        notified: Option<Notified>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        tokio::spawn(async move {
            let _guard = guard;
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let (AsyncMessage::Notification(note), Some(notified)) = (message, &notified) {
                    notified(note.payload());
                }
            }
        });
        Self { client, ended, timeline: 0, statements: Mutex::default() }
    }

    /// Resolves once the connection is gone.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_cancelled() || self.client.is_closed()
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.query(&statement, arguments).await?)
    }

    /// Runs a statement that has exactly one row as its answer.
    pub(crate) async fn row(
        &self,
        sql: &'static str,
        arguments: Arguments<'_>,
    ) -> Result<Row, Fault> {
        let row = self.rows(sql, arguments).await?.into_iter().next();
        row.ok_or_else(|| Fault::refused("the answer has no row"))
    }

    pub(crate) async fn execute(
        &self,
        sql: &'static str,
        arguments: Arguments<'_>,
    ) -> Result<u64, Fault> {
        let statement = self.statement(sql).await?;
        Ok(self.client.execute(&statement, arguments).await?)
    }

    /// Runs a statement without preparing it, which works through every pooler. It has exactly one row as its answer.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Row, Fault> {
        let row = self.client.query_typed_opt(sql, &[]).await?;
        row.ok_or_else(|| Fault::refused("the answer has no row"))
    }

    /// Prepares a statement, so that it can be sent at once later.
    pub(crate) async fn prepare(&self, sql: &'static str) -> Result<(), Fault> {
        self.statement(sql).await.map(drop)
    }

    async fn statement(&self, sql: &'static str) -> Result<Statement, Fault> {
        let known = self.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pauses between attempts to connect: none, then 50 ms, growing to 1 s, each up to a half longer.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = self.attempts.checked_sub(1).map(|doubled| 1 << doubled.min(6));
        let pause = Duration::from_millis(50).saturating_mul(doubled.unwrap_or_default());
        self.attempts += 1;
        pause.min(Duration::from_secs(1)).mul_f64(rand::rng().random_range(1.0..1.5))
    }

    /// Something was done: the next attempt is made at once.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// There is a connection: if it ends before anything is done, the next pause is short.
    pub(crate) fn connected(&mut self) {
        self.attempts = self.attempts.min(1);
    }
}
