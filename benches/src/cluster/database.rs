//! A PostgreSQL for measurements, and what it uses.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use paddington::Cluster;
use paddington_test_support::PostgresServer;
use tokio::task::spawn_blocking;
use tokio_postgres::{Client, NoTls};

use crate::usage::ended_siblings;
use crate::{CpuClock, Numbers, Sample, cpu_time};

/// The schema of replicas.
pub(crate) const SCHEMA: &str = "paddington";

const PROCESSES: &str = "SELECT pid FROM pg_stat_activity";
const WAL: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";

/// A server in a temporary folder, with the settings of a new one.
#[derive(Debug)]
pub struct Database {
    server: PostgresServer,
    client: Client,
    _standby: Option<PostgresServer>,
}

/// What a server has used since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    cpu: Duration,
    wal: u64,
}

impl Database {
    /// Starts a server; `None` where PostgreSQL is not installed.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn start() -> Result<Option<Self>> {
        let Some(server) = spawn_blocking(PostgresServer::start).await? else { return Ok(None) };
        let client = connect(&server.url()).await?;
        Ok(Some(Self { server, client, _standby: None }))
    }

    /// Starts a server, and one on the same disk for which each of its commits waits; `None` where PostgreSQL is
    /// not installed.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn start_with_standby() -> Result<Option<Self>> {
        let Some(database) = Self::start().await? else { return Ok(None) };
        let Self { server, client, .. } = database;
        let started = spawn_blocking(move || {
            let standby = server.standby();
            server.synchronize();
            (server, standby)
        });
        let (server, standby) = started.await?;
        Ok(Some(Self { server, client, _standby: standby }))
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Client> {
        connect(&self.url()).await
    }

    /// Runs SQL.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Removes everything, so that each measurement begins with an empty database, and right after a
    /// checkpoint.
    pub(crate) async fn empty(&self) -> Result<()> {
        self.run(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).await?;
        self.run("DROP TABLE IF EXISTS plain").await?;
        self.run("CHECKPOINT").await
    }

    /// Removes everything, and returns the settings of replicas over this database.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub async fn fresh(&self) -> Result<Cluster> {
        self.empty().await?;
        Ok(Cluster::new(&self.url())?.with_schema(SCHEMA))
    }

    pub(crate) async fn usage(&self) -> Result<Usage> {
        let rows = self.client.query(PROCESSES, &[]).await?;
        let mut cpu = Duration::ZERO;
        let mut ended = None;
        for row in rows {
            let process = u32::try_from(row.try_get::<_, i32>(0)?)?;
            // leave out one that has just ended
            cpu += cpu_time(&[process]).unwrap_or_default();
            ended = ended.or_else(|| ended_siblings(process).ok());
        }
        cpu += ended.context("the server has no processes")?;
        let wal: i64 = self.client.query_one(WAL, &[]).await?.try_get(0)?;
        Ok(Usage { cpu, wal: u64::try_from(wal)? })
    }

    /// Measures, with the processor time of this process and the server, and what the server writes.
    pub(crate) async fn metered(
        &self,
        measuring: impl Future<Output = Result<Sample>>,
    ) -> Result<Numbers> {
        let (before, clock) = (self.usage().await?, CpuClock::start(&[])?);
        let sample = clock.complete(measuring.await?)?;
        let (cpu, wal) = self.usage().await?.since(before);
        let all = Sample { cpu: sample.cpu + cpu.as_secs_f64(), ..sample };
        let mut numbers = all.numbers();
        note(&mut numbers, &sample, cpu, wal);
        Ok(numbers)
    }
}

impl Usage {
    /// Returns the processor time since then, and the bytes of the log.
    pub(crate) fn since(self, before: Self) -> (Duration, u64) {
        (self.cpu.saturating_sub(before.cpu), self.wal.saturating_sub(before.wal))
    }
}

/// Adds what a server has used for each message.
pub(crate) fn note(numbers: &mut Numbers, sample: &Sample, cpu: Duration, wal: u64) {
    let count = sample.count.max(1) as f64;
    numbers.insert("PostgreSQL's CPU µs each".to_owned(), 1e6 * cpu.as_secs_f64() / count);
    numbers.insert("WAL B each".to_owned(), wal as f64 / count);
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
